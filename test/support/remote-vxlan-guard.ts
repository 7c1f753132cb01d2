/** A VXLAN guard of another network namespace. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Admission, AdmissionChange, InstalledAdmission } from '../../src/model/admission';
import type { Namespace } from './lab/namespace';

const PROGRAM = join(__dirname, 'vxlan-guard-process.ts');

export class RemoteVxlanGuard {
  readonly #answers: ((answer: { returned?: unknown; thrown?: string }) => void)[] = [];

  private constructor(private readonly child: ChildProcess) {
    createInterface({ input: child.stdout! }).on('line', (line) =>
      this.#answers.shift()!(JSON.parse(line) as object),
    );
  }

  static async start(namespace: Namespace): Promise<RemoteVxlanGuard> {
    const args = ['--import', 'tsx', PROGRAM];
    const guard = new RemoteVxlanGuard(
      namespace.start(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await guard.#next();
    return guard;
  }

  install(admission: Admission): Promise<void> {
    return this.#call('install', admission);
  }

  change(admission: Admission, change: AdmissionChange): Promise<void> {
    return this.#call('change', admission, change);
  }

  observe(link: string): Promise<InstalledAdmission | undefined> {
    return this.#call('observe', link);
  }

  end(): void {
    this.child.kill('SIGKILL');
  }

  async #call<T>(method: string, ...args: unknown[]): Promise<T> {
    this.child.stdin!.write(`${JSON.stringify({ method, args })}\n`);
    const { returned, thrown } = await this.#next();
    if (thrown) throw new Error(thrown);
    return returned as T;
  }

  #next(): Promise<{ returned?: unknown; thrown?: string }> {
    return new Promise((resolve) => this.#answers.push(resolve));
  }
}

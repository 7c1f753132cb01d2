/** Conversation by lines with a helper process in a namespace: one line asked, one line answered. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { resolve } from 'node:path';
import type { Namespace } from '../support/lab/namespace';

export class Helper {
  readonly #lines: string[] = [];
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];

  private constructor(private readonly child: ChildProcess) {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const next = this.#waiting.shift();
      if (next) next.resolve(line);
      else this.#lines.push(line);
    });
    child.once('exit', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error('the helper ended'));
    });
  }

  /** Starts test/bench/NAME.mjs in the namespace; returns when it says it is ready. */
  static async start(namespace: Namespace, name: string, ...args: string[]): Promise<Helper> {
    const child = namespace.start(process.execPath, [resolve(__dirname, `${name}.mjs`), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'] },
    });
    const helper = new Helper(child);
    const hello = await helper.#next();
    if (hello !== 'ready') throw new Error(`${name} said '${hello}'`);
    return helper;
  }

  get pid(): number {
    return this.child.pid!;
  }

  async ask<Answer>(question: unknown): Promise<Answer> {
    this.child.stdin!.write(JSON.stringify(question) + '\n');
    return JSON.parse(await this.#next()) as Answer;
  }

  end(): void {
    this.child.stdin!.end();
  }

  #next(): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}

/** What the probe noted: CLOCK_MONOTONIC nanoseconds, kind, key. */
export type KernelEvent = readonly [
  nanoseconds: number,
  kind: 'route' | 'route-gone' | 'neighbor' | 'neighbor-gone' | 'fdb' | 'fdb-gone' | 'miss' | 'failed',
  key: string,
];

export interface ProbeReport {
  readonly events: readonly KernelEvent[];
  readonly overruns: number;
}

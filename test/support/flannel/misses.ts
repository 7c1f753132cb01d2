/** flannel 0.5.5's answers to L3 misses. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { exitOf } from '../lab/command';
import type { Namespace } from '../lab/namespace';

/** A message in one of these states, with an address and without a MAC, is what 0.5.5 calls an L3 miss. */
const ASKING = /\b(INCOMPLETE|STALE|DELAY|PROBE)\b/;

/** One `ip monitor` that hears the questions, one `ip -batch` that answers them: a REACHABLE neighbor for each address. */
export class MissAnswers {
  #count = 0;

  private constructor(
    private readonly monitor: ChildProcess,
    private readonly answers: ChildProcess,
  ) {}

  static start(namespace: Namespace, macOf: (address: string) => string | undefined): MissAnswers {
    const words = ['-oL', 'ip', '-rcvbuf', '8388608', 'monitor', 'neigh', 'dev', 'flannel.1'];
    const monitor = namespace.start('stdbuf', words, { stdio: ['ignore', 'pipe', 'ignore'] });
    const answers = namespace.start('ip', ['-force', '-batch', '-'], { stdio: ['pipe', 'ignore', 'ignore'] });
    const started = new MissAnswers(monitor, answers);
    createInterface({ input: monitor.stdout! }).on('line', (line) => {
      const address = /^(?:miss )?(\d+\.\d+\.\d+\.\d+) /.exec(line)?.[1];
      if (address === undefined || line.includes('lladdr') || !ASKING.test(line)) return;
      const mac = macOf(address);
      if (mac === undefined) return;
      started.#count++;
      answers.stdin!.write(`neigh replace ${address} lladdr ${mac} dev flannel.1 nud reachable\n`);
    });
    return started;
  }

  /** How many questions it answered. */
  get count(): number {
    return this.#count;
  }

  async end(): Promise<void> {
    for (const process of [this.monitor, this.answers]) {
      process.kill('SIGKILL');
      await exitOf(process);
    }
  }
}

/** Sees by the real kernel adapter, from within a host's namespace, whether the kernel holds what it should, and since when. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Host } from '../support/lab/host';
import { until } from '../support/lab/until';

/** What the program is asked. */
export type Question =
  { readonly do: 'see' | 'tell' | 'disarm' } | { readonly do: 'arm'; readonly expected: readonly string[] };

/** What it saw since it was armed; times in its own milliseconds. */
export interface Look {
  readonly good: boolean;
  /** The last look before the first damage it saw. */
  readonly damagedSince: number | undefined;
  /** The look that showed the last damage repaired. */
  readonly repairedAt: number | undefined;
  readonly looks: number;
  /** Milliseconds between two looks at most. */
  readonly longestGap: number;
  readonly missing: readonly string[];
  readonly surplus: readonly string[];
}

/** Damage shorter than two looks may go unseen: after so many good looks it has been repaired, or was none. */
const CONVINCING_LOOKS = 40;

export class Onlooker {
  readonly #lines: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(private readonly child: ChildProcess) {
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** Starts it in the host's namespace. Networks: what of the link's addresses is ours. */
  static async start(host: Host, network = '10.5.0.0/16', link = 'flannel.1'): Promise<Onlooker> {
    const program = join(__dirname, 'onlooker-program.ts');
    const child = host.namespace.start(process.execPath, ['--import', 'tsx', program, link, network], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'] },
    });
    const onlooker = new Onlooker(child);
    const hello = await onlooker.#lines.next();
    if (hello.value !== 'ready') throw new Error(`the onlooker of ${host.name} said '${hello.value}'`);
    return onlooker;
  }

  /** Everything of ours in the kernel, as ip(8) and bridge(8) would print it, sorted. */
  see(): Promise<string[]> {
    return this.#ask({ do: 'see' });
  }

  /** From now on it compares, without pause. */
  arm(expected: readonly string[]): Promise<void> {
    return this.#ask({ do: 'arm', expected });
  }

  /**
   * Resolves when what is there is what should be, after damage was seen or enough looks were taken; with the milliseconds
   * between the last good look before the damage and the first after it: never less than it took. Damage that no look saw was there for less than
   * the longest time between two looks.
   */
  async repaired(withinMilliseconds?: number): Promise<number> {
    let look: Look | undefined;
    const first = (await this.#ask<Look>({ do: 'tell' })).looks;
    await until(
      () =>
        `the kernel holds what it should; missing: ${look!.missing.join('; ') || 'nothing'}, too much: ${look!.surplus.join('; ') || 'nothing'}`,
      async () => {
        look = await this.#ask<Look>({ do: 'tell' });
        return look.good && (look.damagedSince !== undefined || look.looks - first > CONVINCING_LOOKS);
      },
      { withinMilliseconds, everyMilliseconds: 10 },
    );
    await this.#ask({ do: 'disarm' });
    const { damagedSince, repairedAt, longestGap } = look!;
    return damagedSince === undefined ? longestGap : repairedAt! - damagedSince;
  }

  /** Throws if anything was not as it should be since it was armed; looks once more at least. */
  async undamaged(): Promise<void> {
    const { looks } = await this.#ask<Look>({ do: 'tell' });
    const look = await until('it was looked at once more', async () => {
      const now = await this.#ask<Look>({ do: 'tell' });
      return now.looks > looks && now;
    });
    await this.#ask({ do: 'disarm' });
    if (look.damagedSince !== undefined)
      throw new Error(
        `the kernel was changed: ${[...look.missing, ...look.surplus].join('; ') || 'for a moment'}`,
      );
  }

  end(): void {
    this.child.stdin!.end();
  }

  /** One question at a time. */
  #ask<Answer>(question: Question): Promise<Answer> {
    const answer = this.#last.then(async () => {
      this.child.stdin!.write(JSON.stringify(question) + '\n');
      const line = await this.#lines.next();
      if (line.done) throw new Error('the onlooker has ended');
      return JSON.parse(line.value) as Answer;
    });
    this.#last = answer.catch(() => undefined);
    return answer;
  }
}

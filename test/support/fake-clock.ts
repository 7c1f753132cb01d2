/** Time that passes only when a test says so. */
import type { Clock } from '../../src/ports';

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #now = 1_000;
  readonly #sleepers = new Set<Sleeper>();
  #seed: number;

  /** The seed decides all that {@link random} gives. */
  constructor(seed = 1) {
    this.#seed = seed;
  }

  now(): number {
    return this.#now;
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper: Sleeper = {
        until: this.#now + milliseconds,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      const abort = () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason as Error);
      };
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** Far from the monotonic time, but as fast. */
  wallTime(): number {
    return 1_700_000_000_000 + this.#now;
  }

  /** A linear congruential generator: the same numbers for the same seed. */
  random(): number {
    this.#seed = (this.#seed * 1_664_525 + 1_013_904_223) >>> 0;
    return this.#seed / 2 ** 32;
  }

  /** How many sleep. */
  get sleepers(): number {
    return this.#sleepers.size;
  }

  /** When the next sleeper wakes; undefined when nobody sleeps. */
  get nextWake(): number | undefined {
    return this.#sleepers.size === 0 ? undefined : Math.min(...[...this.#sleepers].map(({ until }) => until));
  }

  /** Lets time pass, waking every sleeper at its time, in order, and letting all that follows from it happen. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settle();
    for (;;) {
      const next = [...this.#sleepers].sort((a, b) => a.until - b.until)[0];
      if (!next || next.until > end) break;
      this.#now = Math.max(this.#now, next.until);
      next.wake();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything that is ready to happen happen: promises, and what they schedule for the next turn of the loop. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

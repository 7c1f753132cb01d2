/** Log lines that are said at once when they are rare, and summed up when they are not. */
import type { Clock } from '../ports';
import { Wake } from './wake';

const SECOND_MILLISECONDS = 1_000;
const LONG_WAIT_MILLISECONDS = 3_600_000;

/** Says the first value at once, and what comes within a second of that as one value at its end. */
export class OnceASecond<T> {
  readonly #wake = new Wake();
  #rest: T | undefined;
  #silentUntil = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly sumOf: (earlier: T, later: T) => T,
    private readonly say: (value: T) => void,
  ) {}

  add(value: T): void {
    if (this.#rest === undefined && this.clock.now() >= this.#silentUntil) return this.#sayNow(value);
    this.#rest = this.#rest === undefined ? value : this.sumOf(this.#rest, value);
    this.#wake.raise();
  }

  /** Says what was summed up, at the end of each second, until the signal aborts; then what is left. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        const isWaiting = this.#rest !== undefined;
        const wait = isWaiting ? this.#silentUntil - this.clock.now() : LONG_WAIT_MILLISECONDS;
        if (wait > 0) await this.#wake.wait(this.clock, wait, signal);
        if (this.clock.now() >= this.#silentUntil) this.#sayRest();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#sayRest();
    }
  }

  #sayRest(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.#sayNow(rest);
  }

  #sayNow(value: T): void {
    this.#silentUntil = this.clock.now() + SECOND_MILLISECONDS;
    this.say(value);
  }
}

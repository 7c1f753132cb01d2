/** Log lines that are said at once when they are rare, and summed up when they are not. */
import type { Clock } from '../ports';
import { Wake } from './wake';

const SHORTEST_MILLISECONDS = 1_000;
const LONGEST_MILLISECONDS = 60_000;
const LONG_WAIT_MILLISECONDS = 3_600_000;

/**
 * Says the first value at once, and what comes within a second of that as one value at its end. While more keeps coming each time is twice
 * as long as the one before, up to a minute: a peer that changes for ever does not fill the log. A time in which nothing came ends that.
 */
export class SummedLines<T> {
  readonly #wake = new Wake();
  #rest: T | undefined;
  #silentUntil = -Infinity;
  /** How long it was silent, or is, after what it said last. */
  #silence = 0;

  constructor(
    private readonly clock: Clock,
    private readonly sumOf: (earlier: T, later: T) => T,
    private readonly say: (value: T) => void,
  ) {}

  add(value: T): void {
    const idle = this.clock.now() - this.#silentUntil;
    if (this.#rest === undefined && idle >= 0) {
      if (idle >= this.#silence) this.#silence = 0;
      return this.#sayNow(value);
    }
    this.#rest = this.#rest === undefined ? value : this.sumOf(this.#rest, value);
    this.#wake.raise();
  }

  /** Says what was summed up, at the end of each time, until the signal aborts; then what is left. */
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
    this.#silence = Math.min(Math.max(2 * this.#silence, SHORTEST_MILLISECONDS), LONGEST_MILLISECONDS);
    this.#silentUntil = this.clock.now() + this.#silence;
    this.say(value);
  }
}

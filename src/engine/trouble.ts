/** Saying that something is wrong: once, then now and then, and once more when it is over. */
import { describeError } from '../model/errors';
import type { Clock, Log, LogFields } from '../ports';

/** The first reminder comes after this long, each later one after twice as long, up to the longest. */
const FIRST_REMINDER_MILLISECONDS = 60_000;
const LONGEST_REMINDER_MILLISECONDS = 3_600_000;
/** So many changes within a minute are said at once. What comes and goes on and on is said after a while, which doubles each time. */
const FREE_CHANGES = 6;
const CALM_MILLISECONDS = 60_000;
const LONGEST_SILENCE_MILLISECONDS = 600_000;
const FIRST_SILENCE_MILLISECONDS = 10_000;

/**
 * One thing that can be wrong for a while. The same complaint is logged sparingly; another one, and the end, at once, unless they come
 * too often: then what is so by then is logged when it is next told.
 */
export class Trouble {
  #current:
    { complaint: string; since: number; nextReminder: number; interval: number; count: number } | undefined;
  /** What the log says last: a complaint, or (undefined) that all is well. */
  #said: { complaint: string; since: number } | undefined;
  #changes = 0;
  #changedAt = -Infinity;
  #silentUntil = -Infinity;
  #silence = 0;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** What is wrong and for how many milliseconds; undefined when all is well. */
  get current(): { complaint: string; forMilliseconds: number } | undefined {
    if (!this.#current) return undefined;
    return { complaint: this.#current.complaint, forMilliseconds: this.clock.now() - this.#current.since };
  }

  /** False while the log says something else than what is so, because it changed too often. */
  get isSaid(): boolean {
    return this.#said?.complaint === this.#current?.complaint;
  }

  /** `message` is constant text; the error, described, is what makes one complaint another. */
  report(message: string, error: unknown, fields: LogFields = {}): void {
    const now = this.clock.now();
    const complaint = `${message}: ${describeError(error)}`;
    if (this.#current?.complaint !== complaint) {
      const since = this.#current?.since ?? now;
      const interval = FIRST_REMINDER_MILLISECONDS;
      this.#current = { complaint, since, nextReminder: now + interval, interval, count: 1 };
      this.#noteChange(now);
    } else this.#current.count++;
    const { since, count } = this.#current;
    if (this.#said?.complaint !== complaint) {
      if (now < this.#silentUntil) return;
      this.#said = { complaint, since: this.#said?.since ?? since };
      this.log.warn(message, { ...fields, error: describeError(error), ...this.#often() });
      return;
    }
    if (now < this.#current.nextReminder) return;
    this.#current.interval = Math.min(this.#current.interval * 2, LONGEST_REMINDER_MILLISECONDS);
    this.#current.nextReminder = now + this.#current.interval;
    const sinceSeconds = Math.round((now - since) / 1000);
    this.log.warn(message, { ...fields, error: describeError(error), times: count, sinceSeconds });
  }

  /** All is well again; says so if it was not. */
  clear(message: string, fields: LogFields = {}): void {
    const now = this.clock.now();
    if (this.#current) this.#noteChange(now);
    this.#current = undefined;
    if (!this.#said || now < this.#silentUntil) return;
    const afterSeconds = Math.round((now - this.#said.since) / 1000);
    this.#said = undefined;
    this.log.info(message, { ...fields, afterSeconds, ...this.#often() });
  }

  #noteChange(now: number): void {
    if (now - this.#changedAt >= CALM_MILLISECONDS + this.#silence) {
      this.#changes = 0;
      this.#silence = 0;
    }
    this.#changedAt = now;
    this.#changes++;
  }

  /** To be called with each line: after too many, none for a while. */
  #often(): LogFields {
    const now = this.clock.now();
    const changes = this.#changes;
    if (changes < FREE_CHANGES) return {};
    const isFirst = this.#silence === 0;
    this.#silence = isFirst
      ? FIRST_SILENCE_MILLISECONDS
      : Math.min(2 * this.#silence, LONGEST_SILENCE_MILLISECONDS);
    this.#silentUntil = now + this.#silence;
    return isFirst ? {} : { changes };
  }
}

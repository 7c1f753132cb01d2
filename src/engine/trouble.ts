/** Saying that something is wrong: once, then now and then, and once more when it is over. */
import { describeError } from '../model/errors';
import type { Clock, Log, LogFields } from '../ports';

/** The first reminder comes after this long, each later one after twice as long, up to the longest. */
const FIRST_REMINDER_MILLISECONDS = 60_000;
const LONGEST_REMINDER_MILLISECONDS = 3_600_000;

/** One thing that can be wrong for a while. The same complaint is logged sparingly; another one at once. */
export class Trouble {
  #current:
    { complaint: string; since: number; nextReminder: number; interval: number; count: number } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** What is wrong and for how many milliseconds; undefined when all is well. */
  get current(): { complaint: string; forMilliseconds: number } | undefined {
    if (!this.#current) return undefined;
    return { complaint: this.#current.complaint, forMilliseconds: this.clock.now() - this.#current.since };
  }

  /** `message` is constant text; the error, described, is what makes one complaint another. */
  report(message: string, error: unknown, fields: LogFields = {}): void {
    const now = this.clock.now();
    const complaint = `${message}: ${describeError(error)}`;
    if (this.#current?.complaint !== complaint) {
      const since = this.#current?.since ?? now;
      const interval = FIRST_REMINDER_MILLISECONDS;
      this.#current = { complaint, since, nextReminder: now + interval, interval, count: 1 };
      this.log.warn(message, { ...fields, error: describeError(error) });
      return;
    }
    this.#current.count++;
    if (now < this.#current.nextReminder) return;
    this.#current.interval = Math.min(this.#current.interval * 2, LONGEST_REMINDER_MILLISECONDS);
    this.#current.nextReminder = now + this.#current.interval;
    const sinceSeconds = Math.round((now - this.#current.since) / 1000);
    this.log.warn(message, {
      ...fields,
      error: describeError(error),
      times: this.#current.count,
      sinceSeconds,
    });
  }

  /** All is well again; says so if it was not. */
  clear(message: string, fields: LogFields = {}): void {
    if (!this.#current) return;
    const seconds = Math.round((this.clock.now() - this.#current.since) / 1000);
    this.#current = undefined;
    this.log.info(message, { ...fields, afterSeconds: seconds });
  }
}

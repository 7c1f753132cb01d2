/** Repairs of our lease that others may undo again and again: made more slowly then, and logged once. */
import type { Clock, Log, LogFields } from '../ports';
import { RepairThrottle } from './repair-throttle';

/** The longest rest is shorter than what peers wait before they forget a host whose key was deleted. */
const LIMITS = {
  freeRepairs: 5,
  shortestRestMilliseconds: 100,
  longestRestMilliseconds: 1_500,
  calmMilliseconds: 10_000,
};

/** Owns how often our lease was repaired lately. */
export class LeaseRepairs {
  readonly #throttle: RepairThrottle;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.#throttle = new RepairThrottle(clock, LIMITS);
  }

  /** Another program undoes what we write, again and again; undefined while none does. */
  get repairLoop(): string | undefined {
    return this.#throttle.isRepairLoop
      ? `somebody deletes or overwrites our lease again and again (${this.#throttle.streak} times)`
      : undefined;
  }

  /** Logs what happened to our lease; at debug level while it happens again and again. */
  report(level: 'info' | 'warn' | 'error', message: string, fields: LogFields): void {
    this.log[this.#throttle.isRepairLoop ? 'debug' : level](message, fields);
  }

  /** To be called before each repair: waits, where the same is repaired again and again. */
  async rest(lease: string | undefined, signal: AbortSignal): Promise<void> {
    const { restMilliseconds } = this.#throttle;
    if (restMilliseconds > 0) await this.clock.sleep(restMilliseconds, signal);
    this.#throttle.count();
    if (this.#throttle.isNewRepairLoop)
      this.log.warn('somebody deletes or overwrites our lease again and again; writing it more slowly', {
        lease,
      });
  }
}

/** Two hosts that both believe one lease theirs: which of them gives way. */
import { backoffMilliseconds } from '../core/backoff';
import type { Lease } from '../model/lease';
import type { Clock, Log } from '../ports';
import { Trouble } from './trouble';

/**
 * Whoever claims a lease and hears an objection within this is the newcomer, and gives way. What comes later is no objection but the
 * next try of one that gave way: were it taken for one, of two that started together each would give way to the other in turn.
 */
const CLAIM_MILLISECONDS = 7_000;
/** Two that both hold the lease for theirs object in turn, each within this: the one that began gives way after so many times. */
const COUNTER_MILLISECONDS = 5_000;
const COUNTERS = 2;
/** How often who gave way tries again: the other may have gone. Half of it, the least wait, must be neither counter nor objection. */
const RETRY_BACKOFF = { minMilliseconds: 15_000, maxMilliseconds: 120_000 };
/** So long after the last objection it is over. */
export const CONTEST_MILLISECONDS = 300_000;

const ADVICE = 'two hosts cannot share one: give one of them another by --public-ip or --iface';
const GAVE_WAY = `it was there first, and we wait until it has gone; ${ADVICE}`;
const OBJECTED = `we were there first, and keep it; ${ADVICE}`;

/** Owns what was claimed and objected to, by whom, and when. It decides and says; what is written is the holder's. */
export class Contest {
  readonly #trouble: Trouble;
  #contestedAt = -Infinity;
  #claimedAt = -Infinity;
  #objectedAt = -Infinity;
  #counters = 0;
  /** We gave way, and have tried again so many times; undefined: the lease is ours. */
  #retries: number | undefined;

  constructor(
    private readonly clock: Clock,
    log: Log,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** Another host that lives claims our lease; undefined when none did lately. */
  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** True while another host holds our lease, and we wait for it to go. */
  get hasGivenWay(): boolean {
    return this.#retries !== undefined;
  }

  /** How long to wait before the next try, having given way. */
  get retryMilliseconds(): number {
    return backoffMilliseconds(this.#retries ?? 0, RETRY_BACKOFF, this.clock.random());
  }

  /** We have written the lease as ours, though it may be another's: whoever lives and objects to that was there first. */
  claim(): void {
    this.#claimedAt = this.clock.now();
  }

  /** Another host has claimed our lease. True: we are to object; false: it is we who came later, and have given way. */
  answer(stored: Lease): boolean {
    const now = this.clock.now();
    this.#counters = now - this.#objectedAt < COUNTER_MILLISECONDS ? this.#counters + 1 : 0;
    if (now - this.#claimedAt < CLAIM_MILLISECONDS || this.#counters >= COUNTERS) {
      this.giveWay(stored);
      return false;
    }
    this.#objectedAt = now;
    this.#report(stored, OBJECTED);
    return true;
  }

  /** Another host that lives has the lease; we wait, and may try again after {@link retryMilliseconds}. */
  giveWay(stored: Lease): void {
    this.#retries = this.#retries === undefined ? 0 : this.#retries + 1;
    this.#report(stored, GAVE_WAY);
  }

  /** The other has gone, or we have another lease. */
  settle(): void {
    this.#retries = undefined;
    this.#contestedAt = -Infinity;
    this.endIfOver();
  }

  /** Says so once nobody has claimed anything for a while. */
  endIfOver(): void {
    if (this.clock.now() - this.#contestedAt >= CONTEST_MILLISECONDS)
      this.#trouble.clear('nobody else claims our lease any more');
  }

  #report({ name, attributes }: Lease, outcome: string): void {
    this.#contestedAt = this.clock.now();
    const { publicIp } = attributes;
    this.#trouble.report('another host has our PublicIP, and claims our lease', outcome, {
      lease: name,
      publicIp,
    });
  }
}

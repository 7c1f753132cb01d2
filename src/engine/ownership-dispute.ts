/** Two hosts that both believe one lease theirs: what was claimed and objected to, and by whom. */
import { backoffMilliseconds } from '../core/backoff';
import { countersAt, type DisputeAnswer, type DisputeHistory } from '../core/lease-keeping';
import type { Lease } from '../model/lease';
import type { Clock, Log } from '../ports';
import { ProblemReporter, type Problem } from './problem';

/** How often a host that conceded tries again: the other may have gone. Half of it, the least wait, must be neither counter nor objection. */
const RETRY_BACKOFF = { minMilliseconds: 15_000, maxMilliseconds: 120_000 };
/** So long after the last claim a dispute is over. */
export const DISPUTE_MILLISECONDS = 300_000;

const ADVICE = 'two hosts cannot share one: give one of them another by --public-ip or --iface';
const CONCEDED = `it was there first, and we wait until it has gone; ${ADVICE}`;
const OBJECTED = `we were there first, and keep it; ${ADVICE}`;

/** Owns the history of the dispute, and reports it. The decision is made in `core/lease-keeping`; the lease holder writes. */
export class OwnershipDispute {
  readonly #problem: ProblemReporter;
  #disputedAt = -Infinity;
  #history: DisputeHistory = {
    claimedAt: -Infinity,
    objectedAt: -Infinity,
    counters: 0,
    objectedTo: undefined,
  };
  /** We conceded, and have tried again so many times; undefined: the lease is ours. */
  #retries: number | undefined;

  constructor(
    private readonly clock: Clock,
    log: Log,
  ) {
    this.#problem = new ProblemReporter(clock, log);
  }

  /** Another host that lives claims our lease; undefined when none did lately. */
  get problem(): Problem | undefined {
    return this.#problem.current;
  }

  get history(): DisputeHistory {
    return this.#history;
  }

  /** True while another host holds our lease, and we wait for it to go. */
  get hasConceded(): boolean {
    return this.#retries !== undefined;
  }

  /** How long to wait before the next try, having conceded. */
  get retryMilliseconds(): number {
    return backoffMilliseconds(this.#retries ?? 0, RETRY_BACKOFF, this.clock.random());
  }

  /** We have written the lease as ours, though it may be another's: a host that lives and objects was there first. */
  claim(): void {
    this.#history = { ...this.#history, claimedAt: this.clock.now() };
  }

  /** Records our answer to another host that has claimed our lease. */
  give(answer: DisputeAnswer, stored: Lease): void {
    if (answer === 'insist') return;
    const now = this.clock.now();
    const counters = countersAt(this.#history, now);
    this.#history = { ...this.#history, counters };
    if (answer === 'concede') return this.concede(stored);
    this.#history = { ...this.#history, objectedAt: now, objectedTo: stored.modRevision };
    this.#report(stored, OBJECTED);
  }

  /** Another host that lives has the lease; we wait, and may try again after {@link retryMilliseconds}. */
  concede(stored: Lease): void {
    this.#retries = this.#retries === undefined ? 0 : this.#retries + 1;
    this.#report(stored, CONCEDED);
  }

  /** The other has gone, or we have another lease. */
  settle(): void {
    this.#retries = undefined;
    this.#disputedAt = -Infinity;
    this.endIfOver();
  }

  /** Says so once nobody has claimed anything for a while. */
  endIfOver(): void {
    if (this.clock.now() - this.#disputedAt >= DISPUTE_MILLISECONDS)
      this.#problem.clear('nobody else claims our lease any more');
  }

  #report({ name, attributes }: Lease, outcome: string): void {
    this.#disputedAt = this.clock.now();
    const { publicIp } = attributes;
    this.#problem.report('another host has our PublicIP, and claims our lease', outcome, {
      lease: name,
      publicIp,
    });
  }
}

/** Keeps this host's lease: a loop that asks, decides (`core/lease-keeping`) and acts. */
import { backoffMilliseconds } from '../core/backoff';
import type { StoredKey } from '../core/lease-keeping';
import { printSubnet } from '../model/address';
import { RegistryError } from '../model/errors';
import type { Lease } from '../model/lease';
import type { Clock, LeaseRegistry, Log } from '../ports';
import type { ClaimOptions } from './claims';
import { BACKOFF, LeaseAcquirer } from './lease-acquirer';
import { LeaseKeeper } from './lease-keeper';
import { LeaseRepairs } from './lease-repairs';
import { OwnKey, type OwnKeyOptions } from './own-key';
import { DISPUTE_MILLISECONDS, OwnershipDispute } from './ownership-dispute';
import { ProblemReporter, type Problem } from './problem';
import { Wake } from './wake';

/** A reservation needs no keeping alive; its loop only waits to be told of changes. */
const LONG_WAIT_MILLISECONDS = 3_600_000;

export type LeaseHolderOptions = ClaimOptions & OwnKeyOptions;

/** What the loop was told since its last round. */
interface News {
  /** What a watch saw of our key. */
  readonly seen: { readonly stored: StoredKey } | undefined;
  /** What we say of ourselves has changed. */
  readonly isStale: boolean;
}

/**
 * A lost lease is taken back in process: the same subnet if it is free, else another, which {@link LeaseHolder.run} reports.
 *
 * Hosts are known by their PublicIP. Where two hosts have one (a clone, addresses behind a NAT), both believe that one lease is theirs.
 * The etcd lease that its key hangs on tells them apart: a host that takes over a key of another's etcd lease claims it by attaching it
 * to its own, and changes nothing else. A holder that lives objects by attaching it again; then the newcomer concedes, and tries again
 * now and then, which no third host notices ({@link OwnershipDispute}).
 *
 * Copies of one running machine share even the etcd lease. It is shared if it has longer to live than we have given it: then we claim our
 * own lease with a new one. A reservation hangs on none; there a twin shows by the VTEP MAC that it writes.
 */
export class LeaseHolder {
  readonly #wake = new Wake();
  readonly #problem: ProblemReporter;
  readonly #dispute: OwnershipDispute;
  readonly #repairs: LeaseRepairs;
  readonly #key: OwnKey;
  readonly #acquirer: LeaseAcquirer;
  readonly #keeper: LeaseKeeper;
  #news: News = { seen: undefined, isStale: false };

  constructor(
    registry: LeaseRegistry,
    private readonly clock: Clock,
    log: Log,
    options: LeaseHolderOptions,
  ) {
    this.#problem = new ProblemReporter(clock, log);
    this.#dispute = new OwnershipDispute(clock, log);
    this.#repairs = new LeaseRepairs(clock, log);
    this.#key = new OwnKey(registry, clock, log, options, this.#dispute);
    const parts = { key: this.#key, dispute: this.#dispute, repairs: this.#repairs };
    this.#acquirer = new LeaseAcquirer(registry, clock, log, options, { ...parts, problem: this.#problem });
    const events = { publicIp: options.publicIp, onRegained: () => this.republish() };
    this.#keeper = new LeaseKeeper(clock, log, { ...parts, ...events });
  }

  get lease(): Lease | undefined {
    return this.#key.lease;
  }

  get problem(): Problem | undefined {
    return this.#problem.current;
  }

  /**
   * Etcd is known to have something else in place of our lease, and that could not be put right at once; undefined otherwise. An etcd
   * that does not answer is no such knowledge.
   */
  get absence(): Problem | undefined {
    const failure = this.#problem.current;
    const problem = this.#key.registration.problem(failure !== undefined);
    if (!problem || !failure) return problem;
    return { ...problem, text: `${problem.text}; ${failure.text}` };
  }

  /** Another host that lives claims our lease; undefined when none did lately. */
  get dispute(): Problem | undefined {
    return this.#dispute.problem;
  }

  /** True while another host holds our lease, and we wait for it to go. */
  get hasConceded(): boolean {
    return this.#dispute.hasConceded;
  }

  /** Another program undoes what we write, again and again; undefined while none does. */
  get repairLoop(): string | undefined {
    return this.#repairs.repairLoop;
  }

  /** For how many seconds the lease is good without being kept alive; Infinity for a reservation. */
  get remainingSeconds(): number {
    return this.#key.remainingSeconds;
  }

  /** Until when the lease is good without etcd, by the wall clock; Infinity for a reservation. */
  get goodUntil(): number {
    return this.clock.wallTime() + this.remainingSeconds * 1000;
  }

  /** Our key was written or deleted; the loop will look whether that was us. */
  noticeStored(stored: StoredKey): void {
    this.#news = { ...this.#news, seen: { stored } };
    this.#wake.raise();
  }

  /** What we say of ourselves changed: write it over our lease. */
  republish(): void {
    this.#news = { ...this.#news, isStale: true };
    this.#wake.raise();
  }

  /** Holds a lease from the state file, for a start without the registry; the first snapshot shows whether it still is ours. */
  adopt(lease: Lease, remainingSeconds: number): void {
    this.#key.adopt(lease, remainingSeconds);
  }

  /** {@link LeaseAcquirer.acquire}: only an abort makes it reject, or a {@link SubnetLostError}. */
  acquire(known: readonly Lease[] | undefined, signal: AbortSignal): Promise<Lease> {
    return this.#acquirer.acquire(known, signal);
  }

  /** Keeps the lease until the signal aborts. Calls `onReplaced` whenever another lease or value has taken its place. */
  async run(onReplaced: (lease: Lease) => void, signal: AbortSignal): Promise<void> {
    let reported = this.lease!;
    this.#key.etcdLeases.keepSoon();
    for (let failures = 0; !signal.aborted;) {
      let news: News | undefined;
      try {
        const isWoken = await this.#wake.wait(this.clock, this.#waitMilliseconds(failures), signal);
        // Taken before the work: what comes during it is for the next round.
        news = this.#news;
        this.#news = { seen: undefined, isStale: false };
        await this.#round(news, !isWoken, signal);
        failures = 0;
        this.#problem.clear('subnet lease is safe again');
        if (this.lease !== reported) onReplaced((reported = this.lease!));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof RegistryError)) throw error;
        if (news) this.#putBack(news);
        failures++;
        this.#problem.report('cannot keep the subnet lease alive; trying on', error);
      }
    }
  }

  #waitMilliseconds(failures: number): number {
    if (failures > 0) return backoffMilliseconds(failures - 1, BACKOFF, this.clock.random());
    if (this.hasConceded) return this.#dispute.retryMilliseconds;
    const longest = this.#dispute.problem ? DISPUTE_MILLISECONDS : LONG_WAIT_MILLISECONDS;
    if (this.lease?.etcdLeaseId === undefined) return longest;
    return Math.min(longest, Math.max(0, this.#key.etcdLeases.untilRenewalMilliseconds));
  }

  /** A round failed, and nobody tells us again. */
  #putBack({ seen, isStale }: News): void {
    if (seen && !this.#key.isOlder(seen.stored)) this.#key.note(seen.stored);
    this.#news = { seen: this.#news.seen ?? seen, isStale: this.#news.isStale || isStale };
  }

  async #round({ seen, isStale }: News, isTimeout: boolean, signal: AbortSignal): Promise<void> {
    const isOurs = this.hasConceded
      ? await this.#keeper.retry(isTimeout && seen === undefined, signal)
      : await this.#check(seen, signal);
    if (isOurs && isStale && !this.hasConceded) await this.#key.refresh(signal);
    if (!isOurs) await this.#takeBack(signal);
    if (this.hasConceded) return;
    this.#dispute.endIfOver();
    this.#key.registration.restore();
  }

  /** False if the lease is lost. */
  async #check(seen: News['seen'], signal: AbortSignal): Promise<boolean> {
    if (seen && !(await this.#keeper.keep(seen.stored, 'told', signal))) return false;
    // A host that concedes has asked within the last minute.
    return this.hasConceded || this.#keeper.keepAlive(signal);
  }

  async #takeBack(signal: AbortSignal): Promise<void> {
    const { registration, lease: lost } = this.#key;
    if (!registration.isLost) registration.lose({ kind: 'missing' });
    await this.#repairs.rest(lost!.name, signal);
    const old = printSubnet(lost!.subnet);
    this.#repairs.report('warn', 'subnet lease lost; taking it back', { subnet: old });
    const subnet = printSubnet((await this.acquire(undefined, signal)).subnet);
    if (subnet === old) this.#repairs.report('info', 'subnet lease taken back', { subnet });
    else this.#repairs.report('error', 'another host has our subnet; we have a new one', { old, subnet });
  }
}

/** Acquires a lease for this host, however often it has to try. */
import { decideAcquisition, type Acquisition } from '../core/acquisition';
import { backoffMilliseconds } from '../core/backoff';
import { isReservation } from '../core/lease-keeping';
import { printSubnet, type Subnet } from '../model/address';
import { RegistryError, SubnetLostError } from '../model/errors';
import { LEASE_TTL_SECONDS, sameAttributes, type Lease } from '../model/lease';
import { printLeaseName, vtepMacOf } from '../model/lease-codec';
import type { Clock, LeaseRegistry, Log } from '../ports';
import { Claims, describeExhaustion, type ClaimOptions } from './claims';
import type { LeaseRepairs } from './lease-repairs';
import type { OwnKey, OwnKeyOptions } from './own-key';
import type { OwnershipDispute } from './ownership-dispute';
import type { ProblemReporter } from './problem';

export const BACKOFF = { minMilliseconds: 200, maxMilliseconds: 30_000 };
/** So many lost races in a row are nothing to report. */
const FREE_RACES = 5;
/** Lost races are tried again at once, but not so fast that fifty agents on one key spin. */
const RACE_BACKOFF = { minMilliseconds: 5, maxMilliseconds: 500 };

/** What a try comes to. `raced`: another host was faster. `disputed`: another host holds the lease, and lives. */
type Outcome =
  | { readonly kind: 'acquired'; readonly lease: Lease }
  | { readonly kind: 'raced' }
  | Extract<Acquisition, { kind: 'exhausted' }>
  /** `waits`: until its holder has gone. If not, another is taken. */
  | { readonly kind: 'disputed'; readonly lease: Lease; readonly waits: boolean };

export interface AcquirerParts {
  readonly key: OwnKey;
  readonly dispute: OwnershipDispute;
  readonly repairs: LeaseRepairs;
  readonly problem: ProblemReporter;
}

const RACED: Outcome = { kind: 'raced' };

/** Owns what a search for a lease has learned so far; what is found or written becomes the {@link OwnKey}. */
export class LeaseAcquirer {
  readonly #claims: Claims;
  /** Subnets that turned out to be taken although no lease says so. */
  #avoid: Subnet[] = [];
  #failures = 0;
  #races = 0;
  #unreadable: readonly string[] = [];

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly options: ClaimOptions & OwnKeyOptions,
    private readonly parts: AcquirerParts,
  ) {
    this.#claims = new Claims(clock, log, options);
  }

  /**
   * Acquires a lease: `known` are the leases, if they have just been read, used for the first try. Only an abort makes it reject, or a
   * {@link SubnetLostError}.
   */
  async acquire(known: readonly Lease[] | undefined, signal: AbortSignal): Promise<Lease> {
    this.#avoid = [];
    this.#failures = 0;
    this.#races = 0;
    this.#unreadable = [];
    for (let leases = known; ; leases = undefined) {
      try {
        const outcome = await this.#try(leases ?? (await this.#list(signal)), signal);
        if (outcome.kind === 'acquired') return this.#take(outcome.lease);
        await this.#setBack(outcome, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RegistryError)) throw error;
        this.parts.problem.report('cannot acquire a subnet lease', error);
        await this.#backOff(signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<readonly Lease[]> {
    const { leases, malformed } = await this.registry.list(signal);
    this.#unreadable = malformed.map(({ name }) => name);
    return leases;
  }

  #take(lease: Lease): Lease {
    this.parts.problem.clear('subnet lease acquired after all');
    if (this.parts.dispute.hasConceded) this.parts.dispute.settle();
    this.parts.key.hold(lease);
    return lease;
  }

  /** Says what came in between, and waits before the next try. */
  async #setBack(outcome: Exclude<Outcome, { kind: 'acquired' }>, signal: AbortSignal): Promise<void> {
    switch (outcome.kind) {
      case 'disputed':
        if (!outcome.waits) return this.#claims.concede(outcome.lease);
        this.parts.dispute.concede(outcome.lease);
        return this.clock.sleep(this.parts.dispute.retryMilliseconds, signal);
      case 'exhausted':
        this.#avoid = [];
        this.parts.problem.report(
          'no free subnet left',
          describeExhaustion(this.options.range.network, outcome, this.#unreadable),
        );
        return this.#backOff(signal);
      case 'raced':
        this.log.debug('lost a race for a subnet; trying another');
        if (this.#races >= FREE_RACES)
          this.parts.problem.report('another host was faster for each subnet; trying on', 'lost races');
        return this.clock.sleep(
          backoffMilliseconds(this.#races++, RACE_BACKOFF, this.clock.random()),
          signal,
        );
    }
  }

  #backOff(signal: AbortSignal): Promise<void> {
    return this.clock.sleep(backoffMilliseconds(this.#failures++, BACKOFF, this.clock.random()), signal);
  }

  async #try(leases: readonly Lease[], signal: AbortSignal): Promise<Outcome> {
    const held = this.parts.key.lease;
    const stored = held && leases.find(({ name }) => name === held.name);
    if (stored) this.parts.key.note(stored);
    const decision = decideAcquisition(
      this.#claims.next(held, leases, this.#avoid, this.parts.key.isOwn),
      leases,
    );
    switch (decision.kind) {
      case 'exhausted':
        return decision;
      case 'reuse':
        return this.#reuse(decision.lease, signal);
      case 'follow':
        return this.#follow(decision.lease, signal);
      case 'discard':
        this.log.warn('deleting our lease of another network', { lease: decision.lease.name });
        await this.registry.remove(decision.lease, signal);
        return RACED;
      case 'lost': {
        const { subnet, holder } = decision;
        throw new SubnetLostError(
          `${printSubnet(subnet)} is leased to another host (${holder.name}, PublicIP ${holder.attributes.publicIp ?? 'unknown'}), and --subnet-lost=stop wants no other subnet here: end that lease, or remove the subnet file and start again for a new subnet`,
        );
      }
      case 'create':
        return this.#create(decision.subnet, signal);
    }
  }

  async #reuse(lease: Lease, signal: AbortSignal): Promise<Outcome> {
    const { etcdLeaseId } = lease;
    if (this.parts.key.hangsOnAnothers(lease)) {
      const claimed = await this.parts.key.claim(lease, signal);
      if (!claimed) return RACED;
      const isOurs = this.options.isProven(lease) || (await this.parts.key.isUndisputed(claimed, signal));
      return isOurs ? this.#adapt(claimed, signal) : { kind: 'disputed', lease, waits: true };
    }
    if (etcdLeaseId !== undefined && !(await this.parts.key.etcdLeases.renew(etcdLeaseId, signal)))
      return RACED;
    return this.#adapt(lease, signal);
  }

  /**
   * Keeps a lease that we held under another PublicIP. It is claimed first, whatever it hangs on: a copy of this host may hold it, even
   * one of this boot.
   */
  async #follow(lease: Lease, signal: AbortSignal): Promise<Outcome> {
    const claimed = await this.parts.key.claim(lease, signal);
    if (!claimed) return RACED;
    if (!(await this.parts.key.isUndisputed(claimed, signal)))
      return { kind: 'disputed', lease, waits: false };
    return this.#adapt(claimed, signal);
  }

  /** Writes into a lease of ours what we say of ourselves, if it says anything else. */
  async #adapt(lease: Lease, signal: AbortSignal): Promise<Outcome> {
    const attributes = this.parts.key.attributesOf(lease);
    const fields = { subnet: printSubnet(lease.subnet), reservation: isReservation(lease) };
    if (sameAttributes(lease.attributes, attributes)) {
      this.parts.repairs.report('info', 'lease reused as it is', fields);
      return { kind: 'acquired', lease };
    }
    if (isReservation(lease) && vtepMacOf(lease) !== undefined) this.parts.dispute.claim();
    const result = await this.registry.update(lease, attributes, lease.etcdLeaseId, signal);
    if (result.kind === 'conflict') return RACED;
    this.parts.repairs.report('info', 'lease reused, with new attributes', fields);
    return { kind: 'acquired', lease: result.lease };
  }

  async #create(subnet: Subnet, signal: AbortSignal): Promise<Outcome> {
    const { etcdLeases, lease, isOwn } = this.parts.key;
    // Taken back again and again, the key goes on hanging on one etcd lease.
    const held = lease?.etcdLeaseId;
    const isHeldAlive = held !== undefined && isOwn(held) && (await etcdLeases.renew(held, signal));
    const id = isHeldAlive ? held : await etcdLeases.grant(signal);
    let isWritten = false;
    try {
      const subnets = { subnet, ipv6Subnet: undefined };
      const attributes = this.options.attributesFor(lease, printLeaseName(subnets));
      const result = await this.registry.create(subnets, attributes, id, signal);
      if (result.kind === 'conflict') {
        this.#avoid.push(subnet);
        return RACED;
      }
      isWritten = true;
      if (!isHeldAlive) etcdLeases.keepFor(LEASE_TTL_SECONDS);
      this.parts.repairs.report('info', 'lease acquired', { subnet: printSubnet(subnet) });
      return { kind: 'acquired', lease: result.lease };
    } finally {
      if (!isWritten && id !== held) await etcdLeases.giveBack(id, signal);
    }
  }
}

/** Gets this host its lease, and keeps it. */
import { decideAcquisition, type Claim } from '../core/acquisition';
import { backoffMilliseconds } from '../core/backoff';
import { printSubnet, type IpAddress, type Subnet } from '../model/address';
import { RegistryError, SubnetLostError } from '../model/errors';
import {
  LEASE_TTL_SECONDS,
  sameAttributes,
  type Lease,
  type LeaseAttributes,
  type MalformedLease,
} from '../model/lease';
import { printLeaseName } from '../model/lease-codec';
import type { SubnetRange } from '../model/network-config';
import type { Clock, LeaseRegistry, Log } from '../ports';
import { Patience } from './patience';
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 200, maxMilliseconds: 30_000 };
/** Lost races are tried again at once, but not so fast that fifty agents on one key spin. */
const RACE_BACKOFF = { minMilliseconds: 5, maxMilliseconds: 500 };
/** A reservation needs no keeping alive; its loop only waits to be told of changes. */
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** So long a living holder is given to object to a newcomer, before the newcomer relies on the lease. */
const HEARING_MILLISECONDS = 1_000;
/** Whoever claims a lease and hears an objection within this is the newcomer, and gives way. */
const CLAIM_MILLISECONDS = 30_000;
/** Two that both hold the lease for theirs object in turn, each within this: the one that began gives way after so many times. */
const COUNTER_MILLISECONDS = 5_000;
const COUNTERS = 2;
/** How often who gave way tries again: the other may have gone. Half of it, the least wait, must be no counter. */
const CONTEST_BACKOFF = { minMilliseconds: 15_000, maxMilliseconds: 120_000 };
/** So long after the last objection a contest is over. */
const CONTEST_MILLISECONDS = 300_000;
/**
 * Somebody deletes or overwrites our key again and again. The longest rest is shorter than what peers wait before they forget a
 * host whose key was deleted.
 */
const PATIENCE = {
  freeRepairs: 5,
  shortestRestMilliseconds: 100,
  longestRestMilliseconds: 1_500,
  calmMilliseconds: 10_000,
};

export interface LeaseHolderOptions {
  readonly range: SubnetRange;
  /** Who we are at the moment: it changes when the underlay's address does. */
  readonly publicIp: () => IpAddress;
  /** The subnet of subnet.env. */
  readonly previous: Subnet | undefined;
  /** The lease is kept alive so that at least this much of it is always left. */
  readonly renewMarginSeconds: number;
  /** False: rather none than another subnet than the one we have or had. */
  readonly mayRenumber: boolean;
  /** What to write into the key of this name, given the lease we hold or take over, if any: its VTEP MAC is ours. */
  readonly attributesFor: (held: Lease | undefined, name: string) => LeaseAttributes;
  /** True for a lease that leads to the device of this host as it is: nobody else can have it. */
  readonly isProven: (lease: Lease) => boolean;
}

const ADVICE = 'two hosts cannot share one: give one of them another by --public-ip or --iface';
const GAVE_WAY = `it was there first, and we wait until it has gone; ${ADVICE}`;
const OBJECTED = `we were there first, and keep it; ${ADVICE}`;

/** What a try to get a lease comes to, if not to a lease. */
type Setback = 'raced' | 'exhausted' | { readonly kind: 'contested'; readonly lease: Lease };

/**
 * Owns our lease. Every write is a compare-and-swap; whoever wins a race, nobody's key is overwritten. A lease that is lost
 * is taken back in process: the same subnet if it is free, else another, which {@link LeaseHolder.run} then reports.
 *
 * Hosts are known by their PublicIP. Where two have one (a clone, addresses behind a NAT), both believe that one lease is
 * theirs. The etcd lease that its key hangs on tells them apart: who takes over a key that hangs on a stranger's claims it by
 * attaching it to its own, and changes nothing else. A holder that lives objects by attaching it again; then the newcomer gives
 * way, and tries again now and then, which no third host notices.
 */
export class LeaseHolder {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  readonly #contest: Trouble;
  readonly #patience: Patience;
  #contestedAt = -Infinity;
  #claimedAt = -Infinity;
  #objectedAt = -Infinity;
  #counters = 0;
  /** We gave way, so many tries ago; undefined: the lease is ours. */
  #waivers: number | undefined;
  #lease: Lease | undefined;
  /** What was left of the lease when it was last kept alive, and when that was (monotonic milliseconds). */
  #remainingSeconds = LEASE_TTL_SECONDS;
  #keptAliveAt = 0;
  /** When it is to be kept alive again, whatever wakes us before (monotonic milliseconds). */
  #renewAt = Infinity;
  #isStale = false;
  /** What a watch saw of our key since we last looked. */
  #seen: { stored: Lease | MalformedLease | undefined } | undefined;

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly options: LeaseHolderOptions,
  ) {
    this.#trouble = new Trouble(clock, log);
    this.#contest = new Trouble(clock, log);
    this.#patience = new Patience(clock, PATIENCE);
  }

  get lease(): Lease | undefined {
    return this.#lease;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Another host that lives claims our lease; undefined when none did lately. */
  get contest(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#contest.current;
  }

  /** True while another host holds our lease, and we wait for it to go. */
  get hasGivenWay(): boolean {
    return this.#waivers !== undefined;
  }

  /** Somebody undoes what we write, again and again; undefined while nobody does. */
  get fight(): string | undefined {
    return this.#patience.isFight
      ? `somebody deletes or overwrites our lease again and again (${this.#patience.streak} times)`
      : undefined;
  }

  /** Our key was written or deleted; the loop will look whether that was us. */
  noticeStored(stored: Lease | MalformedLease | undefined): void {
    this.#seen = { stored };
    this.#wake.raise();
  }

  /** What we say of ourselves changed: write it over our lease. */
  republish(): void {
    this.#isStale = true;
    this.#wake.raise();
  }

  /** Holds a lease from memory, for a start without the registry; the first snapshot shows whether it still is ours. */
  adopt(lease: Lease, remainingSeconds: number): void {
    this.#lease = lease;
    this.#keepUntil(remainingSeconds);
  }

  /** For how many seconds the lease is good without being kept alive; Infinity for a reservation. */
  get remainingSeconds(): number {
    if (this.#lease?.etcdLeaseId === undefined) return Infinity;
    return this.#remainingSeconds - (this.clock.now() - this.#keptAliveAt) / 1000;
  }

  /**
   * Gets a lease, however often it has to try: `known` are the leases, if they have just been read, used for the first try.
   * Only an abort makes it reject, or a {@link SubnetLostError}.
   */
  async acquire(known: readonly Lease[] | undefined, signal: AbortSignal): Promise<Lease> {
    let leases = known;
    const avoid: Subnet[] = [];
    for (let attempt = 0, races = 0, contests = 0; ;) {
      try {
        leases ??= (await this.registry.list(signal)).leases;
        const outcome = await this.#try(leases, avoid, signal);
        leases = undefined;
        if (typeof outcome === 'object' && !('kind' in outcome)) {
          this.#trouble.clear('subnet lease acquired after all');
          this.#contest.clear('nobody else claims our lease any more');
          this.#lease = outcome;
          return outcome;
        }
        if (typeof outcome === 'object') {
          this.#reportContest(outcome.lease, GAVE_WAY);
          await this.clock.sleep(
            backoffMilliseconds(contests++, CONTEST_BACKOFF, this.clock.random()),
            signal,
          );
        } else if (outcome === 'exhausted') {
          avoid.length = 0;
          const network = printSubnet(this.options.range.network);
          this.#trouble.report(
            'no free subnet left',
            `every subnet of ${network} is leased; free one, or enlarge the network`,
          );
          await this.clock.sleep(backoffMilliseconds(attempt++, BACKOFF, this.clock.random()), signal);
        } else {
          this.log.debug('lost a race for a subnet; trying another');
          await this.clock.sleep(backoffMilliseconds(races++, RACE_BACKOFF, this.clock.random()), signal);
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RegistryError)) throw error;
        leases = undefined;
        this.#trouble.report('cannot acquire a subnet lease', error);
        await this.clock.sleep(backoffMilliseconds(attempt++, BACKOFF, this.clock.random()), signal);
      }
    }
  }

  /** Keeps the lease until the signal aborts. Calls `onReplaced` whenever another lease or value has taken its place. */
  async run(onReplaced: (lease: Lease) => void, signal: AbortSignal): Promise<void> {
    let reported = this.#lease!;
    for (let failures = 0; !signal.aborted;) {
      let seen: { stored: Lease | MalformedLease | undefined } | undefined;
      let isStale = false;
      try {
        await this.#wake.wait(this.clock, this.#waitMilliseconds(failures), signal);
        // Taken before the work: what comes during it is for the next round.
        seen = this.#seen;
        isStale = this.#isStale;
        this.#seen = undefined;
        this.#isStale = false;
        const isOurs = await this.#check(seen, signal);
        if (isOurs && isStale && !this.hasGivenWay) await this.#refresh(signal);
        if (!isOurs) {
          await this.#beFair(signal);
          await this.#takeBack(this.#lease!, signal);
        }
        this.#endContest();
        failures = 0;
        this.#trouble.clear('subnet lease is safe again');
        if (this.#lease !== reported) onReplaced((reported = this.#lease!));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof RegistryError)) throw error;
        // Nobody tells us again.
        this.#seen ??= seen;
        this.#isStale ||= isStale;
        failures++;
        this.#trouble.report('cannot keep the subnet lease alive; trying on', error);
      }
    }
  }

  #waitMilliseconds(failures: number): number {
    if (failures > 0) return backoffMilliseconds(failures - 1, BACKOFF, this.clock.random());
    if (this.#waivers !== undefined)
      return backoffMilliseconds(this.#waivers, CONTEST_BACKOFF, this.clock.random());
    const longest = this.#contest.current ? CONTEST_MILLISECONDS : LONG_WAIT_MILLISECONDS;
    const untilRenewal = this.#lease?.etcdLeaseId === undefined ? Infinity : this.#renewAt - this.clock.now();
    return Math.min(longest, Math.max(0, untilRenewal));
  }

  /** It is to be kept alive three times within its life, or more often if the margin asks for it. */
  #keepUntil(remainingSeconds: number): void {
    this.#remainingSeconds = remainingSeconds;
    this.#keptAliveAt = this.clock.now();
    const margin = Math.max(remainingSeconds - this.options.renewMarginSeconds, remainingSeconds / 10);
    const intervalSeconds = Math.min(remainingSeconds / 3, margin) * (0.9 + this.clock.random() / 10);
    this.#renewAt = this.#keptAliveAt + intervalSeconds * 1000;
  }

  /** False if the lease is lost. */
  async #check(
    seen: { stored: Lease | MalformedLease | undefined } | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.#waivers !== undefined) return this.#tryAgain(seen === undefined, signal);
    if (seen && !(await this.#look(seen.stored, signal))) return false;
    return this.#renewAt > this.clock.now() || this.#keepAlive(signal);
  }

  async #keepAlive(signal: AbortSignal): Promise<boolean> {
    const id = this.#lease?.etcdLeaseId;
    if (id === undefined) return true;
    const remaining = await this.registry.keepAlive(id, signal);
    if (remaining === 'lost') return false;
    this.#keepUntil(remaining);
    this.log.debug('lease kept alive', { subnet: printSubnet(this.#lease!.subnet), seconds: remaining });
    return true;
  }

  /** Compares what is stored with what we hold. False if the key is not ours any more. */
  async #look(seen: Lease | MalformedLease | undefined, signal: AbortSignal): Promise<boolean> {
    const held = this.#lease!;
    // An older revision may be our own older write, told late, or a store that was put back to a backup; and a key that seems
    // to be gone may be back. The store itself must say.
    const isDoubtful = seen === undefined || BigInt(seen.modRevision) < BigInt(held.modRevision);
    const stored = isDoubtful ? await this.#read(held.name, signal) : seen;
    if (stored === undefined) return false;
    if ('reason' in stored) {
      await this.#beFair(signal);
      this.log.warn('our lease was overwritten with garbage; writing it again', {
        lease: held.name,
        reason: stored.reason,
      });
      return this.#write(
        { ...held, modRevision: stored.modRevision, etcdLeaseId: stored.etcdLeaseId },
        signal,
      );
    }
    const isPublicIpOurs = stored.attributes.publicIp === held.attributes.publicIp;
    // Not so in a store that was put back to a backup: there it hangs on whatever it hung on then.
    const isNew = BigInt(stored.modRevision) > BigInt(held.modRevision);
    if (isPublicIpOurs && isNew && stored.etcdLeaseId !== held.etcdLeaseId && this.#isStrangers(stored))
      return this.#object(stored, signal);
    if (sameAttributes(stored.attributes, held.attributes)) {
      // From memory, and of an earlier life of this host: a clone may remember the same.
      if (this.#isStrangers(stored)) {
        const claimed = await this.#claim(stored, signal);
        if (claimed) this.#lease = claimed;
        return claimed !== undefined;
      }
      if (stored.modRevision !== held.modRevision) this.#lease = stored;
      return true;
    }
    if (!isPublicIpOurs) {
      const holder = stored.attributes.publicIp;
      this.log.error('our subnet was taken by another host', {
        subnet: printSubnet(held.subnet),
        publicIp: holder,
      });
      return false;
    }
    await this.#beFair(signal);
    this.log.warn('our lease was changed by somebody else; writing it again', { lease: held.name });
    return this.#write(stored, signal);
  }

  async #read(name: string, signal: AbortSignal): Promise<Lease | MalformedLease | undefined> {
    const { leases, malformed } = await this.registry.list(signal);
    return [...leases, ...malformed].find((stored) => stored.name === name);
  }

  /** Writes our lease again if what we say of ourselves is not what it says. Throws, to be tried again, on a lost race. */
  async #refresh(signal: AbortSignal): Promise<void> {
    const held = this.#lease!;
    const attributes = this.options.attributesFor(held, held.name);
    if (sameAttributes(held.attributes, attributes)) return;
    const result = await this.registry.update(held, attributes, held.etcdLeaseId, signal);
    if (result.kind === 'conflict')
      throw new RegistryError('unavailable', 'our lease changed while we wrote it');
    this.log.info('lease written with our new address', { lease: held.name, publicIp: attributes.publicIp });
    this.#lease = result.lease;
  }

  /** Writes our attributes over a stored lease. False if it changed meanwhile. */
  async #write(stored: Lease, signal: AbortSignal): Promise<boolean> {
    const attributes = this.options.attributesFor(this.#lease, stored.name);
    const id = await this.#etcdLeaseFor(stored, signal);
    const result = await this.registry.update(stored, attributes, id, signal);
    if (result.kind !== 'written') return false;
    this.#lease = result.lease;
    return true;
  }

  /** The etcd lease to attach to: the stored one or ours while it lives, none for a reservation of ours, else a new one. */
  async #etcdLeaseFor(stored: Lease, signal: AbortSignal): Promise<string | undefined> {
    if (stored.etcdLeaseId === undefined && this.#lease?.etcdLeaseId === undefined) return undefined;
    for (const id of [stored.etcdLeaseId, this.#lease?.etcdLeaseId]) {
      // A stranger's is not ours to hang on to, nor to keep alive.
      if (id === undefined || !this.registry.isGrantedToUs(id)) continue;
      if ((await this.registry.keepAlive(id, signal)) !== 'lost') return id;
    }
    return this.registry.grant(LEASE_TTL_SECONDS, signal);
  }

  async #takeBack(lost: Lease, signal: AbortSignal): Promise<void> {
    const subnet = printSubnet(lost.subnet);
    this.log.warn('subnet lease lost; taking it back', { subnet });
    const lease = await this.acquire(undefined, signal);
    if (printSubnet(lease.subnet) === subnet) this.log.info('subnet lease taken back', { subnet });
    else
      this.log.error('another host has our subnet; we have a new one', {
        old: subnet,
        subnet: printSubnet(lease.subnet),
      });
  }

  async #try(leases: readonly Lease[], avoid: Subnet[], signal: AbortSignal): Promise<Lease | Setback> {
    const { range } = this.options;
    const publicIp = this.options.publicIp();
    const previous = this.#lease?.subnet ?? this.options.previous;
    const { mayRenumber } = this.options;
    const claim: Claim = { range, publicIp, previous, mayRenumber, avoid, random: this.clock.random() };
    const decision = decideAcquisition(claim, leases);
    switch (decision.kind) {
      case 'exhausted':
        return 'exhausted';
      case 'reuse':
        return this.#reuse(decision.lease, signal);
      case 'discard':
        this.log.warn('deleting our lease of another network', { lease: decision.lease.name });
        await this.registry.remove(decision.lease, signal);
        return 'raced';
      case 'lost': {
        const { subnet, holder } = decision;
        throw new SubnetLostError(
          `${printSubnet(subnet)} is leased to another host (${holder.name}, PublicIP ${holder.attributes.publicIp ?? 'unknown'}), and --subnet-lost=stop wants no other subnet here: end that lease, or remove the subnet file and start again for a new subnet`,
        );
      }
      case 'create':
        return this.#create(decision.subnet, avoid, signal);
    }
  }

  async #reuse(found: Lease, signal: AbortSignal): Promise<Lease | Setback> {
    let lease = found;
    if (this.#isStrangers(lease)) {
      const claimed = await this.#claim(lease, signal);
      if (!claimed) return 'raced';
      const isUncontested = this.options.isProven(lease) || (await this.#isHeard(claimed, signal));
      if (!isUncontested) return { kind: 'contested', lease };
      lease = claimed;
    } else if (lease.etcdLeaseId !== undefined) {
      const remaining = await this.registry.keepAlive(lease.etcdLeaseId, signal);
      if (remaining === 'lost') return 'raced';
      this.#keepUntil(remaining);
    }
    const attributes = this.options.attributesFor(lease, lease.name);
    const fields = { subnet: printSubnet(lease.subnet), reservation: lease.etcdLeaseId === undefined };
    if (sameAttributes(lease.attributes, attributes)) {
      this.log.info('lease reused as it is', fields);
      return lease;
    }
    const result = await this.registry.update(lease, attributes, lease.etcdLeaseId, signal);
    if (result.kind === 'conflict') return 'raced';
    this.log.info('lease reused, with new attributes', fields);
    return result.lease;
  }

  async #create(subnet: Subnet, avoid: Subnet[], signal: AbortSignal): Promise<Lease | 'raced'> {
    // Taken back again and again, the key goes on hanging on one etcd lease.
    const held = this.#lease?.etcdLeaseId;
    const isHeldAlive =
      held !== undefined &&
      this.registry.isGrantedToUs(held) &&
      (await this.registry.keepAlive(held, signal)) !== 'lost';
    const id = isHeldAlive ? held : await this.registry.grant(LEASE_TTL_SECONDS, signal);
    let isWritten = false;
    try {
      const subnets = { subnet, ipv6Subnet: undefined };
      const attributes = this.options.attributesFor(this.#lease, printLeaseName(subnets));
      const result = await this.registry.create(subnets, attributes, id, signal);
      if (result.kind === 'conflict') {
        avoid.push(subnet);
        return 'raced';
      }
      isWritten = true;
      this.#keepUntil(LEASE_TTL_SECONDS);
      this.log.info('lease acquired', { subnet: printSubnet(subnet) });
      return result.lease;
    } finally {
      // Nothing hangs on the etcd lease (or, after an unclear failure, only our own key): let it go at once.
      if (!isWritten && id !== held) await this.registry.revoke(id, signal).catch(() => undefined);
    }
  }

  /** True for a key that hangs on an etcd lease of another host, or of this one before it was booted. */
  #isStrangers({ etcdLeaseId }: Lease): boolean {
    return etcdLeaseId !== undefined && !this.registry.isGrantedToUs(etcdLeaseId);
  }

  /** Attaches a key to an etcd lease of ours, and changes nothing that others could see. Undefined: it changed meanwhile. */
  async #claim(lease: Lease, signal: AbortSignal): Promise<Lease | undefined> {
    const id = await this.registry.grant(LEASE_TTL_SECONDS, signal);
    let isWritten = false;
    try {
      const result = await this.registry.update(lease, lease.attributes, id, signal);
      if (result.kind !== 'written') return undefined;
      isWritten = true;
      this.#claimedAt = this.clock.now();
      this.#keepUntil(LEASE_TTL_SECONDS);
      this.log.info('lease claimed: its key hung on an etcd lease of another host, or of an earlier boot', {
        lease: lease.name,
      });
      return result.lease;
    } finally {
      if (!isWritten) await this.registry.revoke(id, signal).catch(() => undefined);
    }
  }

  /** True if nobody has objected to our claim after a while. */
  async #isHeard({ name, etcdLeaseId }: Lease, signal: AbortSignal): Promise<boolean> {
    await this.clock.sleep(HEARING_MILLISECONDS, signal);
    return (await this.#read(name, signal))?.etcdLeaseId === etcdLeaseId;
  }

  /** Another host has claimed our lease: we say that we live, or, if it is we who came later, give way. */
  async #object(stored: Lease, signal: AbortSignal): Promise<boolean> {
    const now = this.clock.now();
    this.#counters = now - this.#objectedAt < COUNTER_MILLISECONDS ? this.#counters + 1 : 0;
    if (now - this.#claimedAt < CLAIM_MILLISECONDS || this.#counters >= COUNTERS) {
      this.#waivers = 0;
      this.#reportContest(stored, GAVE_WAY);
      return true;
    }
    await this.#beFair(signal);
    this.#reportContest(stored, OBJECTED);
    this.#objectedAt = this.clock.now();
    return this.#write(stored, signal);
  }

  /** Having given way: takes the lease if it has become free, or, when it is time, claims it again. */
  async #tryAgain(isTime: boolean, signal: AbortSignal): Promise<boolean> {
    const stored = await this.#read(this.#lease!.name, signal);
    const isOthers = stored && !('reason' in stored) && this.#isStrangers(stored);
    if (isOthers) {
      if (!isTime) return true;
      const claimed = await this.#claim(stored, signal);
      if (!claimed || !(await this.#isHeard(claimed, signal))) {
        this.#waivers!++;
        this.#reportContest(stored, GAVE_WAY);
        return true;
      }
      this.#lease = claimed;
    }
    this.#waivers = undefined;
    this.#contestedAt = -Infinity;
    // What we say of ourselves may differ from what the other said.
    this.#isStale = true;
    this.#wake.raise();
    return isOthers || (stored !== undefined && this.#look(stored, signal));
  }

  #reportContest({ name, attributes }: Lease, outcome: string): void {
    this.#contestedAt = this.clock.now();
    const { publicIp } = attributes;
    this.#contest.report('another host has our PublicIP, and claims our lease', outcome, {
      lease: name,
      publicIp,
    });
  }

  #endContest(): void {
    if (this.clock.now() - this.#contestedAt >= CONTEST_MILLISECONDS)
      this.#contest.clear('nobody else claims our lease any more');
  }

  /** Waits, where we repair the same again and again. */
  async #beFair(signal: AbortSignal): Promise<void> {
    const { restMilliseconds } = this.#patience;
    if (restMilliseconds > 0) await this.clock.sleep(restMilliseconds, signal);
    this.#patience.count();
    if (this.#patience.isNewFight)
      this.log.warn('somebody deletes or overwrites our lease again and again; writing it more slowly', {
        lease: this.#lease?.name,
      });
  }
}

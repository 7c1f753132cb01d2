/** Gets this host its lease, and keeps it. */
import { decideAcquisition, type Acquisition } from '../core/acquisition';
import { backoffMilliseconds } from '../core/backoff';
import { printSubnet, type Subnet } from '../model/address';
import { RegistryError, SubnetLostError } from '../model/errors';
import {
  LEASE_TTL_SECONDS,
  sameAttributes,
  type Lease,
  type LeaseAttributes,
  type MalformedLease,
} from '../model/lease';
import { printLeaseName, vtepMacOf } from '../model/lease-codec';
import type { Clock, LeaseRegistry, Log, LogFields } from '../ports';
import { Claims, describeExhaustion, type ClaimOptions } from './claims';
import { CONTEST_MILLISECONDS, Contest } from './contest';
import { EtcdLeases } from './etcd-leases';
import { Patience } from './patience';
import { Registration } from './registration';
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 200, maxMilliseconds: 30_000 };
/** So many lost races in a row are nothing to speak of. */
const PATIENT_RACES = 5;
/** Lost races are tried again at once, but not so fast that fifty agents on one key spin. */
const RACE_BACKOFF = { minMilliseconds: 5, maxMilliseconds: 500 };
/** A reservation needs no keeping alive; its loop only waits to be told of changes. */
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** So long a living holder is given to object to a newcomer, before the newcomer relies on the lease. */
const HEARING_MILLISECONDS = 1_000;
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

export interface LeaseHolderOptions extends ClaimOptions {
  /** The lease is kept alive so that at least this much of it is always left. */
  readonly renewMarginSeconds: number;
  /** What to write into the key of this name, given the lease we hold or take over, if any: its VTEP MAC is ours. */
  readonly attributesFor: (held: Lease | undefined, name: string) => LeaseAttributes;
  /** True for a lease that leads to the device of this host as it is: nobody else can have it. */
  readonly isProven: (lease: Lease) => boolean;
}

/** What a try to get a lease comes to, if not to a lease; undefined: somebody else was faster. */
type Setback =
  | undefined
  | Extract<Acquisition, { kind: 'exhausted' }>
  /** `waits`: until its holder has gone. If not, another is taken. */
  | { readonly kind: 'contested'; readonly lease: Lease; readonly waits: boolean };

/**
 * Owns our lease. Every write is a compare-and-swap; whoever wins a race, nobody's key is overwritten. A lease that is lost
 * is taken back in process: the same subnet if it is free, else another, which {@link LeaseHolder.run} then reports.
 *
 * Hosts are known by their PublicIP. Where two have one (a clone, addresses behind a NAT), both believe that one lease is
 * theirs. The etcd lease that its key hangs on tells them apart: who takes over a key that hangs on a stranger's claims it by
 * attaching it to its own, and changes nothing else. A holder that lives objects by attaching it again; then the newcomer gives
 * way, and tries again now and then, which no third host notices ({@link Contest}).
 *
 * Copies of one running machine share even the etcd lease. It is shared if it has longer to live than we have given it: then we
 * claim our own lease with a new one. A reservation hangs on none; there a twin shows by the VTEP MAC that it writes.
 */
export class LeaseHolder {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  readonly #contest: Contest;
  readonly #claims: Claims;
  readonly #patience: Patience;
  readonly #etcdLeases: EtcdLeases;
  readonly #registration: Registration;
  #lease: Lease | undefined;
  #isStale = false;
  /** The revision of the last claim of another host that we objected to. */
  #objectedTo: string | undefined;
  /** What a watch saw of our key since we last looked. */
  #seen: { stored: Lease | MalformedLease | undefined } | undefined;

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly options: LeaseHolderOptions,
  ) {
    this.#trouble = new Trouble(clock, log);
    this.#contest = new Contest(clock, log);
    this.#claims = new Claims(clock, log, options);
    this.#patience = new Patience(clock, PATIENCE);
    this.#etcdLeases = new EtcdLeases(registry, clock, options.renewMarginSeconds);
    this.#registration = new Registration(clock);
  }

  get lease(): Lease | undefined {
    return this.#lease;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /**
   * Etcd is known to have something else in place of our lease, and that could not be put right at once; undefined otherwise. An etcd
   * that does not answer is no such knowledge.
   */
  get absence(): { complaint: string; forMilliseconds: number } | undefined {
    const failure = this.#trouble.current;
    const problem = this.#registration.problem(failure !== undefined);
    if (!problem || !failure) return problem;
    return { ...problem, complaint: `${problem.complaint}; ${failure.complaint}` };
  }

  /** Another host that lives claims our lease; undefined when none did lately. */
  get contest(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#contest.trouble;
  }

  /** True while another host holds our lease, and we wait for it to go. */
  get hasGivenWay(): boolean {
    return this.#contest.hasGivenWay;
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
    // A wall clock that was set wrong, as after a boot without a network, makes years of it.
    this.#etcdLeases.keepFor(Math.min(remainingSeconds, LEASE_TTL_SECONDS));
  }

  /** For how many seconds the lease is good without being kept alive; Infinity for a reservation. */
  get remainingSeconds(): number {
    if (this.#lease?.etcdLeaseId === undefined) return Infinity;
    return this.#etcdLeases.remainingSeconds;
  }

  /** Until when the lease is good without etcd, by the wall clock; Infinity for a reservation. */
  get goodUntil(): number {
    return this.clock.wallTime() + this.remainingSeconds * 1000;
  }

  /**
   * Gets a lease, however often it has to try: `known` are the leases, if they have just been read, used for the first try.
   * Only an abort makes it reject, or a {@link SubnetLostError}.
   */
  async acquire(known: readonly Lease[] | undefined, signal: AbortSignal): Promise<Lease> {
    let leases = known;
    let unreadable: readonly string[] = [];
    const avoid: Subnet[] = [];
    for (let attempt = 0, races = 0; ;) {
      try {
        if (!leases) {
          const snapshot = await this.registry.list(signal);
          leases = snapshot.leases;
          unreadable = snapshot.malformed.map(({ name }) => name);
        }
        const outcome = await this.#try(leases, avoid, signal);
        leases = undefined;
        if (outcome && !('kind' in outcome)) {
          this.#trouble.clear('subnet lease acquired after all');
          if (this.hasGivenWay) this.#contest.settle();
          this.#hold(outcome);
          return outcome;
        }
        if (outcome?.kind === 'contested') {
          if (outcome.waits) {
            this.#contest.giveWay(outcome.lease);
            await this.clock.sleep(this.#contest.retryMilliseconds, signal);
          } else this.#claims.concede(outcome.lease);
        } else if (outcome) {
          avoid.length = 0;
          this.#trouble.report(
            'no free subnet left',
            describeExhaustion(this.options.range.network, outcome, unreadable),
          );
          await this.clock.sleep(backoffMilliseconds(attempt++, BACKOFF, this.clock.random()), signal);
        } else {
          this.log.debug('lost a race for a subnet; trying another');
          if (races >= PATIENT_RACES)
            this.#trouble.report('another host was faster for each subnet; trying on', 'lost races');
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
    this.#etcdLeases.keepSoon();
    for (let failures = 0; !signal.aborted;) {
      let seen: { stored: Lease | MalformedLease | undefined } | undefined;
      let isStale = false;
      try {
        const isWoken = await this.#wake.wait(this.clock, this.#waitMilliseconds(failures), signal);
        // Taken before the work: what comes during it is for the next round.
        seen = this.#seen;
        isStale = this.#isStale;
        this.#seen = undefined;
        this.#isStale = false;
        const isTime = !isWoken && seen === undefined;
        const isOurs = this.hasGivenWay
          ? await this.#tryAgain(isTime, signal)
          : await this.#check(seen, signal);
        if (isOurs && isStale && !this.hasGivenWay) await this.#refresh(signal);
        if (!isOurs) {
          if (!this.#registration.isLost) this.#registration.lose({ kind: 'missing' });
          await this.#beFair(signal);
          await this.#takeBack(this.#lease!, signal);
        }
        if (!this.hasGivenWay) {
          this.#contest.endIfOver();
          this.#registration.restore();
        }
        failures = 0;
        this.#trouble.clear('subnet lease is safe again');
        if (this.#lease !== reported) onReplaced((reported = this.#lease!));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof RegistryError)) throw error;
        if (seen && !this.#isOld(seen.stored)) this.#noteDeviation(seen.stored);
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
    if (this.hasGivenWay) return this.#contest.retryMilliseconds;
    const longest = this.#contest.trouble ? CONTEST_MILLISECONDS : LONG_WAIT_MILLISECONDS;
    if (this.#lease?.etcdLeaseId === undefined) return longest;
    return Math.min(longest, Math.max(0, this.#etcdLeases.untilRenewalMilliseconds));
  }

  /** False if the lease is lost. */
  async #check(
    seen: { stored: Lease | MalformedLease | undefined } | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (seen && !(await this.#look(seen.stored, signal))) return false;
    // Who gives way has asked within the last minute.
    return this.hasGivenWay || this.#keepAlive(signal);
  }

  /** False if the etcd lease that our key hangs on is gone. */
  async #keepAlive(signal: AbortSignal): Promise<boolean> {
    const held = this.#lease!;
    if (held.etcdLeaseId === undefined) return true;
    const state = await this.#etcdLeases.check(held.etcdLeaseId, signal);
    if (state === 'shared') return this.#claimAnew(held, signal);
    if (state === 'renewed') {
      const seconds = Math.round(this.remainingSeconds);
      this.log.debug('lease kept alive', { subnet: printSubnet(held.subnet), seconds });
    }
    return state !== 'lost';
  }

  /** Whoever shares our etcd lease is shown by another that we live; if it lives, it objects. */
  async #claimAnew(held: Lease, signal: AbortSignal): Promise<boolean> {
    this.log.info('somebody else keeps our etcd lease alive; claiming our lease with another', {
      lease: held.name,
    });
    // It may be a copy of this very process: nothing that we got so far is ours alone.
    this.#etcdLeases.disown();
    const claimed = await this.#claim(held, signal);
    if (!claimed) return this.#look(await this.#read(held.name, signal), signal);
    this.#hold(claimed);
    return true;
  }

  /** Compares what is stored with what we hold. False if the key is not ours any more. */
  async #look(seen: Lease | MalformedLease | undefined, signal: AbortSignal): Promise<boolean> {
    const held = this.#lease!;
    // An older revision may be our own older write, told late, or a store that was put back to a backup; and a key that seems
    // to be gone may be back. The store itself must say.
    const isDoubtful = seen === undefined || this.#isOld(seen);
    const stored = isDoubtful ? await this.#read(held.name, signal) : seen;
    this.#noteDeviation(stored);
    if (stored === undefined) return false;
    if ('reason' in stored) {
      await this.#beFair(signal);
      this.#tell('warn', 'our lease was overwritten with garbage; writing it again', {
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
    if (isPublicIpOurs && isNew && this.#isTwins(stored, held)) {
      // An objection that could not be written is tried again: that the other's claim is still there is no second claim.
      const isNews = stored.modRevision !== this.#objectedTo;
      if (isNews && !this.#contest.answer(stored)) return true;
      this.#objectedTo = stored.modRevision;
      await this.#beFair(signal);
      return this.#write(stored, signal);
    }
    if (sameAttributes(stored.attributes, held.attributes)) {
      // From memory, and of an earlier life of this host: a clone may remember the same.
      if (this.#isStrangers(stored)) {
        const claimed = await this.#claim(stored, signal);
        if (claimed) this.#hold(claimed);
        return claimed !== undefined;
      }
      if (stored.modRevision !== held.modRevision) this.#hold(stored);
      return true;
    }
    if (!isPublicIpOurs) {
      const holder = stored.attributes.publicIp;
      this.#tell('error', 'our subnet was taken by another host', {
        subnet: printSubnet(held.subnet),
        publicIp: holder,
      });
      return false;
    }
    await this.#beFair(signal);
    this.#tell('warn', 'our lease was changed by somebody else; writing it again', { lease: held.name });
    return this.#write(stored, signal);
  }

  /** True for what was stored before we last wrote or saw our lease. */
  #isOld(stored: Lease | MalformedLease | undefined): boolean {
    return stored !== undefined && BigInt(stored.modRevision) < BigInt(this.#lease!.modRevision);
  }

  /** Remembers how what etcd has under the name of our lease differs from what we hold, if it does. */
  #noteDeviation(stored: Lease | MalformedLease | undefined): void {
    const held = this.#lease!.attributes;
    if (stored === undefined) this.#registration.lose({ kind: 'missing' });
    else if ('reason' in stored) this.#registration.lose({ kind: 'spoiled' });
    else if (stored.attributes.publicIp !== held.publicIp)
      this.#registration.lose({ kind: 'taken', publicIp: stored.attributes.publicIp });
    else if (!sameAttributes(stored.attributes, held)) this.#registration.lose({ kind: 'changed' });
  }

  /** From now on this lease is ours, and so is what it hangs on. */
  #hold(lease: Lease): void {
    this.#lease = lease;
    this.#registration.restore();
    this.#etcdLeases.hold(lease.etcdLeaseId);
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
    this.#hold(result.lease);
  }

  /** Writes our attributes over a stored lease. False if it changed meanwhile. */
  async #write(stored: Lease, signal: AbortSignal): Promise<boolean> {
    const attributes = this.options.attributesFor(this.#lease, stored.name);
    const id = await this.#etcdLeaseFor(stored, signal);
    const result = await this.registry.update(stored, attributes, id, signal);
    if (result.kind !== 'written') return false;
    this.#hold(result.lease);
    return true;
  }

  /** The etcd lease to attach to: none for a reservation of ours, the stored one or ours while it lives, else a new one. */
  async #etcdLeaseFor(stored: Lease, signal: AbortSignal): Promise<string | undefined> {
    const held = this.#lease?.etcdLeaseId;
    if (held === undefined) return undefined;
    for (const id of [stored.etcdLeaseId, held]) {
      // A stranger's is not ours to hang on to, nor to keep alive.
      if (id !== undefined && this.#etcdLeases.isOwn(id) && (await this.#etcdLeases.renew(id, signal)))
        return id;
    }
    return this.#etcdLeases.grant(signal);
  }

  async #takeBack(lost: Lease, signal: AbortSignal): Promise<void> {
    const subnet = printSubnet(lost.subnet);
    this.#tell('warn', 'subnet lease lost; taking it back', { subnet });
    const lease = await this.acquire(undefined, signal);
    if (printSubnet(lease.subnet) === subnet) this.#tell('info', 'subnet lease taken back', { subnet });
    else
      this.#tell('error', 'another host has our subnet; we have a new one', {
        old: subnet,
        subnet: printSubnet(lease.subnet),
      });
  }

  async #try(leases: readonly Lease[], avoid: Subnet[], signal: AbortSignal): Promise<Lease | Setback> {
    const stored = this.#lease && leases.find(({ name }) => name === this.#lease!.name);
    if (stored) this.#noteDeviation(stored);
    const claim = this.#claims.next(this.#lease, leases, avoid, (id) => this.#etcdLeases.isOwn(id));
    const decision = decideAcquisition(claim, leases);
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
        return undefined;
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
      if (!claimed) return undefined;
      const isUncontested = this.options.isProven(lease) || (await this.#isHeard(claimed, signal));
      if (!isUncontested) return { kind: 'contested', lease, waits: true };
      lease = claimed;
    } else if (
      lease.etcdLeaseId !== undefined &&
      !(await this.#etcdLeases.renew(lease.etcdLeaseId, signal))
    ) {
      return undefined;
    }
    return this.#adapt(lease, signal);
  }

  /**
   * Keeps a lease that we held under another PublicIP. It is claimed first, whatever it hangs on: a copy of this host may hold it, even
   * one of this boot.
   */
  async #follow(lease: Lease, signal: AbortSignal): Promise<Lease | Setback> {
    const claimed = await this.#claim(lease, signal);
    if (!claimed) return undefined;
    if (!(await this.#isHeard(claimed, signal))) return { kind: 'contested', lease, waits: false };
    return this.#adapt(claimed, signal);
  }

  /** Writes into a lease of ours what we say of ourselves, if it says anything else. */
  async #adapt(lease: Lease, signal: AbortSignal): Promise<Lease | Setback> {
    const attributes = this.options.attributesFor(lease, lease.name);
    const fields = { subnet: printSubnet(lease.subnet), reservation: lease.etcdLeaseId === undefined };
    if (sameAttributes(lease.attributes, attributes)) {
      this.#tell('info', 'lease reused as it is', fields);
      return lease;
    }
    if (isReservation(lease) && vtepMacOf(lease) !== undefined) this.#contest.claim();
    const result = await this.registry.update(lease, attributes, lease.etcdLeaseId, signal);
    if (result.kind === 'conflict') return undefined;
    this.#tell('info', 'lease reused, with new attributes', fields);
    return result.lease;
  }

  async #create(subnet: Subnet, avoid: Subnet[], signal: AbortSignal): Promise<Lease | undefined> {
    // Taken back again and again, the key goes on hanging on one etcd lease.
    const held = this.#lease?.etcdLeaseId;
    const isHeldAlive =
      held !== undefined && this.#etcdLeases.isOwn(held) && (await this.#etcdLeases.renew(held, signal));
    const id = isHeldAlive ? held : await this.#etcdLeases.grant(signal);
    let isWritten = false;
    try {
      const subnets = { subnet, ipv6Subnet: undefined };
      const attributes = this.options.attributesFor(this.#lease, printLeaseName(subnets));
      const result = await this.registry.create(subnets, attributes, id, signal);
      if (result.kind === 'conflict') {
        avoid.push(subnet);
        return undefined;
      }
      isWritten = true;
      if (!isHeldAlive) this.#etcdLeases.keepFor(LEASE_TTL_SECONDS);
      this.#tell('info', 'lease acquired', { subnet: printSubnet(subnet) });
      return result.lease;
    } finally {
      if (!isWritten && id !== held) await this.#etcdLeases.giveBack(id, signal);
    }
  }

  /** True for a key that hangs on an etcd lease of another host, or of this one before it was booted. */
  #isStrangers({ etcdLeaseId }: Lease): boolean {
    return etcdLeaseId !== undefined && !this.#etcdLeases.isOwn(etcdLeaseId);
  }

  /** True if what is stored in place of what we hold was written by another host with our PublicIP. */
  #isTwins(stored: Lease, held: Lease): boolean {
    if (stored.etcdLeaseId !== held.etcdLeaseId) return this.#isStrangers(stored);
    // A reservation, or an etcd lease that a copy of this host shares.
    const vtepMac = vtepMacOf(stored);
    return vtepMac !== undefined && vtepMac !== vtepMacOf(held);
  }

  /**
   * Says that a lease is ours, by what hosts with one PublicIP differ in: attaches the key to an etcd lease of ours, and changes
   * nothing that others could see; or writes our VTEP MAC into a reservation. Undefined: it changed meanwhile.
   */
  async #claim(lease: Lease, signal: AbortSignal): Promise<Lease | undefined> {
    if (isReservation(lease)) {
      const attributes = this.options.attributesFor(this.#lease, lease.name);
      const result = await this.registry.update(lease, attributes, undefined, signal);
      if (result.kind !== 'written') return undefined;
      this.#contest.claim();
      return result.lease;
    }
    const id = await this.#etcdLeases.grant(signal);
    let isWritten = false;
    try {
      const result = await this.registry.update(lease, lease.attributes, id, signal);
      if (result.kind !== 'written') return undefined;
      isWritten = true;
      this.#contest.claim();
      this.#etcdLeases.keepFor(LEASE_TTL_SECONDS);
      this.log.info(
        // Our device does not outlive a boot: who wrote its MAC did so in this one.
        this.options.isProven(lease)
          ? 'lease of this host taken over from the program that made our device: flannel, or an earlier version of vtepd'
          : 'lease claimed: its key hung on an etcd lease of another host, or of an earlier boot',
        { lease: lease.name },
      );
      return result.lease;
    } finally {
      if (!isWritten) await this.#etcdLeases.giveBack(id, signal);
    }
  }

  /** True if nobody has objected to our claim after a while. */
  async #isHeard(claimed: Lease, signal: AbortSignal): Promise<boolean> {
    await this.clock.sleep(HEARING_MILLISECONDS, signal);
    const { etcdLeaseId } = claimed;
    const stored = await this.#read(claimed.name, signal);
    const isOurs =
      stored !== undefined &&
      stored.etcdLeaseId === etcdLeaseId &&
      !('reason' in stored) &&
      sameAttributes(stored.attributes, claimed.attributes);
    if (!isOurs && etcdLeaseId !== undefined && stored?.etcdLeaseId !== etcdLeaseId)
      await this.#etcdLeases.giveBack(etcdLeaseId, signal);
    return isOurs;
  }

  /** Having given way: takes the lease if it has become free, or, when it is time, claims it again. */
  async #tryAgain(isTime: boolean, signal: AbortSignal): Promise<boolean> {
    const held = this.#lease!;
    const stored = await this.#read(held.name, signal);
    const isReadable = stored !== undefined && !('reason' in stored);
    // One of the two has another PublicIP now: there is nothing to wait for any more.
    if (isReadable && stored.attributes.publicIp !== this.options.publicIp()) {
      this.#contest.settle();
      return false;
    }
    const isOthers = isReadable && this.#isTwins(stored, held);
    if (isOthers) {
      if (!isTime) return true;
      const claimed = await this.#claim(stored, signal);
      if (!claimed || !(await this.#isHeard(claimed, signal))) {
        this.#contest.giveWay(stored);
        return true;
      }
      this.#hold(claimed);
    }
    this.#contest.settle();
    // What we say of ourselves may differ from what the other said.
    this.#isStale = true;
    this.#wake.raise();
    return isOthers || (stored !== undefined && this.#look(stored, signal));
  }

  /** Something that happened to our lease: said each time, but while it happens again and again. */
  #tell(level: 'info' | 'warn' | 'error', message: string, fields: LogFields): void {
    this.log[this.#patience.isFight ? 'debug' : level](message, fields);
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

/** True for a key that hangs on no etcd lease. */
function isReservation({ etcdLeaseId }: Lease): boolean {
  return etcdLeaseId === undefined;
}

/** Gets this host its lease, and keeps it. */
import { decideAcquisition, type Claim } from '../core/acquisition';
import { backoffMilliseconds } from '../core/backoff';
import { printSubnet, type IpAddress, type Subnet } from '../model/address';
import { RegistryError } from '../model/errors';
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
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 200, maxMilliseconds: 30_000 };
/** Lost races are tried again at once, but not so fast that fifty agents on one key spin. */
const RACE_BACKOFF = { minMilliseconds: 5, maxMilliseconds: 500 };
/** A reservation needs no keeping alive; its loop only waits to be told of changes. */
const LONG_WAIT_MILLISECONDS = 3_600_000;

export interface LeaseHolderOptions {
  readonly range: SubnetRange;
  /** Who we are at the moment: it changes when the underlay's address does. */
  readonly publicIp: () => IpAddress;
  /** The subnet of subnet.env. */
  readonly previous: Subnet | undefined;
  /** The lease is kept alive so that at least this much of it is always left. */
  readonly renewMarginSeconds: number;
  /** What to write into the key of this name, given the lease we hold or take over, if any: its VTEP MAC is ours. */
  readonly attributesFor: (held: Lease | undefined, name: string) => LeaseAttributes;
}

/**
 * Owns our lease. Every write is a compare-and-swap; whoever wins a race, nobody's key is overwritten. A lease that is lost
 * is taken back in process: the same subnet if it is free, else another, which {@link LeaseHolder.run} then reports.
 */
export class LeaseHolder {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  #lease: Lease | undefined;
  /** What was left of the lease when it was last kept alive, and when that was (monotonic milliseconds). */
  #remainingSeconds = LEASE_TTL_SECONDS;
  #keptAliveAt = 0;
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
  }

  get lease(): Lease | undefined {
    return this.#lease;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
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
   * Only an abort makes it reject.
   */
  async acquire(known: readonly Lease[] | undefined, signal: AbortSignal): Promise<Lease> {
    let leases = known;
    const avoid: Subnet[] = [];
    for (let attempt = 0, races = 0; ;) {
      try {
        leases ??= (await this.registry.list(signal)).leases;
        const outcome = await this.#try(leases, avoid, signal);
        if (typeof outcome !== 'string') {
          this.#trouble.clear('subnet lease acquired after all');
          this.#lease = outcome;
          return outcome;
        }
        leases = undefined;
        if (outcome === 'exhausted') {
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
        const isOurs = seen ? await this.#look(seen.stored, signal) : await this.#keepAlive(signal);
        if (isOurs && isStale) await this.#refresh(signal);
        if (!isOurs) await this.#takeBack(this.#lease!, signal);
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

  /** Keeps alive three times within its life, or more often if the margin asks for it; soon again after a failure. */
  #waitMilliseconds(failures: number): number {
    if (failures > 0) return backoffMilliseconds(failures - 1, BACKOFF, this.clock.random());
    if (this.#lease?.etcdLeaseId === undefined) return LONG_WAIT_MILLISECONDS;
    const margin = Math.max(
      this.#remainingSeconds - this.options.renewMarginSeconds,
      this.#remainingSeconds / 10,
    );
    return Math.min(this.#remainingSeconds / 3, margin) * 1000 * (0.9 + this.clock.random() / 10);
  }

  #keepUntil(remainingSeconds: number): void {
    this.#remainingSeconds = remainingSeconds;
    this.#keptAliveAt = this.clock.now();
  }

  /** False if the lease is lost. */
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
      this.log.warn('our lease was overwritten with garbage; writing it again', {
        lease: held.name,
        reason: stored.reason,
      });
      return this.#write(
        { ...held, modRevision: stored.modRevision, etcdLeaseId: stored.etcdLeaseId },
        signal,
      );
    }
    if (sameAttributes(stored.attributes, held.attributes)) {
      if (stored.modRevision !== held.modRevision) this.#lease = stored;
      return true;
    }
    if (stored.attributes.publicIp !== held.attributes.publicIp) {
      const holder = stored.attributes.publicIp;
      this.log.error('our subnet was taken by another host', {
        subnet: printSubnet(held.subnet),
        publicIp: holder,
      });
      return false;
    }
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

  /** The etcd lease to attach to: the stored one while it lives, none for a reservation of ours, else a new one. */
  async #etcdLeaseFor(stored: Lease, signal: AbortSignal): Promise<string | undefined> {
    if (stored.etcdLeaseId === undefined && this.#lease?.etcdLeaseId === undefined) return undefined;
    for (const id of [stored.etcdLeaseId, this.#lease?.etcdLeaseId]) {
      if (id !== undefined && (await this.registry.keepAlive(id, signal)) !== 'lost') return id;
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

  async #try(
    leases: readonly Lease[],
    avoid: Subnet[],
    signal: AbortSignal,
  ): Promise<Lease | 'raced' | 'exhausted'> {
    const { range } = this.options;
    const publicIp = this.options.publicIp();
    const previous = this.#lease?.subnet ?? this.options.previous;
    const claim: Claim = { range, publicIp, previous, avoid, random: this.clock.random() };
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
      case 'create':
        return this.#create(decision.subnet, avoid, signal);
    }
  }

  async #reuse(lease: Lease, signal: AbortSignal): Promise<Lease | 'raced'> {
    if (lease.etcdLeaseId !== undefined) {
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
    const id = await this.registry.grant(LEASE_TTL_SECONDS, signal);
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
      if (!isWritten) await this.registry.revoke(id, signal).catch(() => undefined);
    }
  }
}

/** The key of our lease: what we hold, and every write of it. */
import { deviationOf, hangsOnAnothers, isOlder, isReservation, type StoredKey } from '../core/lease-keeping';
import { RegistryError } from '../model/errors';
import { LEASE_TTL_SECONDS, sameAttributes, type Lease, type LeaseAttributes } from '../model/lease';
import type { Clock, LeaseRegistry, Log } from '../ports';
import { EtcdLeases } from './etcd-leases';
import type { OwnershipDispute } from './ownership-dispute';
import { Registration } from './registration';

/** So long a living holder is given to object to a newcomer, before the newcomer relies on the lease. */
const HEARING_MILLISECONDS = 1_000;

export interface OwnKeyOptions {
  /** The lease is kept alive so that at least this much of it is always left. */
  readonly renewMarginSeconds: number;
  /** What to write into the key of this name, given the lease we hold or take over, if any: its VTEP MAC is ours. */
  readonly attributesFor: (held: Lease | undefined, name: string) => LeaseAttributes;
  /** True for a lease that leads to the device of this host as it is: nobody else can have it. */
  readonly isProven: (lease: Lease) => boolean;
}

/** Owns the lease that we hold. Every write is a compare-and-swap: no key of another host is ever overwritten by chance. */
export class OwnKey {
  readonly etcdLeases: EtcdLeases;
  readonly registration: Registration;
  readonly isOwn = (etcdLeaseId: string) => this.etcdLeases.isOwn(etcdLeaseId);
  #lease: Lease | undefined;

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly options: OwnKeyOptions,
    private readonly dispute: OwnershipDispute,
  ) {
    this.etcdLeases = new EtcdLeases(registry, clock, options.renewMarginSeconds);
    this.registration = new Registration(clock);
  }

  get lease(): Lease | undefined {
    return this.#lease;
  }

  /** For how many seconds the lease is good without being kept alive; Infinity for a reservation. */
  get remainingSeconds(): number {
    return this.#lease && !isReservation(this.#lease) ? this.etcdLeases.remainingSeconds : Infinity;
  }

  /** Holds a lease from the state file; etcd will show whether it still is ours. */
  adopt(lease: Lease, remainingSeconds: number): void {
    this.#lease = lease;
    // A wall clock that was set wrong, as after a boot without a network, makes years of it.
    this.etcdLeases.keepFor(Math.min(remainingSeconds, LEASE_TTL_SECONDS));
  }

  /** From now on this lease is ours, and so is the etcd lease that it hangs on. */
  hold(lease: Lease): void {
    this.#lease = lease;
    this.registration.restore();
    this.etcdLeases.hold(lease.etcdLeaseId);
  }

  /** Records how what etcd has under the name of our lease differs from what we hold, if it does. */
  note(stored: StoredKey): void {
    const deviation = deviationOf(stored, this.#lease!);
    if (deviation) this.registration.lose(deviation);
  }

  isOlder(stored: StoredKey): boolean {
    return isOlder(stored, this.#lease!);
  }

  /** True for a key that hangs on an etcd lease of another host, or of this one before it was booted. */
  hangsOnAnothers(lease: Lease): boolean {
    return hangsOnAnothers(lease, this.isOwn);
  }

  async read(name: string, signal: AbortSignal): Promise<StoredKey> {
    const { leases, malformed } = await this.registry.list(signal);
    return [...leases, ...malformed].find((stored) => stored.name === name);
  }

  /** What we say of ourselves in the key of this lease, held or found. */
  attributesOf(lease: Lease): LeaseAttributes {
    return this.options.attributesFor(lease, lease.name);
  }

  /** Writes our lease again if what we say of ourselves is not what it says. Throws, to be tried again, on a lost race. */
  async refresh(signal: AbortSignal): Promise<void> {
    const held = this.#lease!;
    const attributes = this.attributesOf(held);
    if (sameAttributes(held.attributes, attributes)) return;
    const result = await this.registry.update(held, attributes, held.etcdLeaseId, signal);
    if (result.kind === 'conflict')
      throw new RegistryError('unavailable', 'our lease changed while we wrote it');
    this.log.info('lease written with our new address', { lease: held.name, publicIp: attributes.publicIp });
    this.hold(result.lease);
  }

  /** Writes our attributes over a stored lease. False if it changed meanwhile. */
  async write(stored: Lease, signal: AbortSignal): Promise<boolean> {
    const attributes = this.options.attributesFor(this.#lease, stored.name);
    const id = await this.#etcdLeaseFor(stored, signal);
    const result = await this.registry.update(stored, attributes, id, signal);
    if (result.kind !== 'written') return false;
    this.hold(result.lease);
    return true;
  }

  /**
   * Says that a lease is ours, by what hosts with one PublicIP differ in: attaches the key to an etcd lease of ours, and changes
   * nothing that others could see; or writes our VTEP MAC into a reservation. Undefined: it changed meanwhile.
   */
  async claim(lease: Lease, signal: AbortSignal): Promise<Lease | undefined> {
    if (isReservation(lease)) {
      const attributes = this.options.attributesFor(this.#lease, lease.name);
      const result = await this.registry.update(lease, attributes, undefined, signal);
      if (result.kind !== 'written') return undefined;
      this.dispute.claim();
      return result.lease;
    }
    const id = await this.etcdLeases.grant(signal);
    let isWritten = false;
    try {
      const result = await this.registry.update(lease, lease.attributes, id, signal);
      if (result.kind !== 'written') return undefined;
      isWritten = true;
      this.dispute.claim();
      this.etcdLeases.keepFor(LEASE_TTL_SECONDS);
      this.log.info(
        // Our device does not outlive a boot: its MAC was written in this one.
        this.options.isProven(lease)
          ? 'lease of this host taken over from the program that made our device: flannel, or an earlier version of vtepd'
          : 'lease claimed: its key hung on an etcd lease of another host, or of an earlier boot',
        { lease: lease.name },
      );
      return result.lease;
    } finally {
      if (!isWritten) await this.etcdLeases.giveBack(id, signal);
    }
  }

  /** True if nobody has objected to our claim after a while. */
  async isUndisputed(claimed: Lease, signal: AbortSignal): Promise<boolean> {
    await this.clock.sleep(HEARING_MILLISECONDS, signal);
    const { etcdLeaseId } = claimed;
    const stored = await this.read(claimed.name, signal);
    const isOurs =
      stored !== undefined &&
      stored.etcdLeaseId === etcdLeaseId &&
      !('reason' in stored) &&
      sameAttributes(stored.attributes, claimed.attributes);
    if (!isOurs && etcdLeaseId !== undefined && stored?.etcdLeaseId !== etcdLeaseId)
      await this.etcdLeases.giveBack(etcdLeaseId, signal);
    return isOurs;
  }

  /** The etcd lease to attach to: none for a reservation of ours, the stored one or ours while it lives, else a new one. */
  async #etcdLeaseFor(stored: Lease, signal: AbortSignal): Promise<string | undefined> {
    const held = this.#lease?.etcdLeaseId;
    if (held === undefined) return undefined;
    for (const id of [stored.etcdLeaseId, held]) {
      // Another host's is not ours to hang on to, nor to keep alive.
      if (id !== undefined && this.isOwn(id) && (await this.etcdLeases.renew(id, signal))) return id;
    }
    return this.etcdLeases.grant(signal);
  }
}

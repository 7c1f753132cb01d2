import type { Lease, LeaseAttributes, LeaseSubnets, MalformedLease } from '../model/lease';
import type { Miss } from '../model/miss';

/**
 * Where leases are kept: etcd v3 in flannel's layout. Methods throw {@link RegistryError} (and nothing else, but for an
 * abort); none retries a write blindly. Deadlines are the adapter's.
 */
export interface LeaseRegistry {
  /** The text stored at `<prefix>/config`, or undefined when there is none. */
  readConfig(signal: AbortSignal): Promise<StoredConfig | undefined>;
  /** Writes the configuration if its revision still is `expected` (undefined: if there is none). */
  writeConfig(
    text: string,
    expected: string | undefined,
    signal: AbortSignal,
  ): Promise<'written' | 'conflict'>;
  /** Every lease, in one read. */
  list(signal: AbortSignal): Promise<LeaseSnapshot>;
  /** How many keys there are where the leases are, readable or not. Costs the registry next to nothing. */
  count(signal: AbortSignal): Promise<number>;
  /** The lease that holds this address, or whose VTEP has this MAC: what a miss asks when the peer table does not know. */
  find(question: Miss, subnetLength: number, signal: AbortSignal): Promise<Lease | undefined>;
  /**
   * All changes after the given revision, in order, none missing, each as soon as it is known; while more keep coming, those
   * of some milliseconds make one batch. Never ends by itself:
   * any trouble (connection lost for good, compaction, a response that cannot be read) is thrown, and the way on is
   * {@link list} and a new watch.
   */
  watch(afterRevision: string, signal: AbortSignal): AsyncIterable<LeaseBatch>;

  /** A new etcd lease of this time to live. Returns its ID. */
  grant(ttlSeconds: number, signal: AbortSignal): Promise<string>;
  /**
   * True for an etcd lease that this host got, by whichever of its processes, since it was booted: a key that hangs on another
   * is another host's, or was ours before a reboot.
   */
  isGrantedToUs(etcdLeaseId: string): boolean;
  /** Gives an etcd lease its whole time again, without writing any key; 'lost' if it is gone. */
  keepAlive(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'>;
  /** How an etcd lease stands; does not prolong it. A key that vanishes while it lives was deleted; else it expired. */
  lifeOf(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'>;
  /** Ends an etcd lease and every key attached to it. No error if it is gone already. */
  revoke(etcdLeaseId: string, signal: AbortSignal): Promise<void>;

  /** Creates the key of these subnets, if it does not exist. `etcdLeaseId` undefined: a reservation. */
  create(
    subnets: LeaseSubnets,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult>;
  /** Overwrites the value (and the attachment to an etcd lease), if the key still is as `lease` says. */
  update(
    lease: Lease,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult>;
  /** Deletes the key, if it still is as `lease` says. */
  remove(lease: Lease, signal: AbortSignal): Promise<'removed' | 'conflict'>;
  /**
   * Resolves if all leases may be read and the one of this name written now; else throws what that would. Writes nothing, and no watch
   * hears of it.
   */
  checkAccess(leaseName: string, signal: AbortSignal): Promise<void>;
  /**
   * Gives up the connections there are, for the address that they are bound to is gone: nobody tells them so, and they would wait
   * for answers that cannot come. What is under way fails as `unavailable`.
   */
  reconnect(): void;
  close(): void;
}

export interface StoredConfig {
  readonly text: string;
  readonly modRevision: string;
}

/** What is left of an etcd lease. While `term` stays the same, only {@link LeaseRegistry.keepAlive} makes it more, whoever calls it. */
export interface LeaseLife {
  readonly remainingSeconds: number;
  readonly term: string;
}

/** `revision` is the store's at the time of the read: a watch from there on misses nothing. */
export interface LeaseSnapshot {
  readonly revision: string;
  readonly leases: readonly Lease[];
  readonly malformed: readonly MalformedLease[];
}

/** `revision`: everything up to it has been delivered. A batch without changes reports progress only. */
export interface LeaseBatch {
  readonly revision: string;
  readonly changes: readonly LeaseChange[];
}

export type LeaseChange =
  | { readonly kind: 'put'; readonly lease: Lease }
  | { readonly kind: 'removed'; readonly name: string }
  | { readonly kind: 'malformed'; readonly malformed: MalformedLease };

/** `conflict`: the key is not as it was expected to be; nothing was written. */
export type WriteResult = { readonly kind: 'written'; readonly lease: Lease } | { readonly kind: 'conflict' };

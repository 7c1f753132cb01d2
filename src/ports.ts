/**
 * The outside world on one screen. The engine knows the registry, the kernel, the host, time and the log only by these
 * interfaces; the adapters (etcd/, kernel/, host/, log.ts) implement them, and the fakes in test/support pass the same
 * contract suites. Every wait takes an AbortSignal and rejects with its reason soon after it aborted.
 */
import type { Family, IpAddress, Subnet } from './model/address';
import type { Admission, AdmissionChange, AdmissionTerms, InstalledAdmission } from './model/admission';
import type { FailedFirewallOperation, FirewallOperation, FirewallState } from './model/firewall';
import type { KernelSettings } from './model/kernel-settings';
import type { KernelState, ObjectName } from './model/kernel-state';
import type { Lease, LeaseAttributes, LeaseSubnets, MalformedLease } from './model/lease';
import type { Miss } from './model/miss';
import type { MacAddress } from './model/mac';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from './model/network-interface';
import type { FailedOperation, Operation } from './model/operation';
import type { OwnPlaces } from './model/ownership';
import type { PeerChange } from './model/peer';
import type { RouteAnswer, RouteQuestion, Routing } from './model/routing';

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

/** A registry that this host carries itself, for all hosts. */
export interface RegistryServer {
  /**
   * Runs one for hosts that reach us at this place, until the signal aborts or it ends by itself; calls `onUp` when it may be
   * asked. Returns why it ended, when it is gone. One that an agent left which was killed is taken over, if it fits. Throws a
   * {@link HostError} when none can be started.
   */
  run(place: ServerPlace, onUp: () => void, signal: AbortSignal): Promise<string>;
}

/** As in an underlay: our own address, and the one that others send to. */
export interface ServerPlace {
  readonly address: IpAddress;
  readonly publicIp: IpAddress;
}

/** Linux networking in our network namespace. Methods throw {@link KernelError}. */
export interface Kernel {
  /**
   * What the kernel holds of ours: the link of this name with its addresses in `networks`, neighbor parameters, permanent
   * and learned neighbors and FDB entries, and the routes that carry our mark (or flannel's, on our link). Never a partial
   * answer: a dump that was interrupted is repeated, and one that cannot be completed throws.
   */
  observe(scope: Scope, signal: AbortSignal): Promise<KernelState>;
  /**
   * What the kernel holds of ours under these names, of all that {@link observe} would tell; undefined where it cannot tell, because
   * there is no such link, or it is too old. An object that it does not tell for certain is one that fits nothing: to put or to
   * remove it does no harm.
   */
  look(names: readonly ObjectName[], scope: Scope, signal: AbortSignal): Promise<KernelState | undefined>;
  /**
   * Carries out the operations in order, yielding to the event loop now and then; returns those the kernel refused. One
   * refused operation does not stop the others. What {@link applyNow} puts meanwhile is newer than the operations, and not removed.
   */
  apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly FailedOperation[]>;
  /**
   * Carries out a few operations at once, before it returns: the answer to a miss.
   */
  applyNow(operations: readonly Operation[]): readonly FailedOperation[];
  /**
   * Reports what happens to the link of that name, to what is on it and to its underlay, and to rules and routes that may lead
   * packets for these networks elsewhere, until the signal aborts; never our own changes. Calls back with all notices that were
   * waiting, in order. Throws if it cannot start to listen.
   */
  listen(scope: Scope, listener: (notices: readonly KernelNotice[]) => void, signal: AbortSignal): void;
  /**
   * Answers kept ready for a link of that name, until the signal aborts: an L3 miss for a peer that it was told of is answered without
   * us, sooner than we could and also while we are busy, by the peer's FDB entry and a learned neighbor for the address.
   * Listeners hear of the miss all the same (nothing of the changes), for what else belongs to an answer. Throws if there can be none.
   */
  standingAnswers(linkName: string, signal: AbortSignal): StandingAnswers;
  /** The L3 misses that still wait for an answer (neighbors on the link in state INCOMPLETE): what to read after an overrun. */
  pendingMisses(linkName: string, signal: AbortSignal): Promise<readonly Miss[]>;
  /** All network interfaces with their addresses. */
  interfaces(signal: AbortSignal): Promise<readonly NetworkInterface[]>;
  /** The route the kernel takes to this address, from that one of this host's if it is given; undefined when it has none. */
  routeTo(
    destination: IpAddress,
    signal: AbortSignal,
    source?: IpAddress,
  ): Promise<ResolvedRoute | undefined>;
  /** Default routes of the main table of both families, in the kernel's order; one over several links once for each of them. */
  defaultRoutes(signal: AbortSignal): Promise<readonly ResolvedRoute[]>;
  /**
   * The rules, and the routes of all tables that share an address with one of the networks, but for ours (and flannel's) on our link. Of
   * the main table none that is shorter than a network.
   */
  routing(scope: Scope, signal: AbortSignal): Promise<Routing>;
  /** Which entry of which table each of these packets takes, in their order; yields to the event loop now and then. */
  routesOf(questions: readonly RouteQuestion[], signal: AbortSignal): Promise<readonly RouteAnswer[]>;
  /** Routes of the main table to exactly this network, whoever made them, with whatever metric; also those that lead nowhere. */
  networkRoutes(network: Subnet, signal: AbortSignal): Promise<readonly NetworkRoute[]>;
  /** What this host's administrator has set, as far as it concerns these links. Never throws: what cannot be read is undefined. */
  settings(links: readonly string[]): KernelSettings;
  /** Names of the vxlan links that carry routes with our protocol number, up or not: what `cleanup` removes. */
  ownLinks(signal: AbortSignal): Promise<readonly string[]>;
  close(): void;
}

export interface StandingAnswers {
  /** What is answered from now on. When this returns, no answer that leads to a peer of before is under way. */
  peersChanged(changes: readonly PeerChange[]): void;
}

/** Whose kernel state is read: what tells ours and flannel's from that of others. */
export type Scope = OwnPlaces;

export type KernelNotice =
  | { readonly kind: 'miss'; readonly miss: Miss }
  /** A neighbor we installed does not answer the kernel's probes any more. */
  | { readonly kind: 'unanswered'; readonly address: IpAddress; readonly mac: MacAddress }
  /**
   * Somebody else changed something of ours, or the underlay changed. `what` is for the log: `route 10.5.2.0/24 removed`. `name`
   * tells which object must be looked at; undefined: the change may have come to others, too. `isNewLink`: our link was made anew.
   */
  | {
      readonly kind: 'changed';
      readonly what: string;
      readonly name: ObjectName | undefined;
      readonly isNewLink?: boolean;
    }
  /** An interface that is neither our link nor our underlay got or lost an address, a route of the whole network or an IPv4 default route came or went, or forwarding was switched. */
  | { readonly kind: 'interfaces' }
  /** Rules, or routes of others, changed in a way that may lead packets for our networks elsewhere. */
  | { readonly kind: 'routing' }
  /** Notices were lost, because they came faster than we read. */
  | { readonly kind: 'overrun' };

/** The packet filter of our network namespace. Methods throw {@link HostError}. */
export interface Firewall {
  /**
   * What is installed of ours and of real flannel's, by whatever tool, and what others do to forwarded packets. A tool that
   * does not work is a problem in the answer; one that worked before and fails now throws, so that a failed read never looks
   * like missing rules.
   */
  observe(families: readonly Family[], signal: AbortSignal): Promise<FirewallState>;
  /**
   * Carries out the operations; returns those that failed, which stop no others. A put replaces the whole block at once: at
   * no moment does a packet find half of the rules, or none.
   */
  apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<readonly FailedFirewallOperation[]>;
  /**
   * Calls back after nftables' rules changed (iptables-nft's too, and our own changes), until the signal aborts. Nobody tells
   * about iptables-legacy. Throws a {@link KernelError} if it cannot start to listen.
   */
  listen(onChange: () => void, signal: AbortSignal): void;
}

/** Who may send to our VXLAN port; by default anybody. Methods work at once, and throw {@link KernelError}. */
export interface VxlanGuard {
  /** What is installed for that link; undefined: anybody may send. */
  observe(link: string): InstalledAdmission | undefined;
  /** Replaces all there is for that link; no peer is refused meanwhile. */
  install(admission: Admission): void;
  /** Admits and refuses, or, when one who is refused was not admitted, throws and does neither. */
  change(terms: AdmissionTerms, change: AdmissionChange): void;
  /** Anybody may send again. No error if it was so. */
  remove(link: string): void;
  /** The links there is something installed for. */
  links(): readonly string[];
  /** Calls back after somebody else changed what is installed for that link, until the signal aborts. */
  listen(link: string, onChange: () => void, signal: AbortSignal): void;
}

/** The host we run on, apart from its network. Methods throw {@link HostError}. */
export interface Host {
  /** The text of subnet.env; undefined when there is none. */
  readSubnetFile(): Promise<string | undefined>;
  /** Replaces subnet.env at once and durably, making its directory; the old file is intact if this fails. */
  writeSubnetFile(text: string): Promise<void>;
  removeSubnetFile(): Promise<void>;
  /**
   * Calls back after subnet.env was written or removed, by whomever, until the signal aborts. Not all of it is noticed: nothing is
   * before its directory is there, nor after that was removed, until the next call of this.
   */
  watchSubnetFile(onChange: () => void, signal: AbortSignal): void;
  /** What was last written by {@link writeMemory}, by this agent or an earlier one; undefined when there is nothing. */
  readMemory(): Promise<string | undefined>;
  /** Remembers a text across restarts and reboots, as safely as subnet.env. Does nothing where the user wants no memory. */
  writeMemory(text: string): Promise<void>;
  /** Forgets it. No error where there is nothing. */
  removeMemory(): Promise<void>;
  /**
   * Makes this process the one agent of that link in this network namespace, for as long as it lives. Throws EBUSY, naming the
   * other's process ID, when there is one already.
   */
  lock(linkName: string): void;
  /** Lets another agent have that link, if it was ours. */
  unlock(linkName: string): void;
  /** Links that an agent of this network namespace was locked for since the host was booted, running or not. */
  lockedLinks(): readonly string[];
  /** Tells systemd, if it is there: READY=1, RELOADING=1, STOPPING=1, STATUS=…. Never throws. */
  notify(state: { ready?: boolean; reloading?: boolean; stopping?: boolean; status?: string }): void;
  randomBytes(count: number): Uint8Array;
  /** The name servers that programs of this host ask, as far as files name them. Never throws. */
  nameServers(): readonly IpAddress[];
  /** The addresses of that host name, as programs of this host find them; none where it cannot be resolved. Never rejects. */
  addressesOf(name: string): Promise<readonly IpAddress[]>;
  /** Tells this machine from others, except for its clones, and stays the same when it is booted; undefined where it has no such ID. */
  machineId(): string | undefined;
  /**
   * The process ID of a program of that name in our network namespace; undefined where none runs, or none that this process may
   * see.
   */
  findProcess(program: string): Promise<number | undefined>;
}

/** Time that never jumps, but for {@link wallTime}. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Resolves after that many milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Milliseconds since 1970, as the host believes: only for what must outlive a reboot. */
  wallTime(): number;
  /** A number from 0 up to, not including, 1: for jitter and choices. */
  random(): number;
}

export type LogFields = Readonly<Record<string, unknown>>;

/** Constant text, and fields that are called the same in every line. */
export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** False: spare the work of making the fields of a debug line. */
  readonly debugEnabled: boolean;
}

export type { InterfaceAddress, NetworkInterface, ResolvedRoute } from './model/network-interface';

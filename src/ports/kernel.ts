import type { IpAddress, Subnet } from '../model/address';
import type { KernelSettings } from '../model/kernel-settings';
import type { KernelState, ObjectName } from '../model/kernel-state';
import type { MacAddress } from '../model/mac';
import type { Miss } from '../model/miss';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from '../model/network-interface';
import type { FailedOperation, Operation } from '../model/operation';
import type { OwnPlaces } from '../model/ownership';
import type { RouteAnswer, RouteQuestion, Routing } from '../model/routing';
import type { MissFastPath } from './miss-fast-path';

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
   * packets for these networks elsewhere, until the signal aborts; never our own changes. Calls back with all events that were
   * waiting, in order. Throws if it cannot start to listen.
   */
  listen(scope: Scope, listener: (events: readonly KernelEvent[]) => void, signal: AbortSignal): void;
  /**
   * The fast path for misses on a link of that name, until the signal aborts: an L3 miss for a peer that it was told of is answered
   * without the event loop, sooner than that could and also while it is busy, by the peer's FDB entry and a learned neighbor for the
   * address. Listeners hear of the miss all the same (nothing of the changes), for what else belongs to an answer. Throws if there can be none.
   */
  openMissFastPath(linkName: string, signal: AbortSignal): MissFastPath;
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

/** Whose kernel state is read: what tells ours and flannel's from that of others. */
export type Scope = OwnPlaces;

export type KernelEvent =
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
  /** Events were lost, because they came faster than we read. */
  | { readonly kind: 'overrun' };

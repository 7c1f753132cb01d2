/** What notifications mean for one link: misses, and changes that somebody else made. */
import { contains, overlap, printSubnet, sameSubnet, type Subnet } from '../model/address';
import type { ObjectName } from '../model/kernel-state';
import type { KernelEvent } from '../ports';
import { FlagsNew, MessageType, RoutingTable } from './constants';
import { EventList } from './event-list';
import { isForwardingSet } from './settings';
import type { LinkRecord } from './links';
import { eachMessage, type Message } from './message';
import { neighborIndexOf, parseNeighbor, type NeighborRecord } from './neighbors';
import { OwnChanges } from './own-changes';
import { isOfOurs, isUnicastAddress } from './ownership';
import { parseRule } from './rules';
import { parseRoute, routeTypeOf, type RouteRecord } from './routes';
import { WatchedLinks } from './watched-links';
import type { LinuxMissFastPath } from './miss-fast-path/miss-fast-path';
import { AF_BRIDGE, FlagBit, StateBit } from './wire';

/** Reads the notifications about one link and its underlay. Does no I/O itself: `lookUp` finds a link in the kernel. */
export class KernelEventReader {
  /** Networks whose routes are ours, so that a foreign route in the place of one of them, or before it, is noticed. */
  networks: readonly Subnet[] = [];
  /** Messages that made no sense. */
  malformed = 0;
  /** What we do ourselves, to be told from what others do. */
  readonly ownChanges = new OwnChanges();
  readonly #events = new EventList();
  readonly #links: WatchedLinks;

  constructor(
    private readonly linkName: string,
    lookUp: (link: string | number) => LinkRecord | undefined,
    /** What is done on our behalf, without us. */
    private readonly fastPaths: Iterable<Pick<LinuxMissFastPath, 'didCause' | 'leadsTo'>> = [],
  ) {
    this.#links = new WatchedLinks(linkName, lookUp, this.ownChanges, this.#events);
  }

  /** We removed the link of that index: what the kernel tells of it still, and of what was on it, is no news. */
  forgetLink(index: number): void {
    this.#links.forget(index);
  }

  /** The events in these messages, in order. */
  read(messages: Buffer): readonly KernelEvent[] {
    const isWhole = eachMessage(messages, (message) => {
      if (!this.#hear(message)) this.malformed++;
    });
    if (!isWhole) this.malformed++;
    return this.#events.take();
  }

  /** The kernel had nothing more to tell: forgets what was expected, and tells of what may be other than we left it. */
  settle(): readonly KernelEvent[] {
    const { linkName: link } = this;
    return this.ownChanges.age().map((mac) => {
      const name = { kind: 'fdb-entry', link, mac } as const;
      return { kind: 'changed', what: `fdb-entry ${mac} may have changed`, name };
    });
  }

  /** Notifications were lost: looks anew. */
  recover(): readonly KernelEvent[] {
    this.#links.recover();
    return [{ kind: 'overrun' }];
  }

  /** Returns false for a message that makes no sense. */
  #hear(message: Message): boolean {
    switch (message.type) {
      case MessageType.GETNEIGH:
      case MessageType.NEWNEIGH:
      case MessageType.DELNEIGH:
        return this.#hearNeighbor(message);
      case MessageType.NEWROUTE:
      case MessageType.DELROUTE:
        return this.#hearRoute(message);
      case MessageType.NEWRULE:
      case MessageType.DELRULE:
        return this.#hearRule(message);
      case MessageType.NEWLINK:
      case MessageType.DELLINK:
        return this.#links.hearLink(message);
      case MessageType.NEWADDR:
      case MessageType.DELADDR:
        return this.#links.hearAddress(message);
      case MessageType.NEWNETCONF:
        // Of a new interface all settings are told; of one that somebody sets, that one.
        if (isForwardingSet(message)) this.#events.interfaces();
        return true;
      default:
        return true;
    }
  }

  #hearNeighbor(message: Message): boolean {
    // Most are about other links: not worth more than this look.
    if (neighborIndexOf(message) !== this.#links.index) return true;
    const record = parseNeighbor(message);
    if (!record) return false;
    if (message.type === MessageType.GETNEIGH) {
      const event = questionOf(record);
      if (event) this.#events.add(event);
      return true;
    }
    const isGone = message.type === MessageType.DELNEIGH;
    const { family, address, mac, state } = record;
    if (family === AF_BRIDGE) {
      if (mac === undefined) return false;
      if (!(record.flags & FlagBit.SELF)) return true;
      // All that we write is permanent: what is not, somebody else has written, or the device has learned it.
      const mayBeOurs = (state & StateBit.PERMANENT) !== 0;
      if (mayBeOurs && this.ownChanges.isFdbEntry(mac, isGone ? undefined : address)) return true;
      if (mayBeOurs && !isGone && some(this.fastPaths, (fastPath) => fastPath.leadsTo(mac, address)))
        return true;
      this.#events.change(`fdb-entry ${mac} ${isGone ? 'removed' : `now leads to ${address ?? 'nowhere'}`}`, {
        kind: 'fdb-entry',
        link: this.linkName,
        mac,
      });
      return true;
    }
    if (address === undefined) return false;
    if (some(this.fastPaths, (fastPath) => fastPath.didCause(message.portId))) return true;
    if (!isUnicastAddress(address)) return true;
    this.#events.change(`neighbor ${address} ${isGone || state & StateBit.FAILED ? 'removed' : 'changed'}`, {
      kind: 'neighbor',
      link: this.linkName,
      address,
    });
    return true;
  }

  #hearRoute(message: Message): boolean {
    const route = parseRoute(message);
    if (!route) return false;
    const isGone = message.type === MessageType.DELROUTE;
    const isOfMain = route.table === RoutingTable.MAIN;
    // IPv6 ones are refreshed by router advertisements, again and again.
    if (route.destination.prefixLength === 0 && route.family === 'ipv4' && isOfMain)
      this.#events.interfaces();
    const index = route.interfaceIndex;
    // With a link that we removed go the routes of its addresses.
    if (isGone && index !== undefined && this.#links.isForgotten(index)) return true;
    const isOnLink = index !== undefined && index === this.#links.index;
    const hasReplaced =
      !isGone &&
      message.flags & FlagsNew.REPLACE &&
      this.networks.some((network) => contains(network, route.destination));
    const isOfNetwork = this.networks.some((network) => sameSubnet(network, route.destination));
    if (isOfMain && isOfNetwork && !isOnLink) this.#events.interfaces();
    if ((isOfMain && (isOnLink || hasReplaced)) || isOfOurs(route, this.networks))
      this.#events.change(
        `route ${printSubnet(route.destination)} ${isGone ? 'removed' : 'changed'}`,
        nameOfRoute(route, message),
      );
    // Our own protocol on another link is another overlay's. The address of our link has a route of its own, which the kernel makes.
    const isOurs = isOfOurs(route, this.networks) && routeTypeOf(route.type) !== 'unicast';
    if (!isOurs && !isOnLink && this.#mayConcern(route.destination, isOfMain)) this.#events.routing();
    return true;
  }

  #hearRule(message: Message): boolean {
    const rule = parseRule(message);
    if (!rule) return false;
    const isFor = (prefix: Subnet | undefined) => !prefix || this.#mayConcern(prefix, false);
    if (rule.isInverted || (isFor(rule.source) && isFor(rule.destination))) this.#events.routing();
    return true;
  }

  /** Of two routes of one table the longer goes before the shorter. */
  #mayConcern(prefix: Subnet, isNoShorter: boolean): boolean {
    return this.networks.some((network) =>
      isNoShorter ? contains(network, prefix) : overlap(network, prefix),
    );
  }
}

/**
 * None for a route that leads nowhere, because it cannot be looked up; nor for one that was added beside others of its name, of
 * which only one can.
 */
function nameOfRoute({ type, destination, metric }: RouteRecord, message: Message): ObjectName | undefined {
  const isAdded = message.type === MessageType.NEWROUTE && !(message.flags & FlagsNew.REPLACE);
  if (isAdded || routeTypeOf(type) !== 'unicast') return undefined;
  return { kind: 'route', destination, metric };
}

function some<T>(all: Iterable<T>, isSo: (one: T) => boolean): boolean {
  for (const one of all) if (isSo(one)) return true;
  return false;
}

/** What the kernel asks with an RTM_GETNEIGH; undefined for what is no question to us. */
function questionOf({ address, mac, state }: NeighborRecord): KernelEvent | undefined {
  if (address !== undefined && mac === undefined && state & StateBit.INCOMPLETE)
    return { kind: 'miss', miss: { layer: 'l3', address } };
  if (mac !== undefined && address === undefined) return { kind: 'miss', miss: { layer: 'l2', mac } };
  if (mac !== undefined && address !== undefined && state & StateBit.PROBE)
    return { kind: 'unanswered', address, mac };
  return undefined;
}

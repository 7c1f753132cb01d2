/** What notifications mean for one link: misses, and changes that somebody else made. */
import { contains, overlap, printSubnet, sameSubnet, type Subnet } from '../model/address';
import type { ObjectName } from '../model/kernel-state';
import type { KernelNotice } from '../ports';
import { FlagsNew, MessageType, RoutingTable } from './constants';
import { parseAddress, type AddressRecord } from './addresses';
import { isForwardingSet } from './settings';
import { parseLink, printLinkState, type LinkRecord } from './links';
import { eachMessage, type Message } from './message';
import { neighborIndexOf, parseNeighbor, type NeighborRecord } from './neighbors';
import { OwnChanges } from './own-changes';
import { isOfOurs, isUnicastAddress } from './ownership';
import { parseRule } from './rules';
import { parseRoute, routeTypeOf, type RouteRecord } from './routes';
import type { LinuxStandingAnswers } from './standing-answers';
import { AF_BRIDGE, FlagBit, StateBit } from './wire';

/** So many changes are told one by one; whoever flushes ten thousand neighbors need not be heard ten thousand times. */
const CHANGES_AT_ONCE = 128;
/** Addresses of the underlay whose refreshing is recognised. */
const KNOWN_ADDRESSES = 1_024;

/** Reads the notifications about one link and its underlay. Does no I/O itself: `lookUp` finds a link in the kernel. */
export class NoticeReader {
  /** Networks whose routes are ours, so that a foreign route in the place of one of them, or before it, is noticed. */
  networks: readonly Subnet[] = [];
  /** Messages that made no sense. */
  malformed = 0;
  /** What we do ourselves, to be told from what others do. */
  readonly ownChanges = new OwnChanges();
  #link: LinkRecord | undefined;
  /** Links that we removed, until the kernel says that they are gone. */
  readonly #forgotten = new Set<number>();
  #underlay: LinkRecord | undefined;
  /** The underlay is gone; whoever comes by its name takes its place. */
  #lostUnderlay: string | undefined;
  /** Underlay addresses with their flags: router advertisements refresh them again and again. */
  readonly #addresses = new Map<string, string>();
  #notices: KernelNotice[] = [];
  #changes = 0;

  constructor(
    private readonly linkName: string,
    private readonly lookUp: (link: string | number) => LinkRecord | undefined,
    /** What is done on our behalf, without us. */
    private readonly standing: Iterable<Pick<LinuxStandingAnswers, 'didCause' | 'leadsTo'>> = [],
  ) {
    this.#adopt(lookUp(linkName));
  }

  /** We removed the link of that index: what the kernel tells of it still, and of what was on it, is no news. */
  forgetLink(index: number): void {
    this.#forgotten.add(index);
    if (this.#link?.index === index) this.#link = undefined;
  }

  /** The notices in these messages, in order. */
  read(messages: Buffer): readonly KernelNotice[] {
    this.#notices = [];
    this.#changes = 0;
    const isWhole = eachMessage(messages, (message) => {
      if (!this.#hear(message)) this.malformed++;
    });
    if (!isWhole) this.malformed++;
    if (this.#changes > CHANGES_AT_ONCE)
      this.#notices.push({
        kind: 'changed',
        what: `and ${this.#changes - CHANGES_AT_ONCE} more changes`,
        name: undefined,
      });
    return this.#notices;
  }

  /** The kernel had nothing more to tell: forgets what was expected, and tells of what may be other than we left it. */
  settle(): readonly KernelNotice[] {
    const { linkName: link } = this;
    return this.ownChanges.age().map((mac) => {
      const name = { kind: 'fdb-entry', link, mac } as const;
      return { kind: 'changed', what: `fdb-entry ${mac} may have changed`, name };
    });
  }

  /** Notifications were lost: looks anew. */
  recover(): readonly KernelNotice[] {
    this.#forgotten.clear();
    this.#adopt(this.lookUp(this.linkName));
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
        return this.#hearLink(message);
      case MessageType.NEWADDR:
      case MessageType.DELADDR:
        return this.#hearAddress(message);
      case MessageType.NEWNETCONF:
        // Of a new interface all settings are told; of one that somebody sets, that one.
        if (isForwardingSet(message)) this.#tellOfInterfaces();
        return true;
      default:
        return true;
    }
  }

  #hearNeighbor(message: Message): boolean {
    // Most are about other links: not worth more than this look.
    if (neighborIndexOf(message) !== this.#link?.index) return true;
    const record = parseNeighbor(message);
    if (!record) return false;
    if (message.type === MessageType.GETNEIGH) {
      const notice = questionOf(record);
      if (notice) this.#notices.push(notice);
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
      if (mayBeOurs && !isGone && some(this.standing, (answers) => answers.leadsTo(mac, address)))
        return true;
      this.#change(`fdb-entry ${mac} ${isGone ? 'removed' : `now leads to ${address ?? 'nowhere'}`}`, {
        kind: 'fdb-entry',
        link: this.linkName,
        mac,
      });
      return true;
    }
    if (address === undefined) return false;
    if (some(this.standing, (answers) => answers.didCause(message.portId))) return true;
    if (!isUnicastAddress(address)) return true;
    this.#change(`neighbor ${address} ${isGone || state & StateBit.FAILED ? 'removed' : 'changed'}`, {
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
    if (route.destination.prefixLength === 0 && route.family === 'ipv4' && isOfMain) this.#tellOfInterfaces();
    const index = route.interfaceIndex;
    // With a link that we removed go the routes of its addresses.
    if (isGone && index !== undefined && this.#forgotten.has(index)) return true;
    const isOnLink = index !== undefined && index === this.#link?.index;
    const hasReplaced =
      !isGone &&
      message.flags & FlagsNew.REPLACE &&
      this.networks.some((network) => contains(network, route.destination));
    const isOfNetwork = this.networks.some((network) => sameSubnet(network, route.destination));
    if (isOfMain && isOfNetwork && !isOnLink) this.#tellOfInterfaces();
    if ((isOfMain && (isOnLink || hasReplaced)) || isOfOurs(route, this.networks))
      this.#change(
        `route ${printSubnet(route.destination)} ${isGone ? 'removed' : 'changed'}`,
        nameOfRoute(route, message),
      );
    // Our own protocol on another link is another overlay's. The address of our link has a route of its own, which the kernel makes.
    const isOurs = isOfOurs(route, this.networks) && routeTypeOf(route.type) !== 'unicast';
    if (!isOurs && !isOnLink && this.#mayConcern(route.destination, isOfMain)) this.#tellOfRouting();
    return true;
  }

  #hearRule(message: Message): boolean {
    const rule = parseRule(message);
    if (!rule) return false;
    const isFor = (prefix: Subnet | undefined) => !prefix || this.#mayConcern(prefix, false);
    if (rule.isInverted || (isFor(rule.source) && isFor(rule.destination))) this.#tellOfRouting();
    return true;
  }

  /** Of two routes of one table the longer goes before the shorter. */
  #mayConcern(prefix: Subnet, isNoShorter: boolean): boolean {
    return this.networks.some((network) =>
      isNoShorter ? contains(network, prefix) : overlap(network, prefix),
    );
  }

  #tellOfRouting(): void {
    if (!this.#notices.some(({ kind }) => kind === 'routing')) this.#notices.push({ kind: 'routing' });
  }

  #hearAddress(message: Message): boolean {
    const record = parseAddress(message);
    if (!record) return false;
    const isGone = message.type === MessageType.DELADDR;
    const isOnUnderlay = record.index === this.#underlay?.index;
    if (record.scope !== 'global' || this.#forgotten.has(record.index)) return true;
    if (!isOnUnderlay && record.index !== this.#link?.index) {
      // IPv6 addresses are refreshed by router advertisements, again and again, and no bridge is judged by them.
      if (!record.address.includes(':')) this.#tellOfInterfaces();
      return true;
    }
    if (isOnUnderlay && this.#isKnown(record, isGone)) return true;
    const where = isOnUnderlay ? this.#underlay!.name : this.linkName;
    this.#change(
      `address ${record.address}/${record.prefixLength} of ${where} ${isGone ? 'removed' : 'changed'}`,
    );
    return true;
  }

  #tellOfInterfaces(): void {
    if (this.#notices.at(-1)?.kind !== 'interfaces') this.#notices.push({ kind: 'interfaces' });
  }

  #isKnown(record: AddressRecord, isGone: boolean): boolean {
    const { index, address, prefixLength, deprecated, usable } = record;
    const key = `${index} ${address}/${prefixLength}`;
    const value = `${deprecated} ${usable}`;
    const known = this.#addresses.get(key);
    if (isGone || this.#addresses.size >= KNOWN_ADDRESSES) this.#addresses.delete(key);
    else this.#addresses.set(key, value);
    return !isGone && known === value;
  }

  #hearLink(message: Message): boolean {
    const record = parseLink(message);
    if (!record) return false;
    const isGone = message.type === MessageType.DELLINK;
    if (this.#forgotten.has(record.index)) {
      if (isGone) this.#forgotten.delete(record.index);
    } else if (record.index === this.#link?.index) this.#hearOfLink(record, isGone);
    else if (record.name === this.linkName && !isGone) {
      if (!this.ownChanges.takeLink(record)) this.#change(`link ${this.linkName} made anew`, undefined, true);
      this.#adopt(record);
    } else if (record.index === this.#underlay?.index) this.#hearOfUnderlay(record, isGone);
    else if (record.name === this.#lostUnderlay && !isGone) {
      this.#change(`underlay ${record.name} is there again`);
      this.#underlay = record;
      this.#lostUnderlay = undefined;
    } else if (record.kind === 'bridge' && record.isSwitched) this.#tellOfInterfaces();
    return true;
  }

  #hearOfLink(record: LinkRecord, isGone: boolean): void {
    if (isGone || record.name !== this.linkName) {
      this.#change(`link ${this.linkName} ${isGone ? 'removed' : `renamed to ${record.name}`}`);
      this.#link = undefined;
      return;
    }
    const difference = differenceOf(this.#link!, record);
    if (!this.ownChanges.takeLink(record) && difference)
      this.#change(`link ${this.linkName} changed: ${difference}`);
    this.#adopt(record);
  }

  #hearOfUnderlay(record: LinkRecord, isGone: boolean): void {
    const before = this.#underlay!;
    if (isGone) {
      this.#change(`underlay ${record.name} removed`);
      this.#underlay = undefined;
      this.#lostUnderlay = record.name;
      return;
    }
    const difference =
      differenceOf(before, record) ?? (before.carrier === record.carrier ? undefined : 'carrier');
    if (difference) this.#change(`underlay ${before.name} changed: ${difference}`);
    this.#underlay = record;
  }

  /** Takes this for our link, and for the underlay the one it names. */
  #adopt(link: LinkRecord | undefined): void {
    this.#link = link;
    const index = link?.vxlan?.underlayIndex;
    if (!index || index === this.#underlay?.index) return;
    this.#underlay = this.lookUp(index);
    if (this.#underlay) this.#lostUnderlay = undefined;
    this.#addresses.clear();
  }

  /** `name`: the one object that it came to; undefined where it may have come to others, too. */
  #change(what: string, name?: ObjectName, isNewLink = false): void {
    if (++this.#changes > CHANGES_AT_ONCE) return;
    this.#notices.push({ kind: 'changed', what, name, ...(isNewLink ? { isNewLink } : {}) });
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
function questionOf({ address, mac, state }: NeighborRecord): KernelNotice | undefined {
  if (address !== undefined && mac === undefined && state & StateBit.INCOMPLETE)
    return { kind: 'miss', miss: { layer: 'l3', address } };
  if (mac !== undefined && address === undefined) return { kind: 'miss', miss: { layer: 'l2', mac } };
  if (mac !== undefined && address !== undefined && state & StateBit.PROBE)
    return { kind: 'unanswered', address, mac };
  return undefined;
}

/** `mtu 1450 → 1300`; undefined where nothing differs that matters. */
function differenceOf(before: LinkRecord, after: LinkRecord): string | undefined {
  if (printLinkState(before) === printLinkState(after)) return undefined;
  for (const field of ['name', 'mac', 'mtu', 'up', 'master', 'protodown', 'noarp'] as const) {
    if (before[field] !== after[field]) return `${field} ${before[field]} → ${after[field]}`;
  }
  return 'vxlan parameters';
}

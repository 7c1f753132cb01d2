/**
 * Whether what we put is what packets follow. Rules, better metrics and longer prefixes of others go before our routes: the kernel is
 * asked which way packets take, and what overrides ours is named.
 */
import {
  contains,
  familyOf,
  offsetAddress,
  overlap,
  printSubnet,
  sameSubnet,
  sizeOf,
  type IpAddress,
  type Subnet,
} from '../model/address';
import type { NetworkInterface } from '../model/network-interface';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { PeerTable } from '../model/peer';
import {
  DEFAULT_TABLE,
  LOCAL_TABLE,
  MAIN_TABLE,
  type RouteAnswer,
  type RouteEntry,
  type RouteQuestion,
  type Routing,
  type RoutingRule,
} from '../model/routing';
import type { Steps } from '../model/steps';
import { ANY_PEER, THIS_HOST, causeOf, oursFor, type Cause } from './override-causes';
import type { RouteIndex } from './route-index';
import { PrefixIndex } from './prefix-index';
import { bridgesOf } from './surroundings';

/** Bridges that are asked about. A host has one or two. */
const MOST_BRIDGES = 4;
/** Places of a peer's subnet that are asked about: one longer prefix is enough to name. */
const MOST_EDGES = 16;
/** Rules by source that are asked about apart: of one cause it is enough to name some. */
const MOST_SOURCES = 8;

/** Whose packets: those of this host, of containers behind a bridge, or those that come in from peers. */
export interface Sender {
  readonly kind: 'host' | 'containers' | 'peers';
  readonly source: IpAddress;
  /** The interface they come in by: undefined for those of this host. */
  readonly input: number | undefined;
  /** Its name; `lo` for this host. */
  readonly inputName: string;
  /** For a person: `containers behind docker0`. */
  readonly name: string;
}

/** One question to the kernel, and why it is asked. */
export interface Inquiry {
  /** A peer's subnet, or our own for packets from peers. */
  readonly target: Subnet;
  readonly sender: Sender;
  readonly question: RouteQuestion;
}

/** Packets for a subnet that go, or end, where they should not. */
export interface Override {
  readonly target: Subnet;
  readonly sender: Sender;
  readonly cause: Cause;
}

/** Who sends to peers: this host, the containers behind each interface that has our subnet, and those of them that `rules` tell apart. */
export function sendersOf(
  overlay: Overlay,
  interfaces: readonly NetworkInterface[],
  rules: Routing['rules'] = [],
): Sender[] {
  const { subnet } = overlay;
  const host: Sender = {
    kind: 'host',
    source: subnet.address,
    input: undefined,
    inputName: 'lo',
    name: THIS_HOST,
  };
  const bridges = bridgesOf(overlay, interfaces).filter(({ up }) => up);
  const sources = sourcesIn(overlay, interfaces, rules);
  return [
    host,
    ...bridges.slice(0, MOST_BRIDGES).flatMap(({ index, name }) =>
      sources.map(({ source, part }): Sender => ({
        kind: 'containers',
        source,
        input: index,
        inputName: name,
        name: `containers ${part ? `of ${printSubnet(part)} ` : ''}behind ${name}`,
      })),
    ),
  ];
}

/** An address of our containers, and one of each part of our subnet that a rule has for its source. */
function sourcesIn(
  { subnet }: Overlay,
  interfaces: readonly NetworkInterface[],
  rules: Routing['rules'],
): { source: IpAddress; part?: Subnet }[] {
  const whole = containerAddress(subnet, interfaces);
  const parts = prefixesOf(rules.flatMap(({ source }) => source ?? [])).filter(
    (part) => contains(subnet, part) && !sameSubnet(subnet, part),
  );
  return [
    ...(whole === undefined ? [] : [{ source: whole }]),
    ...parts.flatMap((part) => {
      const source = containerAddress(part, interfaces);
      return source === undefined ? [] : [{ source, part }];
    }),
  ].slice(0, 1 + MOST_SOURCES);
}

/** Each once. */
function prefixesOf(prefixes: readonly Subnet[]): Subnet[] {
  return [...new Map(prefixes.map((prefix) => [printSubnet(prefix), prefix])).values()];
}

/** An address of a subnet that is none of this host's: from those the kernel takes nothing that comes in. */
function containerAddress(subnet: Subnet, interfaces: readonly NetworkInterface[]): IpAddress | undefined {
  const size = sizeOf(familyOf(subnet.address), subnet.prefixLength);
  const own = new Set(interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  const last = size > 2n ? size - 2n : size - 1n;
  for (let offset = last; offset >= 0n && offset > last - 8n; offset--) {
    const address = offsetAddress(subnet.address, offset);
    if (!own.has(address)) return address;
  }
  return undefined;
}

/** Those of the subnets whose packets something of others may lead elsewhere, as far as what was read can tell. */
export function* doubtfulInSteps(
  overlay: Overlay,
  routing: Routing,
  targets: Iterable<Subnet>,
): Steps<Subnet[]> {
  const suspects = yield* suspectsIn(overlay, routing);
  const index = suspects && (yield* PrefixIndex.inSteps(suspects));
  const doubtful: Subnet[] = [];
  for (const target of targets) {
    yield;
    if (!index || index.overlaps(target)) doubtful.push(target);
  }
  return doubtful;
}

/** Where packets may go elsewhere; undefined for anywhere. */
function* suspectsIn({ network }: Overlay, { rules, routes }: Routing): Steps<Subnet[] | undefined> {
  const usual = new Set(rules.filter(isUsual).map(({ table }) => table));
  if (!usual.has(LOCAL_TABLE) || !usual.has(MAIN_TABLE)) return undefined;
  const byTable = new Map<number, Subnet[]>();
  for (const { table, destination } of routes) {
    yield;
    const others = byTable.get(table);
    if (others) others.push(destination);
    else byTable.set(table, [destination]);
  }
  const inTable = (table: number) => byTable.get(table) ?? [];
  const suspects = inTable(LOCAL_TABLE).concat(inTable(MAIN_TABLE));
  const looked = new Set([LOCAL_TABLE, MAIN_TABLE, DEFAULT_TABLE]);
  for (const rule of rules) {
    if (isUsual(rule) || (rule.isNarrow && !rule.isInverted)) continue;
    if (rule.isInverted || rule.isForVrfs) return undefined;
    if (rule.action !== 'lookup') suspects.push(rule.destination ?? network);
    else if (!looked.has(rule.table)) {
      looked.add(rule.table);
      // One by one: as arguments, thousands would not fit on the stack.
      for (const destination of inTable(rule.table)) suspects.push(destination);
    }
  }
  return suspects;
}

/** What every host has: the tables local, main and default, for all packets. */
function isUsual({
  priority,
  table,
  action,
  source,
  destination,
  input,
  output,
  ...rest
}: RoutingRule): boolean {
  const takesAll = !source && !destination && input === undefined && output === undefined;
  if (!takesAll || rest.isNarrow || rest.isForVrfs || rest.isInverted || action !== 'lookup') return false;
  if (rest.suppressedLength !== undefined || rest.suppressesGroup) return false;
  return (
    (priority === 0 && table === LOCAL_TABLE) ||
    (priority === 32_766 && table === MAIN_TABLE) ||
    (priority === 32_767 && table === DEFAULT_TABLE)
  );
}

/** The prefixes of others: where they begin and end, packets may go another way. */
export function prefixesInSteps({ rules, routes }: Routing): Steps<PrefixIndex> {
  return PrefixIndex.inSteps(destinationsOf([...rules, ...routes]));
}

function* destinationsOf(all: readonly (RoutingRule | RouteEntry)[]): Iterable<Subnet> {
  for (const { destination } of all) if (destination) yield destination;
}

/** What is to be asked about these subnets: their first address, and each from which on other routes or rules (`prefixes`) count. */
export function* inquiriesInSteps(
  targets: Iterable<Subnet>,
  senders: readonly Sender[],
  prefixes: PrefixIndex,
): Steps<Inquiry[]> {
  const inquiries: Inquiry[] = [];
  for (const target of targets) {
    yield;
    for (const destination of [target.address, ...prefixes.edgesIn(target, MOST_EDGES)])
      for (const sender of senders) {
        const { source, input } = sender;
        inquiries.push({ target, sender, question: { destination, source, input } });
      }
  }
  return inquiries;
}

/** Peers whose packets come in: any one, and one for each rule that has some peers for its source. */
export function* originsInSteps(
  { subnet }: Overlay,
  { rules }: Routing,
  peers: readonly Subnet[],
): Steps<Subnet[]> {
  const origins = peers.slice(0, 1);
  const sources = prefixesOf(rules.flatMap(({ source }) => source ?? []));
  const wanted = new Set(sources.filter((source) => !overlap(source, subnet)).slice(0, MOST_SOURCES));
  for (const peer of peers) {
    if (wanted.size === 0) break;
    yield;
    for (const source of wanted) {
      if (!overlap(source, peer)) continue;
      origins.push(source.prefixLength > peer.prefixLength ? source : peer);
      wanted.delete(source);
    }
  }
  return origins;
}

/** What comes in from these peers for our own subnet; none while no bridge has it. */
export function inquiriesIn(
  overlay: Overlay,
  interfaces: readonly NetworkInterface[],
  origins: readonly Subnet[],
  prefixes: PrefixIndex,
): Inquiry[] {
  const { subnet, backend } = overlay;
  const link = interfaces.find(({ name }) => name === linkNameOf(backend));
  const address = containerAddress(subnet, interfaces);
  if (!link || address === undefined || bridgesOf(overlay, interfaces).length === 0) return [];
  return origins.flatMap((from, at) => {
    const source = from.address;
    const name = at === 0 ? ANY_PEER : `peer ${printSubnet(from)}`;
    const sender: Sender = { kind: 'peers', source, input: link.index, inputName: link.name, name };
    return [address, ...prefixes.edgesIn(subnet, MOST_EDGES)].map((destination) => ({
      target: subnet,
      sender,
      question: { destination, source, input: link.index },
    }));
  });
}

/**
 * What overrides our routes, by these answers: for each subnet and sender the one that takes most of it. `bridges`: where packets for our
 * own subnet belong.
 */
export function* overridesInSteps(
  overlay: Overlay,
  rules: Routing['rules'],
  routes: RouteIndex,
  inquiries: readonly Inquiry[],
  answers: readonly RouteAnswer[],
  bridges: ReadonlySet<string>,
): Steps<Override[]> {
  const found = new Map<string, Override>();
  for (const [at, inquiry] of inquiries.entries()) {
    yield;
    const answer = answers[at]!;
    const { target, sender } = inquiry;
    const isRight =
      sender.kind === 'peers' ? isDelivered(answer, overlay, bridges) : isOurWay(answer, overlay, target);
    if (isRight) continue;
    const cause = causeOf(inquiry, answer, rules, routes, overlay, bridges);
    if (!cause) continue;
    const key = `${printSubnet(target)} ${sender.kind} ${sender.name}`;
    const other = found.get(key);
    if (!other || cause.prefixLength < other.cause.prefixLength) found.set(key, { target, sender, cause });
  }
  return [...found.values()];
}

/** By our link to the peer; or not by anything of others: what of ours is missing is not told here. */
function isOurWay(answer: RouteAnswer, overlay: Overlay, target: Subnet): boolean {
  if (answer.kind === 'refused') return false;
  const { type, hops, table, destination } = answer.route;
  const link = linkNameOf(overlay.backend);
  // Without a gateway the kernel asks for each address, which is right only where it asks for the peer: on demand, by the network's route.
  const isAsking = destination.prefixLength < target.prefixLength;
  const isOurs = (hop: RouteEntry['hops'][number]) =>
    hop.link === link && (hop.gateway === undefined ? isAsking : hop.gateway === target.address);
  if (type === 'unicast' && hops.length > 0 && hops.every(isOurs)) return true;
  // What is shorter than ours is used only while ours is not there.
  return table === MAIN_TABLE && destination.prefixLength < oursFor(overlay, target).prefixLength;
}

/** To a bridge, or to this host; by another interface without a gateway: a container that has a link of its own. */
function isDelivered(answer: RouteAnswer, overlay: Overlay, bridges: ReadonlySet<string>): boolean {
  if (answer.kind === 'refused') return false;
  const { type, hops, destination, table } = answer.route;
  if (type === 'local' || type === 'broadcast') return true;
  if (table === MAIN_TABLE && destination.prefixLength < overlay.subnet.prefixLength) return true;
  return hops.every(
    ({ link, gateway }) =>
      link !== undefined && (bridges.has(link) || (gateway === undefined && link !== overlay.underlay.name)),
  );
}

/** An address that this host needs by its underlay, and what for: `its name server`. */
export interface Needed {
  readonly address: IpAddress;
  readonly what: string;
}

/** Those that lie in the network, and in no subnet of a host: the route of the network may hide them. */
export function hideable(
  { network, subnet: own }: Overlay,
  needed: readonly Needed[],
  peers: Pick<PeerTable, 'byAddress'>,
): Needed[] {
  return needed.filter(
    ({ address }) => contains(network, address) && !contains(own, address) && !peers.byAddress(address),
  );
}

/** What this host looks for in the overlay, by the kernel's answers: each a part of a sentence; undefined for nothing. */
export function printHidden(
  overlay: Overlay,
  needed: readonly Needed[],
  answers: readonly RouteAnswer[],
): string | undefined {
  const link = linkNameOf(overlay.backend);
  // On demand, where no host is, our own route says unreachable.
  const isHidden = (answer: RouteAnswer) =>
    answer.kind === 'refused'
      ? answer.code === 'EHOSTUNREACH'
      : answer.route.hops.some((hop) => hop.link === link);
  const hidden = needed.filter((_, at) => isHidden(answers[at]!));
  if (hidden.length === 0) return undefined;
  const names = hidden.map(({ address, what }) => `${address}, ${what}`).join('; ');
  return (
    `${names}: in the network ${printSubnet(overlay.network)}, and of no host, so it is looked for in the overlay; ` +
    `if it is elsewhere, configure another Network, or give it a route of its own: ip route add ${hidden[0]!.address} via GATEWAY`
  );
}

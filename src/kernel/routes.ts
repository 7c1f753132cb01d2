/** Routes: ip-route(8). */
import { readU16, readU32 } from 'netlink/dist/structs';
import { bitsOf, familyOf, ipAddress, type Family, type IpAddress, type Subnet } from '../model/address';
import { ROUTE_PROTOCOL, type Route } from '../model/kernel-state';
import type { RouteQuestion, RouteType as TypeName } from '../model/routing';
import { FlagsNew, MessageType, RouteScope, RouteType, RoutingTable } from './constants';
import type { Message } from './message';
import type { MessageWriter } from './message-writer';
import type { RequestWriter } from './rtnetlink';
import { AttributeIndex, FAMILY_NUMBERS, familyNumberOf } from './wire';

/** struct rtmsg */
const HEADER = 12;
/** struct rtnexthop: its length (2 bytes), flags, hops, interface index (4 bytes). */
const HOP_HEADER = 8;
const RTA = {
  DST: 1,
  SRC: 2,
  IIF: 3,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  ENCAP_TYPE: 21,
  NH_ID: 30,
} as const;
/** RTAX_* (an MTU, a hop limit, …), and LWTUNNEL_ENCAP_*. */
const BURDENS = [RTA.METRICS, RTA.ENCAP_TYPE];
/** RTNH_F_ONLINK: the gateway is on the link although no route says so. */
const ONLINK = 0x04;
/** RTM_F_FIB_MATCH, and for IPv4 RTM_F_LOOKUP_TABLE: without it any table is called the main one, and IPv6 refuses it. */
const FIB_MATCH: Readonly<Record<Family, number>> = { ipv4: 0x2000 | 0x1000, ipv6: 0x2000 };
const ANY: Readonly<Record<Family, IpAddress>> = { ipv4: ipAddress('0.0.0.0'), ipv6: ipAddress('::') };

const TYPE_NUMBERS: Readonly<Record<Route['type'], number>> = {
  unicast: RouteType.UNICAST,
  unreachable: RouteType.UNREACHABLE,
  blackhole: RouteType.BLACKHOLE,
};

/** All types that a route may have, by their names in ip-route(8). */
const TYPE_NAMES: ReadonlyMap<number, TypeName> = new Map([
  [RouteType.UNICAST, 'unicast'],
  [RouteType.LOCAL, 'local'],
  [RouteType.BROADCAST, 'broadcast'],
  [RouteType.ANYCAST, 'anycast'],
  [RouteType.MULTICAST, 'multicast'],
  [RouteType.BLACKHOLE, 'blackhole'],
  [RouteType.UNREACHABLE, 'unreachable'],
  [RouteType.PROHIBIT, 'prohibit'],
  [RouteType.THROW, 'throw'],
]);

export function typeNameOf(number: number): TypeName {
  return TYPE_NAMES.get(number) ?? 'other';
}

/** Which of the types we make that RTN_* is; undefined for any other. */
export function routeTypeOf(number: number): Route['type'] | undefined {
  return (Object.keys(TYPE_NUMBERS) as Route['type'][]).find((type) => TYPE_NUMBERS[type] === number);
}

/** A route as the kernel describes it. */
export interface RouteRecord {
  readonly family: Family;
  readonly destination: Subnet;
  readonly table: number;
  readonly tos: number;
  readonly protocol: number;
  /** RTN_* */
  readonly type: number;
  readonly interfaceIndex: number | undefined;
  readonly gateway: IpAddress | undefined;
  /** It leads by a nexthop object; what that is, the kernel may leave out (`nexthop_compat_mode` 0). */
  readonly nexthopId?: number;
  readonly source: IpAddress | undefined;
  readonly metric: number;
  readonly isOnlink: boolean;
  /** It has what none of ours has, and packets may be lost by: an MTU or the like, or a further encapsulation. */
  readonly isBurdened?: true;
}

const attributes = new AttributeIndex(RTA.NH_ID);

/** The route that an RTM_NEWROUTE or RTM_DELROUTE tells of; undefined when it makes no sense or is neither IPv4 nor IPv6. */
export function parseRoute({ buffer, start, end }: Message): RouteRecord | undefined {
  if (end - start < HEADER) return undefined;
  const family = familyOfNumber(buffer[start]!);
  if (!family) return undefined;
  attributes.read(buffer, start + HEADER, end);
  const nexthopId = attributes.u32(RTA.NH_ID);
  const isBurdened = BURDENS.some((type) => attributes.bytes(type) !== undefined);
  return {
    family,
    destination: { address: attributes.address(RTA.DST) ?? ANY[family], prefixLength: buffer[start + 1]! },
    table: attributes.u32(RTA.TABLE) ?? buffer[start + 4]!,
    tos: buffer[start + 3]!,
    protocol: buffer[start + 5]!,
    type: buffer[start + 7]!,
    interfaceIndex: attributes.u32(RTA.OIF),
    gateway: attributes.address(RTA.GATEWAY),
    ...(nexthopId === undefined ? {} : { nexthopId }),
    source: attributes.address(RTA.PREFSRC),
    metric: attributes.u32(RTA.PRIORITY) ?? 0,
    isOnlink: (readU32.call(buffer, start + 8) & ONLINK) !== 0,
    ...(isBurdened ? { isBurdened } : {}),
  };
}

/** Where a route over several links leads: struct rtnexthop, in their order. Empty for a route over one link or none. */
export function hopsOf({ buffer, start, end }: Message): Pick<RouteRecord, 'interfaceIndex' | 'gateway'>[] {
  attributes.read(buffer, start + HEADER, end);
  const hops = attributes.bytes(RTA.MULTIPATH);
  const found: Pick<RouteRecord, 'interfaceIndex' | 'gateway'>[] = [];
  for (let at = 0; hops && at + HOP_HEADER <= hops.length;) {
    const length = readU16.call(hops, at);
    if (length < HOP_HEADER) break;
    const hop = new AttributeIndex(RTA.GATEWAY);
    hop.read(hops, at + HOP_HEADER, Math.min(at + length, hops.length));
    found.push({ interfaceIndex: readU32.call(hops, at + 4), gateway: hop.address(RTA.GATEWAY) });
    at += (length + 3) & ~3;
  }
  return found;
}

/** Where a route leads to, without reading the rest of it: hosts have up to a million. */
export function destinationOf({ buffer, start, end }: Message): {
  bytes: Buffer | undefined;
  prefixLength: number;
} {
  attributes.read(buffer, start + HEADER, end);
  return { bytes: attributes.bytes(RTA.DST), prefixLength: buffer[start + 1]! };
}

/** True for a route of the main table with our mark over this interface, without reading the rest of it: there are thousands. */
export function isMarkedOver({ buffer, start, end }: Message, index: number): boolean {
  if (buffer[start + 5] !== ROUTE_PROTOCOL || buffer[start + 4] !== RoutingTable.MAIN) return false;
  attributes.read(buffer, start + HEADER, end);
  return attributes.u32(RTA.OIF) === index;
}

/** Which routes to dump: the kernel leaves out all others. */
export interface RouteFilter {
  readonly family: Family;
  /** Of which table: the main one, if nothing is said. */
  readonly table?: number | 'all';
  readonly protocol?: number;
  readonly interfaceIndex?: number;
}

/** Asks (by a dump) for routes. */
export function getRoutes({
  family,
  table = RoutingTable.MAIN,
  protocol = 0,
  interfaceIndex = 0,
}: RouteFilter): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETROUTE, flags, HEADER);
    writer.headerU8(0, FAMILY_NUMBERS[family]);
    writer.headerU8(5, protocol);
    if (table !== 'all') writer.u32(RTA.TABLE, table);
    if (interfaceIndex !== 0) writer.u32(RTA.OIF, interfaceIndex);
    writer.end();
  };
}

/** ip(8): `ip route get ADDRESS [from SOURCE]`. */
export function getRouteTo(destination: IpAddress, source?: IpAddress): RequestWriter {
  return (writer, flags) => writeQuestion(writer, flags, destination, 0, { source });
}

/** ip(8): `ip route get fibmatch ADDRESS`: the entry of a table that is used for the address. Since Linux 4.13. */
export function getRouteMatch(destination: IpAddress): RequestWriter {
  return (writer, flags) => writeQuestion(writer, flags, destination, FIB_MATCH[familyOf(destination)]);
}

/** ip(8): `ip route get fibmatch ADDRESS from SOURCE iif LINK`: the entry of a table that such a packet takes. Since Linux 4.13. */
export function getRouteOf({ destination, source, input }: RouteQuestion): RequestWriter {
  return (writer, flags) =>
    writeQuestion(writer, flags, destination, FIB_MATCH[familyOf(destination)], { source, input });
}

function writeQuestion(
  writer: MessageWriter,
  flags: number,
  destination: IpAddress,
  routeFlags: number,
  { source, input }: Partial<RouteQuestion> = {},
): void {
  writer.begin(MessageType.GETROUTE, flags, HEADER);
  writer.headerU8(0, familyNumberOf(destination));
  writer.headerU8(1, bitsOf(familyOf(destination)));
  if (source !== undefined) writer.headerU8(2, bitsOf(familyOf(source)));
  writer.headerU32(8, routeFlags);
  writer.address(RTA.DST, destination);
  if (source !== undefined) writer.address(RTA.SRC, source);
  if (input !== undefined) writer.u32(RTA.IIF, input);
  writer.end();
}

/** Where a new route goes among others of its destination and metric. */
export type RoutePlacement = 'alone' | 'behind';

/**
 * `alone`: refused (EEXIST) where the kernel has any route of that destination and metric, whoever's. `behind`: after all of them,
 * refused only if just this route is there. `replace` would take the place of the first of them, somebody else's too. Of IPv6 routes,
 * an appended one would become a further hop of the first.
 */
const PLACEMENTS: Readonly<Record<Family, Readonly<Record<RoutePlacement, number>>>> = {
  ipv4: { alone: FlagsNew.CREATE | FlagsNew.EXCL, behind: FlagsNew.CREATE | FlagsNew.APPEND },
  ipv6: { alone: FlagsNew.CREATE | FlagsNew.REPLACE, behind: FlagsNew.CREATE | FlagsNew.REPLACE },
};

/**
 * ip(8): `ip route add|append [unreachable|blackhole] DESTINATION [via GATEWAY onlink] dev INDEX proto … metric … src …`, scope link where
 * there is no gateway, as ip(8) does.
 */
export function writeRoute(
  writer: MessageWriter,
  object: Route,
  index: number | undefined,
  placement: RoutePlacement,
): void {
  const { type, gateway } = object;
  begin(writer, MessageType.NEWROUTE, PLACEMENTS[familyOf(object.destination.address)][placement], object);
  writer.headerU8(6, type === 'unicast' && !gateway ? RouteScope.LINK : RouteScope.UNIVERSE);
  writer.headerU8(7, TYPE_NUMBERS[type]);
  if (gateway) writer.headerU32(8, ONLINK);
  attributesOf(writer, object, index);
  if (gateway) writer.address(RTA.GATEWAY, gateway);
  if (object.source) writer.address(RTA.PREFSRC, object.source);
  writer.end();
}

/** ip(8): `ip route del DESTINATION dev INDEX proto … metric …`: only the route that is so. */
export function writeRouteRemoval(writer: MessageWriter, object: Route, index: number | undefined): void {
  begin(writer, MessageType.DELROUTE, 0, object);
  writer.headerU8(6, RouteScope.NOWHERE);
  writer.headerU8(7, TYPE_NUMBERS[object.type]);
  attributesOf(writer, object, index);
  writer.end();
}

function begin(writer: MessageWriter, type: number, flags: number, { destination, protocol }: Route): void {
  writer.begin(type, flags, HEADER);
  writer.headerU8(0, familyNumberOf(destination.address));
  writer.headerU8(1, destination.prefixLength);
  writer.headerU8(4, RoutingTable.MAIN);
  writer.headerU8(5, protocol);
}

function attributesOf(
  writer: MessageWriter,
  { destination, metric }: Route,
  index: number | undefined,
): void {
  writer.address(RTA.DST, destination.address);
  if (index !== undefined) writer.u32(RTA.OIF, index);
  if (metric !== 0) writer.u32(RTA.PRIORITY, metric);
}

function familyOfNumber(family: number): Family | undefined {
  if (family === FAMILY_NUMBERS.ipv4) return 'ipv4';
  return family === FAMILY_NUMBERS.ipv6 ? 'ipv6' : undefined;
}

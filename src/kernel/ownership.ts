/** Which of the objects the kernel holds are ours: by their marks, never by memory. */
import { contains, type IpAddress, type Subnet } from '../model/address';
import {
  ROUTE_PROTOCOL,
  type FdbEntry,
  type LinkAddress,
  type Neighbor,
  type Route,
} from '../model/kernel-state';
import { BOOT_PROTOCOL, ownerOfRoute, type OwnPlaces } from '../model/ownership';
import { RoutingTable } from './constants';
import type { AddressRecord } from './addresses';
import type { NeighborRecord } from './neighbors';
import { routeTypeOf, type RouteRecord } from './routes';
import { AF_BRIDGE, FlagBit, StateBit } from './wire';

/** An address on our link that lies in one of our networks. */
export function ownAddress(
  { address, prefixLength, scope }: AddressRecord,
  link: string,
  networks: readonly Subnet[],
): LinkAddress | undefined {
  if (scope === 'link' || !networks.some((network) => contains(network, address))) return undefined;
  return { kind: 'address', link, address, prefixLength };
}

/**
 * A neighbor on our link that is permanent, externally learned or beyond doubt: the kernel would never ask for it. A `failed` one is
 * ours only if it was learned before: those that we put as an answer are the kernel's to forget.
 */
export function ownNeighbor(record: NeighborRecord, link: string): Neighbor | undefined {
  const { state, flags, address, mac, milliseconds } = record;
  if (address === undefined || !isUnicastAddress(address)) return undefined;
  if (state & StateBit.PERMANENT) return { kind: 'neighbor', link, address, mac, state: 'permanent' };
  if (state & StateBit.NOARP) return { kind: 'neighbor', link, address, mac, state: 'noarp' };
  if (!(flags & FlagBit.EXT_LEARNED) || state & StateBit.INCOMPLETE) return undefined;
  if (state & StateBit.FAILED) return { kind: 'neighbor', link, address, mac: undefined, state: 'failed' };
  // STALE lasts exactly as long as nobody sends: the next packet makes it DELAY.
  const idleMilliseconds = state & StateBit.STALE ? milliseconds : 0;
  return { kind: 'neighbor', link, address, mac, state: 'learned', idleMilliseconds };
}

/** An FDB entry that the VXLAN device itself keeps for good; what it learned is not ours. */
export function ownFdbEntry(record: NeighborRecord, link: string): FdbEntry | undefined {
  const { family, state, flags, mac, address: destination } = record;
  if (family !== AF_BRIDGE || !(flags & FlagBit.SELF) || !(state & StateBit.PERMANENT)) return undefined;
  if (mac === undefined || destination === undefined) return undefined;
  return { kind: 'fdb-entry', link, mac, destination };
}

/** A route that may be ours or flannel's, as far as that can be told without the name of its link; undefined for all others. */
export function candidateRoute(record: RouteRecord): Route['type'] | undefined {
  const { protocol, table, tos, type } = record;
  if (protocol !== ROUTE_PROTOCOL && protocol !== BOOT_PROTOCOL) return undefined;
  return table === RoutingTable.MAIN && tos === 0 ? routeTypeOf(type) : undefined;
}

/** The route as an object of ours, or of flannel's; undefined if it is somebody else's. `linkName` tells the name of an interface. */
export function ownRoute(
  record: RouteRecord,
  places: OwnPlaces,
  linkName: (index: number) => string | undefined,
): Route | undefined {
  const type = candidateRoute(record);
  if (!type || !mayConcern(record, places)) return undefined;
  const { destination, gateway, source, metric, protocol, interfaceIndex, isOnlink } = record;
  // The kernel hangs an unreachable IPv6 route, and one that is a black hole, on lo.
  const isOnLink = type === 'unicast' && interfaceIndex !== undefined;
  const link = isOnLink ? linkName(interfaceIndex) : undefined;
  const marks = { type, link, destination, gateway, metric, protocol, isOnlink };
  if (ownerOfRoute(marks, places) === 'foreign') return undefined;
  const route: Route = { kind: 'route', type, destination, link, gateway, source, metric, protocol };
  return record.isBurdened && type === 'unicast' ? unfitting(route) : route;
}

/** The same route, as one that nobody would want: so one is put in its place, or it is removed. */
export function unfitting(route: Route): Route {
  return { ...route, type: 'unicast', link: undefined, gateway: undefined };
}

/** True for a route with our mark in our networks (in any, while these are not known), whatever its link: to be told of, not yet judged. */
export function isOfOurs(record: RouteRecord, networks: readonly Subnet[]): boolean {
  const isMarked = record.protocol === ROUTE_PROTOCOL && candidateRoute(record) !== undefined;
  const isWithin = networks.length === 0 || networks.some((network) => contains(network, record.destination));
  return isMarked && isWithin;
}

/** Spares looking up the link of most routes that others made. */
function mayConcern(
  { protocol, destination }: RouteRecord,
  { networks, ownSubnets = [] }: OwnPlaces,
): boolean {
  if (protocol === ROUTE_PROTOCOL) return true;
  return [...networks, ...ownSubnets].some((network) => contains(network, destination));
}

/** Neither multicast nor link-local. */
export function isUnicastAddress(address: IpAddress): boolean {
  if (address.includes(':')) return !/^(ff|fe[89ab])/.test(address);
  const first = parseInt(address, 10);
  return first < 224 && !address.startsWith('169.254.');
}

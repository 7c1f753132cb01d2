/** Which of the objects the kernel holds are ours: by their marks, never by memory. */
import { contains, sameSubnet, type IpAddress, type Subnet } from '../model/address';
import { ROUTE_PROTOCOL, type FdbEntry, type LinkAddress, type Neighbor } from '../model/kernel-state';
import { RouteType, RoutingTable } from './constants';
import type { AddressRecord } from './addresses';
import type { NeighborRecord } from './neighbors';
import { routeTypeOf, type RouteRecord } from './routes';
import { AF_BRIDGE, FlagBit, StateBit } from './wire';

/** What flannel marks its routes with, as does everybody who says nothing else. */
export const BOOT_PROTOCOL = 3;

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
 * A neighbor on our link that is permanent or externally learned. A `failed` one is ours only if it was learned before: those
 * that we put as an answer are the kernel's to forget.
 */
export function ownNeighbor(record: NeighborRecord, link: string): Neighbor | undefined {
  const { state, flags, address, mac, milliseconds } = record;
  if (address === undefined || !isUnicastAddress(address)) return undefined;
  if (state & StateBit.PERMANENT) return { kind: 'neighbor', link, address, mac, state: 'permanent' };
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

/** True for a route with our protocol number in the main table, of one of the types we make. */
export function isOwnRoute({ protocol, table, tos, type }: RouteRecord): boolean {
  const isOurType = routeTypeOf(type) !== undefined;
  return protocol === ROUTE_PROTOCOL && table === RoutingTable.MAIN && tos === 0 && isOurType;
}

/**
 * True for what flannel left on our link: a peer's route (onlink via the first address of its subnet), or the route of the
 * whole network that flannel 0.5.5 made.
 */
export function isFlannelRoute(record: RouteRecord, linkIndex: number, networks: readonly Subnet[]): boolean {
  const { protocol, table, tos, type, interfaceIndex, destination, gateway, isOnlink } = record;
  if (protocol !== BOOT_PROTOCOL || table !== RoutingTable.MAIN || tos !== 0) return false;
  if (type !== RouteType.UNICAST || interfaceIndex !== linkIndex) return false;
  if (gateway === undefined) return networks.some((network) => sameSubnet(network, destination));
  const isPeers = isOnlink && gateway === destination.address;
  return isPeers && networks.some((network) => contains(network, destination));
}

/** Neither multicast nor link-local. */
export function isUnicastAddress(address: IpAddress): boolean {
  if (address.includes(':')) return !/^(ff|fe[89ab])/.test(address);
  const first = parseInt(address, 10);
  return first < 224 && !address.startsWith('169.254.');
}

/**
 * Whose an object is. The same four answers hold for routes, rules, tables, files, locks and commands (docs/design.md §2): ours, ours from
 * before, flannel's leftover, somebody else's. What is somebody else's is neither changed nor replaced.
 */
import { contains, sameSubnet, type IpAddress, type Subnet } from './address';
import { ROUTE_PROTOCOL, type Route } from './kernel-state';
import { isOurLinkName } from './overlay';

/** What flannel marks its routes with, as does every program that names no protocol (RTPROT_BOOT). */
export const BOOT_PROTOCOL = 3;

/** A host route is no lease's. */
const LONGEST_LEASE = 30;

/** What this host knows of its place in the overlay: by it, marks that other programs may have, too, become ours. */
export interface OwnPlaces {
  /** Our link. */
  readonly link: string;
  /** The network of the overlay, and what else an address on our link may be of: what an earlier agent had. */
  readonly networks: readonly Subnet[];
  /** Devices that an earlier agent of this overlay left: proved by their addresses, and by having no agent. */
  readonly formerLinks?: readonly string[];
  /** The subnets of our containers, now and before. */
  readonly ownSubnets?: readonly Subnet[];
  /** PublicIPs of peers, now and before. */
  readonly peerAddresses?: Pick<ReadonlySet<IpAddress>, 'has'>;
}

/** The marks of a route of the main table, for packets of any kind of service. */
export interface RouteMarks extends Pick<Route, 'type' | 'link' | 'destination' | 'gateway' | 'metric'> {
  readonly protocol: number;
  readonly isOnlink: boolean;
}

export type RouteOwner = 'ours' | 'flannel' | 'foreign';

/** Whose a route is; `ours` also for what an earlier agent of ours left. */
export function ownerOfRoute(route: RouteMarks, places: OwnPlaces): RouteOwner {
  if (route.protocol === ROUTE_PROTOCOL) return isOurs(route, places) ? 'ours' : 'foreign';
  return isFlannelRoute(route, places) ? 'flannel' : 'foreign';
}

/**
 * The mark says "made by vtepd". Made by us is what is on our link, and what is in our networks on no link at all, or on one that is no
 * overlay's: that is one of our routes which somebody turned. Routes on the device of another overlay are that overlay's.
 */
function isOurs({ link, destination }: RouteMarks, places: OwnPlaces): boolean {
  if (isOwnLink(link, places)) return true;
  if (link !== undefined && isOurLinkName(link)) return false;
  return places.networks.some((network) => contains(network, destination));
}

/**
 * What flannel left: on our link the route to a peer (onlink via the first address of its subnet) and, since flannel 0.5.5, that of the
 * whole network; by the underlay the route to a peer's subnet via its PublicIP (host-gw, DirectRouting); and the black hole for our own
 * subnet (`--ip-blackhole-route`).
 */
function isFlannelRoute(route: RouteMarks, places: OwnPlaces): boolean {
  const { protocol, type, link, destination, gateway, metric } = route;
  if (protocol !== BOOT_PROTOCOL) return false;
  const { networks, ownSubnets = [], peerAddresses } = places;
  if (type === 'blackhole') return metric === 0 && ownSubnets.some((own) => sameSubnet(own, destination));
  if (type !== 'unicast') return false;
  const isInNetwork = networks.some((network) => contains(network, destination));
  if (!isOwnLink(link, places)) {
    const isLease = isInNetwork && metric === 0 && destination.prefixLength <= LONGEST_LEASE;
    return isLease && gateway !== undefined && (peerAddresses?.has(gateway) ?? false);
  }
  if (gateway === undefined) return networks.some((network) => sameSubnet(network, destination));
  return route.isOnlink && gateway === destination.address && isInNetwork;
}

function isOwnLink(link: string | undefined, { link: own, formerLinks = [] }: OwnPlaces): boolean {
  return link !== undefined && (link === own || formerLinks.includes(link));
}

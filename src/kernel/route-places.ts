/** Putting a route where the kernel has others of its destination and metric. */
import { sameSubnet } from '../model/address';
import { ROUTE_PROTOCOL, type Route } from '../model/kernel-state';
import type { OwnPlaces } from '../model/ownership';
import { RoutingTable } from './constants';
import { findLink } from './observation';
import { ownRoute } from './ownership';
import { errnoName, type Refusal } from './refusal';
import { getRouteMatch, parseRoute, writeRoute, writeRouteRemoval, type RouteRecord } from './routes';
import type { Rtnetlink } from './rtnetlink';

/** Of one destination and metric, others of ours than the one that is wanted: more are left to the next observation. */
const MOST_OTHERS = 8;

/**
 * Puts a route behind all that have its destination and metric, and then removes those before it that are ours or flannel's: so a new
 * way exists before the old one goes, and a route of somebody else's stays. Returns the refusal, if it was refused.
 */
export function putBehind(
  netlink: Rtnetlink,
  route: Route,
  index: number | undefined,
  places: OwnPlaces | undefined,
): Refusal | undefined {
  const refusal = netlink.execute((writer) => writeRoute(writer, route, index, 'behind')).get(0);
  // Just this one is there.
  if (refusal && errnoName(refusal.errno) !== 'EEXIST') return refusal;
  for (let n = 0; n < MOST_OTHERS; n++) {
    const first = firstOf(netlink, route);
    const other = first && otherOfOurs(netlink, first, route, index, places);
    if (!other) return undefined;
    const failed = netlink.execute((writer) => writeRouteRemoval(writer, other, first.interfaceIndex)).get(0);
    if (failed) return undefined;
  }
  return undefined;
}

/** The first route of that destination and metric, as far as none of a longer prefix hides it. */
function firstOf(netlink: Rtnetlink, { destination, metric }: Route): RouteRecord | undefined {
  let found: RouteRecord | undefined;
  netlink.ask(getRouteMatch(destination.address), (message) => (found = parseRoute(message) ?? found));
  if (found?.table !== RoutingTable.MAIN || found.tos !== 0 || found.metric !== metric) return undefined;
  return sameSubnet(found.destination, destination) ? found : undefined;
}

/** The route as an object, if it is ours or flannel's, and not the one that is wanted. */
function otherOfOurs(
  netlink: Rtnetlink,
  record: RouteRecord,
  wanted: Route,
  index: number | undefined,
  places: OwnPlaces | undefined,
): Route | undefined {
  // What was observed last may have been another link's.
  const here = { networks: [], ...places, link: wanted.link ?? places?.link ?? '' };
  const linkName = (other: number) => (other === index ? wanted.link : findLink(netlink, other)?.name);
  const route = ownRoute(record, here, linkName);
  if (!route) return undefined;
  const isWanted =
    route.protocol === ROUTE_PROTOCOL &&
    route.type === wanted.type &&
    route.link === wanted.link &&
    route.gateway === wanted.gateway &&
    route.source === wanted.source;
  return isWanted ? undefined : route;
}

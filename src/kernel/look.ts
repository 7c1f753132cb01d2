/** Looking up single objects, where reading a whole table would cost too much. */
import { sameSubnet } from '../model/address';
import {
  ROUTE_PROTOCOL,
  keyOf,
  type KernelObject,
  type KernelState,
  type ObjectName,
  type Route,
} from '../model/kernel-state';
import type { Scope } from '../ports';
import { RoutingTable } from './constants';
import type { Message } from './message';
import { getFdbEntry, getNeighbor, parseNeighbor } from './neighbors';
import { findLink } from './observation';
import { ownFdbEntry, ownNeighbor, ownRoute } from './ownership';
import { errnoName, kernelErrorOf } from './refusal';
import { getRouteMatch, parseRoute, type RouteRecord } from './routes';
import type { Rtnetlink } from './rtnetlink';

type RouteName = ObjectName & { kind: 'route' };

/** How the kernel says that it cannot tell (before 5.0), or that the link has gone meanwhile. */
const CANNOT_TELL: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'ENODEV']);

/**
 * What the kernel holds under these names, on the link of that index; undefined where it cannot tell. Of a route it tells only which one is used for
 * an address: where that is not the one of that name, and may hide it, the route counts as one that fits nothing. So does one
 * of `crowded`, because there were several.
 */
export function look(
  netlink: Rtnetlink,
  names: readonly ObjectName[],
  scope: Scope,
  linkIndex: number,
  crowded: ReadonlyMap<string, number>,
): KernelState | undefined {
  const found = new Map<string, KernelObject>();
  const note = (name: ObjectName, object: KernelObject | undefined) => {
    if (object) found.set(keyOf(name), object);
  };
  const isAsked = (name: ObjectName) =>
    name.kind === 'route' ? !crowded.has(keyOf(name)) : name.link === scope.link;
  for (const name of names)
    if (name.kind === 'route' && !isAsked(name)) note(name, uncertain(name, scope.link));
  const asked = names.filter(isAsked);
  // Judged once all answers are in: the name of a link is a question to the same socket.
  const matches: [name: RouteName, record: RouteRecord | undefined][] = [];
  const refusals = netlink.askAll(
    (writer) => {
      for (const name of asked) questionOf(name, linkIndex)(writer, 0);
    },
    (index, message) => {
      const name = asked[index]!;
      if (name.kind === 'route') matches.push([name, parseRoute(message)]);
      else note(name, entryOf(name, message, scope, linkIndex));
    },
  );
  const linkName = (index: number) => (index === linkIndex ? scope.link : findLink(netlink, index)?.name);
  for (const [name, record] of matches)
    for (const route of routesOf(name, record, scope, linkName)) found.set(keyOf(route), route);
  for (const [index, refusal] of refusals) {
    const code = errnoName(refusal.errno);
    const name = asked[index]!;
    // An unreachable route answers with an error. It may hide the one of that name.
    if (name.kind === 'route') note(name, uncertain(name, scope.link));
    else if (CANNOT_TELL.has(code)) return undefined;
    else if (code !== 'ENOENT') throw kernelErrorOf(`cannot look up ${keyOf(name)}`, refusal);
  }
  return found;
}

function questionOf(name: ObjectName, index: number) {
  switch (name.kind) {
    case 'fdb-entry':
      return getFdbEntry(name.mac, index);
    case 'neighbor':
      return getNeighbor(name.address, index);
    case 'route':
      return getRouteMatch(name.destination.address);
  }
}

function entryOf(
  name: Exclude<ObjectName, RouteName>,
  message: Message,
  scope: Scope,
  linkIndex: number,
): KernelObject | undefined {
  const record = parseNeighbor(message);
  if (record?.index !== linkIndex) return undefined;
  return name.kind === 'fdb-entry' ? ownFdbEntry(record, scope.link) : ownNeighbor(record, scope.link);
}

/** The route of that name, if it is there or may be, and the one of flannel's that hides it. */
function routesOf(
  name: RouteName,
  record: RouteRecord | undefined,
  scope: Scope,
  linkName: (index: number) => string | undefined,
): Route[] {
  // Rules may have led elsewhere.
  if (record?.table !== RoutingTable.MAIN || record.tos !== 0) return [uncertain(name, scope.link)];
  const { destination, metric } = record;
  // The longest prefix is used, and of that the lowest metric.
  if (destination.prefixLength < name.destination.prefixLength) return [];
  const isOther = !sameSubnet(destination, name.destination) || metric < name.metric;
  if (!isOther && metric > name.metric) return [];
  const route = ownRoute(record, scope, linkName);
  if (isOther) {
    const leftover = route && route.protocol !== ROUTE_PROTOCOL ? [route] : [];
    return [uncertain(name, scope.link), ...leftover];
  }
  if (!route) return [];
  return [route.link === scope.link ? route : uncertain(name, undefined)];
}

/** A route that may be there: none that anybody would want. Without a link, on whatever link. */
function uncertain({ destination, metric }: RouteName, link: string | undefined): Route {
  const nowhere = { gateway: undefined, source: undefined, protocol: ROUTE_PROTOCOL };
  return { kind: 'route', type: 'unicast', destination, link, metric, ...nowhere };
}

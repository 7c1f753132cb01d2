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
import { isFlannelRoute, isOwnRoute, ownFdbEntry, ownNeighbor } from './ownership';
import { errnoName, kernelErrorOf } from './refusal';
import { getRouteMatch, parseRoute, routeTypeOf } from './routes';
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
  const refusals = netlink.askAll(
    (writer) => {
      for (const name of asked) questionOf(name, linkIndex)(writer, 0);
    },
    (index, message) => note(asked[index]!, objectOf(asked[index]!, message, scope, linkIndex)),
  );
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

function objectOf(
  name: ObjectName,
  message: Message,
  scope: Scope,
  linkIndex: number,
): KernelObject | undefined {
  if (name.kind === 'route') return routeOf(name, message, scope, linkIndex);
  const record = parseNeighbor(message);
  if (record?.index !== linkIndex) return undefined;
  return name.kind === 'fdb-entry' ? ownFdbEntry(record, scope.link) : ownNeighbor(record, scope.link);
}

function routeOf(name: RouteName, message: Message, scope: Scope, linkIndex: number): Route | undefined {
  const record = parseRoute(message);
  // Rules may have led elsewhere.
  if (record?.table !== RoutingTable.MAIN || record.tos !== 0) return uncertain(name, scope.link);
  const { destination, metric, gateway, source, protocol, interfaceIndex } = record;
  // The longest prefix is used, and of that the lowest metric.
  if (destination.prefixLength < name.destination.prefixLength) return undefined;
  if (!sameSubnet(destination, name.destination) || metric < name.metric) return uncertain(name, scope.link);
  if (metric > name.metric) return undefined;
  if (!isOwnRoute(record) && !isFlannelRoute(record, linkIndex, scope.networks)) return undefined;
  if (interfaceIndex !== linkIndex) return uncertain(name, undefined);
  const type = routeTypeOf(record.type)!;
  return { kind: 'route', type, destination, link: scope.link, gateway, source, metric, protocol };
}

/** A route that may be there: none that anybody would want. Without a link, on whatever link. */
function uncertain({ destination, metric }: RouteName, link: string | undefined): Route {
  const nowhere = { gateway: undefined, source: undefined, protocol: ROUTE_PROTOCOL };
  return { kind: 'route', type: 'unicast', destination, link, metric, ...nowhere };
}

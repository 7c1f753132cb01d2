/** What choosing an underlay needs to know: interfaces with their addresses, and routes. */
import { familyOf, sameSubnet, type IpAddress, type Subnet } from '../model/address';
import { ROUTE_PROTOCOL } from '../model/kernel-state';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from '../model/network-interface';
import { RouteType } from './constants';
import { getAddresses, parseAddress, type AddressRecord } from './addresses';
import { getLink, parseLink } from './links';
import type { Message } from './message';
import { dumpAll } from './observation';
import { candidateRoute } from './ownership';
import { errnoName, kernelErrorOf } from './refusal';
import { hopsOf, getRouteTo, getRoutes, parseRoute, typeNameOf, type RouteRecord } from './routes';
import type { Rtnetlink } from './rtnetlink';
import { FAMILIES } from './wire';

/** "No route" in the kernel's words: none at all, or one that says unreachable, prohibit or blackhole. */
const NO_ROUTE: ReadonlySet<string> = new Set([
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EACCES',
  'EINVAL',
  'EAFNOSUPPORT',
]);

/** See `Kernel.interfaces`. Addresses that cannot be used yet (IPv6, not proved unique) are left out. */
export async function readInterfaces(netlink: Rtnetlink, signal: AbortSignal): Promise<NetworkInterface[]> {
  const links = await dumpAll(netlink, getLink(undefined), parseLink, signal);
  const addresses: AddressRecord[] = [];
  for (const family of FAMILIES) {
    // Without IPv6, a kernel answers for all families.
    const parse = (message: Message) => {
      const record = parseAddress(message);
      return record && familyOf(record.address) === family && record.usable ? record : undefined;
    };
    addresses.push(...(await dumpAll(netlink, getAddresses(family, 0), parse, signal)));
  }
  return links.map(({ index, name, mac, mtu, up, loopback, carrier, kind, vxlan }) => ({
    ...{ index, name, mac, mtu, up, loopback, carrier },
    ...(kind === undefined ? {} : { kind }),
    ...(vxlan ? { vtep: { underlayIndex: vxlan.underlayIndex, local: vxlan.local } } : {}),
    addresses: addresses
      .filter((record) => record.index === index)
      .map(({ index: _, usable: __, ...address }) => address),
  }));
}

/** See `Kernel.routeTo`. */
export function resolveRoute(
  netlink: Rtnetlink,
  destination: IpAddress,
  source?: IpAddress,
): ResolvedRoute | undefined {
  let found: ResolvedRoute | undefined;
  const refusal = netlink.ask(getRouteTo(destination, source), (message) => {
    const route = parseRoute(message);
    if (route) [found] = resolved(route, message);
  });
  if (refusal && !NO_ROUTE.has(errnoName(refusal.errno)))
    throw kernelErrorOf(`cannot find the route to ${destination}`, refusal);
  return found;
}

/** See `Kernel.defaultRoutes`. */
export async function readDefaultRoutes(netlink: Rtnetlink, signal: AbortSignal): Promise<ResolvedRoute[]> {
  const routes: ResolvedRoute[] = [];
  for (const family of FAMILIES) {
    const parse = (message: Message) => {
      // Before anything else: a host may have a million other routes.
      if (message.buffer[message.start + 1] !== 0) return undefined;
      const route = parseRoute(message);
      return route?.family === family && route.type === RouteType.UNICAST
        ? resolved(route, message)
        : undefined;
    };
    routes.push(...(await dumpAll(netlink, getRoutes({ family }), parse, signal)).flat());
  }
  return routes;
}

/** See `Kernel.networkRoutes`. */
export async function readNetworkRoutes(
  netlink: Rtnetlink,
  network: Subnet,
  signal: AbortSignal,
): Promise<NetworkRoute[]> {
  const family = familyOf(network.address);
  const parse = (message: Message): NetworkRoute | undefined => {
    // Before anything else: a host may have a million other routes.
    if (message.buffer[message.start + 1] !== network.prefixLength) return undefined;
    const route = parseRoute(message);
    if (route?.family !== family || route.tos !== 0 || !sameSubnet(route.destination, network))
      return undefined;
    const { destination, interfaceIndex, gateway, protocol, metric } = route;
    const type = typeNameOf(route.type);
    const hops = hopsOf(message).map((hop) => ({ interfaceIndex: hop.interfaceIndex, gateway: hop.gateway }));
    return {
      ...{ destination, interfaceIndex, gateway, protocol, metric },
      ...(type === 'unicast' ? {} : { type }),
      ...(hops.length > 0 ? { hops } : {}),
    };
  };
  return dumpAll(netlink, getRoutes({ family }), parse, signal);
}

/** See `Kernel.ownLinks`. */
export async function readOwnLinks(netlink: Rtnetlink, signal: AbortSignal): Promise<string[]> {
  const indexes = new Set<number>();
  const parse = (message: Message) => {
    const route = parseRoute(message);
    return route?.protocol === ROUTE_PROTOCOL && candidateRoute(route) ? route.interfaceIndex : undefined;
  };
  for (const family of FAMILIES) {
    const filter = { family, protocol: ROUTE_PROTOCOL };
    for (const index of await dumpAll(netlink, getRoutes(filter), parse, signal)) indexes.add(index);
  }
  const links = await dumpAll(netlink, getLink(undefined), parseLink, signal);
  return links.filter(({ index, vxlan }) => vxlan && indexes.has(index)).map(({ name }) => name);
}

/** One for each link that the route leads by. */
function resolved(route: RouteRecord, message: Message): ResolvedRoute[] {
  const { source } = route;
  const hops = hopsOf(message);
  return (hops.length > 0 ? hops : [route]).flatMap(({ interfaceIndex, gateway }) =>
    interfaceIndex === undefined ? [] : [{ interfaceIndex, source, gateway }],
  );
}

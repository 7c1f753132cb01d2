/** Whether the whole network may be routed to the VTEP, or something of this host would be hidden or replaced by that. */
import { contains, printSubnet, sameSubnet, type IpAddress, type Subnet } from '../model/address';
import { ROUTE_PROTOCOL } from '../model/kernel-state';
import type { HostNetwork, NetworkRoute } from '../model/network-interface';
import { MAIN_TABLE, printRouteEntry } from '../model/routing';
import { OVERLAY_DEVICE } from './underlay-candidates';

/** What stands in the way, for the log. */
export interface NetworkRouteObstacle {
  /** Constant text. */
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
}

/**
 * The first obstacle: an address that the underlay must reach (`guarded`), another program's route of exactly the network, with whatever
 * metric, or an address of another interface. Longer routes of others win by themselves. What is in the subnets of our containers is
 * ours (a bridge), and so is what overlay devices have (ours, one from before, or flannel's).
 */
export function networkRouteObstacle(
  network: Subnet,
  ownSubnets: readonly Subnet[],
  guarded: readonly IpAddress[],
  hostNetwork: HostNetwork,
): NetworkRouteObstacle | undefined {
  const fields = { network: printSubnet(network) };
  const needed = guarded.find((address) => contains(network, address));
  if (needed !== undefined)
    return {
      message: 'the network holds an address of the underlay: only peers are routed, all at once',
      fields: { ...fields, address: needed },
    };
  const route = hostNetwork.networkRoutes?.find((each) => isForeign(each, network, hostNetwork));
  if (route) {
    const text = printRoute(route, hostNetwork);
    return {
      message: "another program's route has the network: only peers are routed, all at once",
      fields: { ...fields, route: text },
    };
  }
  for (const { name, addresses } of hostNetwork.interfaces) {
    if (OVERLAY_DEVICE.test(name)) continue;
    const other = addresses.find(
      ({ address }) => contains(network, address) && !ownSubnets.some((own) => contains(own, address)),
    );
    if (other)
      return {
        message: 'the network holds an address of another interface: only peers are routed, all at once',
        fields: { ...fields, address: other.address, interface: name },
      };
  }
  return undefined;
}

/** The same as a part of a sentence. */
export function printObstacle({ fields }: NetworkRouteObstacle): string {
  const { address, route, interface: name } = fields;
  if (route !== undefined) return `another program has the route ${route}`;
  return name === undefined
    ? `the network holds ${address}, which the underlay must reach`
    : `the network holds ${address} of ${name}`;
}

function isForeign(route: NetworkRoute, network: Subnet, hostNetwork: HostNetwork): boolean {
  if (route.protocol === ROUTE_PROTOCOL || !sameSubnet(route.destination, network)) return false;
  const link = linkOf(route, hostNetwork);
  return link === undefined || !OVERLAY_DEVICE.test(link);
}

function linkOf(
  { interfaceIndex }: Pick<NetworkRoute, 'interfaceIndex'>,
  { interfaces }: HostNetwork,
): string | undefined {
  return interfaces.find(({ index }) => index === interfaceIndex)?.name;
}

/** `10.200.0.0/16 via 10.99.0.1 dev eth1 metric 100`, `blackhole 10.200.0.0/16`, as ip(8) has it. */
function printRoute(route: NetworkRoute, hostNetwork: HostNetwork): string {
  const { type = 'unicast' } = route;
  const ways = (route.hops ?? [route]).map((hop) => ({
    link: linkOf(hop, hostNetwork),
    gateway: hop.gateway,
  }));
  return printRouteEntry({ ...route, table: MAIN_TABLE, type, hops: type === 'unicast' ? ways : [] });
}

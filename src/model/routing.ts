/** How the kernel finds the way of a packet: rules lead to tables, and tables hold routes. What others have set, too. */
import { printSubnet, type IpAddress, type Subnet } from './address';

/** RT_TABLE_*: the tables that every host has. */
export const LOCAL_TABLE = 255;
export const MAIN_TABLE = 254;
export const DEFAULT_TABLE = 253;

export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'other';

/** One of the ways of a route. */
export interface RouteHop {
  /** Undefined where the route leads nowhere, or the interface has gone meanwhile. */
  readonly link: string | undefined;
  readonly gateway: IpAddress | undefined;
  /** A nexthop object of which no more is known: ip-nexthop(8). */
  readonly nexthopId?: number;
}

/** A route of any table, whoever made it: ip-route(8). */
export interface RouteEntry {
  readonly destination: Subnet;
  readonly table: number;
  readonly type: RouteType;
  /** RTPROT_* */
  readonly protocol: number;
  readonly metric: number;
  /** Several for a route over several links; none for one that leads nowhere. */
  readonly hops: readonly RouteHop[];
}

/** A rule: ip-rule(8). */
export interface RoutingRule {
  readonly priority: number;
  readonly source: Subnet | undefined;
  readonly destination: Subnet | undefined;
  /** `iif`: by which link the packet came; `lo` for one of this host. */
  readonly input: string | undefined;
  /** `oif`: the link that the sender is bound to. */
  readonly output: string | undefined;
  /** It takes packets with a mark, a type of service, a user, a protocol or a port, not any. */
  readonly isNarrow: boolean;
  /** It takes the packets of VRFs, and leads each to its VRF's table. */
  readonly isForVrfs: boolean;
  /** `not`: it takes all other packets. */
  readonly isInverted: boolean;
  readonly action: 'lookup' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit' | 'other';
  /** Where `lookup` looks. */
  readonly table: number;
  /** `goto`: the priority of the rule that is tried next. */
  readonly target?: number;
  /** `suppress_prefixlength`: what `lookup` finds of that length, or of a shorter one, is passed over. */
  readonly suppressedLength?: number;
  /** `suppress_ifgroup`: so is what leads by some interfaces. */
  readonly suppressesGroup?: true;
}

/** The rules, in the order in which they are tried, and what of the routes may concern us. */
export interface Routing {
  readonly rules: readonly RoutingRule[];
  readonly routes: readonly RouteEntry[];
}

/** Which way a packet takes: one of this host, or one that came in by `input`. */
export interface RouteQuestion {
  readonly destination: IpAddress;
  readonly source: IpAddress | undefined;
  /** The index of an interface. */
  readonly input: number | undefined;
}

/** `refused`: none, and senders hear it as this error: `EINVAL` (a black hole), `EHOSTUNREACH`, `EACCES` (prohibited), `ENETUNREACH` (no route at all). */
export type RouteAnswer =
  | { readonly kind: 'route'; readonly route: RouteEntry }
  | { readonly kind: 'refused'; readonly code: string };

/** As `ip route add` and `ip route del` take it. */
export function printRouteEntry({ destination, table, type, metric, hops }: RouteEntry): string {
  const ways = hops.map(
    ({ link, gateway, nexthopId }) =>
      `${gateway ? ` via ${gateway}` : ''}${link ? ` dev ${link}` : ''}${nexthopId ? ` nhid ${nexthopId}` : ''}`,
  );
  return [
    type === 'unicast' ? '' : `${type} `,
    printSubnet(destination),
    ways.length > 1 ? ways.map((way) => ` nexthop${way}`).join('') : (ways[0] ?? ''),
    metric === 0 ? '' : ` metric ${metric}`,
    table === MAIN_TABLE ? '' : ` table ${table === LOCAL_TABLE ? 'local' : table}`,
  ].join('');
}

/** What the kernel holds, or should hold, of ours: objects as values, each with a key that says which one it is. */
import { ipAddress, printSubnet, type Family, type IpAddress, type Subnet } from './address';
import type { MacAddress } from './mac';

/**
 * The route protocol number that marks a route as vtepd's (`ip route … proto 84`). Not in iproute2's rt_protos list, above
 * the kernel's reserved 0…4.
 */
export const ROUTE_PROTOCOL = 84;

/** The metric of `unreachable` routes: the largest there is, so that a peer's route always wins over them. */
export const UNREACHABLE_METRIC = 0xffffffff;

/**
 * The metric of the `blackhole` route for our own subnet: beyond what any bridge's route has. Flannel gives it none, and so may
 * put it in the place of the bridge's own.
 */
export const BLACKHOLE_METRIC = UNREACHABLE_METRIC - 1;

/** A network device. `vxlan` is undefined for a device of another type, which can only be re-created. */
export interface Link {
  readonly kind: 'link';
  readonly name: string;
  readonly mac: MacAddress;
  /** Bytes of one overlay packet. */
  readonly mtu: number;
  readonly up: boolean;
  /** Interface index of the bridge (or bond) it is a port of: what arrives then goes there, and not to our routes. */
  readonly master?: number | undefined;
  /** `protodown on`: the device has no carrier, and no packet passes. Absent: off. */
  readonly protodown?: boolean;
  /** `arp off`: the kernel asks for no neighbor, and user space neither. Absent: it asks. */
  readonly noarp?: boolean;
  readonly vxlan: VxlanParameters | undefined;
}

/** ip-link(8): `type vxlan id VNI local ADDRESS dev UNDERLAY dstport PORT [no]learning [l2miss] [gbp]`. */
export interface VxlanParameters {
  readonly vni: number;
  /** Source address of the outer packets: the underlay interface's own address. */
  readonly local: IpAddress | undefined;
  /** Interface index of the underlay; 0 for none. */
  readonly underlayIndex: number;
  /** UDP port, 1…65535. */
  readonly port: number;
  readonly learning: boolean;
  readonly gbp: boolean;
  /** Written when the device is made; a device without it is still good (flannel makes none). */
  readonly l2miss: boolean;
  /** Hops of the outer packets. Absent: as many as the host's other packets. */
  readonly ttl?: number | undefined;
  /** `set` (1) or `inherit` (2): the underlay drops an outer packet that is too large for it. Absent: it fragments it. */
  readonly dontFragment?: number | undefined;
  /** Checksums that only a host which has the same switched on takes out again: all others drop such packets. Absent: off. */
  readonly remoteChecksum?: boolean;
  /** It takes no more FDB entries than so many. Absent: any number. */
  readonly mostFdbEntries?: number;
  /** The outer packets have the hops of the inner ones: those end at the first router which should end behind the tunnel. Absent: off. */
  readonly ttlInherited?: boolean;
}

/** How the kernel resolves neighbors on a link (sysctl `net.ipv4.neigh.LINK.*`). */
export interface NeighborParameters {
  readonly kind: 'neighbor-parameters';
  readonly link: string;
  readonly family: Family;
  /** Questions the kernel asks user space before it gives up: what raises the L3 miss. */
  readonly appSolicit: number;
  /** Bytes of packets the kernel keeps per neighbor while it waits for an answer (`unres_qlen_bytes`). */
  readonly queueBytes: number;
}

/** `ip address add ADDRESS/PREFIXLENGTH dev LINK` */
export interface LinkAddress {
  readonly kind: 'address';
  readonly link: string;
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** Where an FDB entry sends that does not go by the port, VNI and link of its device, or by a nexthop object: none that anybody would want. */
export const DETOUR = ipAddress('0.0.0.0');

/** A bridge(8) fdb entry of a VXLAN device: frames for `mac` go to `destination`; self, permanent. */
export interface FdbEntry {
  readonly kind: 'fdb-entry';
  readonly link: string;
  readonly mac: MacAddress;
  readonly destination: IpAddress;
}

/**
 * - `permanent`: never asked about again.
 * - `learned`: reachable and externally learned; the kernel probes it when in use and never collects it (any of the states
 *   REACHABLE, STALE, DELAY, PROBE when observed).
 * - `failed`: nobody has this address; senders hear "host unreachable" at once.
 * - `noarp`: observed only: somebody else's word, which the kernel never doubts.
 */
export type NeighborState = 'permanent' | 'learned' | 'failed' | 'noarp';

/** `ip neighbor replace ADDRESS lladdr MAC dev LINK nud …`; `mac` is undefined exactly for `failed`. */
export interface Neighbor {
  readonly kind: 'neighbor';
  readonly link: string;
  readonly address: IpAddress;
  readonly mac: MacAddress | undefined;
  readonly state: NeighborState;
  /** Observed only: for how long nobody has used it, in milliseconds; 0 while in use. Not part of its identity or value. */
  readonly idleMilliseconds?: number;
}

/**
 * A route of the main table. `gateway` undefined and scope link: the network route; with a gateway: `onlink`, a peer's
 * route; `unreachable`: the answer for a subnet that nobody leases; `blackhole`: our own subnet, where no bridge has it.
 */
export interface Route {
  readonly kind: 'route';
  readonly type: 'unicast' | 'unreachable' | 'blackhole';
  readonly destination: Subnet;
  /** Defined exactly for `unicast`. */
  readonly link: string | undefined;
  readonly gateway: IpAddress | undefined;
  /** Preferred source address. */
  readonly source: IpAddress | undefined;
  readonly metric: number;
  /** {@link ROUTE_PROTOCOL}, or 3 (boot) for one that flannel left on our link. */
  readonly protocol: number;
}

export type KernelObject = Link | NeighborParameters | LinkAddress | FdbEntry | Neighbor | Route;

/** A set of kernel objects, at most one per {@link keyOf}. */
export type KernelState = ReadonlyMap<string, KernelObject>;

/** Names one of the many objects that peers are made of, whatever its value: enough to look it up in the kernel. Routes are unicast. */
export type ObjectName =
  | Pick<FdbEntry, 'kind' | 'link' | 'mac'>
  | Pick<Neighbor, 'kind' | 'link' | 'address'>
  | Pick<Route, 'kind' | 'destination' | 'metric'>;

/** The name of an object; undefined for one that has none: a link, what a link has only a few of, and a route that leads nowhere. */
export function nameOf(object: KernelObject | ObjectName): ObjectName | undefined {
  switch (object.kind) {
    case 'fdb-entry':
      return { kind: object.kind, link: object.link, mac: object.mac };
    case 'neighbor':
      return { kind: object.kind, link: object.link, address: object.address };
    case 'route':
      if ('type' in object && object.type !== 'unicast') return undefined;
      return { kind: object.kind, destination: object.destination, metric: object.metric };
    case 'link':
    case 'neighbor-parameters':
    case 'address':
      return undefined;
  }
}

/** Which object this is, apart from its value: what the kernel replaces when we put it. */
export function keyOf(object: KernelObject | ObjectName): string {
  switch (object.kind) {
    case 'link':
      return `link ${object.name}`;
    case 'neighbor-parameters':
      return `neighbor-parameters ${object.link} ${object.family}`;
    case 'address':
      return `address ${object.link} ${object.address}/${object.prefixLength}`;
    case 'fdb-entry':
      return `fdb-entry ${object.link} ${object.mac}`;
    case 'neighbor':
      return `neighbor ${object.link} ${object.address}`;
    case 'route':
      return `route ${printSubnet(object.destination)} ${object.metric}`;
  }
}

export function kernelStateOf(objects: Iterable<KernelObject>): Map<string, KernelObject> {
  const state = new Map<string, KernelObject>();
  for (const object of objects) state.set(keyOf(object), object);
  return state;
}

/** The object as ip(8) and bridge(8) would print it; for logs, `status` and tests. */
export function printKernelObject(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return `link ${object.name} ${object.mac} mtu ${object.mtu} ${object.up ? 'up' : 'down'}${printObstacles(object)}${printVxlan(object.vxlan)}`;
    case 'neighbor-parameters':
      return `ntable ${object.family} dev ${object.link} app_probes ${object.appSolicit} queue_bytes ${object.queueBytes}`;
    case 'address':
      return `addr ${object.address}/${object.prefixLength} dev ${object.link}`;
    case 'fdb-entry':
      return `fdb ${object.mac} dev ${object.link} dst ${object.destination} self permanent`;
    case 'neighbor':
      return `neigh ${object.address} dev ${object.link}${object.mac ? ` lladdr ${object.mac}` : ''} ${object.state}`;
    case 'route':
      return printRoute(object);
  }
}

function printObstacles({ master, protodown, noarp }: Link): string {
  return `${master ? ` master if${master}` : ''}${protodown ? ' protodown' : ''}${noarp ? ' noarp' : ''}`;
}

function printVxlan(vxlan: VxlanParameters | undefined): string {
  if (!vxlan) return ' (not a vxlan device)';
  const { vni, local, underlayIndex, port, learning, gbp, ttl, dontFragment } = vxlan;
  const odd = `${ttl ? ` ttl ${ttl}` : ''}${dontFragment ? ' df' : ''}`;
  return ` vxlan id ${vni} local ${local ?? 'any'} dev if${underlayIndex} dstport ${port} ${learning ? '' : 'no'}learning${gbp ? ' gbp' : ''}${odd}`;
}

function printRoute(route: Route): string {
  const type = route.type === 'unicast' ? '' : `${route.type} `;
  const via = route.gateway ? ` via ${route.gateway}` : '';
  const dev = route.link ? ` dev ${route.link}` : '';
  const onlink = route.gateway ? ' onlink' : '';
  const source = route.source ? ` src ${route.source}` : '';
  return `route ${type}${printSubnet(route.destination)}${via}${dev} proto ${route.protocol}${source} metric ${route.metric}${onlink}`;
}

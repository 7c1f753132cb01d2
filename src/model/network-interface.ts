/** The interfaces and routes of this host, as far as choosing an underlay needs them. */
import type { IpAddress, Subnet } from './address';
import type { MacAddress } from './mac';
import type { RouteType } from './routing';

export interface NetworkInterface {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  readonly up: boolean;
  /** Something is at its other end; for a bridge: one of its ports is up. */
  readonly carrier: boolean;
  readonly loopback: boolean;
  readonly mac: MacAddress | undefined;
  /** As `ip -d link` names it: `bridge`, `vxlan`, `veth`. Undefined for hardware. */
  readonly kind?: string | undefined;
  /** What a vxlan device sends by. */
  readonly vtep?: { readonly underlayIndex: number; readonly local: IpAddress | undefined } | undefined;
  readonly addresses: readonly InterfaceAddress[];
}

export interface InterfaceAddress {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly scope: 'global' | 'link' | 'host';
  /** Configured by hand, not by DHCP or router advertisement. */
  readonly permanent: boolean;
  readonly temporary: boolean;
  readonly deprecated: boolean;
  /** IPv4: it came after another address of the same prefix. */
  readonly secondary?: true;
  /** The address at the other end of a point-to-point link; the prefix is then that of the other end. */
  readonly peer?: IpAddress;
}

/** Where a route leads. One over several links is one of these for each of them. */
export interface ResolvedRoute {
  readonly interfaceIndex: number;
  readonly source: IpAddress | undefined;
  readonly gateway: IpAddress | undefined;
}

/** A route of the main table to a whole network, whoever made it. One over several links has neither link nor gateway. */
export interface NetworkRoute {
  readonly destination: Subnet;
  readonly interfaceIndex: number | undefined;
  readonly gateway: IpAddress | undefined;
  readonly protocol: number;
  readonly metric: number;
  /** Undefined: unicast. */
  readonly type?: RouteType;
  /** Where it leads over several links: its ways. */
  readonly hops?: readonly Pick<NetworkRoute, 'interfaceIndex' | 'gateway'>[];
}

/** What a host's network looks like at one moment. */
export interface HostNetwork {
  readonly interfaces: readonly NetworkInterface[];
  /** Of the main table, both families, in the kernel's order. */
  readonly defaultRoutes: readonly ResolvedRoute[];
  /** Those of exactly the overlay's network; undefined while that is not known. */
  readonly networkRoutes?: readonly NetworkRoute[];
}

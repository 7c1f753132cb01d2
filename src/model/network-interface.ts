/** The interfaces and routes of this host, as far as choosing an underlay needs them. */
import type { IpAddress } from './address';
import type { MacAddress } from './mac';

export interface NetworkInterface {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  readonly up: boolean;
  /** Something is at its other end; for a bridge: one of its ports is up. */
  readonly carrier: boolean;
  readonly loopback: boolean;
  readonly mac: MacAddress | undefined;
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
}

export interface ResolvedRoute {
  readonly interfaceIndex: number;
  readonly source: IpAddress | undefined;
  readonly gateway: IpAddress | undefined;
}

/** What a host's network looks like at one moment. */
export interface HostNetwork {
  readonly interfaces: readonly NetworkInterface[];
  /** Of the main table, both families, in the kernel's order. */
  readonly defaultRoutes: readonly ResolvedRoute[];
}

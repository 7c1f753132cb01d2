/** The network configuration stored at `<prefix>/config`: flannel's JSON, its defaults and its validation. */
import type { IpAddress, Subnet } from './address';

/** How subnets of one family are cut from its network. All bounds are inclusive and subnet boundaries. */
export interface SubnetRange {
  readonly network: Subnet;
  /** Prefix length of every host's subnet. */
  readonly subnetLength: number;
  /** First and last subnet that may be leased, by their first address. */
  readonly subnetMin: IpAddress;
  readonly subnetMax: IpAddress;
}

/** The `Backend` object as the vxlan backend reads it. */
export interface VxlanBackend {
  readonly type: 'vxlan';
  readonly vni: number;
  /** UDP port; the kernel's 8472 when the configuration names none. */
  readonly port: number;
  /** MTU of the outgoing (outer) packets; undefined: that of the underlay interface. */
  readonly mtu: number | undefined;
  readonly gbp: boolean;
  readonly learning: boolean;
  readonly directRouting: boolean;
}

/** A backend that is none of ours (yet): kept by name for a clear message. */
export interface OtherBackend {
  readonly type: 'other';
  /** As written, lower-cased; `udp` when there is no Backend at all, empty when it has no Type. */
  readonly name: string;
}

export type Backend = VxlanBackend | OtherBackend;

/** A validated configuration with every default filled in. A family is present exactly if it is enabled. */
export interface NetworkConfig {
  readonly ipv4: SubnetRange | undefined;
  readonly ipv6: SubnetRange | undefined;
  /** Undefined where nobody wrote it: each host takes what it uses. Flannel takes iptables then, as for false. */
  readonly enableNfTables: boolean | undefined;
  readonly backend: Backend;
}

/** Everything about this host's place in the overlay that decides what its kernel should hold, but the peers. */
import type { IpAddress, Subnet } from './address';
import type { MacAddress } from './mac';
import type { VxlanBackend } from './network-config';

/** The underlay interface and how peers reach us through it. */
export interface Underlay {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** The interface's own address: the source of outer packets. */
  readonly address: IpAddress;
  /** What peers send to: the interface's address, or the one that `--public-ip` names. */
  readonly publicIp: IpAddress;
}

/**
 * When peers are written to the kernel: all at once (`preload`), or each when the kernel asks for it, until it has been
 * unused for a while (`on-demand`).
 */
export type ResolveMode =
  { readonly kind: 'preload' } | { readonly kind: 'on-demand'; readonly idleMilliseconds: number };

export interface Overlay {
  readonly network: Subnet;
  /** Our own subnet. */
  readonly subnet: Subnet;
  readonly backend: VxlanBackend;
  readonly underlay: Underlay;
  readonly vtepMac: MacAddress;
  readonly resolve: ResolveMode;
  /**
   * Whether the whole network may be routed to the VTEP, which is what makes the kernel ask about unknown peers. Not if it
   * holds an address that the underlay must reach.
   */
  readonly hasNetworkRoute: boolean;
  /** `--ip-blackhole-route`: what is for our own subnet, and no bridge takes, is to end here. */
  readonly hasBlackholeRoute: boolean;
}

/** `flannel.1`, as flannel names it. */
export function linkNameOf(backend: VxlanBackend): string {
  return `flannel.${backend.vni}`;
}

/** False for what else is locked on a host. */
export function isOurLinkName(name: string): boolean {
  return /^flannel\.\d+$/.test(name);
}

/** Which addresses of this host can be the underlay's, and which of several is the best. */
import {
  bitsOf,
  contains,
  familyOf,
  subnetOf,
  type Family,
  type IpAddress,
  type Subnet,
} from '../model/address';
import type { MacAddress } from '../model/mac';
import type {
  HostNetwork,
  InterfaceAddress,
  NetworkInterface,
  ResolvedRoute,
} from '../model/network-interface';
import type { Underlay } from '../model/overlay';
import { whyNoHost } from '../model/special-addresses';

/** What this host was before, as far as that is known. */
export interface UnderlayPast {
  /** In use: it stays while its interface has it. */
  readonly current?: Pick<Underlay, 'name' | 'index' | 'address'> | undefined;
  /** What was in use before another address, which was beside it, had to stand in for it. */
  readonly origin?: Pick<Underlay, 'name' | 'index' | 'address'> | undefined;
  /** Addresses under which we had our lease, the likeliest first. */
  readonly addresses?: readonly IpAddress[] | undefined;
  /** The interface that carried the overlay. */
  readonly home?: { readonly name: string; readonly mac: MacAddress | undefined } | undefined;
  /** Our subnets, now and before: what has an address of one is on the containers' side. */
  readonly subnets?: readonly Subnet[] | undefined;
}

export interface Candidate {
  readonly nic: NetworkInterface;
  readonly own: InterfaceAddress;
}

/** What joins containers or virtual machines to their host, by the names that Docker, Podman, LXC, libvirt and CNI give it. */
const CONTAINER_BRIDGE =
  /^(docker\d+|br-[\da-f]{12}|podman\d+|cni-?\w*\d+|cbr\d+|lxcbr\d+|lxdbr\d+|virbr\d+)$/;
/** As flannel and we name them. */
export const OVERLAY_DEVICE = /^flannel(-v6)?\.\d+$/;
const BRIDGE_KINDS: readonly (string | undefined)[] = ['bridge', 'openvswitch'];

/** Why an interface cannot be the underlay, even if the user names it; undefined where it can. */
export function whyNeverUnderlay(nic: NetworkInterface, { subnets = [] }: UnderlayPast): string | undefined {
  if (OVERLAY_DEVICE.test(nic.name)) return 'a device of an overlay';
  const isBehind = subnets.some((own) => nic.addresses.some(({ address }) => contains(own, address)));
  return isBehind && BRIDGE_KINDS.includes(nic.kind) ? 'a bridge of the containers of this host' : undefined;
}

/** False for what only the user may choose, by its name. */
export function isFoundBySearch(nic: NetworkInterface): boolean {
  return !nic.loopback && !CONTAINER_BRIDGE.test(nic.name);
}

/** The addresses of an interface at which peers can reach it. */
export function candidatesOf(nic: NetworkInterface, family: Family, past: UnderlayPast): Candidate[] {
  if (whyNeverUnderlay(nic, past)) return [];
  return nic.addresses
    .filter((own) => familyOf(own.address) === family && whyUnusable(own, past) === undefined)
    .map((own) => ({ nic, own }));
}

/** Why an address cannot be the underlay's, even if the user names it; undefined where it can. */
export function whyUnusable(own: InterfaceAddress, { subnets = [] }: UnderlayPast): string | undefined {
  const special = whyNoHost(own.address);
  if (special) return special;
  return subnets.some((subnet) => contains(subnet, own.address)) ? 'in our own subnet' : undefined;
}

function isInUse(own: InterfaceAddress, nic: NetworkInterface, current: UnderlayPast['current']): boolean {
  // Renamed, or made anew by the same name.
  const isSameNic = current?.name === nic.name || current?.index === nic.index;
  return isSameNic && current.address === own.address;
}

/** The interfaces that carried the overlay: by name and hardware address, else by the latter (renamed), else by name (replaced). */
export function homesAmong(
  interfaces: readonly NetworkInterface[],
  { home }: UnderlayPast,
): NetworkInterface[] {
  if (!home) return [];
  const isSameName = ({ name }: NetworkInterface) => name === home.name;
  const isSameMac = ({ mac }: NetworkInterface) => home.mac !== undefined && mac === home.mac;
  const exact = interfaces.filter((nic) => isSameName(nic) && isSameMac(nic));
  if (exact.length > 0) return exact;
  // VLANs, bonds and bridges have the hardware address of what is below them.
  const renamed = interfaces.filter((nic) => isSameMac(nic) && !nic.loopback);
  return renamed.length > 0 ? renamed : interfaces.filter(isSameName);
}

/** What decides between candidates that the user's wish does not tell apart. */
export interface Preferences {
  readonly hostNetwork: HostNetwork;
  readonly past: UnderlayPast;
  /** The source that a route to be served names. */
  readonly source?: IpAddress | undefined;
}

/** The best of several, the earlier one where all else is equal; undefined of none. */
export function bestOf(candidates: readonly Candidate[], preferences: Preferences): Candidate | undefined {
  const nics = [...new Set(candidates.map(({ nic }) => nic))];
  const ranked = candidates.map((candidate) => ({
    candidate,
    rank: [
      ...rankOfPast(candidate, preferences),
      rankOfBridge(candidate.nic, preferences),
      nics.indexOf(candidate.nic),
      ...rankOfAddress(candidate, preferences),
    ],
  }));
  return ranked.sort((a, b) => compareRanks(a.rank, b.rank))[0]?.candidate;
}

/** Of all ranks, smaller is better. */
function rankOfPast({ nic, own }: Candidate, { hostNetwork, past }: Preferences): number[] {
  const { current, origin, addresses = [] } = past;
  const homes = homesAmong(hostNetwork.interfaces, past);
  const held = addresses.indexOf(own.address);
  return [
    Number(homes.length > 0 && !homes.includes(nic)),
    Number(!isInUse(own, nic, origin)),
    Number(!isInUse(own, nic, current)),
    // It may be about to go: the last choice, but better than none.
    Number(own.deprecated),
    held < 0 ? addresses.length : held,
  ];
}

/** A bridge that the default route does not lead through may well be one for containers or virtual machines alone. */
function rankOfBridge({ index, kind }: NetworkInterface, { hostNetwork }: Preferences): number {
  if (!BRIDGE_KINDS.includes(kind)) return 0;
  return Number(!hostNetwork.defaultRoutes.some(({ interfaceIndex }) => interfaceIndex === index));
}

function rankOfAddress({ nic, own }: Candidate, { hostNetwork, source }: Preferences): number[] {
  const routes = hostNetwork.defaultRoutes.filter(({ interfaceIndex }) => interfaceIndex === nic.index);
  return [
    source === own.address || routes.some((route) => isSourceOf(own, route)),
    !isFloating(own),
    !own.secondary,
    own.scope === 'global',
    own.permanent,
    !own.temporary,
  ].map((isGood) => Number(!isGood));
}

/** True if the kernel sends from this address what takes the route. */
function isSourceOf({ address, prefixLength, peer }: InterfaceAddress, route: ResolvedRoute): boolean {
  if (route.source !== undefined) return route.source === address;
  if (route.gateway === undefined) return false;
  return contains(subnetOf(peer ?? address, prefixLength), route.gateway);
}

/** An address without a network, as keepalived, kube-vip and clouds add one: it may move to another host. */
function isFloating({ address, prefixLength, peer }: InterfaceAddress): boolean {
  return peer === undefined && prefixLength === bitsOf(familyOf(address));
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}

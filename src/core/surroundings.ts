/** What else on this host keeps containers' packets from flowing, and what to do about it. */
import { contains, overlap, printSubnet, subnetOf, type Subnet } from '../model/address';
import type { KernelSettings } from '../model/kernel-settings';
import type { NetworkInterface } from '../model/network-interface';
import type { Overlay } from '../model/overlay';
import type { Peer } from '../model/peer';
import { overlayMtu } from './vxlan';

/** Docker's bridge, where nobody names it otherwise. */
export const DOCKER_BRIDGE = 'docker0';
/** What joins containers to their host's network. Nothing else is to be made to fit our subnet. */
const BRIDGE_KINDS: readonly (string | undefined)[] = ['bridge', 'openvswitch'];

/** Each a few sentences: what is so, and what to do; undefined where all is well. */
export interface Obstacles {
  /** Packets of containers are not forwarded. */
  readonly forwarding: string | undefined;
  /** A bridge does not fit our subnet or the overlay's MTU. */
  readonly bridge: string | undefined;
}

/** The interfaces, neither the underlay nor a VTEP, that have an address of our subnet: containers are behind them. */
export function bridgesOf(overlay: Overlay, interfaces: readonly NetworkInterface[]): NetworkInterface[] {
  return interfaces.filter((nic) => isOther(overlay, nic) && hasAddressOf(overlay.subnet, nic));
}

/** `settings` are those of our link and of {@link bridgesOf}; `peers` the subnets of other hosts. */
export function obstaclesIn(
  overlay: Overlay,
  interfaces: readonly NetworkInterface[],
  settings: KernelSettings,
  peers: Iterable<Pick<Peer, 'subnet'>>,
): Obstacles {
  const bridges = bridgesOf(overlay, interfaces);
  const mismatches = interfaces
    .filter((nic) => isOther(overlay, nic) && BRIDGE_KINDS.includes(nic.kind))
    .flatMap((bridge) => mismatchOf(overlay, bridge, bridges.length > 0, peers));
  return {
    // Without a bridge there is nothing to forward yet; Docker switches it on when it makes its own.
    forwarding: bridges.length > 0 ? forwardingObstacle(settings) : undefined,
    bridge: mismatches.length > 0 ? mismatches.join('; ') : undefined,
  };
}

function isOther({ underlay }: Overlay, { index, kind, loopback }: NetworkInterface): boolean {
  return index !== underlay.index && kind !== 'vxlan' && !loopback;
}

function hasAddressOf(subnet: Subnet, { addresses }: NetworkInterface): boolean {
  return addresses.some(({ address }) => contains(subnet, address));
}

function forwardingObstacle({ isForwarding, notForwarding }: KernelSettings): string | undefined {
  if (isForwarding === false)
    return 'net.ipv4.ip_forward is 0, and containers reach nobody; sysctl -w net.ipv4.ip_forward=1';
  if (notForwarding.length === 0) return undefined;
  // To set ip_forward to what it is would change nothing.
  const commands = notForwarding.map((link) => `sysctl -w net/ipv4/conf/${link}/forwarding=1`);
  return `nothing that comes in by ${notForwarding.join(', ')} is forwarded; ${commands.join('; ')}`;
}

function mismatchOf(
  overlay: Overlay,
  bridge: NetworkInterface,
  isSubnetInUse: boolean,
  peers: Iterable<Pick<Peer, 'subnet'>>,
): string[] {
  const { network, subnet } = overlay;
  const { name, mtu, up, carrier, addresses } = bridge;
  const found = addresses.filter(({ address, scope }) => scope === 'global' && !address.includes(':'));
  const isInside = hasAddressOf(subnet, bridge);
  // Docker's bridge is meant for our subnet unless another has it; any other may well have nothing to do with the overlay.
  const isMeant = name === DOCKER_BRIDGE && !isSubnetInUse;
  const stray = isInside ? undefined : found.find(({ address }) => isMeant || contains(network, address));
  if (stray) {
    const { address, prefixLength } = stray;
    const whole = subnetOf(address, prefixLength);
    const taken = [...peers].find((peer) => overlap(whole, peer.subnet));
    const harm = taken
      ? `it takes the packets for peer ${printSubnet(taken.subnet)}`
      : 'other hosts do not reach what is behind it';
    // One that was made for our subnet is made so again. Any other has no business in the network, least of all where a peer is.
    const isOurs = name === DOCKER_BRIDGE || (!taken && !isSubnetInUse);
    const remedy = isOurs
      ? remedyFor(name, subnet)
      : `remove it, or give it a subnet outside of the network ${printSubnet(network)}`;
    return [
      `${name} has ${address}/${prefixLength}, and this host's subnet is ${printSubnet(subnet)}: ${harm}; ${remedy}`,
    ];
  }
  if (isInside && !up)
    return [`${name} is down, and nothing reaches what is behind it; ip link set ${name} up`];
  const largest = overlayMtu(overlay.backend, overlay.underlay);
  // A bridge takes the smallest MTU of its ports; without any, it has none that matters.
  if (!isInside || !carrier || mtu <= largest) return [];
  return [
    `${name} has MTU ${mtu}, and the overlay ${largest}: larger packets are sent twice, or lost; ${remedyFor(name, subnet)}`,
  ];
}

export function remedyFor(bridge: string, { address, prefixLength }: Subnet): string {
  return bridge === DOCKER_BRIDGE
    ? "restart Docker with what 'vtepd docker-opts' says (the drop-in does: systemctl restart docker)"
    : `have it made anew from subnet.env, for ${address}/${prefixLength}`;
}

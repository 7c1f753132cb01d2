/** What the kernel should hold. */
import { bitsOf, familyOf, printSubnet, type Subnet } from '../model/address';
import {
  BLACKHOLE_METRIC,
  ROUTE_PROTOCOL,
  UNREACHABLE_METRIC,
  kernelStateOf,
  keyOf,
  nameOf,
  type FdbEntry,
  type KernelObject,
  type KernelState,
  type Neighbor,
  type ObjectName,
  type Route,
} from '../model/kernel-state';
import type { MacAddress } from '../model/mac';
import { linkNameOf, type Overlay } from '../model/overlay';
import { outranks, type Peer, type PeerTable } from '../model/peer';
import { complete, type Steps } from '../model/steps';
import { routeMetric } from './subnets';
import { desiredLink } from './vxlan';

/** How often the kernel asks user space for a neighbor, a second apart: three L3 misses (flannel 0.5.5's value, too). */
const APP_SOLICIT = 3;

/** Room for what one unresolved neighbor may queue; the kernel's 208 KiB lose packets of a burst (measured). */
const NEIGHBOR_QUEUE_BYTES = 8 << 20;

/** What we need before any peer: the link, how it resolves, our address on it, and the route that makes the kernel ask. */
export function baseObjects(overlay: Overlay): KernelObject[] {
  const link = linkNameOf(overlay.backend);
  const { address } = overlay.subnet;
  return [
    desiredLink(overlay),
    {
      kind: 'neighbor-parameters',
      link,
      family: familyOf(address),
      appSolicit: APP_SOLICIT,
      queueBytes: NEIGHBOR_QUEUE_BYTES,
    },
    { kind: 'address', link, address, prefixLength: bitsOf(familyOf(address)) },
    ...(overlay.hasNetworkRoute ? [networkRoute(overlay)] : []),
    ...(overlay.hasBlackholeRoute ? [blackholeRoute(overlay.subnet)] : []),
  ];
}

function networkRoute(overlay: Overlay): Route {
  return {
    kind: 'route',
    type: 'unicast',
    destination: overlay.network,
    link: linkNameOf(overlay.backend),
    gateway: undefined,
    source: overlay.subnet.address,
    metric: 0,
    protocol: ROUTE_PROTOCOL,
  };
}

/**
 * Without it, a packet for a container that is gone, together with the bridge, takes the network route, or, where there is none,
 * the default route out of this host; and comes back, if its first hop routes our subnet to us.
 */
function blackholeRoute(own: Subnet): Route {
  return { ...unreachableRoute(own), type: 'blackhole', metric: BLACKHOLE_METRIC };
}

/** A peer's three objects, in the order they must be written. */
export function peerObjects(overlay: Overlay, peer: Peer): [FdbEntry, Neighbor, Route] {
  const link = linkNameOf(overlay.backend);
  const gateway = peer.subnet.address;
  return [
    { kind: 'fdb-entry', link, mac: peer.vtepMac, destination: peer.publicIp },
    {
      kind: 'neighbor',
      link,
      address: gateway,
      mac: peer.vtepMac,
      state: overlay.resolve.kind === 'preload' ? 'permanent' : 'learned',
    },
    {
      kind: 'route',
      type: 'unicast',
      destination: peer.subnet,
      link,
      gateway,
      source: undefined,
      metric: routeMetric(overlay.network, peer.subnet),
      protocol: ROUTE_PROTOCOL,
    },
  ];
}

/** The answer for a subnet that nobody leases: senders hear "host unreachable" from the kernel, without asking us. */
export function unreachableRoute(subnet: Subnet): Route {
  return {
    kind: 'route',
    type: 'unreachable',
    destination: subnet,
    link: undefined,
    gateway: undefined,
    source: undefined,
    metric: UNREACHABLE_METRIC,
    protocol: ROUTE_PROTOCOL,
  };
}

/** Everything: our own objects, those of the peers to be programmed, and what was answered for absent subnets. */
export function desiredState(overlay: Overlay, peers: Iterable<Peer>, absent: Iterable<Subnet>): KernelState {
  return complete(desiredStateInSteps(overlay, peers, absent));
}

/** {@link desiredState}, a little at a time. */
export function* desiredStateInSteps(
  overlay: Overlay,
  peers: Iterable<Peer>,
  absent: Iterable<Subnet>,
): Steps<KernelState> {
  const state = kernelStateOf(baseObjects(overlay));
  const owners = new Map<string, Peer>();
  for (const peer of peers) {
    yield;
    for (const object of peerObjects(overlay, peer)) {
      // Two peers may claim one VTEP MAC, and share its FDB entry. Or their subnets begin with one address, and share its neighbor.
      const key = keyOf(object);
      const owner = owners.get(key);
      if (owner && !outranks(peer, owner)) continue;
      if (object.kind !== 'route') owners.set(key, peer);
      state.set(key, object);
    }
  }
  for (const subnet of absent) state.set(keyOf(unreachableRoute(subnet)), unreachableRoute(subnet));
  return state;
}

/**
 * The peers that should be programmed, given what the kernel holds: all of them in preload mode; on demand, those that are
 * and have been used lately. So the kernel itself remembers who is in use, across restarts of the agent too.
 */
export function programmedPeers(overlay: Overlay, peers: PeerTable, actual: KernelState): Iterable<Peer> {
  return complete(programmedPeersInSteps(overlay, peers, actual));
}

/** {@link programmedPeers}, a little at a time. */
export function* programmedPeersInSteps(
  overlay: Overlay,
  peers: PeerTable,
  actual: KernelState,
): Steps<Iterable<Peer>> {
  if (overlay.resolve.kind === 'preload') return peers;
  const { idleMilliseconds } = overlay.resolve;
  const link = linkNameOf(overlay.backend);
  const used = new Map<string, Peer>();
  const usedMacs = new Set<MacAddress>();
  const note = (peer: Peer) => {
    const neighbor = actual.get(keyOf(peerObjects(overlay, peer)[1]));
    const isIdle =
      neighbor?.kind === 'neighbor' &&
      (neighbor.state === 'failed' || (neighbor.idleMilliseconds ?? 0) >= idleMilliseconds);
    if (isIdle) return;
    used.set(printSubnet(peer.subnet), peer);
    usedMacs.add(peer.vtepMac);
  };
  for (const object of actual.values()) {
    yield;
    const gateway = gatewayOf(object, link);
    if (gateway === undefined) continue;
    const peer = peers.byAddress(gateway);
    if (peer?.subnet.address === gateway) note(peer);
  }
  // An answer that is being given may show by its FDB entry alone: it is completed, for to take it away would lose packets.
  for (const object of actual.values()) {
    yield;
    if (object.kind !== 'fdb-entry' || object.link !== link || usedMacs.has(object.mac)) continue;
    const peer = peers.byMac(object.mac);
    if (peer) note(peer);
  }
  return used.values();
}

/** The peer gateway that an object names: as a neighbor, or as a route's. */
function gatewayOf(object: KernelObject, link: string) {
  if (object.kind === 'neighbor' && object.link === link) return object.address;
  if (object.kind === 'route' && object.link === link) return object.gateway;
  return undefined;
}

/** The names of what a peer is made of, or was. */
export function peerNames(overlay: Overlay, peer: Peer): ObjectName[] {
  return peerObjects(overlay, peer).flatMap((object) => nameOf(object) ?? []);
}

/** The peers that an object of this name belongs to. */
export function ownersOf(peers: PeerTable, name: ObjectName): readonly Peer[] {
  switch (name.kind) {
    case 'fdb-entry':
      return peers.allByMac(name.mac);
    case 'neighbor': {
      const peer = peers.byAddress(name.address);
      return peer?.subnet.address === name.address ? [peer] : [];
    }
    case 'route': {
      const peer = peers.bySubnet(name.destination);
      return peer ? [peer] : [];
    }
  }
}

/** Which of the subnets that were answered for with "nobody has it" have their route: a pass neither makes nor removes one. */
export function absencesIn(actual: KernelState, absent: Iterable<Subnet>): Subnet[] {
  return [...absent].filter((subnet) => actual.has(keyOf(unreachableRoute(subnet))));
}

/**
 * What the kernel should hold under these names: as much of {@link desiredState} as they name. `actual` is what it holds under
 * them. On demand all names of a peer must be among them, or none: whether it is in use shows by any of them.
 */
export function desiredUnder(
  names: ReadonlyMap<string, ObjectName>,
  overlay: Overlay,
  peers: PeerTable,
  actual: KernelState,
): KernelState {
  const owners = new Set<Peer>();
  for (const name of names.values()) for (const peer of ownersOf(peers, name)) owners.add(peer);
  const programmed = overlay.resolve.kind === 'preload' ? owners : programmedPeers(overlay, peers, actual);
  const desired = new Map<string, KernelObject>();
  for (const [key, object] of desiredState(overlay, programmed, []))
    if (names.has(key)) desired.set(key, object);
  return desired;
}

/** What to tell the kernel when it asks. */
import { contains, subnetOf, type IpAddress, type Subnet } from '../model/address';
import type { KernelObject, Neighbor } from '../model/kernel-state';
import type { Miss } from '../model/miss';
import type { Operation } from '../model/operation';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { Peer } from '../model/peer';
import { peerObjects, unreachableRoute } from './desired';

/**
 * The answer that leads to a peer. An address other than the peer's gateway gets a neighbor of its own for a moment: it releases
 * the packets the kernel has queued for it, and comes as early as they can be sent; once the peer's route is there, that is used.
 */
export function answerWithPeer(overlay: Overlay, peer: Peer, miss: Miss): Operation[] {
  const [fdbEntry, neighbor, route] = peerObjects(overlay, peer);
  const put = (object: KernelObject): Operation => ({ verb: 'put', object });
  if (miss.layer === 'l2') return [put(fdbEntry)];
  if (miss.address === neighbor.address) return [put(fdbEntry), put(neighbor), put(route)];
  const asked: Neighbor = { ...neighbor, address: miss.address };
  return [put(fdbEntry), put(asked), put(neighbor), put(route), { verb: 'remove', object: asked }];
}

/** The answer "nobody": senders waiting for this address hear "host unreachable" at once. */
export function answerWithNobody(overlay: Overlay, address: IpAddress): Operation {
  return {
    verb: 'put',
    object: { kind: 'neighbor', link: linkNameOf(overlay.backend), address, mac: undefined, state: 'failed' },
  };
}

/** For a whole subnet that nobody leases, so that the kernel need not ask about each of its addresses. */
export function answerWithNoSubnet(subnet: Subnet): Operation {
  return { verb: 'put', object: unreachableRoute(subnet) };
}

/**
 * The subnet that a lease for this address would have; undefined for an address that no lease can give to a peer: outside
 * the network, or in our own subnet.
 */
export function askedSubnet(overlay: Overlay, subnetLength: number, address: IpAddress): Subnet | undefined {
  if (!contains(overlay.network, address) || contains(overlay.subnet, address)) return undefined;
  return subnetOf(address, subnetLength);
}

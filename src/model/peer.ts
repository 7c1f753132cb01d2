/** Peers: the other hosts, as far as the overlay needs to know them, and the table that finds them. */
import { familyOf, printSubnet, subnetOf, type Family, type IpAddress, type Subnet } from './address';
import type { MacAddress } from './mac';

/** Another host's VTEP: everything for `subnet` goes to `vtepMac`, which is found at `publicIp`. */
export interface Peer {
  readonly subnet: Subnet;
  readonly publicIp: IpAddress;
  readonly vtepMac: MacAddress;
}

export function samePeer(a: Peer, b: Peer): boolean {
  return (
    a.publicIp === b.publicIp &&
    a.vtepMac === b.vtepMac &&
    a.subnet.address === b.subnet.address &&
    a.subnet.prefixLength === b.subnet.prefixLength
  );
}

/** One subnet's peer before and after; undefined where there was or is none. */
export interface PeerChange {
  readonly before: Peer | undefined;
  readonly after: Peer | undefined;
}

/** One change for each subnet, of all that happened to it; none where that is nothing. */
export function mergedChanges(changes: Iterable<PeerChange>): PeerChange[] {
  const merged = new Map<string, PeerChange>();
  for (const change of changes) {
    const subnet = printSubnet((change.after ?? change.before)!.subnet);
    const earlier = merged.get(subnet);
    const both = earlier ? { before: earlier.before, after: change.after } : change;
    if (both.before || both.after) merged.set(subnet, both);
    else merged.delete(subnet);
  }
  return [...merged.values()];
}

/** All peers, findable in constant time by an address in their subnet and by their VTEP's MAC. */
export interface PeerTable extends Iterable<Peer> {
  readonly size: number;
  /** The peer that leases exactly this subnet. */
  bySubnet(subnet: Subnet): Peer | undefined;
  /** The peer whose subnet holds this address (the longest, should subnets overlap). */
  byAddress(address: IpAddress): Peer | undefined;
  byMac(mac: MacAddress): Peer | undefined;
}

/** A {@link PeerTable} that its one owner, the peer watcher, may change. */
export class MutablePeerTable implements PeerTable {
  readonly #peers = new Map<string, Peer>();
  /** Almost always one; a set for each would take as much memory as all the rest. */
  readonly #subnetsByMac = new Map<MacAddress, string | Set<string>>();
  /** Every prefix length that a peer has or had: the few that a look-up tries, longest first. */
  readonly #lengths: Record<Family, number[]> = { ipv4: [], ipv6: [] };

  constructor(peers: Iterable<Peer> = []) {
    for (const peer of peers) this.put(peer);
  }

  get size(): number {
    return this.#peers.size;
  }

  [Symbol.iterator](): Iterator<Peer> {
    return this.#peers.values();
  }

  bySubnet(subnet: Subnet): Peer | undefined {
    return this.#peers.get(printSubnet(subnet));
  }

  byAddress(address: IpAddress): Peer | undefined {
    for (const length of this.#lengths[familyOf(address)]) {
      const peer = this.bySubnet(subnetOf(address, length));
      if (peer) return peer;
    }
    return undefined;
  }

  byMac(mac: MacAddress): Peer | undefined {
    const subnets = this.#subnetsByMac.get(mac);
    if (subnets === undefined) return undefined;
    const [subnet] = typeof subnets === 'string' ? [subnets] : subnets;
    return this.#peers.get(subnet!);
  }

  /** Adds the peer, in place of the one that had its subnet. Says what changed; undefined if nothing did. */
  put(peer: Peer): PeerChange | undefined {
    const key = printSubnet(peer.subnet);
    const before = this.#peers.get(key);
    if (before && samePeer(before, peer)) return undefined;
    if (before) this.#forgetMac(before.vtepMac, key);
    else this.#noteLength(peer.subnet);
    this.#peers.set(key, peer);
    const subnets = this.#subnetsByMac.get(peer.vtepMac);
    if (subnets === undefined) this.#subnetsByMac.set(peer.vtepMac, key);
    else if (typeof subnets !== 'string') subnets.add(key);
    else this.#subnetsByMac.set(peer.vtepMac, new Set([subnets, key]));
    return { before, after: peer };
  }

  /** Removes the peer of this subnet. Says what changed; undefined if there was none. */
  remove(subnet: Subnet): PeerChange | undefined {
    const key = printSubnet(subnet);
    const before = this.#peers.get(key);
    if (!before) return undefined;
    this.#peers.delete(key);
    this.#forgetMac(before.vtepMac, key);
    return { before, after: undefined };
  }

  #forgetMac(mac: MacAddress, key: string): void {
    const subnets = this.#subnetsByMac.get(mac);
    if (subnets instanceof Set && subnets.size > 1) subnets.delete(key);
    else this.#subnetsByMac.delete(mac);
  }

  #noteLength({ address, prefixLength }: Subnet): void {
    const lengths = this.#lengths[familyOf(address)];
    if (!lengths.includes(prefixLength)) lengths.push(prefixLength);
    lengths.sort((a, b) => b - a);
  }
}

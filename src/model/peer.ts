/** Peers: the other hosts, as far as the overlay needs to know them, and the table that finds them. */
import { familyOf, printSubnet, subnetOf, type IpAddress, type Subnet } from './address';
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
  /** How many peers have a subnet of this family and prefix length: the few masks a look-up must try, longest first. */
  readonly #lengths = new Map<string, number>();
  #masks: { family: string; prefixLength: number }[] = [];

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
    const family = familyOf(address);
    for (const mask of this.#masks) {
      if (mask.family !== family) continue;
      const peer = this.bySubnet(subnetOf(address, mask.prefixLength));
      if (peer) return peer;
    }
    return undefined;
  }

  byMac(mac: MacAddress): Peer | undefined {
    const subnets = this.#subnetsByMac.get(mac);
    const [subnet] = typeof subnets === 'string' ? [subnets] : (subnets ?? []);
    return subnet === undefined ? undefined : this.#peers.get(subnet);
  }

  /** Adds the peer, in place of the one that had its subnet. Says what changed; undefined if nothing did. */
  put(peer: Peer): PeerChange | undefined {
    const key = printSubnet(peer.subnet);
    const before = this.#peers.get(key);
    if (before && samePeer(before, peer)) return undefined;
    if (before) this.#forgetMac(before.vtepMac, key);
    else this.#count(peer.subnet, 1);
    this.#peers.set(key, peer);
    const subnets = this.#subnetsByMac.get(peer.vtepMac);
    if (subnets === undefined) this.#subnetsByMac.set(peer.vtepMac, key);
    else if (typeof subnets !== 'string') subnets.add(key);
    else if (subnets !== key) this.#subnetsByMac.set(peer.vtepMac, new Set([subnets, key]));
    return { before, after: peer };
  }

  /** Removes the peer of this subnet. Says what changed; undefined if there was none. */
  remove(subnet: Subnet): PeerChange | undefined {
    const key = printSubnet(subnet);
    const before = this.#peers.get(key);
    if (!before) return undefined;
    this.#peers.delete(key);
    this.#forgetMac(before.vtepMac, key);
    this.#count(subnet, -1);
    return { before, after: undefined };
  }

  #forgetMac(mac: MacAddress, key: string): void {
    const subnets = this.#subnetsByMac.get(mac);
    if (typeof subnets === 'string' || subnets === undefined) {
      if (subnets === key) this.#subnetsByMac.delete(mac);
      return;
    }
    subnets.delete(key);
    if (subnets.size === 0) this.#subnetsByMac.delete(mac);
  }

  #count(subnet: Subnet, difference: 1 | -1): void {
    const family = familyOf(subnet.address);
    const key = `${family}/${subnet.prefixLength}`;
    const count = (this.#lengths.get(key) ?? 0) + difference;
    if (count > 0) this.#lengths.set(key, count);
    else this.#lengths.delete(key);
    if (count > 1 || (count === 1 && difference === -1)) return;
    this.#masks = [...this.#lengths.keys()]
      .map((text) => ({ family: text.split('/')[0]!, prefixLength: Number(text.split('/')[1]) }))
      .sort((a, b) => b.prefixLength - a.prefixLength);
  }
}

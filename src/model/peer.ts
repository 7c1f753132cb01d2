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
    const isNothing =
      both.before && both.after ? samePeer(both.before, both.after) : !both.before && !both.after;
    if (isNothing) merged.delete(subnet);
    else merged.set(subnet, both);
  }
  return [...merged.values()];
}

/**
 * Which of two peers has an object that both claim: the neighbor of an address where both subnets begin, or the FDB entry of one
 * MAC. Depends on the two alone, so that every pass gives the object to the same peer.
 */
export function outranks(a: Peer, b: Peer): boolean {
  if (a.subnet.prefixLength !== b.subnet.prefixLength) return a.subnet.prefixLength > b.subnet.prefixLength;
  return a.subnet.address < b.subnet.address;
}

/** All peers, findable in constant time by an address in their subnet and by their VTEP's MAC. */
export interface PeerTable extends Iterable<Peer> {
  readonly size: number;
  /** The peer that leases exactly this subnet. */
  bySubnet(subnet: Subnet): Peer | undefined;
  /** The peer whose subnet holds this address (the longest, should subnets overlap). */
  byAddress(address: IpAddress): Peer | undefined;
  /** The peer of this MAC; of several the one that {@link outranks} the others. */
  byMac(mac: MacAddress): Peer | undefined;
  /** All peers of this MAC: almost always one. */
  allByMac(mac: MacAddress): readonly Peer[];
  /** The table as it is now, and stays. */
  frozen(): PeerTable;
}

/** The subnets of several peers that have one MAC. */
interface SharedMac {
  /** That of the peer which outranks the others; undefined while it is not known: thousands may leave one after the other. */
  first: string | undefined;
  readonly all: Set<string>;
}

/** A {@link PeerTable} that its one owner, the peer watcher, may change. */
export class MutablePeerTable implements PeerTable {
  #peers = new Map<string, Peer>();
  /** Almost always one; a set for each would take as much memory as all the rest. */
  #subnetsByMac = new Map<MacAddress, string | SharedMac>();
  /** Every prefix length that a peer has or had: the few that a look-up tries, longest first. */
  #lengths: Readonly<Record<Family, readonly number[]>> = { ipv4: [], ipv6: [] };

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
    const first = typeof subnets === 'object' ? (subnets.first ??= this.#firstOf(subnets.all)) : subnets;
    return first === undefined ? undefined : this.#peers.get(first);
  }

  allByMac(mac: MacAddress): readonly Peer[] {
    const subnets = this.#subnetsByMac.get(mac);
    const all = typeof subnets === 'object' ? [...subnets.all] : subnets === undefined ? [] : [subnets];
    return all.map((subnet) => this.#peers.get(subnet)!);
  }

  frozen(): PeerTable {
    const copy = new MutablePeerTable();
    copy.#peers = new Map(this.#peers);
    copy.#subnetsByMac = new Map(this.#subnetsByMac);
    for (const [mac, subnets] of this.#subnetsByMac) {
      if (typeof subnets === 'object') copy.#subnetsByMac.set(mac, { ...subnets, all: new Set(subnets.all) });
    }
    copy.#lengths = this.#lengths;
    return copy;
  }

  /** Adds the peer, in place of the one that had its subnet. Says what changed; undefined if nothing did. */
  put(peer: Peer): PeerChange | undefined {
    const key = printSubnet(peer.subnet);
    const before = this.#peers.get(key);
    if (before && samePeer(before, peer)) return undefined;
    if (before) this.#forgetMac(before.vtepMac, key);
    else this.#noteLength(peer.subnet);
    this.#peers.set(key, peer);
    this.#rememberMac(peer, key);
    return { before, after: peer };
  }

  /** Removes the peer of this subnet. Says what changed; undefined if there was none. */
  remove(subnet: Subnet): PeerChange | undefined {
    const key = printSubnet(subnet);
    const before = this.#peers.get(key);
    if (!before) return undefined;
    this.#forgetMac(before.vtepMac, key);
    this.#peers.delete(key);
    return { before, after: undefined };
  }

  #rememberMac(peer: Peer, key: string): void {
    const subnets = this.#subnetsByMac.get(peer.vtepMac);
    if (subnets === undefined) return void this.#subnetsByMac.set(peer.vtepMac, key);
    const shared: SharedMac =
      typeof subnets === 'object' ? subnets : { first: subnets, all: new Set([subnets]) };
    shared.all.add(key);
    if (shared.first !== undefined && outranks(peer, this.#peers.get(shared.first)!)) shared.first = key;
    this.#subnetsByMac.set(peer.vtepMac, shared);
  }

  #forgetMac(mac: MacAddress, key: string): void {
    const subnets = this.#subnetsByMac.get(mac);
    if (typeof subnets !== 'object') return void this.#subnetsByMac.delete(mac);
    subnets.all.delete(key);
    if (subnets.first === key) subnets.first = undefined;
    if (subnets.all.size === 1) this.#subnetsByMac.set(mac, [...subnets.all][0]!);
  }

  #firstOf(subnets: Iterable<string>): string {
    let first: string | undefined;
    for (const each of subnets)
      if (first === undefined || outranks(this.#peers.get(each)!, this.#peers.get(first)!)) first = each;
    return first!;
  }

  /** Replaced, not changed: a frozen table keeps its own. */
  #noteLength({ address, prefixLength }: Subnet): void {
    const family = familyOf(address);
    const lengths = this.#lengths[family];
    if (lengths.includes(prefixLength)) return;
    this.#lengths = { ...this.#lengths, [family]: [...lengths, prefixLength].sort((a, b) => b - a) };
  }
}

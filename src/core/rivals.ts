/** Leases judged against each other: of two that cannot both be believed, which one is. */
import {
  contains,
  familyOf,
  overlap,
  printSubnet,
  subnetOf,
  type IpAddress,
  type Subnet,
} from '../model/address';
import type { MacAddress } from '../model/mac';
import { samePeer, type Peer } from '../model/peer';

/** A lease that is good by itself. */
export interface Contender {
  /** The name of the lease. */
  readonly name: string;
  readonly peer: Peer;
  /** False for one whose key is gone, and whose peer is kept for a while. */
  readonly isLive: boolean;
  /** Its subnet is one that the network configuration would give to a host: of its SubnetLen, in its range. */
  readonly isFitting: boolean;
  /** When its key was created: a decimal number, which later writes of the key do not change. */
  readonly createRevision: string;
}

export type Standing =
  /** Remark: what is odd about it all the same. */
  | { readonly kind: 'believed'; readonly peer: Peer; readonly remark: string | undefined }
  /** It alone is ignored. */
  | { readonly kind: 'ignored'; readonly reason: string };

/** Contenders with one PublicIP that hear of each other's coming and going; more is no accident, and told to some of them. */
const REMARKED_HOSTS = 16;

/** True if `a` is believed rather than `b`: live before gone, fitting before odd, the older before the newer. A total order. */
export function outranks(a: Contender, b: Contender): boolean {
  return compareRank(a, b) < 0;
}

function compareRank(a: Contender, b: Contender): number {
  if (a.isLive !== b.isLive) return a.isLive ? -1 : 1;
  if (a.isFitting !== b.isFitting) return a.isFitting ? -1 : 1;
  // Decimal numbers without leading zeros: the longer one is the greater one.
  const { createRevision: left } = a;
  const { createRevision: right } = b;
  if (left.length !== right.length) return left.length - right.length;
  if (left !== right) return left < right ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** True if not both can be believed: one address would have two hosts, or one VTEP MAC two places. */
export function areRivals(a: Peer, b: Peer): boolean {
  return overlap(a.subnet, b.subnet) || (a.vtepMac === b.vtepMac && a.publicIp !== b.publicIp);
}

/**
 * Who is believed among contenders: each that is no rival of a believed one of higher rank. So it depends on who there is,
 * and never on the order in which they came; and whoever gave way is believed again when its rival has gone. Changes cost
 * what they change, not what there is.
 */
export class Rivals {
  readonly #contenders = new Map<string, Contender>();
  /** Undefined: believed; else the name of a rival that is. Nothing: not judged yet. */
  readonly #giveWayTo = new Map<string, string | undefined>();
  /** Names by prefix length and subnet. */
  readonly #lengths = new Map<number, Map<string, Set<string>>>();
  readonly #byMac = new Map<MacAddress, Set<string>>();
  readonly #byPublicIp = new Map<IpAddress, Set<string>>();
  /** To be judged anew; and those of whose standing the caller has not heard. */
  readonly #dirty = new Set<string>();
  readonly #untold = new Set<string>();

  /** Adds a contender, in place of the one of its name. */
  put(contender: Contender): void {
    const known = this.#contenders.get(contender.name);
    if (known && isSame(known, contender)) return;
    if (known) this.remove(contender.name);
    const { name, peer } = contender;
    this.#contenders.set(name, contender);
    add(this.#namesOfLength(peer.subnet.prefixLength), printSubnet(peer.subnet), name);
    add(this.#byMac, peer.vtepMac, name);
    add(this.#byPublicIp, peer.publicIp, name);
    this.#dirty.add(name);
    this.#mention(contender);
  }

  remove(name: string): void {
    const contender = this.#contenders.get(name);
    if (!contender) return;
    const { peer } = contender;
    for (const rival of this.#rivalsOf(contender))
      if (outranks(contender, rival)) this.#dirty.add(rival.name);
    this.#mention(contender);
    this.#contenders.delete(name);
    this.#giveWayTo.delete(name);
    drop(this.#namesOfLength(peer.subnet.prefixLength), printSubnet(peer.subnet), name);
    drop(this.#byMac, peer.vtepMac, name);
    drop(this.#byPublicIp, peer.publicIp, name);
  }

  has(name: string): boolean {
    return this.#contenders.has(name);
  }

  /** Judges, and tells the standing of everybody for whom it may have changed; undefined: removed. */
  settle(): ReadonlyMap<string, Standing | undefined> {
    // From the highest rank down: whoever matters to the one whose turn it is has been judged.
    const queue = [...this.#dirty].flatMap((name) => this.#contenders.get(name) ?? []).sort(compareRank);
    this.#dirty.clear();
    for (let n = 0; n < queue.length; n++) {
      const contender = queue[n]!;
      const { name } = contender;
      const wasBelieved = this.#isBelieved(name);
      const winner = this.#winnerOver(contender);
      if (!this.#giveWayTo.has(name) || this.#giveWayTo.get(name) !== winner) this.#mention(contender);
      this.#giveWayTo.set(name, winner);
      if (wasBelieved === (winner === undefined)) continue;
      for (const rival of this.#rivalsOf(contender))
        if (outranks(contender, rival)) enqueue(queue, n + 1, rival);
    }
    const told = new Map([...this.#untold].map((name) => [name, this.#standingOf(name)] as const));
    this.#untold.clear();
    return told;
  }

  /** Whether one that is not here yet would be believed, as things stand. */
  wouldBelieve(contender: Contender): boolean {
    return this.#winnerOver(contender) === undefined;
  }

  #isBelieved(name: string): boolean {
    return this.#giveWayTo.has(name) && this.#giveWayTo.get(name) === undefined;
  }

  #winnerOver(contender: Contender): string | undefined {
    const beats = (rival: Contender) => this.#isBelieved(rival.name) && outranks(rival, contender);
    // Mostly the one it gave way to before: spares looking through all of a large subnet.
    const known = this.#contenders.get(this.#giveWayTo.get(contender.name) ?? '');
    if (known && beats(known) && areRivals(known.peer, contender.peer)) return known.name;
    for (const rival of this.#rivalsOf(contender)) if (beats(rival)) return rival.name;
    return undefined;
  }

  *#rivalsOf({ name, peer }: Contender): Iterable<Contender> {
    const { subnet, vtepMac, publicIp } = peer;
    for (const [length, names] of this.#lengths) {
      for (const other of length <= subnet.prefixLength
        ? (names.get(printSubnet(subnetOf(subnet.address, length))) ?? [])
        : this.#within(subnet, names))
        if (other !== name) yield this.#contenders.get(other)!;
    }
    for (const other of this.#byMac.get(vtepMac) ?? []) {
      const rival = this.#contenders.get(other)!;
      if (other !== name && rival.peer.publicIp !== publicIp) yield rival;
    }
  }

  /** Those of a longer prefix inside a subnet: only where lengths are mixed. */
  *#within(subnet: Subnet, namesBySubnet: ReadonlyMap<string, ReadonlySet<string>>): Iterable<string> {
    for (const names of namesBySubnet.values()) {
      const [first] = names;
      const inner = this.#contenders.get(first!)!.peer.subnet;
      if (familyOf(inner.address) === familyOf(subnet.address) && contains(subnet, inner)) yield* names;
    }
  }

  #standingOf(name: string): Standing | undefined {
    const contender = this.#contenders.get(name);
    if (!contender) return undefined;
    const { peer } = contender;
    const winner = this.#giveWayTo.get(name);
    if (winner === undefined) return { kind: 'believed', peer, remark: this.#remarkOn(contender) };
    const { peer: other } = this.#contenders.get(winner)!;
    return {
      kind: 'ignored',
      reason: overlap(peer.subnet, other.subnet)
        ? `its subnet overlaps that of ${winner}`
        : `its VtepMAC ${peer.vtepMac} is that of ${winner}, at ${other.publicIp}`,
    };
  }

  /** Two hosts behind one address cannot both be reached, but packets to either take nothing from others. */
  #remarkOn({ name, peer: { publicIp, vtepMac } }: Contender): string | undefined {
    for (const other of this.#byPublicIp.get(publicIp) ?? []) {
      const isOtherHost = this.#contenders.get(other)!.peer.vtepMac !== vtepMac && this.#isBelieved(other);
      if (other !== name && isOtherHost)
        return `its PublicIP ${publicIp} is that of ${other}, too; only one of the two hosts can be reached`;
    }
    return undefined;
  }

  /** Its standing must be told, and what there is to remark on those that share its PublicIP. */
  #mention({ name, peer }: Contender): void {
    this.#untold.add(name);
    const others = this.#byPublicIp.get(peer.publicIp);
    if (others && others.size <= REMARKED_HOSTS) for (const other of others) this.#untold.add(other);
  }

  #namesOfLength(length: number): Map<string, Set<string>> {
    const names = this.#lengths.get(length) ?? new Map<string, Set<string>>();
    this.#lengths.set(length, names);
    return names;
  }
}

function isSame(a: Contender, b: Contender): boolean {
  return compareRank(a, b) === 0 && samePeer(a.peer, b.peer);
}

/** Puts one into the part of the queue that has not had its turn, in its place; nothing if it is there. */
function enqueue(queue: Contender[], from: number, contender: Contender): void {
  let low = from;
  let high = queue.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (outranks(queue[middle]!, contender)) low = middle + 1;
    else high = middle;
  }
  if (queue[low]?.name !== contender.name) queue.splice(low, 0, contender);
}

function add<Key>(names: Map<Key, Set<string>>, key: Key, name: string): void {
  const set = names.get(key);
  if (set) set.add(name);
  else names.set(key, new Set([name]));
}

function drop<Key>(names: Map<Key, Set<string>>, key: Key, name: string): void {
  const set = names.get(key);
  set?.delete(name);
  if (set?.size === 0) names.delete(key);
}

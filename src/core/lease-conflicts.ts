/** Leases judged against each other: of two that cannot both be accepted, which one is. */
import { overlap, type IpAddress } from '../model/address';
import { samePeer, type Peer } from '../model/peer';
import { AcceptedCandidates } from './accepted-candidates';
import { compareRank, type Candidate } from './candidate';
import { PriorityQueue } from './priority-queue';
import { SetsByKey } from './sets-by-key';
import { WaitingCandidates, type Room } from './waiting-candidates';

export type Verdict =
  /** Remark: what is odd about it all the same. */
  | { readonly kind: 'accepted'; readonly peer: Peer; readonly remark: string | undefined }
  /** It alone is ignored. */
  | { readonly kind: 'ignored'; readonly reason: string };

/** So many candidates with one PublicIP, or in one room, hear of each other's coming and going; more is no accident. */
const TOLD_OF_ONE_ANOTHER = 16;

/** True if not both can be accepted: one address would have two hosts, or one VTEP MAC two places. */
export function areInConflict(a: Peer, b: Peer): boolean {
  return overlap(a.subnet, b.subnet) || (a.vtepMac === b.vtepMac && a.publicIp !== b.publicIp);
}

/**
 * Which candidates are accepted: each that conflicts with no accepted one of higher rank. So the result depends on who there is,
 * and never on the order in which they came. A candidate that yielded is accepted again when that one has gone.
 *
 * The accepted ones never conflict with each other, at no moment; each other one waits in a room with those that wait for the same. When
 * the accepted one goes to which the first of a room yields, that first one is judged again, and the others only as it turns out: so a
 * change costs what it changes, also where thousands name one VTEP MAC.
 */
export class LeaseConflicts {
  readonly #candidates = new Map<string, Candidate>();
  readonly #accepted = new AcceptedCandidates();
  readonly #waiting = new WaitingCandidates();
  readonly #byPublicIp = new SetsByKey<IpAddress, string>();
  /** To be judged, the highest rank first. An entry that is no longer a candidate, or was replaced, is passed over. */
  readonly #queue = new PriorityQueue<Candidate>(compareRank);
  /** Those in the queue: their verdict is not known yet. */
  readonly #queued = new Set<string>();
  /** Those of whose verdict the caller has not heard. */
  readonly #untold = new Set<string>();

  /** Adds a candidate, in place of the one of its name. */
  put(candidate: Candidate): void {
    const { name, peer } = candidate;
    const known = this.#candidates.get(name);
    if (known && isSame(known, candidate)) return;
    if (known) this.remove(name);
    this.#candidates.set(name, candidate);
    this.#byPublicIp.add(peer.publicIp, name);
    this.#judgeLater(name);
    this.#mention(candidate);
  }

  remove(name: string): void {
    const candidate = this.#candidates.get(name);
    if (!candidate) return;
    this.#mention(candidate);
    this.#candidates.delete(name);
    this.#queued.delete(name);
    this.#byPublicIp.drop(candidate.peer.publicIp, name);
    this.#waiting.remove(candidate);
    if (this.#accepted.remove(candidate)) this.#release(candidate);
    this.#wakeRoomsFor(candidate);
  }

  has(name: string): boolean {
    return this.#candidates.has(name);
  }

  /** True when every candidate has been judged. */
  get isResolved(): boolean {
    return this.#queued.size === 0;
  }

  /**
   * Judges at most so many candidates, and tells the verdict of all for which it may have changed (undefined: removed). What is
   * left is judged by the next call; until then it stands as before. Of many that are ignored as before, but for another one, nothing is
   * told: see {@link reasonFor}.
   */
  resolve(most = Infinity): ReadonlyMap<string, Verdict | undefined> {
    for (let judged = 0; judged < most && this.#queued.size > 0;) {
      const candidate = this.#queue.pop()!;
      const { name } = candidate;
      if (this.#candidates.get(name) !== candidate || !this.#queued.delete(name)) continue;
      this.#judge(candidate);
      judged++;
    }
    const told = new Map<string, Verdict | undefined>();
    for (const name of this.#untold) {
      if (this.#queued.has(name)) continue;
      const verdict = this.#verdictOf(name);
      if (verdict === 'open') continue;
      this.#untold.delete(name);
      told.set(name, verdict);
    }
    return told;
  }

  /** Whether one that is not here yet would be accepted, as things stand. */
  wouldAccept(candidate: Candidate): boolean {
    return this.#accepted.winnerOver(candidate) === undefined;
  }

  /** Why a candidate is ignored, as things stand; undefined for one that is not. */
  reasonFor(name: string): string | undefined {
    const verdict = this.#verdictOf(name);
    return typeof verdict === 'object' && verdict.kind === 'ignored' ? verdict.reason : undefined;
  }

  #judge(candidate: Candidate): void {
    const bySubnet = this.#accepted.winnerBySubnet(candidate);
    const byMac = bySubnet ? undefined : this.#accepted.winnerByMac(candidate);
    if (bySubnet) this.#waiting.add(candidate, 'subnet', bySubnet);
    else if (byMac) this.#waiting.add(candidate, 'mac', byMac);
    else this.#accept(candidate);
    this.#mention(candidate);
    this.#wakeRoomsFor(candidate);
  }

  #accept(candidate: Candidate): void {
    const losers = [...this.#accepted.conflictsOf(candidate)];
    for (const loser of losers) this.#accepted.remove(loser);
    this.#accepted.add(candidate);
    for (const loser of losers) {
      const isOverlapped = overlap(loser.peer.subnet, candidate.peer.subnet);
      this.#waiting.add(loser, isOverlapped ? 'subnet' : 'mac', candidate);
      this.#mention(loser);
    }
    for (const loser of losers) this.#release(loser);
    // Of its VTEP MAC at its own place, they do not conflict with it.
    for (const name of this.#waiting.byMacAt(candidate.peer)) this.#judgeLater(name);
  }

  /** It is not accepted any more: what yielded to it may be. */
  #release({ name }: Candidate): void {
    for (const room of this.#waiting.roomsOfWinner(name)) this.#wake(room);
  }

  /** It was judged, or has gone: the next one in a room may have waited for that. */
  #wakeRoomsFor(candidate: Candidate): void {
    for (const room of this.#waiting.roomsFor(candidate)) this.#wake(room);
  }

  #wake(room: Room): void {
    const { first } = room;
    if (!first) return;
    const winner =
      room.kind === 'subnet' ? this.#accepted.winnerBySubnet(first) : this.#accepted.winnerByMac(first);
    if (!winner) return this.#judgeLater(first.name);
    if (winner.name === room.winner) return;
    this.#waiting.yieldTo(room, winner.name);
    if (room.size <= TOLD_OF_ONE_ANOTHER) for (const name of room.names) this.#untold.add(name);
  }

  #judgeLater(name: string): void {
    if (this.#queued.has(name)) return;
    const candidate = this.#candidates.get(name)!;
    this.#waiting.remove(candidate);
    this.#queued.add(name);
    this.#queue.push(candidate);
  }

  /** `open`: it waits for a candidate that is about to be judged. */
  #verdictOf(name: string): Verdict | 'open' | undefined {
    const candidate = this.#candidates.get(name);
    if (!candidate) return undefined;
    const { peer } = candidate;
    const room = this.#waiting.roomOf(name);
    if (!room) return { kind: 'accepted', peer, remark: this.#remarkOn(candidate) };
    if (room.kind === 'subnet') {
      const winner = this.#accepted.winnerBySubnet(candidate);
      return winner ? { kind: 'ignored', reason: `its subnet overlaps that of ${winner.name}` } : 'open';
    }
    const winner = this.#accepted.winnerByMac(candidate);
    if (!winner) return 'open';
    const reason = `its VtepMAC ${peer.vtepMac} is that of ${winner.name}, at ${winner.peer.publicIp}`;
    return { kind: 'ignored', reason };
  }

  /** Two hosts behind one address cannot both be reached, but packets to either take nothing from others. */
  #remarkOn({ peer }: Candidate): string | undefined {
    const other = this.#accepted.otherHostAt(peer);
    if (!other) return undefined;
    return `its PublicIP ${peer.publicIp} is that of ${other.name}, too; only one of the two hosts can be reached`;
  }

  /** Its verdict must be told, and what there is to remark on those that share its PublicIP. */
  #mention({ name, peer }: Candidate): void {
    this.#untold.add(name);
    if (this.#byPublicIp.sizeOf(peer.publicIp) > TOLD_OF_ONE_ANOTHER) return;
    for (const other of this.#byPublicIp.of(peer.publicIp)) this.#untold.add(other);
  }
}

function isSame(a: Candidate, b: Candidate): boolean {
  return compareRank(a, b) === 0 && samePeer(a.peer, b.peer);
}

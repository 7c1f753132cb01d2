/** Leases judged against each other: of two that cannot both be accepted, which one is. */
import { overlap, type IpAddress } from '../model/address';
import { samePeer, type Peer } from '../model/peer';
import { AcceptedCandidates } from './accepted-candidates';
import { compareRank, type Candidate } from './candidate';
import { PriorityQueue } from './priority-queue';
import { SetsByKey } from './sets-by-key';

export type Verdict =
  /** Remark: what is odd about it all the same. */
  | { readonly kind: 'accepted'; readonly peer: Peer; readonly remark: string | undefined }
  /** It alone is ignored. */
  | { readonly kind: 'ignored'; readonly reason: string };

/** Candidates with one PublicIP that hear of each other's coming and going; more is no accident, and told to some of them. */
const REMARKED_HOSTS = 16;

/** True if not both can be accepted: one address would have two hosts, or one VTEP MAC two places. */
export function areInConflict(a: Peer, b: Peer): boolean {
  return overlap(a.subnet, b.subnet) || (a.vtepMac === b.vtepMac && a.publicIp !== b.publicIp);
}

/**
 * Which candidates are accepted: each that conflicts with no accepted one of higher rank. So the result depends on who there is,
 * and never on the order in which they came. A candidate that yielded is accepted again when that one has gone.
 *
 * The accepted ones never conflict with each other, at no moment; each other one knows an accepted one to which it yields. So a
 * change costs what it changes: a candidate is judged again only when the one to which it yielded is accepted no more.
 */
export class LeaseConflicts {
  readonly #candidates = new Map<string, Candidate>();
  readonly #accepted = new AcceptedCandidates();
  /** By name: the accepted candidate that another one yields to. */
  readonly #yieldsTo = new Map<string, string>();
  /** The inverse of {@link #yieldsTo}. */
  readonly #followers = new SetsByKey<string, string>();
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
    this.#yieldTo(name, undefined);
    if (this.#accepted.remove(candidate)) this.#judgeFollowersOf(name);
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
   * left is judged by the next call; until then it stands as before.
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
      this.#untold.delete(name);
      told.set(name, this.#verdictOf(name));
    }
    return told;
  }

  /** Whether one that is not here yet would be accepted, as things stand. */
  wouldAccept(candidate: Candidate): boolean {
    return this.#accepted.winnerOver(candidate) === undefined;
  }

  #judge(candidate: Candidate): void {
    const { name } = candidate;
    const winner = this.#accepted.winnerOver(candidate);
    if (winner) {
      this.#yieldTo(name, winner.name);
      this.#mention(candidate);
      return;
    }
    for (const loser of this.#accepted.conflictsOf(candidate)) {
      this.#accepted.remove(loser);
      this.#yieldTo(loser.name, name);
      this.#mention(loser);
      this.#judgeFollowersOf(loser.name);
    }
    this.#yieldTo(name, undefined);
    this.#accepted.add(candidate);
    this.#mention(candidate);
  }

  #judgeLater(name: string): void {
    if (this.#queued.has(name)) return;
    this.#queued.add(name);
    this.#queue.push(this.#candidates.get(name)!);
  }

  #judgeFollowersOf(name: string): void {
    for (const follower of this.#followers.of(name)) this.#judgeLater(follower);
  }

  #yieldTo(name: string, winner: string | undefined): void {
    const before = this.#yieldsTo.get(name);
    if (before === winner) return;
    if (before !== undefined) this.#followers.drop(before, name);
    if (winner === undefined) this.#yieldsTo.delete(name);
    else {
      this.#yieldsTo.set(name, winner);
      this.#followers.add(winner, name);
    }
  }

  #verdictOf(name: string): Verdict | undefined {
    const candidate = this.#candidates.get(name);
    if (!candidate) return undefined;
    const { peer } = candidate;
    const winner = this.#candidates.get(this.#yieldsTo.get(name) ?? '');
    if (!winner) return { kind: 'accepted', peer, remark: this.#remarkOn(candidate) };
    return {
      kind: 'ignored',
      reason: overlap(peer.subnet, winner.peer.subnet)
        ? `its subnet overlaps that of ${winner.name}`
        : `its VtepMAC ${peer.vtepMac} is that of ${winner.name}, at ${winner.peer.publicIp}`,
    };
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
    if (this.#byPublicIp.sizeOf(peer.publicIp) > REMARKED_HOSTS) return;
    for (const other of this.#byPublicIp.of(peer.publicIp)) this.#untold.add(other);
  }
}

function isSame(a: Candidate, b: Candidate): boolean {
  return compareRank(a, b) === 0 && samePeer(a.peer, b.peer);
}

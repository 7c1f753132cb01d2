/** Leases judged against each other: of two that cannot both be believed, which one is. */
import { overlap, type IpAddress } from '../model/address';
import { samePeer, type Peer } from '../model/peer';
import { Believed } from './believed';
import { compareRank, type Contender } from './contender';
import { PriorityQueue } from './priority-queue';
import { SetsByKey } from './sets-by-key';

export type Standing =
  /** Remark: what is odd about it all the same. */
  | { readonly kind: 'believed'; readonly peer: Peer; readonly remark: string | undefined }
  /** It alone is ignored. */
  | { readonly kind: 'ignored'; readonly reason: string };

/** Contenders with one PublicIP that hear of each other's coming and going; more is no accident, and told to some of them. */
const REMARKED_HOSTS = 16;

/** True if not both can be believed: one address would have two hosts, or one VTEP MAC two places. */
export function areRivals(a: Peer, b: Peer): boolean {
  return overlap(a.subnet, b.subnet) || (a.vtepMac === b.vtepMac && a.publicIp !== b.publicIp);
}

/**
 * Which contenders are believed: each that conflicts with no believed one of higher rank. So the result depends on who there is,
 * and never on the order in which they came. A contender that gave way is believed again when its rival has gone.
 *
 * The believed ones never conflict with each other, at no moment; each other one knows a believed one to which it gives way. So a
 * change costs what it changes: a contender is judged again only when the one to which it gave way is believed no more.
 */
export class Rivals {
  readonly #contenders = new Map<string, Contender>();
  readonly #believed = new Believed();
  /** By name: the believed rival that a contender gives way to. */
  readonly #giveWayTo = new Map<string, string>();
  /** The inverse of {@link #giveWayTo}. */
  readonly #followers = new SetsByKey<string, string>();
  readonly #byPublicIp = new SetsByKey<IpAddress, string>();
  /** To be judged, the highest rank first. An entry that is no longer a contender, or was replaced, is passed over. */
  readonly #queue = new PriorityQueue<Contender>(compareRank);
  /** Those in the queue: their standing is not known yet. */
  readonly #queued = new Set<string>();
  /** Those of whose standing the caller has not heard. */
  readonly #untold = new Set<string>();

  /** Adds a contender, in place of the one of its name. */
  put(contender: Contender): void {
    const { name, peer } = contender;
    const known = this.#contenders.get(name);
    if (known && isSame(known, contender)) return;
    if (known) this.remove(name);
    this.#contenders.set(name, contender);
    this.#byPublicIp.add(peer.publicIp, name);
    this.#judgeLater(name);
    this.#mention(contender);
  }

  remove(name: string): void {
    const contender = this.#contenders.get(name);
    if (!contender) return;
    this.#mention(contender);
    this.#contenders.delete(name);
    this.#queued.delete(name);
    this.#byPublicIp.drop(contender.peer.publicIp, name);
    this.#giveWay(name, undefined);
    if (this.#believed.remove(contender)) this.#judgeFollowersOf(name);
  }

  has(name: string): boolean {
    return this.#contenders.has(name);
  }

  /** True when every contender has been judged. */
  get isSettled(): boolean {
    return this.#queued.size === 0;
  }

  /**
   * Judges at most so many contenders, and tells the standing of all for which it may have changed (undefined: removed). What is
   * left is judged by the next call; until then it stands as before.
   */
  settle(most = Infinity): ReadonlyMap<string, Standing | undefined> {
    for (let judged = 0; judged < most && this.#queued.size > 0;) {
      const contender = this.#queue.pop()!;
      const { name } = contender;
      if (this.#contenders.get(name) !== contender || !this.#queued.delete(name)) continue;
      this.#judge(contender);
      judged++;
    }
    const told = new Map<string, Standing | undefined>();
    for (const name of this.#untold) {
      if (this.#queued.has(name)) continue;
      this.#untold.delete(name);
      told.set(name, this.#standingOf(name));
    }
    return told;
  }

  /** Whether one that is not here yet would be believed, as things stand. */
  wouldBelieve(contender: Contender): boolean {
    return this.#believed.winnerOver(contender) === undefined;
  }

  #judge(contender: Contender): void {
    const { name } = contender;
    const winner = this.#believed.winnerOver(contender);
    if (winner) {
      this.#giveWay(name, winner.name);
      this.#mention(contender);
      return;
    }
    for (const loser of this.#believed.rivalsOf(contender)) {
      this.#believed.remove(loser);
      this.#giveWay(loser.name, name);
      this.#mention(loser);
      this.#judgeFollowersOf(loser.name);
    }
    this.#giveWay(name, undefined);
    this.#believed.add(contender);
    this.#mention(contender);
  }

  #judgeLater(name: string): void {
    if (this.#queued.has(name)) return;
    this.#queued.add(name);
    this.#queue.push(this.#contenders.get(name)!);
  }

  #judgeFollowersOf(name: string): void {
    for (const follower of this.#followers.of(name)) this.#judgeLater(follower);
  }

  #giveWay(name: string, winner: string | undefined): void {
    const before = this.#giveWayTo.get(name);
    if (before === winner) return;
    if (before !== undefined) this.#followers.drop(before, name);
    if (winner === undefined) this.#giveWayTo.delete(name);
    else {
      this.#giveWayTo.set(name, winner);
      this.#followers.add(winner, name);
    }
  }

  #standingOf(name: string): Standing | undefined {
    const contender = this.#contenders.get(name);
    if (!contender) return undefined;
    const { peer } = contender;
    const winner = this.#contenders.get(this.#giveWayTo.get(name) ?? '');
    if (!winner) return { kind: 'believed', peer, remark: this.#remarkOn(contender) };
    return {
      kind: 'ignored',
      reason: overlap(peer.subnet, winner.peer.subnet)
        ? `its subnet overlaps that of ${winner.name}`
        : `its VtepMAC ${peer.vtepMac} is that of ${winner.name}, at ${winner.peer.publicIp}`,
    };
  }

  /** Two hosts behind one address cannot both be reached, but packets to either take nothing from others. */
  #remarkOn({ peer }: Contender): string | undefined {
    const other = this.#believed.otherHostAt(peer);
    if (!other) return undefined;
    return `its PublicIP ${peer.publicIp} is that of ${other.name}, too; only one of the two hosts can be reached`;
  }

  /** Its standing must be told, and what there is to remark on those that share its PublicIP. */
  #mention({ name, peer }: Contender): void {
    this.#untold.add(name);
    if (this.#byPublicIp.sizeOf(peer.publicIp) > REMARKED_HOSTS) return;
    for (const other of this.#byPublicIp.of(peer.publicIp)) this.#untold.add(other);
  }
}

function isSame(a: Contender, b: Contender): boolean {
  return compareRank(a, b) === 0 && samePeer(a.peer, b.peer);
}

/** Judges leases, each by itself and all together, and keeps the peer table made of the accepted ones. */
import type { Candidate } from '../core/candidate';
import { LeaseConflicts, type Verdict } from '../core/lease-conflicts';
import { claimsOurMac, judgeLease, type Self } from '../core/peers';
import { isLeasable } from '../core/subnets';
import { printSubnet } from '../model/address';
import type { Lease } from '../model/lease';
import type { SubnetRange } from '../model/network-config';
import {
  MutablePeerTable,
  mergedChanges,
  samePeer,
  type Peer,
  type PeerChange,
  type PeerTable,
} from '../model/peer';
import type { LeaseProblem, LeaseProblems } from './lease-problems';

/** So many leases are judged against each other at once, when all of them are. */
export const RESOLVED_AT_ONCE = 32;

export interface JudgeParts {
  readonly problems: LeaseProblems;
  /** The peers that are kept although their keys are gone. */
  readonly grace: { isKept(leaseName: string): boolean; replace(leaseName: string): boolean };
  /** Told when a lease of another host names our VTEP MAC. */
  readonly ownMacClaimed: (lease: Lease) => void;
}

/** Owns who we are, and the peer table. A lease is judged when it is told of; {@link resolve} then brings the table in line. */
export class PeerJudge {
  readonly #peers = new MutablePeerTable();
  /** The leases that are good by themselves; those of them that are good together are the peers. */
  readonly #conflicts = new LeaseConflicts();
  /** By lease name, what of the table comes from it. */
  readonly #accepted = new Map<string, Peer>();
  /** By subnet, from which lease the table has its peer. Keys may name one subnet in several ways. */
  readonly #sources = new Map<string, string>();
  #self: Self | undefined;
  #range: SubnetRange | undefined;

  constructor(private readonly parts: JudgeParts) {}

  get peers(): PeerTable {
    return this.#peers;
  }

  /** Undefined: nothing can be judged yet. */
  get self(): Self | undefined {
    return this.#self;
  }

  /** True when every lease has been judged against the others. */
  get isResolved(): boolean {
    return this.#conflicts.isResolved;
  }

  /** From now on leases are judged by this; the caller judges those of before again. */
  identify(self: Self, range: SubnetRange): void {
    this.#self = self;
    this.#range = range;
  }

  /** True for a lease from which the table has a peer. */
  isPeer(leaseName: string): boolean {
    return this.#accepted.has(leaseName);
  }

  /** Judges one lease by itself. `isLive`: its key is there and can be read. */
  judge(lease: Lease, isLive: boolean): void {
    if (!this.#self) return;
    const { name } = lease;
    const verdict = judgeLease(lease, this.#self);
    if (verdict.kind === 'unusable') this.#report('judge', name, verdict.reason);
    else if (verdict.kind === 'peer' && verdict.remark !== undefined)
      this.#report('judge', name, verdict.remark, true);
    else this.parts.problems.withdraw('judge', name);
    if (verdict.kind === 'peer') this.#conflicts.put(this.#candidateOf(lease, verdict.peer, isLive));
    else this.#conflicts.remove(name);
    if (isLive && claimsOurMac(lease, this.#self)) this.parts.ownMacClaimed(lease);
  }

  /** A lease that is not there any more: there is nothing to say about it. */
  drop(leaseName: string): void {
    this.#conflicts.remove(leaseName);
    this.parts.problems.withdraw('judge', leaseName);
  }

  /** The peer that a lease would be which has not been judged. */
  peerOf(lease: Lease): Peer | undefined {
    const verdict = this.#self && judgeLease(lease, this.#self);
    if (verdict?.kind !== 'peer') return undefined;
    const { peer } = verdict;
    return this.#conflicts.wouldAccept(this.#candidateOf(lease, peer, true)) ? peer : undefined;
  }

  /** Brings the table in line with what the leases say together, for a part of those that are to be judged. */
  resolve(): PeerChange[] {
    const verdicts = this.#conflicts.resolve(RESOLVED_AT_ONCE);
    // First away with what is not accepted any more: another may have its subnet now.
    const removed = [...verdicts].map(([name, verdict]) => this.#removeUnless(name, verdict));
    const put = [...verdicts].map(([name, verdict]) => this.#put(name, verdict));
    return mergedChanges([...removed, ...put].filter((change) => change !== undefined));
  }

  /** Removes the peer of a lease from the table, unless it is accepted as it was. */
  #removeUnless(leaseName: string, verdict: Verdict | undefined): PeerChange | undefined {
    const peer = this.#accepted.get(leaseName);
    if (!peer || (verdict?.kind === 'accepted' && samePeer(peer, verdict.peer))) return undefined;
    this.#accepted.delete(leaseName);
    const subnet = printSubnet(peer.subnet);
    // A lease of the same subnet, judged before this one, may have taken its place already.
    if (this.#sources.get(subnet) !== leaseName) return undefined;
    this.#sources.delete(subnet);
    return this.#peers.remove(peer.subnet);
  }

  #put(leaseName: string, verdict: Verdict | undefined): PeerChange | undefined {
    const { problems, grace } = this.parts;
    if (verdict?.kind === 'accepted') {
      const { peer, remark } = verdict;
      this.#accepted.set(leaseName, peer);
      this.#sources.set(printSubnet(peer.subnet), leaseName);
      if (remark !== undefined) this.#report('conflicts', leaseName, remark, true);
      else problems.withdraw('conflicts', leaseName);
      return this.#peers.put(peer);
    }
    if (verdict && !grace.isKept(leaseName))
      problems.put('conflicts', this.#conflictOf(leaseName, verdict.reason));
    else {
      problems.withdraw('conflicts', leaseName);
      // What a peer that was only kept had has passed to another.
      if (grace.replace(leaseName)) this.drop(leaseName);
    }
    return undefined;
  }

  /** Of many leases in one conflict, nothing is told when another of them is accepted: the reason is asked for when it is shown. */
  #conflictOf(lease: string, told: string): LeaseProblem {
    const conflicts = this.#conflicts;
    return {
      lease,
      get reason() {
        return conflicts.reasonFor(lease) ?? told;
      },
      isUsed: false,
    };
  }

  #candidateOf({ name, subnet, createRevision }: Lease, peer: Peer, isLive: boolean): Candidate {
    return { name, peer, isLive, isFitting: isLeasable(this.#range!, subnet), createRevision };
  }

  #report(from: 'judge' | 'conflicts', lease: string, reason: string, isUsed = false): void {
    this.parts.problems.put(from, { lease, reason, isUsed });
  }
}

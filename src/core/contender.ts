/** A lease that may be a peer, and its rank among those with which it conflicts. */
import type { Peer } from '../model/peer';

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

/** True if `a` is believed rather than `b`: live before gone, fitting before odd, the older before the newer. A total order. */
export function outranks(a: Contender, b: Contender): boolean {
  return compareRank(a, b) < 0;
}

/** Negative: `a` has the higher rank. */
export function compareRank(a: Contender, b: Contender): number {
  if (a.isLive !== b.isLive) return a.isLive ? -1 : 1;
  if (a.isFitting !== b.isFitting) return a.isFitting ? -1 : 1;
  // Decimal numbers without leading zeros: the longer one is the greater one.
  const { createRevision: left } = a;
  const { createRevision: right } = b;
  if (left.length !== right.length) return left.length - right.length;
  if (left !== right) return left < right ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

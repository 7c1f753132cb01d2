/**
 * What to do with the key of our lease, given what etcd has there, what we hold, who disputes it, and the time. The lease holder asks,
 * decides here, and acts.
 */
import type { IpAddress } from '../model/address';
import { sameAttributes, type Lease, type MalformedLease } from '../model/lease';
import { vtepMacOf } from '../model/lease-codec';

/** What etcd has under the name of our lease; undefined: no key. */
export type StoredKey = Lease | MalformedLease | undefined;

export interface KeepingFacts {
  readonly held: Lease;
  readonly stored: StoredKey;
  /** `told`: by the watch, which may be late; `read`: by etcd, just now. */
  readonly source: 'told' | 'read';
  /** True for an etcd lease of this host. */
  readonly isOwn: (etcdLeaseId: string) => boolean;
  readonly dispute: DisputeHistory;
  /** Monotonic milliseconds. */
  readonly now: number;
}

export type KeepingStep =
  /** The key is as we hold it. */
  | { readonly kind: 'keep' }
  /** What the watch told is no proof: read the key. */
  | { readonly kind: 'read' }
  /** The key says what we hold, at another revision: hold that. */
  | { readonly kind: 'adopt'; readonly lease: Lease }
  /** It says what we hold, but hangs on the etcd lease of another host: attach it to one of ours. */
  | { readonly kind: 'claim'; readonly lease: Lease }
  /** Write our attributes over it. */
  | { readonly kind: 'write'; readonly over: Lease; readonly why: WriteReason }
  /** Another host claims it, and was there first. */
  | { readonly kind: 'concede'; readonly to: Lease }
  /** The key is gone, or (`from`) another host's: acquire a lease again. */
  | { readonly kind: 'retake'; readonly from: Lease | undefined };

export type WriteReason =
  | { readonly kind: 'garbage'; readonly reason: string }
  | { readonly kind: 'changed' }
  | { readonly kind: 'objection'; readonly answer: Exclude<DisputeAnswer, 'concede'> };

/** What to do with our key. */
export function decideKeeping(facts: KeepingFacts): KeepingStep {
  const { held, stored, source, isOwn } = facts;
  // The watch may tell an older write of ours, or one from before a restore of the store; and a deleted key may be back.
  if (source === 'told' && (stored === undefined || isOlder(stored, held))) return { kind: 'read' };
  if (stored === undefined) return { kind: 'retake', from: undefined };
  if ('reason' in stored) {
    const { modRevision, etcdLeaseId, reason } = stored;
    return { kind: 'write', over: { ...held, modRevision, etcdLeaseId }, why: { kind: 'garbage', reason } };
  }
  const isPublicIpOurs = stored.attributes.publicIp === held.attributes.publicIp;
  if (isPublicIpOurs && isNewer(stored, held) && isAnothersClaim(stored, held, isOwn))
    return answerWith(answerToClaim(facts.dispute, stored.modRevision, facts.now), stored);
  if (sameAttributes(stored.attributes, held.attributes)) {
    // Held from memory, of an earlier life of this host: a clone may remember the same.
    if (hangsOnAnothers(stored, isOwn)) return { kind: 'claim', lease: stored };
    return stored.modRevision === held.modRevision ? { kind: 'keep' } : { kind: 'adopt', lease: stored };
  }
  if (!isPublicIpOurs) return { kind: 'retake', from: stored };
  return { kind: 'write', over: stored, why: { kind: 'changed' } };
}

function answerWith(answer: DisputeAnswer, stored: Lease): KeepingStep {
  if (answer === 'concede') return { kind: 'concede', to: stored };
  return { kind: 'write', over: stored, why: { kind: 'objection', answer } };
}

export type ConcededStep =
  /** The other host still has it. */
  | { readonly kind: 'wait' }
  /** The other host may have gone: claim the lease, and concede again if it objects. */
  | { readonly kind: 'challenge'; readonly lease: Lease }
  /** Nobody else has it any more: the dispute is over, and the key is kept as usual. */
  | { readonly kind: 'regain' }
  /** The two hosts have different PublicIPs now: there is nothing to wait for. */
  | { readonly kind: 'retake' };

/** What to do with our key after we conceded it. `publicIp`: ours now; `isTime`: a retry is due. */
export function decideConceded(
  { held, stored, isOwn }: Pick<KeepingFacts, 'held' | 'stored' | 'isOwn'>,
  publicIp: IpAddress,
  isTime: boolean,
): ConcededStep {
  if (stored === undefined || 'reason' in stored) return { kind: 'regain' };
  if (stored.attributes.publicIp !== publicIp) return { kind: 'retake' };
  if (!isAnothersClaim(stored, held, isOwn)) return { kind: 'regain' };
  return isTime ? { kind: 'challenge', lease: stored } : { kind: 'wait' };
}

/** How etcd differs from what we hold. */
export type Deviation =
  /** No key. */
  | { readonly kind: 'missing' }
  /** The lease of another host. */
  | { readonly kind: 'taken'; readonly publicIp: IpAddress | undefined }
  /** A value that nobody can read. */
  | { readonly kind: 'spoiled' }
  /** A lease of ours that leads elsewhere. */
  | { readonly kind: 'changed' };

/** How the stored key differs from the lease we hold; undefined where other hosts see what we hold. */
export function deviationOf(stored: StoredKey, held: Lease): Deviation | undefined {
  if (stored === undefined) return { kind: 'missing' };
  if ('reason' in stored) return { kind: 'spoiled' };
  const { publicIp } = stored.attributes;
  if (publicIp !== held.attributes.publicIp) return { kind: 'taken', publicIp };
  return sameAttributes(stored.attributes, held.attributes) ? undefined : { kind: 'changed' };
}

/** True for what was stored before we last wrote or saw our lease. */
export function isOlder(stored: StoredKey, held: Lease): boolean {
  return stored !== undefined && BigInt(stored.modRevision) < BigInt(held.modRevision);
}

/** Not so in a store that was restored from a backup: there a key hangs on whatever it hung on then. */
function isNewer(stored: Lease, held: Lease): boolean {
  return BigInt(stored.modRevision) > BigInt(held.modRevision);
}

/** True for a key that hangs on no etcd lease. */
export function isReservation({ etcdLeaseId }: Lease): boolean {
  return etcdLeaseId === undefined;
}

/** True for a key that hangs on an etcd lease of another host, or of this one before it was booted. */
export function hangsOnAnothers({ etcdLeaseId }: Lease, isOwn: KeepingFacts['isOwn']): boolean {
  return etcdLeaseId !== undefined && !isOwn(etcdLeaseId);
}

/** True if what is stored in place of what we hold was written by another host with our PublicIP. */
function isAnothersClaim(stored: Lease, held: Lease, isOwn: KeepingFacts['isOwn']): boolean {
  if (stored.etcdLeaseId !== held.etcdLeaseId) return hangsOnAnothers(stored, isOwn);
  // A reservation, or an etcd lease that a copy of this host shares.
  const vtepMac = vtepMacOf(stored);
  return vtepMac !== undefined && vtepMac !== vtepMacOf(held);
}

/**
 * A host that claims a lease and hears an objection within this time is the newcomer, and concedes. What comes later is no objection but
 * the retry of a host that conceded: taken for one, two hosts that started together would concede to each other in turn.
 */
const CLAIM_MILLISECONDS = 7_000;
/** Two hosts that both hold the lease object in turn, each within this time: the one that began concedes after so many times. */
const COUNTER_MILLISECONDS = 5_000;
const COUNTERS = 2;

/** What was claimed and objected to so far. Times are monotonic milliseconds, -Infinity for never. */
export interface DisputeHistory {
  readonly claimedAt: number;
  readonly objectedAt: number;
  /** Objections that followed each other quickly. */
  readonly counters: number;
  /** The revision of the last claim that we objected to. */
  readonly objectedTo: string | undefined;
}

/** `insist`: object again to the same claim, because the first objection could not be written. */
export type DisputeAnswer = 'object' | 'insist' | 'concede';

/** What to say to another host that has claimed our lease with the write of this revision. */
export function answerToClaim(history: DisputeHistory, modRevision: string, now: number): DisputeAnswer {
  if (history.objectedTo === modRevision) return 'insist';
  const isNewcomer = now - history.claimedAt < CLAIM_MILLISECONDS;
  return isNewcomer || countersAt(history, now) >= COUNTERS ? 'concede' : 'object';
}

/** The counters after one more claim. */
export function countersAt({ objectedAt, counters }: DisputeHistory, now: number): number {
  return now - objectedAt < COUNTER_MILLISECONDS ? counters + 1 : 0;
}

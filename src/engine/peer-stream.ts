/** Tells of changes of the peer table, to each subscriber in its place. */
import { mergedChanges, type PeerChange } from '../model/peer';

/**
 * These hear of a change as soon as the table has it, also while leases are still being judged: it may change again. The fast path may
 * answer for a peer at once, so the peer is admitted first.
 */
export const AT_ONCE = ['admission', 'fast path'] as const;
/**
 * These hear of it once all leases have been judged. The responder answers and the reconciler writes for peers that are admitted. The
 * state file, which no packet waits for, is last.
 */
export const WHEN_JUDGED = [
  'change log',
  'known addresses',
  'admission',
  'responder',
  'reconciler',
  'state file',
] as const;

/** `changes`: one for each subnet. */
export type AtOnce = (changes: readonly PeerChange[]) => void;
/** `changes`: all since the last call, one for each subnet; `each`: as they came, for who must know what the table said in between. */
export type WhenJudged = (changes: readonly PeerChange[], each: readonly PeerChange[]) => void;

/** The order in which they are written here means nothing. */
export interface PeerSubscribers {
  readonly atOnce: { readonly [name in (typeof AT_ONCE)[number]]?: AtOnce };
  readonly whenJudged: { readonly [name in (typeof WHEN_JUDGED)[number]]?: WhenJudged };
}

/** Owns the changes of which only those have heard that hear at once. */
export class PeerStream {
  #unjudged: PeerChange[] = [];

  constructor(private readonly subscribers: PeerSubscribers) {}

  /** The table has changed: one change for each subnet. */
  changed(changes: readonly PeerChange[]): void {
    if (changes.length === 0) return;
    this.#unjudged.push(...changes);
    for (const name of AT_ONCE) this.subscribers.atOnce[name]?.(changes);
  }

  /** Every lease that was to be judged has been. */
  judged(): void {
    const each = this.#unjudged;
    if (each.length === 0) return;
    this.#unjudged = [];
    const changes = mergedChanges(each);
    for (const name of WHEN_JUDGED) this.subscribers.whenJudged[name]?.(changes, each);
  }
}

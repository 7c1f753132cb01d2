/** Slows down repairs of single objects that another program keeps undoing. */
import { keyOf } from '../model/kernel-state';
import type { Operation } from '../model/operation';

/** So many repairs of one object within so long are a repair loop: slowed down, because speed wins nothing. */
const LOOP_REPAIRS = 20;
const LOOP_MILLISECONDS = 2_000;
const FIRST_HOLD_MILLISECONDS = 1_000;
const LONGEST_HOLD_MILLISECONDS = 60_000;
/** So many repairs of one object within so long are worth a word, however slow. */
const NOTABLE_REPAIRS = 10;
const NOTABLE_MILLISECONDS = 600_000;
/** Objects remembered; the oldest are forgotten. */
const REMEMBERED_OBJECTS = 4_096;

interface Record {
  /** When the window of a loop and that of a notable number began, and the repairs since. */
  loopSince: number;
  loopRepairs: number;
  notableSince: number;
  notableRepairs: number;
  heldUntil: number;
  holdMilliseconds: number;
}

export interface Admission {
  /** What may be repaired now. */
  readonly operations: Operation[];
  /** What may not be repaired yet. */
  readonly held: Operation[];
  /** When something that was held back may be repaired; Infinity when nothing was. */
  readonly nextAt: number;
  /** Objects whose repairs are worth a word now: a loop begins, or has gone on. */
  readonly notable: {
    readonly operation: Operation;
    readonly repairs: number;
    readonly isRepairLoop: boolean;
  }[];
}

/** Counts repairs of each object, and holds back those of an object that is undone at once, again and again. */
export class ObjectRepairThrottle {
  readonly #records = new Map<string, Record>();

  /** Takes the repairs that a pass would make at that time (monotonic milliseconds); says which it should make. */
  admit(repairs: readonly Operation[], now: number): Admission {
    const operations: Operation[] = [];
    const held: Operation[] = [];
    const notable: Admission['notable'] = [];
    /** Until when, by name. */
    const heldLinks = new Map<string, number>();
    let nextAt = Infinity;
    for (const operation of repairs) {
      const { object } = operation;
      const record = this.#recordOf(keyOf(object), now);
      // Nothing can be put on a link that is not there.
      const linkHeldUntil = object.kind === 'link' ? 0 : (heldLinks.get(object.link ?? '') ?? 0);
      const heldUntil = Math.max(record.heldUntil, linkHeldUntil);
      if (now < heldUntil) {
        if (object.kind === 'link') heldLinks.set(object.name, heldUntil);
        nextAt = Math.min(nextAt, heldUntil);
        held.push(operation);
        continue;
      }
      operations.push(operation);
      const word = this.#count(record, now);
      if (word) notable.push({ operation, repairs: record.notableRepairs, isRepairLoop: word === 'loop' });
    }
    return { operations, held, nextAt, notable };
  }

  /** The objects in a repair loop at that time (monotonic milliseconds), by their keys. */
  loopsAt(now: number): string[] {
    return [...this.#records]
      .filter(([, { heldUntil }]) => heldUntil > 0 && now <= heldUntil + LOOP_MILLISECONDS)
      .map(([key]) => key);
  }

  #count(record: Record, now: number): 'loop' | 'notable' | undefined {
    if (now - record.loopSince > LOOP_MILLISECONDS + record.holdMilliseconds) {
      Object.assign(record, { loopSince: now, loopRepairs: 0, holdMilliseconds: 0 });
    }
    if (now - record.notableSince > NOTABLE_MILLISECONDS) {
      Object.assign(record, { notableSince: now, notableRepairs: 0 });
    }
    record.loopRepairs++;
    record.notableRepairs++;
    if (record.loopRepairs >= LOOP_REPAIRS) {
      const hold = Math.min(
        Math.max(record.holdMilliseconds * 2, FIRST_HOLD_MILLISECONDS),
        LONGEST_HOLD_MILLISECONDS,
      );
      const isNew = record.holdMilliseconds === 0;
      Object.assign(record, { loopSince: now, heldUntil: now + hold, holdMilliseconds: hold });
      return isNew ? 'loop' : undefined;
    }
    return record.notableRepairs === NOTABLE_REPAIRS ? 'notable' : undefined;
  }

  #recordOf(key: string, now: number): Record {
    let record = this.#records.get(key);
    if (!record) {
      record = {
        loopSince: now,
        loopRepairs: 0,
        notableSince: now,
        notableRepairs: 0,
        heldUntil: 0,
        holdMilliseconds: 0,
      };
      this.#records.set(key, record);
      const [oldest] = this.#records.keys();
      if (this.#records.size > REMEMBERED_OBJECTS) this.#records.delete(oldest!);
    }
    return record;
  }
}

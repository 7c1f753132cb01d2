/** Recognises objects that somebody keeps undoing. */
import { keyOf } from '../model/kernel-state';
import type { Operation } from '../model/operation';

/** So many repairs of one object within so long are a fight: slowed down, for nobody wins it by being faster. */
const FIGHT_REPAIRS = 20;
const FIGHT_MILLISECONDS = 2_000;
const FIRST_HOLD_MILLISECONDS = 1_000;
const LONGEST_HOLD_MILLISECONDS = 60_000;
/** So many repairs of one object within so long are worth a word, however slow. */
const NOTABLE_REPAIRS = 10;
const NOTABLE_MILLISECONDS = 600_000;
/** Objects remembered; the oldest are forgotten. */
const REMEMBERED_OBJECTS = 4_096;

interface Record {
  /** When a fight's window and a notable's window began, and the repairs since. */
  fightSince: number;
  fightRepairs: number;
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
  /** Objects whose repairs are worth a word now: a fight begins, or has gone on. */
  readonly notable: { readonly operation: Operation; readonly repairs: number; readonly isFight: boolean }[];
}

/** Counts repairs per object, and holds back those of an object that is undone at once, again and again. */
export class RepairLedger {
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
      if (word) notable.push({ operation, repairs: record.notableRepairs, isFight: word === 'fight' });
    }
    return { operations, held, nextAt, notable };
  }

  /** The objects that are fought about at that time (monotonic milliseconds), by their keys. */
  foughtAbout(now: number): string[] {
    return [...this.#records]
      .filter(([, { heldUntil }]) => heldUntil > 0 && now <= heldUntil + FIGHT_MILLISECONDS)
      .map(([key]) => key);
  }

  #count(record: Record, now: number): 'fight' | 'notable' | undefined {
    if (now - record.fightSince > FIGHT_MILLISECONDS + record.holdMilliseconds) {
      Object.assign(record, { fightSince: now, fightRepairs: 0, holdMilliseconds: 0 });
    }
    if (now - record.notableSince > NOTABLE_MILLISECONDS) {
      Object.assign(record, { notableSince: now, notableRepairs: 0 });
    }
    record.fightRepairs++;
    record.notableRepairs++;
    if (record.fightRepairs >= FIGHT_REPAIRS) {
      const hold = Math.min(
        Math.max(record.holdMilliseconds * 2, FIRST_HOLD_MILLISECONDS),
        LONGEST_HOLD_MILLISECONDS,
      );
      const isNew = record.holdMilliseconds === 0;
      Object.assign(record, { fightSince: now, heldUntil: now + hold, holdMilliseconds: hold });
      return isNew ? 'fight' : undefined;
    }
    return record.notableRepairs === NOTABLE_REPAIRS ? 'notable' : undefined;
  }

  #recordOf(key: string, now: number): Record {
    let record = this.#records.get(key);
    if (!record) {
      record = {
        fightSince: now,
        fightRepairs: 0,
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

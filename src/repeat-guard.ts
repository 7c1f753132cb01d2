/** Said once, repeated sparingly. */
import type { Clock } from './ports';

const FIRST_REMINDER_MILLISECONDS = 60_000;
const LONGEST_REMINDER_MILLISECONDS = 600_000;
const MOST_KEYS = 1_000;

/** What to say now: how often it was not said since the last time, and for how long it has been going on. */
export interface Saying {
  readonly suppressed: number;
  readonly sinceSeconds: number;
}

interface Entry {
  readonly since: number;
  readonly nextAt: number;
  readonly intervalMilliseconds: number;
  readonly suppressed: number;
}

/**
 * Decides which of many like messages are worth a line: the first of each key, then one after a minute, after two more, four
 * more, … and every ten minutes at last. Knows a bounded number of keys, and forgets the one that was silent for longest.
 */
export class RepeatGuard {
  readonly #entries = new Map<string, Entry>();

  constructor(private readonly clock: Pick<Clock, 'now'>) {}

  /** What to say about this key now; undefined: nothing. */
  ask(key: string): Saying | undefined {
    const now = this.clock.now();
    const entry = this.#entries.get(key);
    if (entry && now < entry.nextAt) {
      this.#remember(key, { ...entry, suppressed: entry.suppressed + 1 });
      return undefined;
    }
    const since = entry?.since ?? now;
    const intervalMilliseconds = entry
      ? Math.min(entry.intervalMilliseconds * 2, LONGEST_REMINDER_MILLISECONDS)
      : FIRST_REMINDER_MILLISECONDS;
    this.#remember(key, { since, nextAt: now + intervalMilliseconds, intervalMilliseconds, suppressed: 0 });
    return { suppressed: entry?.suppressed ?? 0, sinceSeconds: Math.round((now - since) / 1000) };
  }

  /** It is over: the next time is a first time. */
  forget(key: string): void {
    this.#entries.delete(key);
  }

  #remember(key: string, entry: Entry): void {
    // The map keeps the order of last use.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > MOST_KEYS) this.#entries.delete(this.#entries.keys().next().value!);
  }
}

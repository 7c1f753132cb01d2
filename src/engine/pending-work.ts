/** What the reconciler has yet to look at, and why. */
import { keyOf, type ObjectName } from '../model/kernel-state';

/**
 * Why the kernel is looked at: we have just started; we want something else than before; another program changed something; time
 * has passed; something failed. `what` is for the log only.
 */
export interface Cause {
  readonly kind: 'start' | 'wanted' | 'external' | 'audit' | 'retry';
  readonly what: string;
}

/** A flood of different causes must not grow without bound. */
const MAX_CAUSES = 8;
/** More names than this are not worth remembering: everything is looked at. */
const MAX_NAMES = 20_000;

/** What one pass takes over. */
export interface Work {
  /** Why everything is to be looked at, whatever is named; empty where it is not. */
  readonly whole: ReadonlySet<Cause['kind']>;
  readonly names: ReadonlyMap<string, ObjectName>;
  /** Keys of the names that we want changed ourselves. */
  readonly wanted: ReadonlySet<string>;
  /** Those of them that nothing had, as far as we know: they belong to peers that have just joined. */
  readonly fresh: ReadonlySet<string>;
  /** For the log: some of the causes. */
  readonly causes: readonly Cause[];
}

/**
 * Collects names of objects to be looked at again, and reasons to look at everything. Never values: what the kernel holds is read,
 * and what it should hold is asked for, when the work is done.
 */
export class PendingWork {
  #whole = new Set<Cause['kind']>();
  #names = new Map<string, ObjectName>();
  #wanted = new Set<string>();
  #fresh = new Set<string>();
  #causes: Cause[] = [];

  get isEmpty(): boolean {
    return this.#whole.size === 0 && this.#names.size === 0;
  }

  /** Everything is to be looked at. */
  addAll(cause: Cause): void {
    this.#whole.add(cause.kind);
    this.#addCause(cause);
  }

  /** These objects are to be looked at. `isFresh`: see {@link Work.fresh}; whatever else is said of a name goes before it. */
  add(names: readonly ObjectName[], cause: Cause, isFresh = false): void {
    for (const name of names) {
      const key = keyOf(name);
      if (!isFresh) this.#fresh.delete(key);
      else if (!this.#names.has(key)) this.#fresh.add(key);
      this.#names.set(key, name);
      if (cause.kind === 'wanted') this.#wanted.add(key);
    }
    if (names.length > 0) this.#addCause(cause);
    if (this.#names.size <= MAX_NAMES) return;
    this.#whole.add(this.#wanted.size > 0 ? 'wanted' : 'external');
    this.#names.clear();
    this.#wanted.clear();
    this.#fresh.clear();
  }

  /** True while it waits to be looked at because we want it changed. */
  isWanted(key: string): boolean {
    return this.#wanted.has(key);
  }

  /** Hands over all there is. */
  take(): Work {
    const work = {
      ...{ whole: this.#whole, names: this.#names, wanted: this.#wanted, fresh: this.#fresh },
      causes: this.#causes,
    };
    this.#whole = new Set();
    this.#names = new Map();
    this.#wanted = new Set();
    this.#fresh = new Set();
    this.#causes = [];
    return work;
  }

  #addCause(cause: Cause): void {
    const isKnown = this.#causes.some(({ kind, what }) => kind === cause.kind && what === cause.what);
    if (!isKnown && this.#causes.length < MAX_CAUSES) this.#causes.push(cause);
  }
}

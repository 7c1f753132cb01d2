/** Maps from a key to a set of items. */
import type { Contender } from './contender';

/** None of the sets is empty. A set of one is kept as its item: nearly all are of one, and a Set takes 200 bytes. */
export class SetsByKey<Key, Item extends string | Contender> {
  readonly #sets = new Map<Key, Item | Set<Item>>();

  add(key: Key, item: Item): void {
    const found = this.#sets.get(key);
    if (found instanceof Set) found.add(item);
    else if (found === undefined) this.#sets.set(key, item);
    else if (found !== item) this.#sets.set(key, new Set([found, item]));
  }

  drop(key: Key, item: Item): void {
    const found = this.#sets.get(key);
    if (found === item) this.#sets.delete(key);
    if (!(found instanceof Set) || !found.delete(item) || found.size > 1) return;
    for (const last of found) this.#sets.set(key, last);
  }

  /** In the order in which they were added. To be looked through before the set of this key changes. */
  of(key: Key): Iterable<Item> {
    const found = this.#sets.get(key);
    if (found instanceof Set) return found;
    return found === undefined ? [] : [found];
  }

  sizeOf(key: Key): number {
    const found = this.#sets.get(key);
    if (found instanceof Set) return found.size;
    return found === undefined ? 0 : 1;
  }

  /** The one that was added first. */
  firstOf(key: Key): Item | undefined {
    for (const item of this.of(key)) return item;
    return undefined;
  }
}

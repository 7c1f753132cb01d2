/** What a long series of operations may not undo any more, because something newer was put meanwhile. */
import { keyOf } from '../model/kernel-state';
import type { Operation } from '../model/operation';

export class Overtaken {
  /** For each series that is under way, the keys of what was put since it began. */
  readonly #series = new Set<Set<string>>();

  /** These are newer than every series under way. */
  note(operations: readonly Operation[]): void {
    for (const keys of this.#series)
      for (const { verb, object } of operations) if (verb === 'put') keys.add(keyOf(object));
  }

  /** Runs a series; `due` leaves out of some of its operations those that are outdated. */
  async during<T>(
    series: (due: (some: readonly Operation[]) => readonly Operation[]) => Promise<T>,
  ): Promise<T> {
    const keys = new Set<string>();
    this.#series.add(keys);
    try {
      return await series((some) =>
        keys.size === 0
          ? some
          : some.filter(({ verb, object }) => verb === 'put' || !keys.has(keyOf(object))),
      );
    } finally {
      this.#series.delete(keys);
    }
  }
}

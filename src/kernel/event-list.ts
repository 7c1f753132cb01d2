/** The events of one batch of notifications. */
import type { ObjectName } from '../model/kernel-state';
import type { KernelEvent } from '../ports';

/** So many changes are told one by one; whoever flushes ten thousand neighbors need not be heard ten thousand times. */
const CHANGES_AT_ONCE = 128;

/** Collects events in their order, and says the same thing only once. */
export class EventList {
  #events: KernelEvent[] = [];
  #changes = 0;

  add(event: KernelEvent): void {
    this.#events.push(event);
  }

  /** `name`: the one object that it came to; undefined where it may have come to others, too. */
  change(what: string, name?: ObjectName, isNewLink = false): void {
    if (++this.#changes > CHANGES_AT_ONCE) return;
    this.#events.push({ kind: 'changed', what, name, ...(isNewLink ? { isNewLink } : {}) });
  }

  interfaces(): void {
    if (this.#events.at(-1)?.kind !== 'interfaces') this.#events.push({ kind: 'interfaces' });
  }

  routing(): void {
    if (!this.#events.some(({ kind }) => kind === 'routing')) this.#events.push({ kind: 'routing' });
  }

  /** Gives what was collected, and begins anew. */
  take(): readonly KernelEvent[] {
    const [events, more] = [this.#events, this.#changes - CHANGES_AT_ONCE];
    if (more > 0) events.push({ kind: 'changed', what: `and ${more} more changes`, name: undefined });
    this.#events = [];
    this.#changes = 0;
    return events;
  }
}

/** Virtual time: what happens next, and a fingerprint of all that has happened. */

export interface Appointment {
  /** Takes it back; nothing happens if it is over already. */
  cancel(): void;
}

interface Entry extends Appointment {
  readonly at: number;
  readonly order: number;
  readonly what: string;
  work: (() => void) | undefined;
}

/**
 * Runs one appointment at a time, in the order of their times, and lets all promises that follow from it settle before the
 * next: a step. Nothing but appointments makes time pass, so the same appointments give the same run.
 */
export class Scheduler {
  #now = 0;
  #order = 0;
  #steps = 0;
  #fingerprint = 0x811c9dc5;
  readonly #heap: Entry[] = [];
  readonly #recent: string[] = [];

  /** `remembered`: how many of the last steps and notes are kept for {@link recent}. */
  constructor(private readonly remembered = 400) {}

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#now;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Eight hex digits that differ if any step did. */
  get fingerprint(): string {
    return (this.#fingerprint >>> 0).toString(16).padStart(8, '0');
  }

  /** The last steps and notes, oldest first. */
  get recent(): readonly string[] {
    return this.#recent.slice(-this.remembered);
  }

  after(milliseconds: number, what: string, work: () => void): Appointment {
    const entry: Entry = {
      at: this.#now + Math.max(0, milliseconds),
      order: this.#order++,
      what,
      work,
      cancel: () => (entry.work = undefined),
    };
    this.#push(entry);
    return entry;
  }

  /** Remembers a line among the steps. */
  note(line: string): void {
    this.#mix(line);
    if (this.remembered === 0) return;
    this.#recent.push(`${(this.#now / 1000).toFixed(3)} ${line}`);
    if (this.#recent.length > 2 * this.remembered) this.#recent.splice(0, this.remembered);
  }

  /** Runs all that is due within so many milliseconds, or until `isOver` says so after a step; then that time has passed. */
  async run(milliseconds: number, isOver: () => boolean = () => false): Promise<void> {
    const end = this.#now + milliseconds;
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.at > end) break;
      this.#pop();
      if (!next.work) continue;
      this.#now = next.at;
      this.#steps++;
      this.note(next.what);
      const { work } = next;
      next.work = undefined;
      work();
      await turn();
      if (isOver()) return;
    }
    this.#now = end;
  }

  #mix(text: string): void {
    let hash = this.#fingerprint ^ Math.round(this.#now * 1000);
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.#fingerprint = hash;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, entry)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** One turn of the event loop: every promise that can settle does, and immediates that were asked for run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

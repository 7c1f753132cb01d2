/** What is wrong with leases: said once each, and kept for who asks. */
import type { Clock, Log } from '../ports';

/** At most so many are logged one by one at a time. */
const LOGGED_COMPLAINTS = 8;
/** After a line that stood for many, the next one comes no sooner than this. */
const SUMMARY_REST_MILLISECONDS = 10_000;
/** A lease that changes again and again is complained about in the log no more often than this. */
const REST_MILLISECONDS = 60_000;

export interface Complaint {
  readonly lease: string;
  readonly reason: string;
  /** The lease is used all the same. */
  readonly isUsed: boolean;
}

/** Where a complaint comes from; a lease may have one of each. */
export type Complainant = 'codec' | 'judge' | 'rivals';

/**
 * Owns what is complained about. The same complaint is logged once, and again only after it was withdrawn. What one lease gives
 * reason to is logged once a minute at most.
 */
export class Complaints {
  readonly #complaints = new Map<string, Complaint>();
  readonly #unlogged = new Map<string, Complaint>();
  #silentUntil = -Infinity;
  /** When a complaint was last logged, for those of the last minute. */
  readonly #loggedAt = new Map<string, number>();

  constructor(private readonly clock: Pick<Clock, 'now'>) {}

  /** By the names of the leases. */
  get all(): readonly Complaint[] {
    return [...this.#complaints.values()].sort((a, b) => (a.lease < b.lease ? -1 : 1));
  }

  put(from: Complainant, complaint: Complaint): void {
    const key = keyOf(from, complaint.lease);
    if (this.#complaints.get(key)?.reason === complaint.reason) return;
    this.#complaints.set(key, complaint);
    this.#unlogged.set(key, complaint);
  }

  withdraw(from: Complainant, lease: string): void {
    const key = keyOf(from, lease);
    this.#complaints.delete(key);
    this.#unlogged.delete(key);
  }

  /** Logs what is new. */
  log(log: Log): void {
    const complaints = this.#due();
    if (complaints.length > LOGGED_COMPLAINTS) {
      this.#silentUntil = this.clock.now() + SUMMARY_REST_MILLISECONDS;
      log.warn('many leases ignored or doubtful', {
        leases: complaints.length,
        among: printComplaints(complaints),
      });
      return;
    }
    for (const { lease, reason, isUsed } of complaints)
      log.warn(isUsed ? 'lease doubtful' : 'lease ignored', { lease, reason });
  }

  /** What may be logged now; the rest waits for the next time. */
  #due(): Complaint[] {
    if (this.#unlogged.size === 0) return [];
    const now = this.clock.now();
    if (now < this.#silentUntil) return [];
    for (const [key, at] of this.#loggedAt) {
      if (now - at < REST_MILLISECONDS) break;
      this.#loggedAt.delete(key);
    }
    const due: Complaint[] = [];
    for (const [key, complaint] of this.#unlogged) {
      if (this.#loggedAt.has(key)) continue;
      this.#unlogged.delete(key);
      this.#loggedAt.set(key, now);
      due.push(complaint);
    }
    return due;
  }
}

/** A few of them, for a person. */
export function printComplaints(complaints: readonly Complaint[]): string {
  return printSome(complaints.map(({ lease, reason }) => `${lease || "''"} (${reason})`));
}

/** The first few of many. */
export function printSome(texts: readonly string[], most = 3): string {
  const left = texts.length - most;
  return [...texts.slice(0, most), ...(left > 0 ? [`and ${left} more`] : [])].join('; ');
}

function keyOf(from: Complainant, lease: string): string {
  return `${from} ${lease}`;
}

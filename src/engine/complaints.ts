/** What is wrong with leases: said once each, and kept for who asks. */
import type { Log } from '../ports';

/** At most so many are logged one by one at a time. */
const LOGGED_COMPLAINTS = 8;

export interface Complaint {
  readonly lease: string;
  readonly reason: string;
  /** The lease is used all the same. */
  readonly isUsed: boolean;
}

/** Where a complaint comes from; a lease may have one of each. */
export type Complainant = 'codec' | 'judge' | 'rivals';

/** Owns what is complained about. The same complaint is logged once, and again only after it was withdrawn. */
export class Complaints {
  readonly #complaints = new Map<string, Complaint>();
  readonly #unlogged = new Map<string, Complaint>();

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
    const complaints = [...this.#unlogged.values()];
    this.#unlogged.clear();
    if (complaints.length > LOGGED_COMPLAINTS) {
      log.warn('many leases ignored or doubtful', {
        leases: complaints.length,
        among: printComplaints(complaints),
      });
      return;
    }
    for (const { lease, reason, isUsed } of complaints)
      log.warn(isUsed ? 'lease doubtful' : 'lease ignored', { lease, reason });
  }
}

/** A few of them, for a person. */
export function printComplaints(complaints: readonly Complaint[]): string {
  return printSome(complaints.map(({ lease, reason }) => `${lease} (${reason})`));
}

/** The first few of many. */
export function printSome(texts: readonly string[], most = 3): string {
  const left = texts.length - most;
  return [...texts.slice(0, most), ...(left > 0 ? [`and ${left} more`] : [])].join('; ');
}

function keyOf(from: Complainant, lease: string): string {
  return `${from} ${lease}`;
}

/** What is wrong with leases: said once each, and kept for who asks. */
import type { Clock, Log } from '../ports';

/** At most so many are logged one by one at a time. */
const LOGGED_PROBLEMS = 8;
/** After a line that stood for many, the next one comes no sooner than this. */
const SUMMARY_REST_MILLISECONDS = 10_000;
/** A lease that changes again and again is logged no more often than this. */
const REST_MILLISECONDS = 60_000;

export interface LeaseProblem {
  readonly lease: string;
  /** May change: it is asked for whenever it is shown. */
  readonly reason: string;
  /** The lease is used all the same. */
  readonly isUsed: boolean;
}

/** Where a problem comes from; a lease may have one of each. */
export type ProblemSource = 'codec' | 'judge' | 'conflicts';

/**
 * Owns the problems of leases. The same problem is logged once, and again only after it was withdrawn. A lease whose
 * problems change is logged once a minute at most.
 */
export class LeaseProblems {
  /** Each with its reason when it was put. */
  readonly #problems = new Map<string, { readonly problem: LeaseProblem; readonly text: string }>();
  readonly #unlogged = new Map<string, LeaseProblem>();
  #silentUntil = -Infinity;
  /** When a problem was last logged, for those of the last minute. */
  readonly #loggedAt = new Map<string, number>();

  constructor(private readonly clock: Pick<Clock, 'now'>) {}

  /** By the names of the leases. */
  get all(): readonly LeaseProblem[] {
    return Array.from(this.#problems.values(), ({ problem }) => problem).sort((a, b) =>
      a.lease < b.lease ? -1 : 1,
    );
  }

  put(from: ProblemSource, problem: LeaseProblem): void {
    const key = keyOf(from, problem.lease);
    const text = problem.reason;
    if (this.#problems.get(key)?.text === text) return;
    this.#problems.set(key, { problem, text });
    this.#unlogged.set(key, problem);
  }

  withdraw(from: ProblemSource, lease: string): void {
    const key = keyOf(from, lease);
    this.#problems.delete(key);
    this.#unlogged.delete(key);
  }

  /** Logs what is new. */
  log(log: Log): void {
    const problems = this.#due();
    if (problems.length > LOGGED_PROBLEMS) {
      this.#silentUntil = this.clock.now() + SUMMARY_REST_MILLISECONDS;
      log.warn('many leases ignored or doubtful', {
        leases: problems.length,
        among: printLeaseProblems(problems),
      });
      return;
    }
    for (const { lease, reason, isUsed } of problems)
      log.warn(isUsed ? 'lease doubtful' : 'lease ignored', { lease, reason });
  }

  /** What may be logged now; the rest waits for the next time. */
  #due(): LeaseProblem[] {
    if (this.#unlogged.size === 0) return [];
    const now = this.clock.now();
    if (now < this.#silentUntil) return [];
    for (const [key, at] of this.#loggedAt) {
      if (now - at < REST_MILLISECONDS) break;
      this.#loggedAt.delete(key);
    }
    const due: LeaseProblem[] = [];
    for (const [key, problem] of this.#unlogged) {
      if (this.#loggedAt.has(key)) continue;
      this.#unlogged.delete(key);
      this.#loggedAt.set(key, now);
      due.push(problem);
    }
    return due;
  }
}

/** A few of them, for a person. */
export function printLeaseProblems(problems: readonly LeaseProblem[]): string {
  return printSome(problems.map(({ lease, reason }) => `${lease || "''"} (${reason})`));
}

/** The first few of many. */
export function printSome(texts: readonly string[], most = 3): string {
  const left = texts.length - most;
  return [...texts.slice(0, most), ...(left > 0 ? [`and ${left} more`] : [])].join('; ');
}

function keyOf(from: ProblemSource, lease: string): string {
  return `${from} ${lease}`;
}

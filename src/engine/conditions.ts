/** How the agent is, as a list of conditions. */
import { escapeControls } from '../model/printable';
import type { CheckState } from '../model/status';
import type { Clock } from '../ports';

/** Something that can be well or not, or that nobody has found out yet. */
export interface Condition {
  readonly name: string;
  /** Why it is not well, or not known; undefined when it is well. */
  readonly reason: string | undefined;
  /** For how long it has not been well, where that is known. */
  readonly forMilliseconds?: number | undefined;
  /** Worth knowing, but packets flow all the same. */
  readonly advisory: boolean;
  /** It has not been looked at yet. */
  readonly isUnknown?: boolean;
}

/** A condition with the time of its last change. */
export interface Check {
  readonly name: string;
  readonly state: CheckState;
  /** False also where it is not known yet. */
  readonly ok: boolean;
  /** Since when it has been so: milliseconds of {@link Clock.now}. */
  readonly since: number;
  readonly reason: string | undefined;
  readonly advisory: boolean;
}

/** Remembers since when each condition has been as it is. */
export class Conditions {
  readonly #since = new Map<string, { readonly state: CheckState; readonly since: number }>();

  constructor(private readonly clock: Clock) {}

  check(conditions: readonly Condition[]): Check[] {
    const now = this.clock.now();
    return conditions.map(({ name, reason, forMilliseconds, advisory, isUnknown = false }) => {
      const state = isUnknown ? 'unknown' : reason === undefined ? 'ok' : 'failing';
      const before = this.#since.get(name);
      let since = before?.state === state ? before.since : now;
      if (state === 'failing' && forMilliseconds !== undefined) since = now - forMilliseconds;
      this.#since.set(name, { state, since });
      // What others wrote must not look like a check of its own.
      const line = reason === undefined ? undefined : escapeControls(reason);
      return { name, state, ok: state === 'ok', since, reason: line, advisory };
    });
  }
}

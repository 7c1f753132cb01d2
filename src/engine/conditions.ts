/** How the agent is, as a list of conditions. */
import type { Clock } from '../ports';

/** Something that can be well or not. */
export interface Condition {
  readonly name: string;
  /** Why it is not well; undefined when it is. */
  readonly reason: string | undefined;
  /** For how long it has not been well, where that is known. */
  readonly forMilliseconds?: number | undefined;
  /** Worth knowing, but packets flow all the same. */
  readonly advisory: boolean;
}

/** A condition with the time of its last change. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Since when it has been so: milliseconds of {@link Clock.now}. */
  readonly since: number;
  readonly reason: string | undefined;
  readonly advisory: boolean;
}

/** Remembers since when each condition has been as it is. */
export class Conditions {
  readonly #since = new Map<string, { readonly ok: boolean; readonly since: number }>();

  constructor(private readonly clock: Clock) {}

  check(conditions: readonly Condition[]): Check[] {
    const now = this.clock.now();
    return conditions.map(({ name, reason, forMilliseconds, advisory }) => {
      const ok = reason === undefined;
      const known = this.#since.get(name);
      let since = known?.ok === ok ? known.since : now;
      if (!ok && forMilliseconds !== undefined) since = now - forMilliseconds;
      this.#since.set(name, { ok, since });
      return { name, ok, since, reason, advisory };
    });
  }
}

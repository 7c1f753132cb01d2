/** Waiting for something to become true, never for time to pass. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Longer than anything takes, also on a machine on which fifty other programs start: to come too late for that is to hang. What
 * has to be quick says its own bound.
 */
export const PATIENCE_MILLISECONDS = 60_000;

export interface Bound {
  readonly withinMilliseconds?: number;
  /** Pause between two looks. */
  readonly everyMilliseconds?: number;
}

/**
 * Looks again and again until `look` returns something truthy, and returns that. Throws an Error that names `what` (and the
 * last error of `look`, if it threw) when the time is up.
 */
export async function until<T>(
  what: string | (() => string),
  look: () => T | Promise<T>,
  { withinMilliseconds = PATIENCE_MILLISECONDS, everyMilliseconds = 20 }: Bound = {},
): Promise<Exclude<T, undefined | null | false | 0 | ''>> {
  const end = performance.now() + withinMilliseconds;
  let lastError: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found) return found as Exclude<T, undefined | null | false | 0 | ''>;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() > end) {
      const missed = typeof what === 'string' ? what : what();
      const why = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new Error(`not within ${withinMilliseconds} ms: ${missed}${why}`, { cause: lastError });
    }
    await sleep(everyMilliseconds);
  }
}

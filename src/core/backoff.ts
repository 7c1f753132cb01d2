/** How long to wait before the next try. */

export interface BackoffLimits {
  readonly minMilliseconds: number;
  readonly maxMilliseconds: number;
}

/**
 * The wait before try number `attempt` (0 for the first retry): doubling from the minimum to the maximum, spread evenly
 * between half and all of it by `random` (0…1), so that many agents which failed together do not come back together.
 */
export function backoffMilliseconds(attempt: number, limits: BackoffLimits, random: number): number {
  const full = Math.min(limits.maxMilliseconds, limits.minMilliseconds * 2 ** Math.min(attempt, 30));
  return full * (0.5 + random / 2);
}

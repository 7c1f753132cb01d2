/** What a run found, for a person: how to see it again, and the steps that led to it. */
import type { SimulationReport } from './simulation';

const SHOWN_STEPS = 40;

/** Empty if nothing was violated. */
export function verdictOf({ options, violations, trace }: SimulationReport): string {
  if (violations.length === 0) return '';
  const lines = violations.map(
    ({ invariant, what, at }) => `${(at / 1000).toFixed(3)} s: ${invariant}: ${what}`,
  );
  return [`with ${JSON.stringify(options)}`, ...lines, '', ...trace.slice(-SHOWN_STEPS)].join('\n');
}

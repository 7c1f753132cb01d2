/** Why an agent put something in order, as it says itself. */
import type { LogLine } from './agent';

/**
 * Passes that found work and were made for no other reason than that a minute had gone by: what they repaired nobody had told the
 * agent of. A pass that something else asked for puts off the next one of these, so there are none while an agent is told of all.
 */
export function auditsThatRepaired(log: readonly LogLine[]): unknown[] {
  return log
    .filter((line) => line.message === 'kernel state put in order' && line['because'] === 'audit')
    .map((line) => line['changes'] ?? line['operations']);
}

/** How fast the agent puts back what somebody deletes or changes. */
import { tamper } from '../chaos/tampering/session';
import { figure, type Figure } from './figures';

const SEED = 1;

/** Random tamperings (see test/chaos/tampering), by kind. */
export async function benchRepair(count: number): Promise<Figure[]> {
  const { allTimes, timesByKind, failures } = await tamper(SEED, count);
  if (failures.length > 0) throw new Error(failures.join('; '));
  return [
    figure('tampering to repair: median', 'ms', allTimes, { reach: 20 }),
    figure('tampering to repair: p99', 'ms', allTimes, { reach: 100, judged: 'p99' }),
    ...Object.entries(timesByKind).map(([kind, each]) => ({
      ...each,
      name: `tampering to repair: ${kind}`,
      aside: true,
    })),
  ];
}

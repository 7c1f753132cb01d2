/** The short form of scripts/chaos: the most telling faults, each under counted streams. In a long run the complete form. */
import { FAULTS } from '../chaos/catalogue';
import type { Line } from '../chaos/fault';
import { randomOf } from '../chaos/random';
import { tryFaults } from '../chaos/trial';
import { isLong, seedElse } from '../support/long';

const CHOSEN = FAULTS.filter(({ short, onlyWhenNamed }) => (isLong ? !onlyWhenNamed : short));
const SEED = seedElse(1, 'chaos');
/** Seventeen minutes on two quiet processors, or two; far more on busy ones. */
const LONGEST_MILLISECONDS = (isLong ? 120 : 20) * 60_000;
const lines = new Map<string, Line>();

beforeAll(async () => {
  await tryFaults(CHOSEN, randomOf(SEED), 'step', (line) => lines.set(line.name, line));
}, LONGEST_MILLISECONDS);

test.each(CHOSEN.map(({ name, what }) => [name, what]))(
  `%s (%s) is repaired, and hosts that nobody touched lose no packet (seed ${SEED})`,
  (name) => {
    const line = lines.get(name);
    expect(line).toMatchObject({ verdict: 'good', untouched: { lost: 0 } });
    // Between the fault and its repair.
    expect(line!.untouched.sentMeanwhile).toBeGreaterThan(0);
  },
);

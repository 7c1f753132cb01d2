/** The short form of scripts/chaos: the most telling faults, each under counted streams. */
import { FAULTS } from '../chaos/catalogue';
import type { Line } from '../chaos/fault';
import { randomOf } from '../chaos/random';
import { tryFaults } from '../chaos/trial';

const SHORT = FAULTS.filter(({ short }) => short);
const lines = new Map<string, Line>();

beforeAll(async () => {
  await tryFaults(SHORT, randomOf(1), (line) => lines.set(line.name, line));
});

test.each(SHORT.map(({ name, what }) => [name, what]))(
  '%s (%s) is repaired, and hosts that nobody touched lose no packet',
  (name) => {
    const line = lines.get(name);
    expect(line).toMatchObject({ verdict: 'good', untouched: { lost: 0 } });
    expect(line!.untouched.sent).toBeGreaterThan(500);
  },
);

/** Many small worlds, each with its own luck. Any of them can be seen again: `npx tsx test/simulation/run.ts`. */
import { simulate, type SimulationOptions } from './simulation';
import { isLong, seedElse } from '../support/long';
import { verdictOf } from './verdict';

type World = Omit<SimulationOptions, 'seed'>;

const MINUTES = 60_000;
/** So many times as many worlds. */
const MORE = isLong ? 10 : 1;
const FIRST_SEED = seedElse(1, 'worlds');

async function expectNoViolation(world: World, firstSeed: number, count: number): Promise<void> {
  for (let seed = firstSeed; seed < firstSeed + count; seed++)
    expect(verdictOf(await simulate({ ...world, seed }))).toBe('');
}

describe('whatever happens to a few hosts, no rule is broken and all is well in the end:', () => {
  const worlds: readonly [string, number, World][] = [
    ['with room for many more', 40, { hosts: 6, faults: 60 }],
    ['when the kernel asks for its peers', 30, { hosts: 6, faults: 60, onDemand: true }],
    ['beside hosts that run flannel', 30, { hosts: 5, flannelHosts: 2, faults: 60 }],
    [
      'beside flannel with one subnet too many',
      20,
      { hosts: 5, flannelHosts: 2, faults: 60, spareSubnets: 1 },
    ],
    ['with one subnet too many', 30, { hosts: 8, faults: 60, spareSubnets: 1 }],
    ['with a subnet for each and no more', 30, { hosts: 7, faults: 60, spareSubnets: 0 }],
    ['with one subnet too few, until a host goes', 20, { hosts: 7, faults: 60, spareSubnets: -1 }],
    ['when one thing comes upon the other', 20, { hosts: 5, faults: 120, pace: 400 }],
    ['with days between what happens', 3, { hosts: 5, flannelHosts: 1, faults: 40, hasLongFaults: true }],
    ['with days between, and few subnets', 3, { hosts: 5, faults: 40, hasLongFaults: true, spareSubnets: 1 }],
  ];

  test.each(worlds.map(([name, count, world]) => [name, count * MORE, world] as const))(
    '%s, %i times',
    async (_name, count, world) => {
      await expectNoViolation(world, FIRST_SEED, count);
    },
    20 * MORE * MINUTES,
  );
});

test('a seed gives the same run every time, and another seed another', async () => {
  // All of it, not only the last steps.
  const world: World = { hosts: 6, faults: 60, hasLongFaults: true, traceLength: 1_000_000 };
  const [first, second] = [await simulate({ ...world, seed: 3 }), await simulate({ ...world, seed: 3 })];
  expect(second.trace.length).toBeGreaterThan(1_000);
  expect(second).toEqual(first);
  const other = await simulate({ ...world, seed: 4 });
  expect(other.fingerprint).not.toBe(first.fingerprint);
});

/** In which order two builds are measured. */
import { comparePairs, type Plan } from '../bench/alternation';
import { figure, type Figure } from '../bench/figures';

const PLAN = {
  old: { name: 'v0', folder: '/old' },
  new: { name: 'this', folder: '/new' },
  pairs: 2,
  isQuick: false,
} as const;

/** Measures as it is told: `values` are those of the old build and of the new one; an Error is a measurement that fails. */
function bench(values: { old: (number | Error)[]; new: (number | Error)[] }, more: Partial<Plan> = {}) {
  const order: string[] = [];
  const said: string[] = [];
  const measure = (name: string, runs: number, folder: string): Promise<Figure[]> => {
    const which = folder === '/old' ? 'old' : 'new';
    order.push(`${which} ${runs}`);
    const value = values[which].length > 1 ? values[which].shift()! : values[which][0]!;
    if (value instanceof Error) return Promise.reject(value);
    return Promise.resolve([
      figure(name, 'ms', [value, value, value]),
      figure('for measure', 'ms', [1], { aside: true }),
    ]);
  };
  const plan: Plan = { ...PLAN, measure, say: (text) => said.push(text), ...more };
  return { order, said, compare: (name: string) => comparePairs(name, plan) };
}

test('the old build is measured before and after each measurement of the new one, and none is measured twice in a row', async () => {
  const { order, compare } = bench({ old: [100, 110, 120], new: [90, 95] });
  const [comparison, ...others] = await compare('start-1');
  expect(order).toEqual(['old 3', 'new 3', 'old 3', 'new 3', 'old 3']);
  expect(comparison).toMatchObject({
    name: 'start-1',
    pairs: [
      { before: 100, new: 90, after: 110 },
      { before: 110, new: 95, after: 120 },
    ],
  });
  expect(others).toEqual([]);
});

test('the quick form measures less', async () => {
  const { order, compare } = bench({ old: [100], new: [100] }, { isQuick: true, pairs: 1 });
  await compare('start-1');
  expect(order).toEqual(['old 1', 'new 1', 'old 1']);
});

test('what hardly uses the machine is measured at the same time', async () => {
  const { order, compare } = bench({ old: [100], new: [100] }, { pairs: 2 });
  await compare('idle');
  expect(order).toEqual(['old 6', 'new 6', 'old 6', 'old 6', 'new 6', 'old 6']);
});

test('what looks worse is measured as often again, and judged by all of it', async () => {
  const { order, said, compare } = bench({ old: [100], new: [150, 150, 90, 90] });
  const [comparison] = await compare('start-1');
  expect(order).toHaveLength(9);
  expect(comparison).toMatchObject({ verdict: 'not worse', ratio: { min: 0.9, max: 1.5 } });
  expect(comparison!.pairs).toHaveLength(4);
  expect(said).toContain("start-1: 'start-1' looks worse; 2 more pairs");
});

test('what still looks worse then is worse, and is not measured a third time', async () => {
  const { order, compare } = bench({ old: [100], new: [150] });
  expect(await compare('start-1')).toMatchObject([{ verdict: 'worse' }]);
  expect(order).toHaveLength(9);
});

test('a measurement that fails is tried once more', async () => {
  const { said, compare } = bench({ old: [100], new: [new Error('busy'), 100, 100] });
  expect(await compare('start-1')).toMatchObject([{ verdict: 'not worse' }]);
  expect(said).toContain('start-1: this could not be measured, once more: Error: busy');
});

test('one that fails again is told with its build', async () => {
  const { compare } = bench({ old: [100], new: [new Error('broken')] });
  await expect(compare('start-1')).rejects.toThrow('this could not be measured');
});

test('a bench that there is not is told with those that there are', async () => {
  await expect(bench({ old: [1], new: [1] }).compare('stat-1')).rejects.toThrow(
    "there is no bench 'stat-1'; there are: start-1, ",
  );
});

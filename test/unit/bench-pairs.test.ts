/** What the bench says of two builds. */
import { compare, printComparisons, ratioOf, spreadOf, type Pair } from '../bench/pairs';
import { randomOf } from '../chaos/random';

const FIGURE = { name: 'a figure', unit: 'ms' } as const;

/** Old before, new, old after. */
const pairsOf = (...rows: (readonly [number, number, number])[]): Pair[] =>
  rows.map(([before, now, after]) => ({ before, after, new: now }));

const seven = (row: readonly [number, number, number]) => pairsOf(...Array.from({ length: 7 }, () => row));

describe('the spread', () => {
  test('is found whatever the order, and quartiles lie between values where they are none of them', () => {
    expect(spreadOf([4, 1, 3, 2])).toEqual({
      min: 1,
      lowerQuartile: 1.75,
      median: 2.5,
      upperQuartile: 3.25,
      max: 4,
    });
    expect(spreadOf([9, 1, 5, 7, 3])).toEqual({
      min: 1,
      lowerQuartile: 3,
      median: 5,
      upperQuartile: 7,
      max: 9,
    });
  });

  test('of one value is that value', () => {
    expect(spreadOf([7])).toEqual({ min: 7, lowerQuartile: 7, median: 7, upperQuartile: 7, max: 7 });
  });

  test('may reach into infinity', () => {
    expect(spreadOf([1, Infinity, Infinity])).toMatchObject({ min: 1, median: Infinity, max: Infinity });
  });

  test('of nothing is an error', () => {
    expect(() => spreadOf([])).toThrow('no values');
  });
});

test.each([
  [3, 2, 1.5],
  [0, 2, 0],
  [0, 0, 1],
  [2, 0, Infinity],
])('the ratio of %d to %d is %d', (value, other, ratio) => {
  expect(ratioOf(value, other)).toBe(ratio);
});

describe('a comparison', () => {
  test('relates the new build to the mean of the old one before and after, and the old one to itself in both directions', () => {
    const { ratio, noise, old, new: now } = compare(FIGURE, pairsOf([100, 165, 120]));
    expect(ratio.median).toBeCloseTo(1.5);
    expect([noise.min, noise.max]).toEqual([expect.closeTo(1 / 1.2), expect.closeTo(1.2)]);
    expect([old, now]).toEqual([110, 165]);
  });

  test('is of what the figure is judged by', () => {
    expect(compare({ ...FIGURE, judged: 'p99' }, seven([1, 1, 1])).judged).toBe('p99');
    expect(compare(FIGURE, seven([1, 1, 1])).judged).toBe('median');
  });

  test('a drift of the machine is no difference', () => {
    const drifting = pairsOf([100, 110, 120], [120, 130, 140], [140, 150, 160], [160, 170, 180]);
    expect(compare(FIGURE, drifting)).toMatchObject({ verdict: 'not worse', ratio: { min: 1, max: 1 } });
  });
});

describe('the verdict', () => {
  const QUIET = seven([100, 100, 100]);
  /** The old build differs from itself by a tenth. */
  const UNEVEN: readonly (readonly [number, number])[] = [1, 2, 3, 4, 5, 6, 7].map((n) =>
    n % 2 === 0 ? [100, 110] : [110, 100],
  );
  const uneven = (now: number) => pairsOf(...UNEVEN.map(([before, after]) => [before, now, after] as const));

  test.each<[string, readonly Pair[], string]>([
    ['equal values', QUIET, 'not worse'],
    ['a twentieth more on a machine that is even', seven([100, 105, 100]), 'worse'],
    ['a twentieth less on a machine that is even', seven([100, 95, 100]), 'better'],
    ['less than a hundredth more, however surely', seven([1000, 1009, 1000]), 'not worse'],
    ['more, but less than the old build differs from itself', uneven(112), 'not worse'],
    ['more than the old build differs from itself', uneven(120), 'worse'],
    ['less than the old build differs from itself', uneven(90), 'better'],
    ['nothing, as before', seven([0, 0, 0]), 'not worse'],
    ['something where there was nothing', seven([0, 1, 0]), 'worse'],
    ['something once where there was nothing', [...seven([0, 0, 0]), ...pairsOf([0, 9, 0])], 'not worse'],
    ['nothing where there was something', seven([3, 0, 3]), 'better'],
  ])('of %s', (_, pairs, verdict) => {
    expect(compare(FIGURE, pairs).verdict).toBe(verdict);
  });

  test('of a median that is higher is not "worse" while a third of the pairs say the opposite', () => {
    const rows = [130, 130, 130, 130, 95, 95, 95].map((now) => [100, now, 100] as const);
    expect(compare(FIGURE, pairsOf(...rows)).verdict).toBe('not worse');
  });

  test('gives a figure the room that it is allowed', () => {
    const figure = { ...FIGURE, allowance: 0.1 };
    expect(compare(figure, seven([100, 109, 100])).verdict).toBe('not worse');
    expect(compare(figure, seven([100, 111, 100])).verdict).toBe('worse');
  });
});

describe('how often it is mistaken', () => {
  /** So many comparisons on a machine that is uneven by a tenth, and every tenth time by far more; the share of them found worse. */
  function shareFoundWorse(factor: number, pairs: number, comparisons: number): number {
    const random = randomOf(1);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const measured = () => Math.exp(0.1 * normal() + (random() < 0.1 ? Math.abs(0.4 * normal()) : 0));
    const isWorse = () => {
      const olds = Array.from({ length: pairs + 1 }, measured);
      const rows = olds
        .slice(1)
        .map((after, n) => [olds[n]!, factor * measured(), after] as [number, number, number]);
      return compare(FIGURE, pairsOf(...rows)).verdict === 'worse';
    };
    return Array.from({ length: comparisons }, isWorse).filter(Boolean).length / comparisons;
  }

  test('a build that is as good is found worse in less than one of fifteen figures, and in less than one of fifty with twice the pairs', () => {
    expect(shareFoundWorse(1, 7, 1_000)).toBeLessThan(1 / 15);
    expect(shareFoundWorse(1, 14, 1_000)).toBeLessThan(1 / 50);
  });

  test('a figure that is half as much again is nearly always found', () => {
    expect(shareFoundWorse(1.5, 7, 500)).toBeGreaterThan(0.95);
  });
});

test('the table has a line for each figure, and says by what it is judged', () => {
  const lines = printComparisons([
    compare(FIGURE, seven([100, 150, 100])),
    compare({ ...FIGURE, name: 'another', judged: 'p99' }, seven([0, 2, 0])),
  ]).split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[1]).toMatch(/^a figure +100 +150 +ms( +1\.50){5} +1\.00 +1\.00 +worse$/);
  expect(lines[2]).toMatch(/^another \(p99\) +0\.00 +2\.00 +ms( +∞){5} +1\.00 +1\.00 +worse$/);
});

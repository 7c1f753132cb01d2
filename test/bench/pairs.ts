/**
 * Two builds compared: what many pairs of measurements say of a figure. Pure. The old build is measured before and after each
 * measurement of the new one, so the machine's own unevenness is known from the same time: it is what the old build differs from itself.
 */
import { judgedOf, printTable, type Figure, type Judged } from './figures';

/** The value of one figure: of the new build, and of the old one just before and just after it. */
export interface Pair {
  readonly before: number;
  readonly after: number;
  readonly new: number;
}

export interface Spread {
  readonly min: number;
  readonly lowerQuartile: number;
  readonly median: number;
  readonly upperQuartile: number;
  readonly max: number;
}

export type Verdict = 'better' | 'not worse' | 'worse';

export interface Comparison {
  readonly name: string;
  readonly unit: Figure['unit'];
  readonly judged: Judged;
  readonly pairs: readonly Pair[];
  /** Medians, in `unit`. */
  readonly old: number;
  readonly new: number;
  /** New to old, where old is the mean of before and after. Less than 1 is better. */
  readonly ratio: Spread;
  /** Old to old: each pair's after to its before, and before to after. */
  readonly noise: Spread;
  /** The median ratio above which the new build may be worse. */
  readonly bound: number;
  readonly verdict: Verdict;
}

/** A difference as small as that is not felt, however surely it was measured. */
const LEAST_ALLOWANCE = 0.01;

export function compare(
  figure: Pick<Figure, 'name' | 'unit' | 'judged' | 'allowance'>,
  pairs: readonly Pair[],
): Comparison {
  const ratio = spreadOf(pairs.map(({ before, after, new: of }) => ratioOf(of, (before + after) / 2)));
  const noise = spreadOf(
    pairs.flatMap(({ before, after }) => [ratioOf(after, before), ratioOf(before, after)]),
  );
  const bound = Math.max(noise.upperQuartile, 1 + (figure.allowance ?? LEAST_ALLOWANCE));
  return {
    name: figure.name,
    unit: figure.unit,
    judged: judgedOf(figure),
    pairs,
    old: spreadOf(pairs.flatMap(({ before, after }) => [before, after])).median,
    new: spreadOf(pairs.map((pair) => pair.new)).median,
    ratio,
    noise,
    bound,
    verdict: verdictOf(ratio, bound),
  };
}

/** Worse: the median ratio is above the bound, and three quarters of the ratios are above 1. Better: the same of old to new. */
function verdictOf(ratio: Spread, bound: number): Verdict {
  if (ratio.median > bound && ratio.lowerQuartile > 1) return 'worse';
  if (1 / ratio.median > bound && ratio.upperQuartile < 1) return 'better';
  return 'not worse';
}

/** Nothing to nothing is the same; something to nothing is infinitely more. */
export function ratioOf(value: number, other: number): number {
  return value === other ? 1 : value / other;
}

/** Quartiles lie between two values where they are not one of them. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('there is no spread of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => {
    const place = share * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
    // Between equals there is nothing, also between two that are infinite.
    return below === above ? below : below + (above - below) * (place - Math.floor(place));
  };
  return { min: at(0), lowerQuartile: at(0.25), median: at(0.5), upperQuartile: at(0.75), max: at(1) };
}

export function printComparisons(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ name, unit, judged, old, new: now, ratio, noise, verdict }) => [
    judged === 'median' || name.includes(judged) ? name : `${name} (${judged})`,
    ...[old, now].map(shown),
    unit,
    ...[ratio.min, ratio.lowerQuartile, ratio.median, ratio.upperQuartile, ratio.max].map(shownRatio),
    ...[noise.upperQuartile, noise.max].map(shownRatio),
    verdict,
  ]);
  const titles = ['figure', 'old', 'new', 'unit', 'new/old: min', 'q1', 'median', 'q3', 'max'];
  return printTable([[...titles, 'old/old: q3', 'max', ''], ...rows]);
}

function shown(value: number): string {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

function shownRatio(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : '∞';
}

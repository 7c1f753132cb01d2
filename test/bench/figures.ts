/** Figures: many runs of one thing, as median and spread. */

export interface Figure {
  readonly name: string;
  readonly unit: 'ms' | 'ms/s' | 'MB' | 'kB' | 'count' | '%' | 'Gbit/s' | 'kpps';
  readonly runs: number;
  readonly min: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
  /** What the figure should stay below, where there is such a wish: compared with `judged`. */
  readonly reach?: number;
  readonly judged?: 'median' | 'p99' | 'max';
  readonly remark?: string;
  /** Shown for measure, or a part of another figure: builds are not compared by it. */
  readonly aside?: boolean;
  /** So much more of it is no fault of a build: 0.1 is a tenth. */
  readonly allowance?: number;
}

export type Judged = NonNullable<Figure['judged']>;

/** The statistic that stands for the figure: the median, unless it says otherwise. */
export function judgedOf({ judged = 'median' }: Pick<Figure, 'judged'>): Judged {
  return judged;
}

export function figure(
  name: string,
  unit: Figure['unit'],
  values: readonly number[],
  more: Partial<Pick<Figure, 'reach' | 'judged' | 'remark' | 'aside' | 'allowance'>> = {},
): Figure {
  if (values.length === 0) throw new Error(`nothing was measured for '${name}'`);
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  const middle = sorted.length / 2;
  const median = Number.isInteger(middle) ? (sorted[middle - 1]! + sorted[middle]!) / 2 : at(0.5);
  return {
    name,
    unit,
    runs: values.length,
    min: sorted[0]!,
    median,
    p99: at(0.99),
    max: sorted.at(-1)!,
    ...more,
  };
}

export function printFigures(figures: readonly Figure[]): string {
  const rows = figures.map((each) => {
    const judged = each[judgedOf(each)];
    const verdict = each.reach === undefined ? '' : judged <= each.reach ? 'reached' : 'missed';
    const wish = each.reach === undefined ? '' : `${judgedOf(each)} ≤ ${each.reach}`;
    const numbers = [each.min, each.median, each.p99, each.max].map((value) =>
      value.toFixed(value < 10 ? 2 : 0),
    );
    return [each.name, String(each.runs), ...numbers, each.unit, wish, verdict, each.remark ?? ''];
  });
  return printTable([['figure', 'runs', 'min', 'median', 'p99', 'max', 'unit', 'reach', '', ''], ...rows]);
}

/** Columns as wide as their widest cell. */
export function printTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, n) => cell.padEnd(widths[n]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Figures: many runs of one thing, as median and spread. */

export interface Figure {
  readonly name: string;
  readonly unit: 'ms' | 'MB' | 'count' | '%' | 'Gbit/s' | 'kpps';
  readonly runs: number;
  readonly min: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
  /** What the figure should stay below, where there is such a wish: compared with `judged`. */
  readonly reach?: number;
  readonly judged?: 'median' | 'p99' | 'max';
  readonly remark?: string;
}

export function figure(
  name: string,
  unit: Figure['unit'],
  values: readonly number[],
  more: Partial<Pick<Figure, 'reach' | 'judged' | 'remark'>> = {},
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
    const judged = each[each.judged ?? 'median'];
    const verdict = each.reach === undefined ? '' : judged <= each.reach ? 'reached' : 'missed';
    const wish = each.reach === undefined ? '' : `${each.judged ?? 'median'} ≤ ${each.reach}`;
    const numbers = [each.min, each.median, each.p99, each.max].map((value) =>
      value.toFixed(value < 10 ? 2 : 0),
    );
    return [each.name, String(each.runs), ...numbers, each.unit, wish, verdict, each.remark ?? ''];
  });
  const table = [['figure', 'runs', 'min', 'median', 'p99', 'max', 'unit', 'reach', '', ''], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, n) => cell.padEnd(widths[n]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

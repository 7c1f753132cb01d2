/** bench-pairs.ts REF FOLDER WHAT PAIRS QUICK JSONFILE: this checkout's build against that in FOLDER; see scripts/bench. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { comparePairs, type Build, type Plan } from '../test/bench/alternation';
import { endWithChildren, measureApart } from '../test/bench/apart';
import { BENCHES, benchNamed } from '../test/bench/catalogue';
import { machine } from '../test/bench/machine';
import { printComparisons, type Comparison } from '../test/bench/pairs';
import { atExitOrBefore } from '../test/bench/undo';

const ROOT = resolve(__dirname, '..');
const FEW_PAIRS = 7;

async function main([ref, folder, what, pairs, quick, file]: string[]): Promise<number> {
  const isQuick = quick === 'yes';
  const names = what ? what.split(',') : selection(isQuick);
  for (const name of names)
    if (!benchNamed(name).inPairs) throw new Error(`'${name}' is not measured in pairs`);
  const began = performance.now();
  const plan: Plan = {
    old: { name: ref!, folder: folder! },
    new: copyOfThis(),
    pairs: Number(pairs),
    isQuick,
    measure: measureApart,
    say: (text) => {
      const minutes = ((performance.now() - began) / 60_000).toFixed(1);
      process.stderr.write(`bench: ${minutes} min: ${text}\n`);
    },
  };
  const comparisons: Comparison[] = [];
  const failures: string[] = [];
  for (const name of names) {
    try {
      comparisons.push(...(await comparePairs(name, plan)));
    } catch (error) {
      failures.push(`${name}: ${reasonOf(error)}`);
    }
  }
  const worse = comparisons.filter(({ verdict }) => verdict === 'worse');
  print(plan, comparisons, failures, worse.length);
  if (file) {
    const report = {
      machine: machine(),
      date: new Date().toISOString(),
      old: ref,
      pairs: plan.pairs,
      isQuick,
    };
    writeFileSync(file, JSON.stringify({ ...report, figures: comparisons, failures }, undefined, 2) + '\n');
  }
  if (failures.length > 0) return 2;
  return worse.length > 0 ? 1 : 0;
}

/** What is measured where nothing is named: all that two builds can differ in, or what tells most in half an hour. */
function selection(isQuick: boolean): string[] {
  return Object.entries(BENCHES)
    .filter(([, { inPairs }]) => inPairs && (!isQuick || inPairs.quickRuns !== undefined))
    .map(([name]) => name);
}

/** Of what is built now, so that this checkout can be worked in meanwhile. */
function copyOfThis(): Build {
  const folder = mkdtempSync(join(ROOT, '.tools/bench-'));
  atExitOrBefore(() => rmSync(folder, { recursive: true, force: true }));
  for (const part of ['dist', 'native'])
    cpSync(join(ROOT, part), join(folder, part), {
      recursive: true,
      filter: (path) => !path.endsWith('.map') && basename(path) !== 'obj.target',
    });
  return { name: 'this checkout', folder };
}

function print(
  plan: Plan,
  comparisons: readonly Comparison[],
  failures: readonly string[],
  worse: number,
): void {
  const lines = [
    machine(),
    `old: ${plan.old.name}; new: ${plan.new.name}; ${plan.pairs} pairs${plan.isQuick ? ', quick' : ''}`,
    '',
    ...(comparisons.length > 0 ? [printComparisons(comparisons), ''] : []),
    ...(plan.pairs < FEW_PAIRS
      ? [`fewer than ${FEW_PAIRS} pairs say little: the verdicts are not to be relied on.`]
      : []),
    ...failures.map((failure) => `not measured: ${failure}`),
    `${comparisons.length} figures, ${worse} worse`,
  ];
  process.stdout.write(lines.join('\n') + '\n');
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${reasonOf(error.cause)}`;
}

endWithChildren();
main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`bench: ${reasonOf(error)}\n`);
    process.exit(2);
  },
);

/** bench.ts WHAT RUNS JSONFILE: measures and prints; see scripts/bench. */
import { writeFileSync } from 'node:fs';
import { endWithChildren, measureApart } from '../test/bench/apart';
import { calibrate } from '../test/bench/calibration';
import { BENCHES, benchNamed } from '../test/bench/catalogue';
import { printFigures, type Figure } from '../test/bench/figures';
import { machine } from '../test/bench/machine';

async function main([what = '', runs = '5', file = '']: string[]): Promise<void> {
  const names = what === '' || what === 'all' ? Object.keys(BENCHES) : what.split(',');
  names.forEach(benchNamed);
  const figures: Figure[] = [];
  for (const name of names) {
    process.stderr.write(`bench: ${name}…\n`);
    // Just before each bench, for the machine may be busier in the next.
    figures.push(...calibrate(Number(runs)), ...(await measureApart(name, Number(runs))));
  }
  process.stdout.write(`${machine()}\n\n${printFigures(figures)}\n`);
  if (file) writeFileSync(file, JSON.stringify({ machine: machine(), figures }, undefined, 2) + '\n');
}

endWithChildren();
main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  },
);

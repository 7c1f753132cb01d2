/** bench.ts WHAT RUNS JSONFILE: measures and prints; see scripts/bench. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { demoteHelpers } from '../native';
import type { Figure } from '../test/bench/figures';
import { printFigures } from '../test/bench/figures';
import { benchAdmission } from '../test/bench/admission';
import { calibrate } from '../test/bench/calibration';
import { benchJoin } from '../test/bench/join';
import { benchMiss } from '../test/bench/miss';
import { benchRepair } from '../test/bench/repair';
import { benchStart } from '../test/bench/start';

const BENCHES: Readonly<Record<string, (runs: number) => Promise<Figure[]>>> = {
  'start-1': (runs) => benchStart(1, runs),
  'start-1000': (runs) => benchStart(1000, runs),
  'start-4000': (runs) => benchStart(4000, runs),
  'start-25000': (runs) => benchStart(25_000, runs),
  'join-1': (runs) => benchJoin(1, runs * 40, runs),
  'join-4000': (runs) => benchJoin(4000, runs * 40, 0),
  miss: (runs) => benchMiss(Math.min(runs * 100, 2_000)),
  repair: (runs) => benchRepair(runs * 200),
  admission: (runs) => benchAdmission(runs, runs * 2),
};

/** Our own threads: what they collect meanwhile is not to hold up what is measured. */
const LEAST = 19;

async function main([what = 'all', runs = '5', file = '']: string[]): Promise<void> {
  const names = what === 'all' ? Object.keys(BENCHES) : what.split(',');
  for (const name of names)
    if (!BENCHES[name])
      throw new Error(`there is no bench '${name}'; there are: ${Object.keys(BENCHES).join(', ')}`);
  const [only] = names;
  const figures =
    names.length === 1
      ? await measure(only!, Number(runs))
      : names.flatMap((name) => measureApart(name, Number(runs)));
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const machine = `${cpus().length} × ${model}, Linux ${release()}, Node ${process.version}`;
  process.stdout.write(`${machine}\n\n${printFigures(figures)}\n`);
  if (file) writeFileSync(file, JSON.stringify({ machine, figures }, undefined, 2) + '\n');
}

async function measure(name: string, runs: number): Promise<Figure[]> {
  process.stderr.write(`bench: ${name}…\n`);
  demoteHelpers(LEAST);
  // Just before each bench, for the machine may be busier in the next.
  return [...calibrate(runs), ...(await BENCHES[name]!(runs))];
}

/** In a process of its own: what one bench leaves behind in memory is not collected while another measures. */
function measureApart(name: string, runs: number): Figure[] {
  const directory = mkdtempSync(join(tmpdir(), 'vtepd-bench-'));
  try {
    const file = join(directory, 'figures.json');
    const words = [...process.execArgv, __filename, name, String(runs), file];
    execFileSync(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
    return (JSON.parse(readFileSync(file, 'utf8')) as { figures: Figure[] }).figures;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`bench: ${String(error)}\n`);
    process.exit(1);
  },
);

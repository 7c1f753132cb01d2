/** one.ts NAME RUNS FILE: measures one bench, and writes its figures as JSON. VTEPD_MAIN names the program, if not this checkout's. */
import { writeFileSync } from 'node:fs';
import { demoteHelpers } from '../../native';
import { benchNamed } from './catalogue';

/** Our own threads: what they collect meanwhile is not to hold up what is measured. */
const LEAST = 19;

async function main([name, runs, file]: string[]): Promise<void> {
  demoteHelpers(LEAST);
  writeFileSync(file!, JSON.stringify(await benchNamed(name!).measure(Number(runs))));
}

// So that what is undone at the exit is undone.
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(status));
main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`bench: ${String(error)}\n`);
    process.exit(1);
  },
);

/** A bench in a process of its own: what it leaves behind in memory is not collected while another measures. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { exitOf } from '../support/lab/command';
import type { Figure } from './figures';
import { atExitOrBefore } from './undo';

const PROGRAM = resolve(__dirname, 'one.ts');
const running = new Set<ChildProcess>();
let isEnding = false;

/** Measures that bench, with the agent built in `folder` or else in this checkout. Throws when it could not be measured. */
export async function measureApart(name: string, runs: number, folder?: string): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vtepd-bench-'));
  const remove = atExitOrBefore(() => rmSync(directory, { recursive: true, force: true }));
  try {
    const file = join(directory, 'figures.json');
    const words = ['--import', 'tsx', PROGRAM, name, String(runs), file];
    const env = {
      ...process.env,
      ...(folder === undefined ? {} : { VTEPD_MAIN: join(folder, 'dist/main.js') }),
    };
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'], env });
    running.add(child);
    const { code, signal } = await exitOf(child);
    running.delete(child);
    // What was ended by us has not failed, and nothing comes after it.
    if (isEnding) await new Promise(() => undefined);
    if (code !== 0) throw new Error(`the bench '${name}' ended with ${signal ?? `status ${code}`}`);
    return JSON.parse(readFileSync(file, 'utf8')) as Figure[];
  } finally {
    remove();
  }
}

/** Ends the measurements that run, with their labs, and then this process, when it is told to end. */
export function endWithChildren(): void {
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(signal, () => {
      isEnding = true;
      const children = [...running];
      for (const child of children) child.kill('SIGTERM');
      void Promise.all(children.map(exitOf)).then(() => process.exit(status));
    });
}

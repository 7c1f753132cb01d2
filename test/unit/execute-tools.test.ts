/** The packet filter's tools where a process cannot be had. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { executeWith } from '../../src/kernel/firewall/execute';

/** Lowers (and puts back) how many files this process may open. */
function limitFiles(limit: string): string {
  const self = ['--pid', String(process.pid)];
  const [before] = execFileSync('prlimit', [...self, '--nofile', '--raw', '--noheadings', '--output=SOFT'])
    .toString()
    .split('\n');
  execFileSync('prlimit', [...self, `--nofile=${limit}:`]);
  return before!.trim();
}

test('without a file descriptor to spare a tool fails with EMFILE, and the agent lives on', async () => {
  const before = limitFiles('512');
  const opened: number[] = [];
  try {
    expect(() => {
      for (;;) opened.push(openSync('/dev/null', 'r'));
    }).toThrow('EMFILE');
    const run = executeWith()('true', [], undefined, new AbortController().signal);
    await expect(run).rejects.toMatchObject({ code: 'EMFILE' });
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
    limitFiles(before);
  }
});

import { getPriority } from 'node:os';
import path from 'node:path';
import { demoteHelpers } from '../../native';
import { run } from '../support/lab/command';
import { thrownBy } from './support/thrown-by';

/** Tells of each thread (policy, nice value) as the kernel does, before and after; then of a child, and of a thread that came later. */
const PROGRAM = `
  const { readdirSync, readFileSync, promises } = require('node:fs');
  const { spawnSync } = require('node:child_process');
  const { demoteHelpers } = require(process.argv[1]);
  const policyOf = (stat) => {
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { policy: Number(fields[38]), nice: Number(fields[16]) };
  };
  const threads = () => new Map(readdirSync('/proc/self/task').map((thread) =>
    [Number(thread), policyOf(readFileSync('/proc/self/task/' + thread + '/stat', 'utf8'))]));
  const before = [...threads().keys()];
  demoteHelpers(5);
  const after = [...threads()].filter(([thread]) => before.includes(thread));
  const own = after.find(([thread]) => thread === process.pid)[1];
  const others = after.filter(([thread]) => thread !== process.pid).map(([, policy]) => policy);
  const child = policyOf(spawnSync('cat', ['/proc/self/stat'], { encoding: 'utf8' }).stdout);
  promises.readFile('/proc/self/stat').then(() => {
    const later = [...threads()].filter(([thread]) => !before.includes(thread)).map(([, policy]) => policy);
    console.log(JSON.stringify({ own, others, child, later }));
  });
`;
/** As the tests themselves run: all of them may have been started with nice(1). */
const NORMAL = { policy: 0, nice: getPriority() };
const BATCH = { policy: 3, nice: 5 };

test('The threads that are there give way; the own one, those that come later and programs are as ever', async () => {
  const said = await run(process.execPath, ['-e', PROGRAM, path.join(__dirname, '../../native')]);
  const { own, others, child, later } = JSON.parse(said) as Record<string, unknown[]>;
  expect(others!.length).toBeGreaterThan(2);
  expect(new Set(others!.map((other) => JSON.stringify(other)))).toEqual(new Set([JSON.stringify(BATCH)]));
  expect([own, child]).toEqual([NORMAL, NORMAL]);
  expect(later!.length).toBeGreaterThan(0);
  expect(later).toEqual(later!.map(() => NORMAL));
});

test.each([
  ['no nice value', [], 'ERR_INVALID_ARG_TYPE'],
  ['one that would put them first', [-1], 'ERR_OUT_OF_RANGE'],
  ['one that there is not', [20], 'ERR_OUT_OF_RANGE'],
])('demoteHelpers refuses %s', (_what, words, code) => {
  expect(thrownBy(() => (demoteHelpers as (...all: unknown[]) => void)(...words))).toMatchObject({ code });
});

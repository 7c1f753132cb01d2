import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { lockFile } from '../../native';
import { thrownBy } from './support/thrown-by';

const directory = mkdtempSync(path.join(tmpdir(), 'vn-lock-'));
const file = path.join(directory, 'lock');
const link = path.join(directory, 'link');
symlinkSync('elsewhere', link);
const holders: ChildProcess[] = [];

/** Holds the lock in another process, and says so. With `child`, that process has a child of its own, whose pid it says. */
const HOLDER = `
  const { spawn } = require('node:child_process');
  const [native, file, child] = process.argv.slice(1);
  const descriptor = require(native).lockFile(file);
  const pid = child ? spawn('sleep', ['60'], { stdio: 'ignore' }).pid : 0;
  console.log(descriptor + ' ' + pid);
  setInterval(() => {}, 1000);
`;

async function holdElsewhere(
  ...more: string[]
): Promise<{ descriptor: number; childPid: number; kill(): Promise<void> }> {
  const native = path.join(__dirname, '../../native');
  const holder = spawn(process.execPath, ['-e', HOLDER, native, file, ...more], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  holders.push(holder);
  const [said] = (await once(holder.stdout, 'data')) as [Buffer];
  const [descriptor = NaN, childPid = NaN] = said.toString().split(' ').map(Number);
  const kill = async (): Promise<void> => {
    const exit = once(holder, 'exit');
    holder.kill('SIGKILL');
    await exit;
  };
  return { descriptor, childPid, kill };
}

afterEach(() => {
  for (const holder of holders.splice(0)) holder.kill('SIGKILL');
  rmSync(file, { force: true });
});
afterAll(() => rmSync(directory, { recursive: true }));

test('The first gets a descriptor to write with, others -1, in this process and in another', async () => {
  const descriptor = lockFile(file);
  expect(descriptor).toBeGreaterThan(2);
  writeSync(descriptor, 'pid');
  expect(lockFile(file)).toBe(-1);
  const other = await holdElsewhere();
  expect(other.descriptor).toBe(-1);
  closeSync(descriptor);
});

test('The lock of a process that was killed is free at once, also when a child of it lives on', async () => {
  const holder = await holdElsewhere('child');
  expect(holder.descriptor).toBeGreaterThan(2);
  expect(lockFile(file)).toBe(-1);
  await holder.kill();
  const descriptor = lockFile(file);
  process.kill(holder.childPid, 'SIGKILL');
  expect(descriptor).toBeGreaterThan(2);
  closeSync(descriptor);
});

test('The file is made for its owner alone, and keeps what is in it', () => {
  closeSync(lockFile(file));
  expect(statSync(file).mode & 0o777).toBe(0o600);
  writeFileSync(file, 'content');
  closeSync(lockFile(file));
  expect(statSync(file).size).toBe(7);
});

test('Refused locks leave no descriptor open', () => {
  const descriptor = lockFile(file);
  for (let i = 0; i < 2000; i++) expect(lockFile(file)).toBe(-1);
  const next = lockFile(path.join(directory, 'next'));
  expect(next - descriptor).toBeLessThan(10);
  closeSync(next);
  closeSync(descriptor);
});

test.each([
  ['a directory that is missing', path.join(directory, 'missing', 'lock'), 'ENOENT'],
  ['a directory', directory, 'EISDIR'],
  ['a name that is too long', path.join(directory, 'x'.repeat(300)), 'ENAMETOOLONG'],
  ['a link', link, 'ELOOP'],
  ['a path that is too long', `/${'x/'.repeat(100_000)}`, 'ENAMETOOLONG'],
])('Opening %s fails as open(2) does', (_what, where, code) => {
  expect(thrownBy(() => lockFile(where))).toMatchObject({ code, syscall: 'open' });
});

test.each([
  ['nothing', undefined, 'ERR_INVALID_ARG_TYPE'],
  ['a number', 3, 'ERR_INVALID_ARG_TYPE'],
  ['an empty path', '', 'ERR_OUT_OF_RANGE'],
  ['a NUL in the path', '/tmp/a\0b', 'ERR_OUT_OF_RANGE'],
])('lockFile refuses %s', (_what, where, code) => {
  expect(thrownBy(() => lockFile(where as string))).toMatchObject({ code });
});

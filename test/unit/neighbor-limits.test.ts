import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { raiseNeighborLimits } from '../../src/kernel/neighbor-limits';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vtepd-limits-'));
});

afterEach(() => rmSync(root, { recursive: true }));

const pathOf = (family: string, name: string) => join(root, family, 'neigh', 'default', name);

function write(family: string, values: Readonly<Record<string, number>>): void {
  mkdirSync(join(root, family, 'neigh', 'default'), { recursive: true });
  for (const [name, value] of Object.entries(values)) writeFileSync(pathOf(family, name), `${value}\n`);
}

test('limits are raised where they are lower, the highest first, and never lowered', () => {
  write('ipv4', { gc_thresh1: 128, gc_thresh2: 512, gc_thresh3: 1024 });
  write('ipv6', { gc_thresh1: 10_000, gc_thresh2: 512, gc_thresh3: 100_000 });
  expect(raiseNeighborLimits(root)).toEqual({
    kind: 'set',
    raised: [
      'net.ipv4.neigh.default.gc_thresh3 1024 → 65536',
      'net.ipv4.neigh.default.gc_thresh2 512 → 32768',
      'net.ipv4.neigh.default.gc_thresh1 128 → 8192',
      'net.ipv6.neigh.default.gc_thresh2 512 → 32768',
    ],
  });
  expect(Number(readFileSync(pathOf('ipv6', 'gc_thresh3'), 'utf8'))).toBe(100_000);
  expect(raiseNeighborLimits(root)).toEqual({ kind: 'set', raised: [] });
});

test('outside the initial network namespace there is nothing to raise', () => {
  expect(raiseNeighborLimits(root)).toEqual({ kind: 'absent' });
});

test('a limit that cannot be written is no reason to fail, and is named with those that then stay as they are', () => {
  write('ipv4', { gc_thresh1: 1, gc_thresh3: 1 });
  mkdirSync(pathOf('ipv4', 'gc_thresh2'));
  expect(raiseNeighborLimits(root)).toEqual({
    kind: 'refused',
    reason: expect.stringContaining('EISDIR') as string,
    missing: ['net.ipv4.neigh.default.gc_thresh2=32768', 'net.ipv4.neigh.default.gc_thresh1=8192'],
  });
  expect(readFileSync(pathOf('ipv4', 'gc_thresh1'), 'utf8')).toBe('1\n');
});

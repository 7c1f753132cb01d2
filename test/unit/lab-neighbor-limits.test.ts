/** Test runs at the same time share the machine's limits of neighbors. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { raiseNeighborLimits } from '../support/lab/neighbor-limits';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

const USUAL = { gc_thresh1: 128, gc_thresh2: 512, gc_thresh3: 1024 };
const RAISED = { gc_thresh1: 32768, gc_thresh2: 49152, gc_thresh3: 65536 };
/** There is always a process of that number, and never one of the other. */
const [LIVING, DEAD] = ['1', '4194305'];

let limits: string;
let ledger: string;

afterAll(removeTemporaryDirectories);
beforeEach(() => {
  limits = temporaryDirectory();
  ledger = temporaryDirectory();
  set(USUAL);
});

function set(values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) writeFileSync(join(limits, name), `${value}\n`);
}

function now(): Record<string, number> {
  return Object.fromEntries(
    Object.keys(USUAL).map((name) => [name, Number(readFileSync(join(limits, name), 'utf8'))]),
  );
}

test('they are raised, and restored', () => {
  const restore = raiseNeighborLimits(limits, ledger);
  expect(now()).toEqual(RAISED);
  restore();
  expect(now()).toEqual(USUAL);
});

test('they stay raised for another run that needs them, which restores what was there before both', () => {
  const restore = raiseNeighborLimits(limits, ledger);
  writeFileSync(join(ledger, LIVING), JSON.stringify(USUAL));
  restore();
  expect(now()).toEqual(RAISED);
});

test('what a run that was killed left raised is restored by the next one', () => {
  set(RAISED);
  writeFileSync(join(ledger, DEAD), JSON.stringify(USUAL));
  const restore = raiseNeighborLimits(limits, ledger);
  expect(existsSync(join(ledger, DEAD))).toBe(false);
  restore();
  expect(now()).toEqual(USUAL);
});

test('a run that is killed meanwhile holds up no restoring', () => {
  const restore = raiseNeighborLimits(limits, ledger);
  writeFileSync(join(ledger, DEAD), JSON.stringify(USUAL));
  restore();
  expect(now()).toEqual(USUAL);
});

test('an entry that is just being written is left alone', () => {
  writeFileSync(join(ledger, LIVING), '');
  raiseNeighborLimits(limits, ledger)();
  expect(now()).toEqual(USUAL);
  expect(existsSync(join(ledger, LIVING))).toBe(true);
});

import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { thrownBy } from './support/thrown-by';

/** Node's own, which jest does not come between. */
const load = createRequire(__filename);
const directory = mkdtempSync(path.join(tmpdir(), 'vn-loading-'));
afterAll(() => rmSync(directory, { recursive: true }));

test('The addon exports what its declaration names, and nothing else', () => {
  expect(Object.keys(load('../../native') as object).sort()).toEqual([
    'demoteHelpers',
    'lockFile',
    'openAnswerer',
    'openMonitor',
    'openRequestSocket',
    'runProgram',
    'sdNotify',
    'setAmbient',
  ]);
});

test('An addon that was not built, or not for this machine, is an error that says what to do', () => {
  const index = path.join(directory, 'index.js');
  copyFileSync(path.join(__dirname, '../../native/index.js'), index);
  const problem = (): unknown => thrownBy(() => load(index) as unknown);
  expect(problem()).toMatchObject({ message: expect.stringContaining('scripts/setup') as string });
  mkdirSync(path.join(directory, 'build', 'Release'), { recursive: true });
  writeFileSync(path.join(directory, 'build', 'Release', 'vtepd.node'), 'not an addon');
  expect(problem()).toMatchObject({ message: expect.stringContaining('scripts/setup') as string });
});

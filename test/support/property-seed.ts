/**
 * Jest loads this before each test file. Properties have a fixed seed, so that a run is green or red by the code alone. With
 * VTEPD_LONG=1 the seed is another one each time, and finds what the fixed one does not. fast-check prints the seed of each
 * failure; put it into VTEPD_SEED to see the failure again.
 */
import { readFileSync } from 'node:fs';
import type fastCheck from 'fast-check';

const FIXED_SEED = 20260715;

/** Loading fast-check takes a tenth of a second: only where the file has properties. */
const { testPath } = expect.getState();
if (testPath !== undefined && readFileSync(testPath, 'utf8').includes(`'fast-check'`)) {
  const seed = process.env['VTEPD_SEED'] ?? (process.env['VTEPD_LONG'] === '1' ? undefined : FIXED_SEED);
  if (seed !== undefined) {
    const fc = jest.requireActual<typeof fastCheck>('fast-check');
    fc.configureGlobal({ seed: Number(seed) });
  }
}

/** Earlier versions of the program under test, from the history. */
import { join, resolve } from 'node:path';
import { run } from './command';

const ROOT = resolve(__dirname, '../../..');

/** The version that users have. */
export const RELEASE = 'v0.1.0';

/** The folder of a checkout of that revision, built; made only once. Throws what `scripts/build-revision` says. */
export async function revision(ref: string): Promise<string> {
  const said = await run(join(ROOT, 'scripts/build-revision'), [ref], {
    env: process.env,
    // It may install npm's packages first.
    withinMilliseconds: 540_000,
  });
  return said.trim().split('\n').at(-1)!;
}

/** Its agent: what {@link Agent.program} wants to hear. */
export async function builtRevision(ref: string): Promise<string> {
  return join(await revision(ref), 'dist/main.js');
}

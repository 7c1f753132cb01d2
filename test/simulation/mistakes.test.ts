/** The rules are worth something only if they notice what is wrong, and nothing else. */
import { MISTAKES } from './planted-bugs';
import { simulate } from './simulation';
import { verdictOf } from './verdict';

/** Of so many worlds, at least so many must notice: one alone may do so by luck, and no more after the next change of the code. */
const WORLDS = 12;
const ENOUGH = 3;

describe('a mistake is found out:', () => {
  test.each(MISTAKES)('$name', async ({ plant, violates, scene }) => {
    const noticed: number[] = [];
    const otherwise: string[] = [];
    for (let seed = 1; seed <= WORLDS && noticed.length < ENOUGH; seed++) {
      const world = { seed, hosts: 6, faults: 80, ...scene };
      expect(verdictOf(await simulate(world))).toBe('');
      const { violations } = await simulate({ ...world, bug: plant });
      if (violations.some(({ invariant }) => violates.includes(invariant))) noticed.push(seed);
      else otherwise.push(...violations.map(({ invariant }) => invariant));
    }
    const what = `noticed in ${noticed.length} of ${WORLDS} worlds; broken in the others was [${otherwise.join()}]`;
    if (noticed.length < ENOUGH) throw new Error(what);
  });
});

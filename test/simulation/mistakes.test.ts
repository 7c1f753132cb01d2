/** The rules are worth something only if they notice what is wrong. */
import { MISTAKES } from './planted-bugs';
import { simulate } from './simulation';

/** A mistake that takes more worlds than this to be noticed is not noticed. */
const WORLDS = 25;

describe('a mistake is found out:', () => {
  test.each(MISTAKES)('$name', async ({ plant, violates, scene }) => {
    const broken: string[] = [];
    for (let seed = 1; seed <= WORLDS; seed++) {
      const { violations } = await simulate({ seed, hosts: 6, faults: 80, bug: plant, ...scene });
      if (violations.some(({ invariant }) => violates.includes(invariant))) return;
      broken.push(...violations.map(({ invariant }) => invariant));
    }
    throw new Error(`nobody noticed in ${WORLDS} worlds; broken was [${broken.join()}]`);
  });
});

/** A thousand hosts: of most things there is no other way to see what a thousand do to one store. */
import { simulate } from './simulation';
import { verdictOf } from './verdict';

const MINUTES = 60_000;

test(
  'whatever happens to a thousand hosts, no rule is broken in any step, and all is well in the end',
  async () => {
    const report = await simulate({ seed: 1, hosts: 1000, faults: 150 });
    expect(verdictOf(report)).toBe('');
    expect(report.convergedAfterSeconds).toBeDefined();
  },
  6 * MINUTES,
);

/** A thousand hosts: of most things there is no other way to see what a thousand do to one store. */
import { simulate } from './simulation';
import { verdictOf } from './verdict';

const MINUTES = 60_000;

test(
  'whatever happens to a thousand hosts, no rule is broken in any step, and all is well in the end',
  async () => {
    const report = await simulate({ seed: 1, hosts: 1000, faults: 40 });
    expect(verdictOf(report)).toBe('');
    expect(report.convergedAfterSeconds).toBeDefined();
  },
  30 * MINUTES,
);

test(
  'a thousand hosts that lose the store, and find it in an older state, break no rule and do not come back at once',
  async () => {
    const only = ['backup', 'store outage', 'watches cut', 'restore'];
    const report = await simulate({ seed: 1, hosts: 1000, faults: 8, pace: 60_000, only });
    expect(verdictOf(report)).toBe('');
    // A tenth of it when this was written; all at once it was four of each host.
    expect(report.peaks.fleetPerSecond).toBeLessThan(1000);
    expect(report.peaks.hostPerMinute).toBeLessThan(40);
  },
  30 * MINUTES,
);

import { AccessWatcher } from '../../src/engine/access-watcher';
import { RegistryError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const DENIED = new RegistryError('denied', 'cannot write the lease: permission denied');
const COMPLAINT = 'etcd does not let us write our lease; were it deleted, other hosts would drop us';
const NAME = '10.5.1.0-24';

/** Watches as a host with this lease; `looks`: when the registry was asked, in milliseconds since the start, and for what. */
function watching(hasLease = true) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const registry = new FakeStore(clock).client();
  const state: { leaseName: string | undefined } = { leaseName: hasLease ? NAME : undefined };
  const watcher = new AccessWatcher(registry, clock, log, () => state.leaseName);
  const start = clock.now();
  const looks: { at: number; name: string }[] = [];
  const ask = registry.checkAccess.bind(registry);
  jest.spyOn(registry, 'checkAccess').mockImplementation((name, signal) => {
    looks.push({ at: clock.now() - start, name });
    return ask(name, signal);
  });
  const stop = new AbortController();
  const end = watcher.run(stop.signal);
  const fail = (times: number, error: Error) => {
    for (let n = 0; n < times; n++) registry.failNext('checkAccess', { error: error as RegistryError });
  };
  const pauses = () => looks.slice(1).map(({ at }, n) => at - looks[n]!.at);
  return { clock, log, watcher, state, looks, pauses, fail, end, stop: () => (stop.abort(), end) };
}

describe('the right to write our lease', () => {
  it('is looked at at once, and then every ten minutes or so, not by all hosts at the same time', async () => {
    const { clock, log, watcher, looks, pauses, stop } = watching();
    expect(watcher.isKnown).toBe(false);
    await clock.advance(0);
    expect(looks).toEqual([{ at: 0, name: NAME }]);
    expect([watcher.isKnown, watcher.trouble]).toEqual([true, undefined]);
    await clock.advance(6_000_000);
    for (const pause of pauses()) {
      expect(pause).toBeGreaterThanOrEqual(450_000);
      expect(pause).toBeLessThanOrEqual(750_000);
    }
    expect(pauses().length).toBeGreaterThanOrEqual(8);
    expect(new Set(pauses()).size).toBeGreaterThan(1);
    expect(log.lines).toEqual([]);
    await stop();
  });

  it('is missed with a reason for as long as it is not there, and said once; that it is there again, too', async () => {
    const { clock, log, watcher, pauses, fail, stop } = watching();
    fail(7, DENIED);
    await clock.advance(0);
    await clock.advance(7);
    expect(watcher.isKnown).toBe(true);
    expect(watcher.trouble).toEqual({ complaint: `${COMPLAINT}: ${DENIED.message}`, forMilliseconds: 7 });
    expect(log.lines).toEqual([{ level: 'warn', message: COMPLAINT, fields: { error: DENIED.message } }]);
    await clock.advance(40_000);
    expect(log.messages('warn')).toHaveLength(1);
    await clock.advance(400_000);
    // Doubled from five seconds to a minute, and of that half to all.
    expect(pauses().length).toBe(7);
    [5, 10, 20, 40, 60, 60, 60].forEach((seconds, n) => {
      expect(pauses()[n]).toBeGreaterThanOrEqual(seconds * 500);
      expect(pauses()[n]).toBeLessThanOrEqual(seconds * 1_000);
    });
    expect(watcher.trouble).toBeUndefined();
    expect(log.messages('info')).toEqual(['etcd lets us write our lease']);
    await stop();
  });

  it('is as it was while the registry does not answer, and is asked for again soon', async () => {
    const { clock, log, watcher, pauses, fail, stop } = watching();
    fail(3, new RegistryError('unavailable', 'nobody answers'));
    await clock.advance(0);
    expect([watcher.isKnown, watcher.trouble]).toEqual([false, undefined]);
    await clock.advance(40_000);
    expect(pauses().length).toBe(3);
    [5, 10, 20].forEach((seconds, n) => {
      expect(pauses()[n]).toBeGreaterThanOrEqual(seconds * 500);
      expect(pauses()[n]).toBeLessThanOrEqual(seconds * 1_000);
    });
    expect([watcher.isKnown, watcher.trouble, log.lines]).toEqual([true, undefined, []]);
    await stop();
  });

  it('stays missed while the registry does not answer', async () => {
    const { clock, watcher, fail, stop } = watching();
    fail(1, DENIED);
    fail(2, new RegistryError('unavailable', 'nobody answers'));
    await clock.advance(16_000);
    expect(watcher.trouble?.complaint).toContain('permission denied');
    await clock.advance(60_000);
    expect(watcher.trouble).toBeUndefined();
    await stop();
  });

  it('is asked for once we have a lease, by the name that it has now', async () => {
    const { clock, watcher, state, looks, stop } = watching(false);
    await clock.advance(400_000);
    expect([looks, watcher.isKnown]).toEqual([[], false]);
    state.leaseName = '10.5.9.0-24';
    await clock.advance(400_000);
    expect(looks.map(({ name }) => name)).toEqual(['10.5.9.0-24']);
    await stop();
  });

  it('is no concern of a mistake in the program, which ends it', async () => {
    const { fail, clock, end } = watching();
    fail(1, new TypeError('a mistake'));
    const failed = expect(end).rejects.toThrow('a mistake');
    await clock.advance(0);
    await failed;
  });

  it('is not asked for any more when the agent stops, in whatever it was', async () => {
    for (const failures of [0, 1]) {
      const { clock, log, fail, looks, stop } = watching();
      fail(failures, new RegistryError('unavailable', 'nobody answers'));
      await clock.advance(0);
      await stop();
      await clock.advance(1_000_000);
      expect(looks).toHaveLength(1);
      expect(log.lines).toEqual([]);
    }
  });
});

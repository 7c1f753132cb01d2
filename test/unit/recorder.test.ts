/** What a start without etcd needs, on disk. */
import { Recorder } from '../../src/engine/recorder';
import { parseMemory } from '../../src/model/memory-codec';
import { FakeClock } from '../support/fake-clock';
import { FakeHost } from '../support/fake-host';
import { FakeLog } from '../support/fake-log';

function recording() {
  const clock = new FakeClock();
  const host = new FakeHost();
  const memory = { place: '/net/config', config: '{}', ownLease: 'first', expiresAt: 1, leases: [] };
  const recorder = new Recorder(host, clock, new FakeLog(), () => memory);
  const stop = new AbortController();
  const end = recorder.run(stop.signal);
  const isRemembered = (name: string) => parseMemory(host.memory ?? '')?.ownLease === name;
  const change = (name: string) => {
    memory.ownLease = name;
    recorder.trigger();
  };
  return { clock, host, recorder, change, isRemembered, stop: () => (stop.abort(), end) };
}

it('writes what changed at once, and then no more often than every ten seconds', async () => {
  const { clock, change, isRemembered, stop } = recording();
  change('first');
  await clock.advance(0);
  expect(isRemembered('first')).toBe(true);
  change('second');
  await clock.advance(9_000);
  expect(isRemembered('first')).toBe(true);
  await clock.advance(1_000);
  expect(isRemembered('second')).toBe(true);
  await stop();
});

it('writes before it stops what has not been written yet', async () => {
  const { clock, change, isRemembered, stop } = recording();
  change('first');
  await clock.advance(0);
  change('second');
  await stop();
  expect(isRemembered('second')).toBe(true);
});

it('stops although the disk does not answer', async () => {
  const { clock, host, change, stop } = recording();
  change('first');
  await clock.advance(0);
  host.writeMemory = () => new Promise(() => undefined);
  change('second');
  const end = stop();
  await clock.advance(500);
  await end;
});

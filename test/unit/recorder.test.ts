/** What a start without etcd needs, on disk. */
import { Recorder } from '../../src/engine/recorder';
import { parseMemory, type Memory } from '../../src/model/memory-codec';
import { FakeClock } from '../support/fake-clock';
import { FakeHost } from '../support/fake-host';
import { FakeLog } from '../support/fake-log';

const MEMORY = { place: '/net/config', config: '{}', ownLease: 'first', expiresAt: 1, leases: [] };

function recording() {
  const clock = new FakeClock();
  const host = new FakeHost();
  const log = new FakeLog();
  let memory: Memory | undefined = MEMORY;
  /** Every text that was to be written, on time or not. */
  const written: string[] = [];
  const writeMemory = host.writeMemory.bind(host);
  host.writeMemory = (text) => (written.push(text), writeMemory(text));
  const recorder = new Recorder(host, clock, log, () => memory);
  const stop = new AbortController();
  const end = recorder.run(stop.signal);
  /** Undefined: it is no longer worth remembering. */
  const change = (ownLease: string | undefined) => {
    memory = ownLease === undefined ? undefined : { ...MEMORY, ownLease };
    recorder.trigger();
  };
  const pass = (milliseconds: number) =>
    (memory = memory && { ...memory, expiresAt: memory.expiresAt + milliseconds });
  return {
    clock,
    host,
    log,
    recorder,
    pass,
    written,
    change,
    remembered: () => parseMemory(host.memory ?? '')?.ownLease,
    stop: () => (stop.abort(), end),
  };
}

it('writes what changed at once, and then no more often than every ten seconds', async () => {
  const { clock, change, remembered, stop } = recording();
  change('first');
  await clock.advance(0);
  expect(remembered()).toBe('first');
  change('second');
  await clock.advance(9_000);
  expect(remembered()).toBe('first');
  await clock.advance(1_000);
  expect(remembered()).toBe('second');
  await stop();
});

it('writes nothing that is written already, nor where there is nothing worth remembering', async () => {
  const { clock, change, written, remembered, stop } = recording();
  await clock.advance(0);
  expect(written).toEqual([]);
  for (const ownLease of ['first', 'first', undefined]) {
    change(ownLease);
    await clock.advance(20_000);
  }
  await stop();
  expect(written).toHaveLength(1);
  expect(remembered()).toBe('first');
});

it('says once that it cannot write, tries again every ten seconds without another change, and says when it could', async () => {
  const { clock, host, log, recorder, written, change, remembered, stop } = recording();
  host.fail('write', 'ENOSPC', 3);
  change('first');
  await clock.advance(29_000);
  expect(written).toHaveLength(3);
  expect(recorder.trouble).toEqual({
    complaint: expect.stringContaining('cannot remember the leases for a start without etcd') as string,
    forMilliseconds: 29_000,
  });
  await clock.advance(1_000);
  expect(remembered()).toBe('first');
  expect(recorder.trouble).toBeUndefined();
  expect(log.messages('warn', 'info')).toEqual([
    'cannot remember the leases for a start without etcd',
    'the leases are remembered again',
  ]);
  await stop();
});

describe('when it is stopped', () => {
  it.each([
    ['what has not been written yet', 'second', 0],
    ['what could not be written', 'first', 1],
  ])('it writes %s', async (_, last, failures) => {
    const { clock, host, change, remembered, stop } = recording();
    host.fail('write', 'EIO', failures);
    change('first');
    await clock.advance(0);
    if (last !== 'first') change(last);
    await stop();
    expect(remembered()).toBe(last);
  });

  it('it writes nothing where nothing has changed since but the time, or nothing ever', async () => {
    const unchanged = recording();
    await unchanged.stop();
    expect(unchanged.written).toEqual([]);
    const { clock, written, change, pass, stop } = recording();
    change('first');
    await clock.advance(0);
    pass(1_000);
    await stop();
    expect(written).toHaveLength(1);
  });

  it('it says so if that cannot be written either', async () => {
    const { clock, host, log, change, stop } = recording();
    change('first');
    await clock.advance(0);
    host.fail('write', 'EROFS');
    change('second');
    await stop();
    expect(log.messages('warn')).toEqual(['cannot remember the leases for a start without etcd']);
  });

  it('it waits half a second for a disk that does not answer, and no longer', async () => {
    const { clock, host, change, remembered, stop } = recording();
    change('first');
    await clock.advance(0);
    host.writeMemory = () => new Promise(() => undefined);
    change('second');
    let isStopped = false;
    const end = stop().then(() => (isStopped = true));
    await clock.advance(499);
    expect(isStopped).toBe(false);
    await clock.advance(1);
    await end;
    expect(remembered()).toBe('first');
    expect(clock.nextWake).toBeUndefined();
  });
});

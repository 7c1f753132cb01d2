/** Health checks are answered as soon as they can be, and nothing else waits for that. */
import { createServer, type AddressInfo } from 'node:net';
import { keepServing } from '../../src/engine/serving';
import { startHealthServer } from '../../src/host/health';
import { MonotonicClock } from '../../src/host/clock';
import { ipAddress } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { until } from '../support/lab/until';

describe('a server', () => {
  /** One that cannot listen so many times, or not for this other reason. */
  function serving(failures: number, error: Error = new HostError('EADDRINUSE', 'the address is in use')) {
    const clock = new FakeClock();
    const log = new FakeLog();
    const said: string[] = [];
    const stop = new AbortController();
    const start = async () => {
      await Promise.resolve();
      said.push(`start after ${Math.round((clock.now() - 1_000) / 1000)} s`);
      if (failures-- > 0) throw error;
      return { close: () => Promise.resolve(void said.push('closed')) };
    };
    const end = keepServing(start, clock, log, stop.signal);
    return { clock, log, said, end, stop: () => (stop.abort(), end) };
  }

  test('runs until the agent stops, and is closed before that ends', async () => {
    const { clock, log, said, stop } = serving(0);
    await clock.advance(3_600_000);
    expect(said).toEqual(['start after 0 s']);
    await stop();
    expect(said).toEqual(['start after 0 s', 'closed']);
    expect(log.lines).toEqual([]);
  });

  test('that cannot listen is started again after a growing wait; that is said once, and when it is over', async () => {
    const { clock, log, said, stop } = serving(5);
    clock.random = () => 1;
    await clock.advance(100_000);
    expect(said).toEqual([0, 1, 3, 7, 15, 31].map((seconds) => `start after ${seconds} s`));
    expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      'warn health checks are not answered; trying again',
      'info health checks are answered again',
    ]);
    await stop();
  });

  test('is closed though the agent was stopped while it was being started', async () => {
    const { said, stop } = serving(0);
    await stop();
    expect(said).toEqual(['start after 0 s', 'closed']);
  });

  test('is not started again when the agent stops while it waits', async () => {
    const { clock, said, stop } = serving(9);
    await clock.advance(0);
    await stop();
    await clock.advance(100_000);
    expect(said).toEqual(['start after 0 s']);
  });

  test('that cannot run for a reason that no wait mends ends the agent', async () => {
    await expect(serving(1, new TypeError('a bug')).end).rejects.toThrow('a bug');
  });
});

test('a port in use is said once, with what is in the way, and taken when it is free', async () => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const { port } = squatter.address() as AddressInfo;
  const clock = new MonotonicClock();
  const log = new FakeLog();
  const start = () =>
    startHealthServer({ address: ipAddress('127.0.0.1'), port, clock, live: () => [], ready: () => [] });
  const stop = new AbortController();
  const serving = keepServing(start, clock, log, stop.signal);
  await until('it is said', () => log.lines.length > 0);
  squatter.close();
  const answers = () =>
    fetch(`http://127.0.0.1:${port}/healthz`).then(
      ({ status }) => status === 200,
      () => false,
    );
  await until('the server answers', answers);
  expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
    'warn health checks are not answered; trying again',
    'info health checks are answered again',
  ]);
  expect(log.lines[0]!.fields).toEqual({
    error: `cannot listen for health checks on 127.0.0.1:${port}: the address is in use`,
  });
  stop.abort();
  await serving;
  expect(await answers()).toBe(false);
});

import { createServer, type AddressInfo, type Server } from 'node:net';
import { keepServing } from '../../src/engine/serving';
import { startHealthServer } from '../../src/host/health';
import { MonotonicClock } from '../../src/host/clock';
import { ipAddress } from '../../src/model/address';
import { FakeLog } from '../support/fake-log';
import { until } from '../support/lab/until';

const clock = new MonotonicClock();
let squatter: Server;
let port: number;
let stop: AbortController;
let log: FakeLog;
let serving: Promise<void>;

beforeEach(async () => {
  squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  ({ port } = squatter.address() as AddressInfo);
  stop = new AbortController();
  log = new FakeLog();
  const start = () =>
    startHealthServer({ address: ipAddress('127.0.0.1'), port, clock, live: () => [], ready: () => [] });
  serving = keepServing(start, clock, log, stop.signal);
});

afterEach(async () => {
  stop.abort();
  await serving;
  squatter.close();
});

const answers = () =>
  fetch(`http://127.0.0.1:${port}/healthz`).then(
    ({ status }) => status === 200,
    () => false,
  );

test('a port in use is said once, with what is in the way, and taken when it is free', async () => {
  await until('it is said', () => log.lines.length > 0, { withinMilliseconds: 5_000 });
  squatter.close();
  await until('the server answers', answers, { withinMilliseconds: 10_000 });
  expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
    'warn health checks are not answered; trying again',
    'info health checks are answered again',
  ]);
  expect(log.lines[0]!.fields).toEqual({
    error: `cannot listen for health checks on 127.0.0.1:${port}: the address is in use`,
  });
});

test('it ends on abort while it waits for the port, too', async () => {
  await until('it is said', () => log.lines.length > 0, { withinMilliseconds: 5_000 });
  stop.abort();
  await serving;
});

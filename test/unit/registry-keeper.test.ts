/** When a registry of our own runs, and when it may be asked, on a fake clock and a fake server. */
import { RegistryKeeper } from '../../src/engine/registry-keeper';
import type { IpAddress } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import type { RegistryServer, ServerPlace } from '../../src/ports';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

const never = new AbortController().signal;
const placeOf = (text: string): ServerPlace => ({ address: text as IpAddress, publicIp: text as IpAddress });

/** Runs until the test says that it ended, or until it is told to. */
class FakeServer implements RegistryServer {
  readonly runs: ServerPlace[] = [];
  up: () => void = () => undefined;
  end: (reason: string) => void = () => undefined;
  refusal: HostError | undefined;

  run(place: ServerPlace, onUp: () => void, signal: AbortSignal): Promise<string> {
    this.runs.push(place);
    if (this.refusal) return Promise.reject(this.refusal);
    this.up = onUp;
    return new Promise((resolve) => {
      this.end = resolve;
      signal.addEventListener('abort', () => resolve('stopped'), { once: true });
    });
  }
}

let clock: FakeClock;
let log: FakeLog;
let server: FakeServer;
let keeper: RegistryKeeper;
let stop: AbortController;
let running: Promise<void>;

beforeEach(() => {
  clock = new FakeClock();
  log = new FakeLog();
  server = new FakeServer();
  keeper = new RegistryKeeper(server, clock, log);
  stop = new AbortController();
  running = keeper.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await running;
});

const settled = async (text = '192.0.2.1') => {
  keeper.settle(placeOf(text));
  await clock.advance(0);
};
/** `up`, or why not; undefined while it is waited for. */
const asked = () => {
  const answer: { is?: string } = {};
  keeper.awaitUp(never).then(
    () => (answer.is = 'up'),
    (error: Error) => (answer.is = error.message),
  );
  return answer;
};

test('nothing runs before it is known where other hosts reach us', async () => {
  await clock.advance(7_200_000);
  expect(server.runs).toEqual([]);
  await settled();
  expect(server.runs).toEqual([placeOf('192.0.2.1')]);
});

test('a question waits for a server that is being started, for five seconds', async () => {
  await settled();
  const [first, second] = [asked(), asked()];
  await clock.advance(4_999);
  expect(first).toEqual({});
  await clock.advance(1);
  expect(first.is).toBe('the embedded etcd has not started yet');
  expect(second.is).toBe(first.is);
  const third = asked();
  server.up();
  await clock.advance(0);
  expect(third.is).toBe('up');
});

test('a question that is not answered says that the registry is away for now', async () => {
  await settled();
  const answer = expect(keeper.awaitUp(never)).rejects.toMatchObject({ code: 'unavailable' });
  await clock.advance(5_000);
  await answer;
});

test('a question that is answered leaves no timer behind', async () => {
  await settled();
  const { sleepers } = clock;
  const answer = keeper.awaitUp(never);
  server.up();
  await answer;
  expect(clock.sleepers).toBe(sleepers);
});

test('a question ends with its signal', async () => {
  const impatient = new AbortController();
  const answer = keeper.awaitUp(impatient.signal);
  impatient.abort(new Error('enough'));
  await expect(answer).rejects.toThrow('enough');
});

test('one that ends is started again after growing waits, and nobody waits for it meanwhile', async () => {
  await settled();
  server.up();
  for (const longest of [500, 1_000, 2_000, 4_000, 8_000, ...Array.from({ length: 6 }, () => 10_000)]) {
    const { length } = server.runs;
    server.end('exit code 1');
    await clock.advance(longest / 2 - 1);
    expect(server.runs.length).toBe(length);
    const answer = asked();
    await clock.advance(0);
    expect(answer.is).toBe('the embedded etcd does not run; trying on: exit code 1');
    await clock.advance(longest / 2 + 1);
    expect(server.runs.length).toBe(length + 1);
  }
  expect(log.messages('warn').length).toBeLessThan(4);
  server.up();
  expect(log.messages('info')).toEqual(['the embedded etcd runs again']);
});

test.each([
  ['more than a minute did start well: the next wait is the first again', 60_001, 3],
  ['a minute did not: the wait grows on', 60_000, 2],
])('one that ran for %s', async (_, milliseconds, runs) => {
  clock.random = () => 1;
  await settled();
  server.end('exit code 1');
  await clock.advance(500);
  server.up();
  await clock.advance(milliseconds);
  server.end('ended by SIGKILL');
  await clock.advance(500);
  expect(server.runs.length).toBe(runs);
});

test('one that cannot be started at all is tried again, too', async () => {
  server.refusal = new HostError('ENOENT', 'there is no etcd');
  await settled();
  expect(keeper.trouble?.complaint).toBe('the embedded etcd does not run; trying on: there is no etcd');
  server.refusal = undefined;
  await clock.advance(500);
  server.up();
  expect(keeper.trouble).toBeUndefined();
});

test('a new address ends the server and starts another there, without a complaint', async () => {
  await settled();
  server.up();
  await settled('192.0.2.2');
  expect(server.runs).toEqual([placeOf('192.0.2.1'), placeOf('192.0.2.2')]);
  const answer = asked();
  await clock.advance(0);
  expect(answer).toEqual({});
  server.up();
  await clock.advance(0);
  expect(answer.is).toBe('up');
  expect(log.messages('warn')).toEqual([]);
});

test('a new address ends a wait, for the old one may have been the trouble', async () => {
  await settled();
  for (let round = 0; round < 6; round++) {
    server.end('cannot assign requested address');
    await clock.advance(10_000);
  }
  server.end('cannot assign requested address');
  await clock.advance(0);
  const { length } = server.runs;
  await settled('192.0.2.2');
  expect(server.runs.length).toBe(length + 1);
});

test('another PublicIP at the same address is another place', async () => {
  await settled();
  keeper.settle({ ...placeOf('192.0.2.1'), publicIp: '203.0.113.1' as IpAddress });
  await clock.advance(0);
  expect(server.runs).toMatchObject([{ publicIp: '192.0.2.1' }, { publicIp: '203.0.113.1' }]);
});

test('the same address changes nothing', async () => {
  await settled();
  await settled();
  expect(server.runs.length).toBe(1);
});

test('the end of the keeper is the end of the server', async () => {
  await settled();
  stop.abort();
  await running;
  expect(server.runs.length).toBe(1);
});

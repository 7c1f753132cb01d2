import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { storeFirstConfig } from '../../src/engine/first-config';
import { EtcdRegistry } from '../../src/etcd/registry';
import { MonotonicClock } from '../../src/host/clock';
import {
  joinCommand,
  ownEndpoint,
  runEmbeddedEtcd,
  type EmbeddedEtcdPlan,
} from '../../src/host/embedded-etcd';
import { subnet, type IpAddress } from '../../src/model/address';
import { freePorts } from '../support/etcd-server';
import { FakeLog } from '../support/fake-log';
import { until } from '../support/lab/until';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

const clock = new MonotonicClock();
const never = new AbortController().signal;
const NETWORK = subnet('10.5.0.0/16');

let plan: EmbeddedEtcdPlan;
let log: FakeLog;
let stop: AbortController;
let running: Promise<void>;
let registry: EtcdRegistry;

async function start(changes: Partial<EmbeddedEtcdPlan> = {}): Promise<void> {
  plan = { ...plan, ...changes };
  log = new FakeLog();
  stop = new AbortController();
  running = runEmbeddedEtcd(plan, { clock, log }, stop.signal);
  // If nobody waits for it any more, its failure is seen in afterEach.
  running.catch(() => undefined);
  await Promise.resolve();
}

beforeEach(async () => {
  const [clientPort, peerPort] = (await freePorts(2)) as [number, number];
  const directory = join(temporaryDirectory(), 'etcd');
  plan = { directory, address: '127.0.0.1' as IpAddress, clientPort, peerPort, program: 'etcd' };
  registry = new EtcdRegistry({ endpoints: [ownEndpoint(plan)], prefix: '/coreos.com/network' });
});

afterEach(async () => {
  registry.close();
  stop?.abort();
  await running;
});

afterAll(removeTemporaryDirectories);

const pid = () => Number(readFileSync(`${plan.directory}.pid`, 'utf8'));
const has = (message: string) => log.lines.some((line) => line.message === message);
const stored = () => registry.readConfig(never);

test('a first host has an etcd with a network configuration, and knows what the next one is to run', async () => {
  await start();
  await storeFirstConfig(NETWORK, { registry, clock, log }, never);
  expect(JSON.parse((await stored())!.text)).toEqual({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } });
  expect(statSync(plan.directory).mode & 0o777).toBe(0o700);
  expect(joinCommand({ ...plan, address: '192.0.2.1' as IpAddress, clientPort: 2379 })).toBe(
    'vtepd --etcd-endpoints=http://192.0.2.1:2379',
  );
  expect(joinCommand({ ...plan, address: 'fd00::1' as IpAddress, clientPort: 2379 })).toBe(
    'vtepd --etcd-endpoints=http://[fd00::1]:2379',
  );
});

test('a configuration that is there stays', async () => {
  await start();
  await storeFirstConfig(NETWORK, { registry, clock, log }, never);
  await storeFirstConfig(subnet('10.9.0.0/16'), { registry, clock, log }, never);
  expect((await stored())!.text).toContain('10.5.0.0/16');
});

test('an etcd that dies is started again, with its data', async () => {
  await start();
  await storeFirstConfig(NETWORK, { registry, clock, log }, never);
  const before = pid();
  process.kill(before, 'SIGKILL');
  await until('another one runs', () => pid() !== before, { withinMilliseconds: 5_000 });
  await until('it has the data', stored, { withinMilliseconds: 10_000 });
  expect(log.lines.find(({ level }) => level === 'error')).toMatchObject({
    message: 'the embedded etcd ended; it is started again',
    fields: { reason: expect.stringContaining('ended by SIGKILL') as unknown, waitMilliseconds: 500 },
  });
});

test('it is stopped with its agent, and gone when that is said', async () => {
  await start();
  await storeFirstConfig(NETWORK, { registry, clock, log }, never);
  const last = pid();
  stop.abort();
  await running;
  expect(() => process.kill(last, 0)).toThrow();
  expect(existsSync(`${plan.directory}.pid`)).toBe(false);
  expect(log.messages('error')).toEqual([]);
});

test('one that a killed agent left, which would hold the data, is stopped first', async () => {
  const left = spawn(process.execPath, ['-e', 'setTimeout(() => undefined, 60_000)', plan.directory]);
  writeFileSync(`${plan.directory}.pid`, `${left.pid}\n`);
  await start();
  await storeFirstConfig(NETWORK, { registry, clock, log }, never);
  expect(left.signalCode).toBe('SIGTERM');
  expect(has('an embedded etcd is left from another agent; it is stopped')).toBe(true);
});

test('a pid that is somebody else’s by now is left alone', async () => {
  const other = spawn('sleep', ['60']);
  writeFileSync(`${plan.directory}.pid`, `${other.pid}\n`);
  await start();
  await storeFirstConfig(NETWORK, { registry, clock, log }, never);
  expect(other.exitCode).toBeNull();
  other.kill();
});

test('where no etcd is installed, the log says how to get one, ever less often', async () => {
  await start({ program: 'no-such-etcd' });
  const errors = () => log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields);
  await until('it was tried twice', () => errors().length === 2, { withinMilliseconds: 5_000 });
  expect(errors()).toEqual([
    {
      reason: 'there is no no-such-etcd on this host; on Debian: apt install etcd-server',
      waitMilliseconds: 500,
    },
    { reason: expect.any(String) as unknown, waitMilliseconds: 1000 },
  ]);
});

test('a port in use is said to be the reason', async () => {
  const [taken] = await freePorts(1);
  const other = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${taken}, '127.0.0.1')`,
  ]);
  await until(
    'the port is taken',
    () => execFileSync('ss', ['-Htln', `sport = :${taken}`], { encoding: 'utf8' }),
    {
      withinMilliseconds: 5_000,
    },
  );
  await start({ clientPort: taken! });
  await until('it fails', () => has('the embedded etcd ended; it is started again'), {
    withinMilliseconds: 5_000,
  });
  const { fields } = log.lines.find(({ level }) => level === 'error')!;
  expect(fields['reason']).toMatch(/address already in use/);
  other.kill();
});

/** The etcd of a first host: Debian's, started, watched over and ended as an agent does. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { storeFirstConfig } from '../../src/engine/first-config';
import { RegistryKeeper } from '../../src/engine/registry-keeper';
import { EtcdRegistry } from '../../src/etcd/registry';
import { MonotonicClock } from '../../src/host/clock';
import { EmbeddedEtcd, urlOf, type EmbeddedEtcdPlan } from '../../src/host/embedded-etcd';
import { subnet, type IpAddress } from '../../src/model/address';
import { freePorts } from '../support/etcd-server';
import { FakeLog } from '../support/fake-log';
import { run } from '../support/lab/command';
import { until } from '../support/lab/until';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

const clock = new MonotonicClock();
const never = new AbortController().signal;
const wish = { network: subnet('10.5.0.0/16'), isAsked: false, underlay: () => [] };
const LOOPBACK = '127.0.0.1' as IpAddress;

let plan: EmbeddedEtcdPlan;
let log: FakeLog;
let keeper: RegistryKeeper;
let stop: AbortController;
let running: Promise<void>;
let registry: EtcdRegistry;
let others: (ChildProcess | Server)[];

/** Its peers reach it at that address. */
function start(changes: Partial<EmbeddedEtcdPlan> = {}, publicIp = LOOPBACK): void {
  plan = { ...plan, ...changes };
  keeper = new RegistryKeeper(new EmbeddedEtcd(plan, clock, log), clock, log);
  stop = new AbortController();
  running = keeper.run(stop.signal);
  keeper.settle({ address: LOOPBACK, publicIp });
  const options = { endpoints: [urlOf(LOOPBACK, plan.clientPort)], prefix: '/coreos.com/network' };
  registry = new EtcdRegistry({ ...options, permit: (signal) => keeper.awaitUp(signal) });
}

async function end(): Promise<void> {
  registry?.close();
  stop?.abort();
  await running;
}

beforeEach(async () => {
  const [clientPort, peerPort] = (await freePorts(2)) as [number, number];
  plan = { directory: join(temporaryDirectory(), 'etcd'), clientPort, peerPort, program: 'etcd' };
  log = new FakeLog();
  others = [];
});

afterEach(async () => {
  await end();
  for (const other of others) if ('kill' in other) other.kill('SIGKILL');
  for (const other of others) if ('close' in other) other.close();
});

afterAll(removeTemporaryDirectories);

/** Of the etcd on our data. */
function pid(): number | undefined {
  const found = readdirSync('/proc').find((name) => {
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words[0]!.endsWith('etcd') && words.includes(plan.directory);
    } catch {
      return false;
    }
  });
  return found === undefined ? undefined : Number(found);
}

const store = () => storeFirstConfig(wish, { registry, clock, log }, never);
const stored = async () => (await registry.readConfig(never))?.text;
const complaint = () => until('it complains', () => keeper.trouble?.complaint);
const started = () => log.messages('info').filter((line) => line === 'embedded etcd started').length;

test('a first host has an etcd of its own, whose data is nobody else’s to read', async () => {
  start();
  expect(await store()).toBe(true);
  expect(JSON.parse((await stored())!)).toEqual({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } });
  for (const [path, mode] of Object.entries({ [plan.directory]: 0o700, [`${plan.directory}.log`]: 0o600 }))
    expect(statSync(path).mode & 0o777).toBe(mode);
});

test('an etcd that dies is started again, with its data', async () => {
  start();
  await store();
  const before = pid()!;
  process.kill(before, 'SIGKILL');
  expect(await complaint()).toBe('the embedded etcd does not run; trying on: ended by SIGKILL');
  await until('it has the data', stored);
  expect(pid()).not.toBe(before);
});

test('it is stopped with its agent, and gone when that is said', async () => {
  start();
  await store();
  await end();
  expect(pid()).toBeUndefined();
  expect(log.messages('warn')).toEqual([]);
});

test('what is asked while it starts waits until it answers', async () => {
  start();
  expect(await registry.readConfig(never)).toBeUndefined();
});

describe('what an agent that was killed left', () => {
  /** As an agent that was killed leaves it: its keeper knows nothing of an end. */
  async function leave(publicIp = LOOPBACK): Promise<number> {
    start();
    await store();
    const words = readFileSync(`/proc/${pid()!}/cmdline`, 'utf8').split('\0').slice(0, -1);
    await end();
    const [command, ...rest] = words.map((word) =>
      word.replace(/^http:\/\/127\.0\.0\.1(:.*)$/, `http://${publicIp}$1`),
    );
    const left = spawn(command!, rest, { stdio: 'ignore' });
    others.push(left);
    await until('it is there', pid);
    return left.pid!;
  }

  test('goes on serving the other hosts, and is ended with the next agent', async () => {
    const left = await leave();
    start();
    expect(await stored()).toContain('10.5.0.0/16');
    expect(pid()).toBe(left);
    expect(started()).toBe(1);
    await end();
    expect(pid()).toBeUndefined();
  });

  test('is taken care of like one of ours: when it dies, another one is started', async () => {
    const left = await leave();
    start();
    await stored();
    process.kill(left, 'SIGKILL');
    await until('another one runs', () => started() === 2);
    await until('it has the data', stored);
  });

  test('is stopped where the host has another address by now: it would listen in vain', async () => {
    const left = await leave();
    start({}, '127.0.0.9' as IpAddress);
    expect(await stored()).toContain('10.5.0.0/16');
    expect(pid()).not.toBe(left);
    expect(log.messages('warn')).toEqual([
      'an embedded etcd is left from another agent, and not as we want it; it is stopped',
    ]);
  });
});

test('a host whose address changes serves at the new one, and tells members that are added where it is', async () => {
  start();
  await store();
  const before = pid();
  keeper.settle({ address: '127.0.0.9' as IpAddress, publicIp: '127.0.0.9' as IpAddress });
  await until('another one runs', () => pid() !== undefined && pid() !== before);
  // It runs before it listens.
  expect(await until('it answers', stored)).toContain('10.5.0.0/16');
  const there = { method: 'POST', body: '{}' };
  await until('it has its new address', async () => {
    const response = await fetch(`http://127.0.0.9:${plan.clientPort}/v3/cluster/member/list`, there);
    return (await response.text()).includes(`"peerURLs":["http://127.0.0.9:${plan.peerPort}"]`);
  });
  expect(log.messages('warn')).toEqual([]);
});

test('where no etcd is installed, that and the way out is said once, and nobody waits for it', async () => {
  start({ program: 'no-such-etcd' });
  expect(await complaint()).toBe(
    'the embedded etcd does not run; trying on: there is no no-such-etcd on this host; on Debian: ' +
      'apt install etcd-server; systemctl disable --now etcd',
  );
  await expect(registry.readConfig(never)).rejects.toThrow('apt install etcd-server');
  expect(log.messages('warn')).toEqual(['the embedded etcd does not run; trying on']);
});

describe('another program on the port', () => {
  test('is said to be there, and nothing is asked of it, though it may be an etcd', async () => {
    let asked = 0;
    const other = createServer((socket) => socket.destroy(void asked++));
    others.push(other);
    await new Promise<void>((resolve) => other.listen(plan.clientPort, '127.0.0.1', resolve));
    start();
    expect(await complaint()).toMatch(
      /exit code 1: .*127\.0\.0\.1:\d+: bind: address already in use; another program has the port .*systemctl disable --now etcd/,
    );
    await expect(registry.readConfig(never)).rejects.toThrow('address already in use');
    expect(asked).toBe(0);
  });

  test('goes away, and then ours is there', async () => {
    const other = createServer();
    others.push(other);
    await new Promise<void>((resolve) => other.listen(plan.peerPort, '127.0.0.1', resolve));
    start();
    await complaint();
    await new Promise((resolve) => other.close(resolve));
    await until('it runs', () => store().then(() => keeper.trouble === undefined));
    expect(log.messages('info')).toContain('the embedded etcd runs again');
  });
});

test('a log that has grown is begun anew', async () => {
  mkdirSync(plan.directory, { recursive: true });
  writeFileSync(`${plan.directory}.log`, 'x'.repeat(2 << 20));
  start();
  await store();
  expect(statSync(`${plan.directory}.log`).size).toBeLessThan(1 << 20);
});

describe('a disk of its own', () => {
  let home: string;
  const resize = (size: string) => run('mount', ['-o', `remount,size=${size}`, home]);
  const complaints = () => log.messages('warn').filter((line) => line.startsWith('the embedded etcd'));

  beforeEach(async () => {
    home = join(plan.directory, '..');
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', home]);
  });

  afterEach(() => run('umount', ['--lazy', home]));

  test('that is too small is said to be the reason, once; when there is room, it starts', async () => {
    start();
    expect(await complaint()).toMatch(
      /exit code 2: failed to create WAL: no space left on device; there is not enough room on the disk of .*: etcd reserves some 130 MB there$/,
    );
    await until('it was tried again', () => started() >= 3);
    expect(complaints()).toHaveLength(1);
    await resize('200m');
    await until('it has a configuration', () => store());
    expect(log.messages('info').filter((line) => line === 'the embedded etcd runs again')).toHaveLength(1);
  });

  test('that becomes full ends it, which is said; when there is room, it has its data', async () => {
    await resize('200m');
    start();
    await store();
    const before = await stored();
    await run('sh', ['-c', `dd if=/dev/zero of=${home}/fill bs=64k 2> /dev/null || :`]);
    process.kill(pid()!, 'SIGKILL');
    await until('there is no room for it', () => /not enough room/.test(keeper.trouble?.complaint ?? ''));
    await run('rm', [join(home, 'fill')]);
    await until('it has the data', async () => (await stored()) === before);
  });
});

describe('where the directory around it belongs to a service’s user,', () => {
  const NOBODY = 65534;

  beforeEach(() => {
    const home = join(plan.directory, '..');
    chownSync(home, NOBODY, NOBODY);
    chmodSync(home, 0o755);
  });

  test('root starts it as that user', async () => {
    start();
    await store();
    expect(readFileSync(`/proc/${pid()!}/status`, 'utf8')).toMatch(/^Uid:\t65534\t65534\t/m);
    expect(statSync(join(plan.directory, 'member')).uid).toBe(NOBODY);
    expect(statSync(`${plan.directory}.log`).uid).toBe(NOBODY);
  });

  test('data that root put back without giving it away is said to be the reason', async () => {
    mkdirSync(join(plan.directory, 'member'), { recursive: true, mode: 0o700 });
    start();
    expect(await complaint()).toMatch(
      /permission denied; all below .*\/etcd must belong to who owns \/tmp\/vtepd-test-[^/]*$/,
    );
  });
});

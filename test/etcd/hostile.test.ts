/** Everybody who may write to etcd may write anything: no host stands still over it, and none loses a peer that is good. */
import { EtcdRegistry } from '../../src/etcd/registry';
import { PeerWatcher } from '../../src/engine/peer-watcher';
import { ipAddress, subnet } from '../../src/model/address';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { exampleRange, exampleSelf, exampleLease } from '../support/examples';
import { FakeLog } from '../support/fake-log';
import { until } from '../support/lab/until';
import { MonotonicClock } from '../../src/host/clock';

/** The largest request that etcd takes by default, with some room for the rest of it. */
const LARGEST = 1_500_000;
const MANY = 10_000;
/** What is hostile may cost a turn of the event loop so many times what is harmless costs. */
const FACTOR = 20;
const signal = new AbortController().signal;

let server: EtcdServer;
let store = 0;
let prefix: string;
let registry: EtcdRegistry;
let watcher: PeerWatcher;
let log: FakeLog;
let stop: () => Promise<void>;

beforeAll(async () => {
  server = await startEtcd();
});
afterAll(() => server?.destroy());

beforeEach(async () => {
  prefix = `/hostile/${++store}`;
  registry = new EtcdRegistry({ endpoints: [server.url], prefix });
  log = new FakeLog();
  const silent = () => undefined;
  const events = {
    inSync: silent,
    tableChanged: silent,
    peersChanged: silent,
    ownLeaseChanged: silent,
    ownMacClaimed: silent,
  };
  watcher = new PeerWatcher(registry, new MonotonicClock(), log, events, 3_600_000);
  await server.putAll([[key('10.5.2.0-24'), valueOf(2)]]);
  const end = new AbortController();
  await watcher.sync(signal);
  const network = subnet('10.0.0.0/8');
  const [subnetMin, subnetMax] = [ipAddress('10.0.1.0'), ipAddress('10.255.255.0')];
  await watcher.identify(exampleSelf({ network }), exampleRange({ network, subnetMin, subnetMax }));
  const run = watcher.run(end.signal);
  stop = async () => {
    end.abort();
    await run;
    registry.close();
  };
});
afterEach(() => stop());

const key = (name: string) => `${prefix}/subnets/${name}`;
const valueOf = (n: number) => printLeaseAttributes(exampleLease(n).attributes);
const value = (publicIp: string, vtepMac: string) =>
  JSON.stringify({
    PublicIP: publicIp,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: vtepMac },
  });
const byte = (n: number) => (n & 255).toString(16).padStart(2, '0');
const macOf = (n: number) => `02:11:00:00:${byte(n >> 8)}:${byte(n)}`;
const addressOf = (n: number) => `192.168.${n >> 8}.${n & 255}`;

const subnetName = (n: number) => `10.${100 + (n >> 8)}.${n & 255}.0-24`;

/** In a few revisions, each of which deletes many. */
async function deleteAllBut2(): Promise<void> {
  for (const beginning of ['10.1', '10.5.3', '10.5.4', '10.5.7', 'x', '11', 'garbage'])
    await server.deletePrefix(key(beginning));
}

/** Reads until a lease that was put after the others has been heard of. */
async function settled(): Promise<void> {
  await server.putAll([[key('10.5.3.0-24'), valueOf(3)]]);
  await until('the peer that came last is known', () =>
    [...watcher.peers].some(({ subnet }) => subnet.address === '10.5.3.0'),
  );
}

/** The CPU time, in milliseconds, of the longest turn of the event loop while something is done. */
async function longestTurn(work: () => Promise<void>): Promise<number> {
  let longest = 0;
  let isOver = false;
  let before = process.cpuUsage();
  const look = () => {
    const { user, system } = process.cpuUsage(before);
    longest = Math.max(longest, (user + system) / 1000);
    before = process.cpuUsage();
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await work();
  isOver = true;
  return longest;
}

/** As many harmless leases, put and deleted: what the same process needs for them. */
const harmless = () =>
  longestTurn(async () => {
    await server.putAll(
      Array.from({ length: MANY }, (_, n) => [key(subnetName(n)), value(addressOf(n), macOf(n))] as const),
    );
    await settled();
    await deleteAllBut2();
    await until('they are gone', () => watcher.leases.length <= 1);
  });

async function expectHarmless(hostile: () => Promise<void>): Promise<void> {
  const usual = await harmless();
  const turn = await longestTurn(async () => {
    await hostile();
    await settled();
  });
  expect(turn).toBeLessThan(FACTOR * usual);
  expect([...watcher.peers].map(({ subnet }) => subnet.address)).toEqual(
    expect.arrayContaining(['10.5.2.0', '10.5.3.0']),
  );
}

test.each([
  ['a name of 1.5 MB', () => [[key('1'.repeat(LARGEST)), 'x']]],
  ['a name of 1.5 MB that ends like a lease', () => [[key(`${'1'.repeat(LARGEST)}.5.1.0-24`), valueOf(4)]]],
  ['a value of 1.5 MB', () => [[key('10.5.4.0-24'), `{"PublicIP":"${'1'.repeat(LARGEST)}"}`]]],
  [
    'a value nested 200 000 deep',
    () => [[key('10.5.4.0-24'), `{"BackendData":${'['.repeat(200_000)}${']'.repeat(200_000)}}`]],
  ],
  ['10 000 leases of one MAC', () => numbers((n) => [key(subnetName(n)), value(addressOf(n), macOf(1))])],
  ['10 000 leases of one host', () => numbers((n) => [key(subnetName(n)), value(addressOf(1), macOf(1))])],
  [
    '10 000 leases of one subnet',
    () => numbers((n) => [key(`x${n}-10.5.7.0-24`), value(addressOf(n), macOf(n))]),
  ],
  [
    '10 000 leases of one PublicIP',
    () => numbers((n) => [key(subnetName(n)), value(addressOf(1), macOf(n))]),
  ],
  [
    '10 000 leases within each other',
    () => numbers((n) => [key(`x${n}-10.5.128.0-${17 + (n % 13)}`), value(addressOf(n), macOf(n))]),
  ],
] as [string, () => [string, string][]][])(
  '%s',
  async (_, pairs) => {
    await expectHarmless(async () => {
      await server.putAll(pairs());
      await settled();
      await deleteAllBut2();
      await until(
        'all of them are gone',
        () => watcher.leases.length <= 1 && watcher.complaints.length === 0,
      );
    });
    expect(log.messages('warn').length).toBeLessThan(20);
  },
  240_000,
);

function numbers(pair: (n: number) => [string, string]): [string, string][] {
  return Array.from({ length: MANY }, (_, n) => pair(n + 1));
}

test('100 000 garbage keys, put and deleted at once', async () => {
  await expectHarmless(async () => {
    await server.putAll(Array.from({ length: 100_000 }, (_, n) => [key(`garbage-${n}`), 'x'] as const));
    await settled();
    await deleteAllBut2();
    await until('all of them are gone', () => watcher.complaints.length === 0);
  });
}, 240_000);

test('two names that are no UTF-8 are two: deleting one leaves the complaint about the other', async () => {
  const raw = (bytes: number) =>
    Buffer.concat([Buffer.from(key('')), Buffer.from([bytes]), Buffer.from('10.5.4.0-24')]);
  const put = (of: Buffer) => server.gateway('kv/put', { key: of, value: valueOf(4) });
  await put(raw(0xfe));
  await put(raw(0xff));
  await until('both are named', () => watcher.complaints.length === 2);
  await server.gateway('kv/deleterange', { key: raw(0xfe) });
  await until('one is left', () => watcher.complaints.length === 1);
  expect(watcher.complaints[0]!.lease).toMatch(/^\\xff10\.5\.4\.0-24…\(sha256:/);
  expect(watcher.peers.size).toBe(1);
});

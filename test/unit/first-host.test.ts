/** What a first host stores, and what it tells the next one. */
import { storeFirstConfig } from '../../src/engine/first-config';
import { FirstHost, invitationOf } from '../../src/first-host';
import { subnet, type IpAddress } from '../../src/model/address';
import type { RegistryError } from '../../src/model/errors';
import type { RegistryServer } from '../../src/ports';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import type { FakeRegistry } from '../support/fake-registry';
import { FakeStore } from '../support/fake-registry';

const never = new AbortController().signal;
const NETWORK = subnet('10.5.0.0/16');
const HERE = { address: '192.0.2.1' as IpAddress, publicIp: '192.0.2.1' as IpAddress };
const THERE = { address: '192.0.2.7' as IpAddress, publicIp: '192.0.2.7' as IpAddress };

let clock: FakeClock;
let log: FakeLog;
let store: FakeStore;
let registry: FakeRegistry;

beforeEach(() => {
  clock = new FakeClock();
  log = new FakeLog();
  store = new FakeStore(clock);
  registry = store.client();
});

const stored = async () => (await registry.readConfig(never))?.text;

describe('the configuration', () => {
  const asked = (isAsked: boolean, underlay: readonly string[] = [], network = NETWORK) =>
    storeFirstConfig(
      { network, isAsked, underlay: () => underlay as IpAddress[] },
      { registry, clock, log },
      never,
    );

  test('is stored where there is none', async () => {
    expect(await asked(false)).toBe(true);
    expect(JSON.parse((await stored())!)).toEqual({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } });
    expect(log.lines).toEqual([
      {
        level: 'info',
        message: 'network configuration stored, for there was none',
        fields: { network: '10.5.0.0/16' },
      },
    ]);
  });

  test.each([
    ['the same', '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}'],
    ['one that makes no sense', '{"Network": 7}'],
    ['none at all', 'garbage'],
    [
      'an IPv6 one only',
      '{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "vxlan"}}',
    ],
  ])(
    'that is there and names %s is no reason to speak of the network that was asked for',
    async (_, text) => {
      await registry.writeConfig(text, undefined, never);
      expect(await asked(true)).toBe(true);
      expect(await stored()).toBe(text);
      expect(log.messages('warn')).toEqual([]);
    },
  );

  test('that another host stores meanwhile stays', async () => {
    const writeConfig = registry.writeConfig.bind(registry);
    registry.writeConfig = async (...args) => {
      store.put('config', '{"Network": "10.9.0.0/16"}');
      return writeConfig(...args);
    };
    expect(await asked(false)).toBe(true);
    expect(await stored()).toBe('{"Network": "10.9.0.0/16"}');
    expect(log.lines).toEqual([]);
  });

  test('is stored as soon as the registry answers, which is asked again after a growing wait', async () => {
    clock.random = () => 1;
    registry.down = true;
    const start = clock.now();
    const looks: number[] = [];
    const readConfig = registry.readConfig.bind(registry);
    registry.readConfig = (signal) => (looks.push(clock.now() - start), readConfig(signal));
    const done = asked(false);
    await clock.advance(20_000);
    expect(looks).toEqual([0, 250, 750, 1_750, 3_750, 7_750, 12_750, 17_750]);
    expect(log.lines[0]).toEqual({
      level: 'debug',
      message: 'no configuration could be stored yet',
      fields: { error: expect.stringContaining('nobody answers') as string },
    });
    registry.down = false;
    await clock.advance(5_000);
    expect(await done).toBe(true);
    expect(await stored()).toContain('10.5.0.0/16');
  });

  test('is not waited for where something else than the registry failed', async () => {
    registry.failNext('readConfig', { error: new TypeError('a bug') as unknown as RegistryError });
    await expect(asked(false)).rejects.toThrow('a bug');
  });

  test('stays where there is one, and who asked for another network is told', async () => {
    const text = '{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan"}}';
    await registry.writeConfig(text, undefined, never);
    expect(await asked(false)).toBe(true);
    expect(log.messages('warn')).toEqual([]);
    expect(await asked(true)).toBe(true);
    expect(await stored()).toBe(text);
    expect(log.lines.find(({ level }) => level === 'warn')).toMatchObject({
      message: "--network is not used: there is a network configuration; 'vtepd config set' stores another",
      fields: { network: '10.9.0.0/16', asked: '10.5.0.0/16' },
    });
  });

  test('is not stored when it would take the addresses of the underlay', async () => {
    expect(await asked(false, ['192.0.2.1', '10.5.7.8'])).toBe(false);
    expect(await stored()).toBeUndefined();
    expect(log.lines).toMatchObject([
      {
        level: 'error',
        message:
          'no network configuration is stored: the network holds an address of the underlay; start with another --network',
        fields: { network: '10.5.0.0/16', address: '10.5.7.8' },
      },
    ]);
  });

  test('is not stored for a network that can be no overlay', async () => {
    expect(await asked(true, [], subnet('127.0.0.0/8'))).toBe(false);
    expect(await stored()).toBeUndefined();
    expect(log.lines).toMatchObject([
      {
        level: 'error',
        message: 'no network configuration is stored; start with another --network',
        fields: { reason: expect.stringContaining('127.0.0.0/8 cannot be an overlay') as string },
      },
    ]);
  });
});

describe('a first host', () => {
  let said: string[];
  let first: FirstHost;
  let up: () => void;

  const server: RegistryServer = {
    run: (_, onUp, signal) =>
      new Promise((resolve) => {
        up = onUp;
        signal.addEventListener('abort', () => resolve('stopped'), { once: true });
      }),
  };

  beforeEach(() => {
    said = [];
    const plan = { network: NETWORK, isNetworkAsked: false, joinOptions: [] };
    first = new FirstHost(plan, { server, clock, log, say: (line) => void said.push(line) });
  });

  afterEach(() => first.stop());

  const joinAt = (address: string) => [
    `on the next host, as root: vtepd --etcd-endpoints=http://${address}:2379 --iface-can-reach=${address}`,
    'or, as a service there, by these lines in /etc/vtepd/vtepd.conf:',
    `etcd-endpoints=http://${address}:2379`,
    `iface-can-reach=${address}`,
  ];

  test('lets the agent read the configuration when it has been stored, and says what to run on the next', async () => {
    let permitted = false;
    const permit = first.permit(never).then(() => (permitted = true));
    const own = store.client();
    own.slowMilliseconds = 100;
    first.settle(HERE);
    await clock.advance(0);
    up();
    first.welcome(own);
    await clock.advance(150);
    expect(permitted).toBe(false);
    expect(said).toEqual([]);
    expect(first.invitation).toBeUndefined();
    await clock.advance(100);
    await permit;
    expect(await stored()).toContain('10.5.0.0/16');
    expect(said).toEqual(joinAt('192.0.2.1'));
    expect(first.invitation?.configLines).toEqual(joinAt('192.0.2.1').slice(2));
  });

  test('says anew what to run when its address has changed', async () => {
    first.settle(HERE);
    first.welcome(store.client());
    await clock.advance(10);
    first.settle(THERE);
    await clock.advance(10);
    expect(said).toEqual([...joinAt('192.0.2.1'), ...joinAt('192.0.2.7')]);
    expect(log.lines.find(({ level }) => level === 'warn')).toMatchObject({
      message: 'the embedded etcd has another address; the other hosts must be told by --etcd-endpoints',
      fields: { before: '192.0.2.1', publicIp: '192.0.2.7' },
    });
  });
});

test('the next host is told all it needs, in the way it is written', () => {
  expect(invitationOf({ ...HERE, publicIp: 'fd00::1' as IpAddress }, ['--etcd-prefix=/other'])).toEqual({
    command: 'vtepd --etcd-endpoints=http://[fd00::1]:2379 --iface-can-reach=fd00::1 --etcd-prefix=/other',
    configLines: ['etcd-endpoints=http://[fd00::1]:2379', 'iface-can-reach=fd00::1', 'etcd-prefix=/other'],
  });
});

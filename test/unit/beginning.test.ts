import { begin, type BeginningPorts } from '../../src/engine/beginning';
import { PeerWatcher } from '../../src/engine/peer-watcher';
import { printSubnet } from '../../src/model/address';
import { parseMemory, printMemoryInSteps, type Memory } from '../../src/model/memory-codec';
import { complete } from '../../src/model/steps';
import { exampleLease } from '../support/examples';
import { FakeClock, settle } from '../support/fake-clock';
import { FakeHost } from '../support/fake-host';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const printMemory = (memory: Memory) => complete(printMemoryInSteps(memory));

const PLACE = '/coreos.com/network/config';
const CONFIG = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}';

const memory = (clock: FakeClock, changes: Partial<Memory> = {}): Memory => ({
  place: PLACE,
  config: CONFIG,
  ownLease: '10.5.1.0-24',
  expiresAt: clock.wallTime() + 3_600_000,
  leases: [exampleLease(1), exampleLease(2)],
  ...changes,
});

/** A start that may find its beginning in etcd, in memory, or nowhere yet. */
function starting(
  prepare: (host: FakeHost, store: FakeStore, clock: FakeClock) => void,
  changes: Partial<BeginningPorts> = {},
) {
  const clock = new FakeClock();
  const store = new FakeStore(clock);
  const registry = store.client();
  const host = new FakeHost();
  const log = new FakeLog();
  prepare(host, store, clock);
  const events = {
    inSync: () => undefined,
    tableChanged: () => undefined,
    peersChanged: () => undefined,
    ownLeaseChanged: () => undefined,
    ownMacClaimed: () => undefined,
  };
  const watcher = new PeerWatcher(registry, clock, log, events, 0);
  const stop = new AbortController();
  const beginning = begin(
    { registry, host, clock, log, waits: new Set(), ...changes },
    watcher,
    PLACE,
    stop.signal,
  );
  const isOver = () => Promise.race([beginning.then(() => true), settle().then(() => false)]);
  return {
    clock,
    store,
    registry,
    log,
    watcher,
    beginning,
    isOver,
    stop: () => (stop.abort(), beginning.catch(() => undefined)),
  };
}

describe('a start', () => {
  it('begins with what etcd has, at once', async () => {
    const { beginning, watcher } = starting((host, store, clock) => {
      store.put('config', CONFIG);
      store.put('subnets/10.5.2.0-24', '{"PublicIP":"192.168.0.2"}');
      host.memory = printMemory(memory(clock));
    });
    expect(await beginning).toMatchObject({ memory: undefined, network: { text: CONFIG } });
    expect(watcher.leases).toHaveLength(1);
  });

  it('begins from memory after three seconds without etcd, and says so', async () => {
    const { beginning, registry, clock, log, isOver, watcher } = starting(
      (host, _, now) => (host.memory = printMemory(memory(now))),
    );
    registry.down = true;
    await clock.advance(2_900);
    expect(await isOver()).toBe(false);
    await clock.advance(200);
    expect((await beginning).memory).toMatchObject({ ownLease: '10.5.1.0-24' });
    expect(log.lines).toContainEqual({
      level: 'warn',
      message: 'etcd does not answer; starting from memory',
      fields: { lease: '10.5.1.0-24', leases: 2 },
    });
    // Nothing goes on that was begun, and only the beginning is told.
    expect(clock.sleepers).toBe(0);
    await clock.advance(600_000);
    expect(watcher.isInSync).toBe(false);
  });

  it('waits for etcd where nothing is remembered, and says nothing of it', async () => {
    const { registry, clock, log, isOver, stop } = starting(() => undefined);
    registry.down = true;
    await clock.advance(60_000);
    expect(await isOver()).toBe(false);
    expect(log.messages('warn').filter((message) => message.includes('remember'))).toEqual([]);
    await stop();
    expect(clock.sleepers).toBe(0);
  });

  it('begins from a file that is too old to say which network it is of', async () => {
    const { beginning, registry, clock } = starting(
      (host, _, now) => (host.memory = printMemory(memory(now, { place: undefined }))),
    );
    registry.down = true;
    await clock.advance(3_100);
    expect((await beginning).memory).toMatchObject({ ownLease: '10.5.1.0-24' });
  });

  const OUTDATED = 'etcd does not answer, and what we remember is out of date; waiting for etcd';
  const USELESS = 'cannot use what we remember; waiting for etcd';

  it.each<[string, string, (clock: FakeClock) => string]>([
    // The file is looked at after three seconds.
    [
      'our lease is over',
      OUTDATED,
      (clock) => printMemory(memory(clock, { expiresAt: clock.wallTime() + 3_000 })),
    ],
    ['it is of another network', OUTDATED, (clock) => printMemory(memory(clock, { place: '/other/config' }))],
    ['it is damaged', OUTDATED, () => '{"version":1,'],
    ['its configuration makes no sense', USELESS, (clock) => printMemory(memory(clock, { config: '{}' }))],
  ])('waits for etcd when what we remember is of no use: %s', async (_, said, text) => {
    const { registry, clock, store, log, isOver, beginning, stop } = starting(
      (host, __, now) => (host.memory = text(now)),
    );
    registry.down = true;
    await clock.advance(60_000);
    expect(await isOver()).toBe(false);
    expect(log.messages('warn')).toContain(said);
    store.put('config', CONFIG);
    registry.down = false;
    await clock.advance(20_000);
    expect((await beginning).memory).toBeUndefined();
    await stop();
  });

  it('waits for etcd when what we remember cannot be read, and says why', async () => {
    const { registry, clock, log, isOver, stop } = starting((host) => host.fail('read', 'EIO', 100));
    registry.down = true;
    await clock.advance(60_000);
    expect(await isOver()).toBe(false);
    expect(log.lines).toContainEqual({
      level: 'warn',
      message: USELESS,
      fields: { error: 'cannot read the subnet file' },
    });
    await stop();
  });

  it('does not take an etcd without a configuration for one that is away', async () => {
    const { clock, store, isOver, beginning } = starting(
      (host, _, now) => (host.memory = printMemory(memory(now))),
    );
    await clock.advance(60_000);
    expect(await isOver()).toBe(false);
    store.put('config', CONFIG);
    await clock.advance(10_000);
    expect((await beginning).memory).toBeUndefined();
  });
});

test('what is remembered is read as it was written', () => {
  const written = memory(new FakeClock());
  const read = parseMemory(printMemory(written));
  expect(read).toEqual({
    ...written,
    leases: written.leases.map((lease) => ({ ...lease, modRevision: '0' })),
  });
  expect(parseMemory(printMemory({ ...written, expiresAt: Infinity }))?.expiresAt).toBe(Infinity);
});

describe('a network that can be no overlay', () => {
  const LOOPBACK = CONFIG.replace('10.5.0.0/16', '127.0.0.0/8');
  const WORDS = '127.0.0.0/8 cannot be an overlay: an address in 127.0.0.0/8 is a loopback address';

  it('is refused, until there is another', async () => {
    const { clock, store, beginning, isOver, log, stop } = starting((_, all) => all.put('config', LOOPBACK));
    await clock.advance(10_000);
    expect(await isOver()).toBe(false);
    const [line] = log.lines.filter(({ message }) => message === 'waiting for the network configuration');
    expect(line!.fields['error']).toContain(WORDS);
    store.put('config', CONFIG);
    await clock.advance(10_000);
    expect((await beginning).network.text).toBe(CONFIG);
    await stop();
  });

  it('goes on where a host leases a subnet of it, and is told of', async () => {
    const { clock, beginning, stop } = starting((_, store) => {
      store.put('config', LOOPBACK);
      store.put('subnets/127.5.2.0-24', '{"PublicIP":"192.168.0.2"}');
    });
    await clock.advance(100);
    expect((await beginning).network.remarks).toEqual([
      expect.stringMatching(/^127\.0\.0\.0\/8 cannot .*; it goes on because it is in use$/) as string,
    ]);
    await stop();
  });

  it('is refused where leases are those of another network', async () => {
    const { clock, isOver, stop } = starting((_, store) => {
      store.put('config', LOOPBACK);
      store.put('subnets/10.5.2.0-24', '{"PublicIP":"192.168.0.2"}');
    });
    await clock.advance(10_000);
    expect(await isOver()).toBe(false);
    await stop();
  });

  it('goes on where this host had a place in it', async () => {
    const { clock, beginning, stop } = starting((_, store) => store.put('config', LOOPBACK), {
      isInUse: (network) => printSubnet(network) === '127.0.0.0/8',
    });
    await clock.advance(100);
    expect((await beginning).network.remarks).toHaveLength(1);
    await stop();
  });
});

import { desiredState, peerObjects } from '../../src/core/desired';
import { MissResponder } from '../../src/engine/miss-responder';
import { ipAddress, printSubnet, subnet, type Subnet } from '../../src/model/address';
import type { Lease } from '../../src/model/lease';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { keyOf } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { Miss } from '../../src/model/miss';
import { MutablePeerTable } from '../../src/model/peer';
import { ON_DEMAND, exampleLease, exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const l3 = (address: string): Miss => ({ layer: 'l3', address: ipAddress(address) });
const l2 = (mac: string): Miss => ({ layer: 'l2', mac: macAddress(mac) });

function responding({
  overlay = exampleOverlay({ resolve: ON_DEMAND }),
  peers = [examplePeer(2)],
  believes = true,
  isComplete = true,
  subnetLength = 24,
} = {}) {
  const clock = new FakeClock();
  const store = new FakeStore(clock);
  const registry = store.client();
  const kernel = new FakeKernel();
  const table = new MutablePeerTable(peers);
  const log = new FakeLog();
  const damages: string[] = [];
  const damaged: string[] = [];
  const found: string[] = [];
  const peerOf = ({ subnet }: Lease) =>
    believes ? examplePeer(Number(subnet.address.split('.')[2])) : undefined;
  const meet = (subnet: Subnet) => (subnet.address === '10.5.3.0' ? examplePeer(3) : undefined);
  kernel.applyNow([...desiredState(overlay, [], []).values()].map((object) => ({ verb: 'put', object })));
  const begin = kernel.operations.length;
  const requests: number[] = [];
  const applyNow = kernel.applyNow.bind(kernel);
  kernel.applyNow = (operations) => (requests.push(operations.length), applyNow(operations));
  let isReady = true;
  const responder = new MissResponder(
    kernel,
    registry,
    clock,
    log,
    () => (isReady ? { overlay, subnetLength, peers: table, isComplete, meet, peerOf } : undefined),
    (objects, what) => {
      damages.push(what);
      damaged.push(...objects.map(keyOf));
    },
    ({ publicIp }) => found.push(`${publicIp} after ${kernel.operations.length - begin} operations`),
  );
  const stop = new AbortController();
  const end = responder.run(stop.signal);
  return {
    log,
    /** The overlay is not known any more, or again. */
    setReady: (is: boolean) => (isReady = is),
    /** How many operations each request to the kernel had. */
    requests,
    clock,
    store,
    registry,
    kernel,
    table,
    responder,
    damages,
    damaged,
    found,
    answers: () => kernel.printed(begin),
    stop: () => (stop.abort(), end),
  };
}

const UNREACHABLE_9 = 'route unreachable 10.5.9.0/24 proto 84 metric 4294967295';

describe('while a start judges the leases', () => {
  it('whoever is asked for is judged first, and nobody is refused', async () => {
    const { responder, answers, clock, stop } = responding({ isComplete: false });
    responder.take([l3('10.5.3.0'), l3('10.5.9.0'), l2('02:00:00:00:00:09')]);
    await clock.advance(5_000);
    expect(answers()).toEqual([
      'put fdb 02:00:00:00:00:03 dev flannel.1 dst 192.168.0.3 self permanent',
      'put neigh 10.5.3.0 dev flannel.1 lladdr 02:00:00:00:00:03 learned',
      'put route 10.5.3.0/24 via 10.5.3.0 dev flannel.1 proto 84 metric 4 onlink',
    ]);
    await stop();
  });
});

describe('a miss for a known peer', () => {
  it('is answered at once: FDB entry, the asked address for a moment, neighbor, and route', async () => {
    const { responder, answers, stop } = responding();
    responder.take([l3('10.5.2.5')]);
    expect(answers()).toEqual([
      'put fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
      'put neigh 10.5.2.5 dev flannel.1 lladdr 02:00:00:00:00:02 learned',
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 learned',
      'put route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink',
      'remove neigh 10.5.2.5 dev flannel.1 lladdr 02:00:00:00:00:02 learned',
    ]);
    await stop();
  });

  it('of layer 2 gets its FDB entry', async () => {
    const { responder, answers, stop } = responding();
    responder.take([l2('02:00:00:00:00:02'), l2('02:00:00:00:00:02')]);
    expect(answers()).toEqual(['put fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent']);
    await stop();
  });

  it('shows damage in preload mode, and none on demand', async () => {
    const preload = responding({ overlay: exampleOverlay() });
    preload.responder.take([l3('10.5.2.0')]);
    expect(preload.damages).toEqual(['miss for the known peer 10.5.2.0/24']);
    expect(preload.damaged).toEqual(peerObjects(exampleOverlay(), examplePeer(2)).map(keyOf));
    await preload.stop();
    const onDemand = responding();
    onDemand.responder.take([l3('10.5.2.0')]);
    expect(onDemand.damages).toEqual([]);
    await onDemand.stop();
  });

  it('in a burst of them does not wait for the last one: the kernel hears a few answers at a time', async () => {
    const peers = Array.from({ length: 200 }, (_, n) => examplePeer(n + 2));
    const { responder, requests, answers, stop } = responding({ peers });
    responder.take(peers.map(({ subnet }) => l3(subnet.address)));
    expect(answers()).toHaveLength(600);
    expect(requests).toEqual([96, 96, 96, 96, 96, 96, 24]);
    await stop();
  });

  it('goes before the unknown ones that came before it', async () => {
    const { responder, answers, clock, stop } = responding();
    responder.take([l3('10.9.9.9'), l3('10.5.2.5')]);
    expect(answers().join()).not.toContain('failed');
    await clock.advance(0);
    expect(answers().at(-1)).toBe('put neigh 10.9.9.9 dev flannel.1 failed');
    await stop();
  });

  it('is counted, and logged where that is wanted', async () => {
    const { responder, clock, log, stop } = responding({ peers: [examplePeer(2), examplePeer(3)] });
    let now = 5_000;
    jest.spyOn(clock, 'now').mockImplementation(() => (now += 0.25));
    const asked = [l3('10.5.2.5'), l2('02:00:00:00:00:02'), l2('02:00:00:00:00:03')];
    responder.take(asked);
    const told = { subnet: '10.5.2.0/24', publicIp: '192.168.0.2', microseconds: 250 };
    expect(log.lines).toEqual(
      [
        { layer: 'l3', address: '10.5.2.5', ...told },
        { layer: 'l2', vtepMac: '02:00:00:00:00:02', ...told },
        {
          layer: 'l2',
          vtepMac: '02:00:00:00:00:03',
          ...told,
          subnet: '10.5.3.0/24',
          publicIp: '192.168.0.3',
        },
      ].map((fields) => ({ level: 'debug', message: 'miss answered', fields })),
    );
    log.debugEnabled = false;
    responder.take(asked);
    expect(log.lines).toHaveLength(3);
    expect(responder.counters).toEqual({ answered: 6, unknown: 0, absent: 0, dropped: 0, failed: 0 });
    await stop();
  });

  it('of layer 2 is answered for each of several MACs', async () => {
    const { responder, answers, stop } = responding({ peers: [examplePeer(2), examplePeer(3)] });
    responder.take([l2('02:00:00:00:00:02'), l2('02:00:00:00:00:03')]);
    expect(answers()).toEqual([
      'put fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
      'put fdb 02:00:00:00:00:03 dev flannel.1 dst 192.168.0.3 self permanent',
    ]);
    await stop();
  });

  it('is left to the kernel, which asks again, while it is not known who we are', async () => {
    const { responder, answers, clock, setReady, stop } = responding();
    setReady(false);
    responder.take([l3('10.5.2.5'), l3('10.5.9.5')]);
    await clock.advance(5_000);
    expect(answers()).toEqual([]);
    await stop();
  });

  it('that the kernel refuses is counted', async () => {
    const { responder, kernel, stop } = responding();
    kernel.failApply();
    responder.take([l3('10.5.2.0')]);
    expect(responder.counters).toMatchObject({ answered: 1, failed: 3 });
    await stop();
  });

  it('that the kernel refuses asks for a look at what was refused', async () => {
    const { responder, kernel, damages, damaged, stop } = responding();
    kernel.failApply();
    responder.take([l3('10.5.2.5')]);
    expect(damages).toEqual([expect.stringContaining('an answer was refused')]);
    expect(damaged).toEqual(expect.arrayContaining(peerObjects(exampleOverlay(), examplePeer(2)).map(keyOf)));
    await stop();
  });
});

describe('a miss for somebody unknown', () => {
  it('is answered from the registry, where the watch is behind', async () => {
    const { responder, store, answers, clock, stop } = responding();
    store.put('subnets/10.5.9.0-24', printLeaseAttributes(exampleLease(9).attributes));
    responder.take([l3('10.5.9.5'), l3('10.5.9.6')]);
    await clock.advance(0);
    expect(answers()).toContain('put neigh 10.5.9.5 dev flannel.1 lladdr 02:00:00:00:00:09 learned');
    expect(answers()).toContain('put neigh 10.5.9.6 dev flannel.1 lladdr 02:00:00:00:00:09 learned');
    expect(answers().join()).not.toContain('failed');
    await stop();
  });

  it('is told of before it is answered, for its answers must be admitted', async () => {
    const { responder, store, found, clock, stop } = responding();
    store.put('subnets/10.5.9.0-24', printLeaseAttributes(exampleLease(9).attributes));
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    expect(found).toEqual(['192.168.0.9 after 0 operations']);
    await stop();
  });

  it('of layer 2 is answered from the registry too', async () => {
    const { responder, store, answers, clock, stop } = responding();
    store.put('subnets/10.5.9.0-24', printLeaseAttributes(exampleLease(9).attributes));
    responder.take([l2('02:00:00:00:00:09')]);
    await clock.advance(0);
    expect(answers()).toEqual(['put fdb 02:00:00:00:00:09 dev flannel.1 dst 192.168.0.9 self permanent']);
    await stop();
  });

  it('is refused where the lease in the registry is not to be believed', async () => {
    const { responder, store, answers, clock, stop } = responding({ believes: false });
    store.put('subnets/10.5.9.0-24', printLeaseAttributes(exampleLease(9).attributes));
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    expect(answers()).toContain('put neigh 10.5.9.5 dev flannel.1 failed');
    await stop();
  });

  it('that nobody has is refused, for its whole subnet, and asked about once', async () => {
    const { responder, registry, answers, clock, stop } = responding();
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    responder.take([l3('10.5.9.6'), l3('10.5.9.7')]);
    await clock.advance(0);
    expect(registry.countOf('find')).toBe(1);
    expect(answers()).toEqual([
      `put ${UNREACHABLE_9}`,
      'put neigh 10.5.9.5 dev flannel.1 failed',
      'put neigh 10.5.9.6 dev flannel.1 failed',
      'put neigh 10.5.9.7 dev flannel.1 failed',
    ]);
    await stop();
  });

  it('that nobody has is refused to everybody who asked for an address of its subnet meanwhile', async () => {
    const { responder, answers, clock, stop } = responding();
    const addresses = Array.from({ length: 254 }, (_, n) => `10.5.9.${n + 1}`);
    responder.take(addresses.map(l3));
    await clock.advance(0);
    expect(answers()).toEqual(
      expect.arrayContaining(addresses.map((address) => `put neigh ${address} dev flannel.1 failed`)),
    );
    await stop();
  });

  it('is forgotten after a while, so that it can be asked again', async () => {
    const { responder, registry, answers, clock, stop } = responding();
    responder.take([l3('10.5.9.5')]);
    await clock.advance(6_000);
    expect(answers().at(-1)).toBe(`remove ${UNREACHABLE_9}`);
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    expect(registry.countOf('find')).toBe(2);
    await stop();
  });

  it('is forgotten at once when such a peer joins', async () => {
    const { responder, table, answers, clock, stop } = responding();
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    responder.peersChanged([table.put(examplePeer(9))!]);
    expect(answers().at(-1)).toBe(`remove ${UNREACHABLE_9}`);
    responder.take([l3('10.5.9.5')]);
    expect(answers().at(-1)).toContain('remove neigh 10.5.9.5');
    await stop();
  });

  it('is answered, and not refused, when such a peer joins while the refusal waits', async () => {
    const { responder, table, answers, clock, stop } = responding();
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    const before = answers().length;
    responder.take([l3('10.5.9.6')]);
    responder.peersChanged([table.put(examplePeer(9))!]);
    await clock.advance(0);
    const since = answers().slice(before);
    expect(since.filter((answer) => answer.includes('failed'))).toEqual([]);
    expect(since.at(-1)).toContain('remove neigh 10.5.9.6');
    await stop();
  });

  it.each([
    ['in our own subnet', '10.5.1.9'],
    ['outside the network', '192.0.2.1'],
  ])('is refused without asking, when it is %s', async (_, address) => {
    const { responder, registry, answers, clock, stop } = responding();
    responder.take([l3(address)]);
    await clock.advance(0);
    expect(answers()).toEqual([`put neigh ${address} dev flannel.1 failed`]);
    expect(registry.countOf('find')).toBe(0);
    await stop();
  });

  it('is refused after two seconds, when the registry does not answer', async () => {
    const { responder, registry, answers, clock, stop } = responding();
    registry.slowMilliseconds = 60_000;
    responder.take([l3('10.5.9.5')]);
    await clock.advance(1_900);
    expect(answers()).toEqual([]);
    await clock.advance(200);
    expect(answers()).toContain('put neigh 10.5.9.5 dev flannel.1 failed');
    await stop();
  });
});

describe('what nobody has', () => {
  it('is counted and logged, and so is what the registry knows', async () => {
    const { responder, store, log, clock, stop } = responding();
    store.put('subnets/10.5.9.0-24', printLeaseAttributes(exampleLease(9).attributes));
    responder.take([l3('10.5.9.5'), l3('10.5.9.6'), l3('10.5.8.5')]);
    await clock.advance(0);
    expect(responder.counters).toEqual({ answered: 2, unknown: 3, absent: 1, dropped: 0, failed: 0 });
    expect(log.lines).toEqual([
      {
        level: 'debug',
        message: 'miss answered by etcd',
        fields: { layer: 'l3', address: '10.5.9.5', subnet: '10.5.9.0/24', publicIp: '192.168.0.9' },
      },
      {
        level: 'debug',
        message: 'miss answered: nobody has it',
        fields: { layer: 'l3', address: '10.5.8.5' },
      },
    ]);
    await stop();
  });

  it.each([
    ['fails', 0, 'the connection was lost'],
    ['does not answer', 60_000, 'no answer within 2000 ms'],
  ])('is said with the reason, where the registry %s', async (_, slowMilliseconds, error) => {
    const { responder, registry, log, clock, stop } = responding();
    const { sleepers } = clock;
    registry.slowMilliseconds = slowMilliseconds;
    if (slowMilliseconds === 0) registry.failNext('find');
    responder.take([l3('10.5.9.5')]);
    await clock.advance(Math.min(slowMilliseconds, 2_000));
    expect(log.lines.map(({ message, fields }) => ({ message, fields }))).toEqual([
      {
        message: 'cannot ask etcd about a miss',
        fields: { layer: 'l3', address: '10.5.9.5', error: expect.stringContaining(error) as string },
      },
      { message: 'miss answered: nobody has it', fields: { layer: 'l3', address: '10.5.9.5' } },
    ]);
    expect(clock.sleepers).toBe(sleepers);
    await stop();
  });

  it('of layer 2 is remembered, and there is no route to write or to take away for a MAC', async () => {
    const { responder, registry, answers, requests, clock, stop } = responding();
    responder.take([l2('02:00:00:00:00:09')]);
    await clock.advance(1_000);
    responder.take([l2('02:00:00:00:00:09')]);
    await clock.advance(1_000);
    expect(registry.countOf('find')).toBe(1);
    expect([...responder.absentSubnets()]).toHaveLength(0);
    await clock.advance(10_000);
    responder.take([l2('02:00:00:00:00:09')]);
    await clock.advance(0);
    expect(registry.countOf('find')).toBe(2);
    expect([answers(), requests]).toEqual([[], []]);
    await stop();
  });

  it('damages nothing in preload mode', async () => {
    const { responder, damages, clock, stop } = responding({ overlay: exampleOverlay() });
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    expect(damages).toEqual([]);
    await stop();
  });

  it('is not answered when the agent stops, or has lost its place in the overlay, while etcd is asked', async () => {
    for (const end of ['stop', 'lose'] as const) {
      const { responder, registry, answers, log, clock, setReady, stop } = responding();
      registry.slowMilliseconds = 1_000;
      responder.take([l3('10.5.9.5')]);
      await clock.advance(500);
      if (end === 'stop') await stop();
      else setReady(false);
      await clock.advance(5_000);
      expect([answers(), log.lines]).toEqual([[], []]);
      await stop();
    }
  });

  it('is not asked for where our place in the overlay is lost before its turn comes', async () => {
    const { responder, registry, answers, log, clock, setReady, stop } = responding();
    registry.slowMilliseconds = 1_000;
    responder.take([l3('10.5.8.5'), l3('10.5.9.5')]);
    await clock.advance(500);
    setReady(false);
    await clock.advance(5_000);
    expect(registry.countOf('find')).toBe(1);
    expect([answers(), log.lines]).toEqual([[], []]);
    await stop();
  });

  it('counts as that for five seconds, however late it is forgotten', async () => {
    for (const [milliseconds, questions] of [
      [4_999, 1],
      [5_000, 2],
    ] as const) {
      const { responder, registry, clock, stop } = responding();
      responder.take([l3('10.5.9.5')]);
      await clock.advance(0);
      const now = clock.now() + milliseconds;
      const late = jest.spyOn(clock, 'now').mockImplementation(() => now);
      responder.take([l3('10.5.9.5')]);
      late.mockRestore();
      await clock.advance(0);
      expect(registry.countOf('find')).toBe(questions);
      await stop();
    }
  });

  it('is forgotten a few at a time', async () => {
    const { responder, requests, clock, stop } = responding();
    responder.take(Array.from({ length: 200 }, (_, n) => l3(`10.5.${n + 3}.5`)));
    await clock.advance(0);
    requests.length = 0;
    await clock.advance(5_000);
    expect(requests).toEqual([64, 64, 64, 8]);
    await stop();
  });

  it('was known to us, or is of somebody who goes: nothing is taken away', async () => {
    const { responder, table, answers, requests, clock, stop } = responding();
    responder.peersChanged([table.put(examplePeer(3))!]);
    responder.take([l3('10.5.9.5')]);
    await clock.advance(0);
    const before = [answers().length, requests.length];
    responder.peersChanged([{ before: examplePeer(9), after: undefined }, table.put(examplePeer(4))!]);
    expect([answers().length, requests.length]).toEqual(before);
    await stop();
  });
});

describe('a storm of questions', () => {
  /** All of 10.0.0.0/8, of which the subnets are /24: 65 536 of them, one address of each. */
  const WIDE = exampleOverlay({ resolve: ON_DEMAND, network: subnet('10.0.0.0/8') });
  const subnetsAsked = (count: number) =>
    Array.from({ length: count }, (_, n) => l3(`10.${100 + (n >> 8)}.${n & 255}.7`));
  /** So many addresses outside the network: no registry could know them. */
  const strangersAsked = (count: number) =>
    Array.from({ length: count }, (_, n) => l3(`172.16.${n >> 8}.${n & 255}`));

  it('delays no real one', async () => {
    const { responder, answers, clock, stop } = responding({ overlay: WIDE });
    const storm = subnetsAsked(10_000);
    responder.take([...storm.slice(0, 9_000), l3('10.5.2.5'), ...storm.slice(9_000)]);
    expect(answers().findIndex((line) => line.startsWith('put neigh 10.5.2.5'))).toBe(1);
    await clock.advance(0);
    await stop();
  });

  it('puts 256 questions to the registry, and is answered "nobody" beyond them without asking', async () => {
    const { responder, registry, kernel, clock, stop } = responding({ overlay: WIDE });
    registry.slowMilliseconds = 10;
    responder.take(subnetsAsked(1_000));
    expect([...responder.absentSubnets()]).toHaveLength(744);
    expect(responder.counters).toMatchObject({ unknown: 1_000, dropped: 744, absent: 744 });
    await clock.advance(4_000);
    expect(registry.countOf('find')).toBe(256);
    expect(responder.counters).toMatchObject({ dropped: 744, absent: 1_000 });
    expect(kernel.printedState().filter((line) => line.endsWith('failed'))).toHaveLength(1_000);
    await stop();
  });

  it('leaves 4096 absences in memory, those of last, and as many routes in the kernel', async () => {
    const { responder, kernel, clock, stop } = responding({ overlay: WIDE });
    responder.take(subnetsAsked(6_000));
    await clock.advance(0);
    const absent = [...responder.absentSubnets()].map(printSubnet);
    expect(absent).toHaveLength(4_096);
    expect(new Set(absent)).toContain('10.123.111.0/24');
    const routes = kernel.printedState().filter((line) => line.startsWith('route unreachable'));
    expect(routes.map((line) => line.split(' ')[2]).sort()).toEqual(absent.sort());
    await clock.advance(6_000);
    expect([...responder.absentSubnets()]).toEqual([]);
    expect(kernel.printedState().filter((line) => line.startsWith('route unreachable'))).toEqual([]);
    await stop();
  });

  it('has 8192 refusals wait at most; for the others the kernel asks again', async () => {
    const { responder, registry, kernel, clock, stop } = responding();
    responder.take(strangersAsked(10_000));
    expect(responder.counters).toMatchObject({ absent: 10_000, dropped: 10_000 - 8_192 });
    await clock.advance(0);
    expect(kernel.printedState().filter((line) => line.endsWith('failed'))).toHaveLength(8_192);
    expect(registry.countOf('find')).toBe(0);
    responder.take(strangersAsked(10));
    expect(responder.counters.dropped).toBe(10_000 - 8_192);
    await clock.advance(0);
    await stop();
  });

  it('about one large subnet is answered to 256 who ask; for the others the kernel asks again', async () => {
    const { responder, registry, kernel, clock, stop } = responding({ subnetLength: 20 });
    registry.slowMilliseconds = 1_000;
    const asked = Array.from({ length: 300 }, (_, n) => l3(`10.5.${160 + (n >> 8)}.${n & 255}`));
    responder.take(asked);
    await clock.advance(1_000);
    expect(registry.countOf('find')).toBe(1);
    expect(kernel.printedState().filter((line) => line.endsWith('failed'))).toHaveLength(256);
    await stop();
  });

  it('is refused for a millisecond at a time, so that other work gets its turn between', async () => {
    const { responder, kernel, clock, stop } = responding();
    let now = clock.now();
    jest.spyOn(clock, 'now').mockImplementation(() => now);
    const apply = kernel.applyNow.bind(kernel);
    kernel.applyNow = (operations) => ((now += 0.5), apply(operations));
    responder.take(strangersAsked(200));
    const turns: number[] = [];
    while (turns.at(-1) !== 200) {
      await new Promise((resolve) => setImmediate(resolve));
      turns.push(kernel.printedState().filter((line) => line.endsWith('failed')).length);
    }
    // Two requests of 32 refusals each take a millisecond.
    expect(turns).toEqual([64, 128, 192, 200]);
    await stop();
  });
});

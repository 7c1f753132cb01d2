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
  const responder = new MissResponder(
    kernel,
    registry,
    clock,
    log,
    () => ({ overlay, subnetLength, peers: table, isComplete, meet, peerOf }),
    (objects, what) => {
      damages.push(what);
      damaged.push(...objects.map(keyOf));
    },
    ({ publicIp }) => found.push(`${publicIp} after ${kernel.operations.length - begin} operations`),
  );
  const stop = new AbortController();
  const end = responder.run(stop.signal);
  return {
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
    const { responder, kernel, answers, stop } = responding({ peers });
    const applyNow = jest.spyOn(kernel, 'applyNow');
    responder.take(peers.map(({ subnet }) => l3(subnet.address)));
    expect(answers()).toHaveLength(600);
    expect(Math.max(...applyNow.mock.calls.map(([operations]) => operations.length))).toBeLessThanOrEqual(
      160,
    );
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
    kernel.applyNow = (operations) => ((now += 0.4), apply(operations));
    responder.take(strangersAsked(200));
    const turns: number[] = [];
    while (turns.at(-1) !== 200) {
      await new Promise((resolve) => setImmediate(resolve));
      turns.push(kernel.printedState().filter((line) => line.endsWith('failed')).length);
    }
    // Three requests of 32 refusals take 1.2 ms.
    expect(turns).toEqual([96, 192, 200]);
    await stop();
  });
});

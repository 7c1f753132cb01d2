import { desiredState, peerObjects } from '../../src/core/desired';
import { IN_SYNC, Reconciler, type PassReport } from '../../src/engine/reconciler';
import { ipAddress, subnet, type Subnet } from '../../src/model/address';
import { keyOf, kernelStateOf, type Link } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { Overlay } from '../../src/model/overlay';
import { MutablePeerTable, type Peer } from '../../src/model/peer';
import { IDLE_MILLISECONDS, ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

/** A host with these peers, reconciled until nothing is left to do. */
async function reconciling({
  overlay = exampleOverlay(),
  peers = [] as Peer[],
  kernel = new FakeKernel(),
  isInSync = true,
} = {}) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const table = new MutablePeerTable(peers);
  const situation = { overlay, peers: table, isInSync, former: [] as Subnet[], absent: [] as Subnet[] };
  const passes: PassReport[] = [];
  const reconciler = new Reconciler(kernel, clock, log, () => situation);
  const stop = new AbortController();
  kernel.listen(
    'flannel.1',
    (notices) => notices.forEach((n) => n.kind === 'changed' && reconciler.trigger(n.what)),
    stop.signal,
  );
  const end = reconciler.run((report) => passes.push(report), stop.signal);
  await clock.advance(0);
  return {
    clock,
    log,
    table,
    situation,
    passes,
    kernel,
    reconciler,
    isAsDesired: (now: Overlay = overlay) => {
      const desired = desiredState(now, table, []);
      const actual = [...kernel.state.values()].filter(
        (object) => object.kind !== 'neighbor-parameters' || object.family === 'ipv4',
      );
      return JSON.stringify([...kernelStateOf(actual)].sort()) === JSON.stringify([...desired].sort());
    },
    put: (peer: Peer) => reconciler.peersChanged([table.put(peer)!]),
    remove: (peer: Peer) => reconciler.peersChanged([table.remove(peer.subnet)!]),
    stop: () => (stop.abort(), end),
  };
}

describe('the reconciler', () => {
  it('removes the address that an earlier agent had in another network, and no other', async () => {
    const { kernel, situation, reconciler, clock, stop } = await reconciling();
    const link = 'flannel.1';
    const former = { kind: 'address', link, address: ipAddress('10.9.3.0'), prefixLength: 32 } as const;
    kernel.state.set(keyOf(former), former);
    reconciler.trigger('test');
    await clock.advance(0);
    expect(kernel.state.has(keyOf(former))).toBe(true);
    situation.former = [subnet('10.9.3.0/24')];
    reconciler.trigger('test');
    await clock.advance(0);
    expect(kernel.state.has(keyOf(former))).toBe(false);
    await stop();
  });

  it('outlives a peer that joins and leaves within one pass', async () => {
    const { kernel, clock, put, remove, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const release = kernel.hold();
    put(examplePeer(3));
    await clock.advance(0);
    put(examplePeer(4));
    remove(examplePeer(4));
    release();
    await clock.advance(0);
    put(examplePeer(5));
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('only adds peers before the registry has been read: the kernel may know better than memory', async () => {
    const earlier = await reconciling({ peers: [examplePeer(2), examplePeer(3)] });
    await earlier.stop();
    const { kernel } = earlier;
    const remembered = [examplePeer(2, { publicIp: ipAddress('192.168.0.99') }), examplePeer(4)];
    const before = kernel.operations.length;
    const later = await reconciling({ kernel, peers: remembered, isInSync: false });
    expect(kernel.printed(before)).toEqual([
      'put fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4 self permanent',
      'put neigh 10.5.4.0 dev flannel.1 lladdr 02:00:00:00:00:04 permanent',
      'put route 10.5.4.0/24 via 10.5.4.0 dev flannel.1 proto 84 metric 5 onlink',
    ]);
    later.situation.isInSync = true;
    later.reconciler.trigger(IN_SYNC);
    await later.clock.advance(0);
    expect(later.isAsDesired()).toBe(true);
    await later.stop();
  });

  it.each(['well', 'badly'])('tells when its first pass went %s', async (how) => {
    const kernel = new FakeKernel();
    if (how === 'badly') kernel.failObserve('ENOBUFS', 1);
    const release = kernel.hold();
    const { reconciler, clock, stop } = await reconciling({ kernel });
    let isTried = false;
    void reconciler.tried.then(() => (isTried = true));
    await clock.advance(0);
    expect(isTried).toBe(false);
    release();
    await clock.advance(0);
    expect(isTried).toBe(true);
    await stop();
  });

  it('makes everything in its first pass, and nothing in the next', async () => {
    const { kernel, reconciler, clock, passes, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2)],
    });
    expect(isAsDesired()).toBe(true);
    expect(reconciler.isConverged).toBe(true);
    const { length } = kernel.operations;
    reconciler.trigger('a test');
    await clock.advance(0);
    expect(kernel.operations).toHaveLength(length);
    expect(passes).toMatchObject([{ operations: 7, isBaseInPlace: true }, { operations: 0 }]);
    await stop();
  });

  it('finds nothing to do after a restart', async () => {
    const first = await reconciling({ peers: [examplePeer(2), examplePeer(3)] });
    await first.stop();
    const { length } = first.kernel.operations;
    const second = await reconciling({ peers: [examplePeer(2), examplePeer(3)], kernel: first.kernel });
    expect(second.kernel.operations).toHaveLength(length);
    await second.stop();
  });

  it('keeps the neighbor of a peer when another leaves whose subnet began with the same address', async () => {
    const { put, remove, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const half = { ...examplePeer(3), subnet: subnet('10.5.2.0/25') };
    put(half);
    await clock.advance(0);
    remove(half);
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('makes one pass for ten triggers', async () => {
    const { kernel, reconciler, clock, passes, stop } = await reconciling();
    const release = kernel.hold();
    for (let n = 0; n < 10; n++) reconciler.trigger(`reason ${n}`);
    release();
    await clock.advance(0);
    expect(passes).toHaveLength(2);
    await stop();
  });

  it('writes a new peer without reading everything again', async () => {
    const { kernel, clock, put, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const { observations, operations } = kernel;
    const before = operations.length;
    put(examplePeer(3));
    await clock.advance(0);
    expect(kernel.observations).toBe(observations);
    expect(kernel.operations.slice(before).map(({ object }) => object)).toEqual(
      peerObjects(exampleOverlay(), examplePeer(3)),
    );
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('follows a peer that changes its MAC, its address, both, or leaves', async () => {
    const { clock, put, remove, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2), examplePeer(3)],
    });
    for (const changed of [
      examplePeer(2, { vtepMac: macAddress('02:00:00:00:00:22') }),
      examplePeer(2, { publicIp: examplePeer(9).publicIp }),
      examplePeer(2),
    ]) {
      put(changed);
      await clock.advance(0);
      expect(isAsDesired()).toBe(true);
    }
    remove(examplePeer(2));
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('keeps the FDB entry of a MAC that moved from one peer to another', async () => {
    const { clock, put, remove, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    put(examplePeer(3, { vtepMac: examplePeer(2).vtepMac }));
    remove(examplePeer(2));
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('repairs what another program removes or changes', async () => {
    const { kernel, clock, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2), examplePeer(3)],
    });
    for (const object of [...kernel.state.values()]) {
      if (object.kind === 'neighbor-parameters') continue;
      kernel.tamper({ verb: 'remove', object });
      await clock.advance(1_000);
      expect([keyOf(object), isAsDesired()]).toEqual([keyOf(object), true]);
    }
    const link = kernel.state.get('link flannel.1') as Link;
    kernel.tamper({
      verb: 'put',
      object: { ...link, up: false, mtu: 1400, mac: macAddress('02:ff:00:00:00:01') },
    });
    await clock.advance(1_000);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('does not fight at full speed with a program that undoes its work, and says so', async () => {
    const { kernel, clock, log, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const [, , route] = peerObjects(exampleOverlay(), examplePeer(2));
    const { length } = kernel.operations;
    for (let n = 0; n < 3_000; n++) {
      if (kernel.state.has(keyOf(route))) kernel.tamper({ verb: 'remove', object: route });
      await clock.advance(20);
    }
    expect(kernel.operations.length - length).toBeLessThan(60);
    expect(log.messages('warn')).toEqual([
      'another program keeps undoing this',
      expect.stringContaining('repairing it more slowly'),
    ]);
    await clock.advance(120_000);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('leaves what is not ours alone', async () => {
    const { kernel, reconciler, clock, stop } = await reconciling({ peers: [examplePeer(2)] });
    const foreign = peerObjects(exampleOverlay(), examplePeer(9)).map((object) => ({
      ...object,
      link: 'docker0',
      protocol: 4,
    }));
    for (const object of foreign) kernel.state.set(keyOf(object), object);
    const { length } = kernel.operations;
    reconciler.trigger('a test');
    await clock.advance(0);
    expect(kernel.operations).toHaveLength(length);
    await stop();
  });

  it('lets one object that the kernel refuses hold up no other, tries on, and says so once', async () => {
    const kernel = new FakeKernel();
    const [fdbEntry] = peerObjects(exampleOverlay(), examplePeer(2));
    kernel.failPut(keyOf(fdbEntry), 'ENOBUFS', 5);
    const { clock, log, reconciler, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2), examplePeer(3)],
      kernel,
    });
    expect(kernel.state.has(keyOf(peerObjects(exampleOverlay(), examplePeer(3))[2]))).toBe(true);
    expect(reconciler.isConverged).toBe(false);
    await clock.advance(60_000);
    expect(isAsDesired()).toBe(true);
    expect(log.messages('warn')).toEqual(['the kernel refused a change; trying again']);
    expect(log.messages('info')).toContain('kernel state is as it should be again');
    await stop();
  });

  it('neither spins on an object that is refused for ever, nor tells of it again and again', async () => {
    const kernel = new FakeKernel();
    kernel.failPut(keyOf(peerObjects(exampleOverlay(), examplePeer(2))[0]), 'ENOBUFS', Infinity);
    const { clock, log, stop } = await reconciling({ peers: [examplePeer(2)], kernel });
    const { observations } = kernel;
    await clock.advance(600_000);
    expect(kernel.observations - observations).toBeLessThan(60);
    expect(log.messages('info')).toEqual(['kernel state put in order']);
    expect(log.messages('warn').length).toBeLessThan(6);
    await stop();
  });

  it('removes nothing because a read failed', async () => {
    const { kernel, reconciler, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    kernel.failObserve('EINTR', 3);
    const { length } = kernel.operations;
    reconciler.trigger('a test');
    await clock.advance(10_000);
    expect(kernel.operations).toHaveLength(length);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('makes a whole pass when writing a peer failed', async () => {
    const { kernel, clock, put, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    kernel.failPut(keyOf(peerObjects(exampleOverlay(), examplePeer(3))[1]));
    put(examplePeer(3));
    await clock.advance(1_000);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('audits the kernel now and then, and is quiet otherwise', async () => {
    const { kernel, clock, log, stop } = await reconciling({ peers: [examplePeer(2)] });
    const lines = log.lines.length;
    const { observations, operations } = kernel;
    const { length } = operations;
    await clock.advance(600_000);
    expect(kernel.observations - observations).toBe(10);
    expect(kernel.operations).toHaveLength(length);
    expect(log.lines).toHaveLength(lines);
    await stop();
  });
});

describe('the reconciler on demand', () => {
  const overlay = exampleOverlay({ resolve: ON_DEMAND });

  it('programs nobody until the kernel asks, and drops who is idle', async () => {
    const { kernel, clock, stop } = await reconciling({ overlay, peers: [examplePeer(2)] });
    const [, neighbor, route] = peerObjects(overlay, examplePeer(2));
    expect(kernel.state.has(keyOf(route))).toBe(false);
    kernel.applyNow(peerObjects(overlay, examplePeer(2)).map((object) => ({ verb: 'put', object })));
    await clock.advance(IDLE_MILLISECONDS);
    expect(kernel.state.has(keyOf(route))).toBe(true);
    kernel.age(neighbor.address, IDLE_MILLISECONDS);
    await clock.advance(IDLE_MILLISECONDS);
    for (const object of peerObjects(overlay, examplePeer(2)))
      expect(kernel.state.has(keyOf(object))).toBe(false);
    await stop();
  });

  it('follows a programmed peer that changes or leaves', async () => {
    const { kernel, clock, put, remove, stop } = await reconciling({
      overlay,
      peers: [examplePeer(2), examplePeer(3)],
    });
    kernel.applyNow(peerObjects(overlay, examplePeer(2)).map((object) => ({ verb: 'put', object })));
    const moved = examplePeer(2, { vtepMac: macAddress('02:00:00:00:00:22') });
    put(moved);
    await clock.advance(0);
    for (const object of peerObjects(overlay, moved)) expect(kernel.state.get(keyOf(object))).toEqual(object);
    remove(moved);
    await clock.advance(0);
    for (const object of peerObjects(overlay, moved)) expect(kernel.state.has(keyOf(object))).toBe(false);
    await stop();
  });
});

it('a subnet remembered as absent keeps its unreachable route through a pass, and gets none by it', async () => {
  const { kernel, situation, reconciler, clock, stop } = await reconciling();
  situation.absent = [subnet('10.5.9.0/24')];
  reconciler.trigger('a test');
  await clock.advance(0);
  expect(kernel.printedState().join()).not.toContain('unreachable');
  await stop();
});

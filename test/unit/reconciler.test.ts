import { peerNames, peerObjects, unreachableRoute } from '../../src/core/desired';
import type { Cause } from '../../src/engine/reconciler';
import { ipAddress, subnet } from '../../src/model/address';
import { DETOUR, keyOf, type Link } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { IDLE_MILLISECONDS, ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';
import { FakeKernel } from '../support/fake-kernel';
import { reconciling } from '../support/reconciling';

const A_TEST: Cause = { kind: 'external', what: 'a test' };

describe('the reconciler', () => {
  it('removes the address that an earlier agent had in another network, and no other', async () => {
    const { kernel, situation, reconciler, clock, stop } = await reconciling();
    const link = 'flannel.1';
    const former = { kind: 'address', link, address: ipAddress('10.9.3.0'), prefixLength: 32 } as const;
    kernel.state.set(keyOf(former), former);
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    expect(kernel.state.has(keyOf(former))).toBe(true);
    situation.former = [subnet('10.9.3.0/24')];
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    expect(kernel.state.has(keyOf(former))).toBe(false);
    await stop();
  });

  it('on demand, makes anew what another program has changed beyond mending: removed first, then put', async () => {
    const peer = examplePeer(2);
    const overlay = exampleOverlay({ resolve: ON_DEMAND });
    const { kernel, reconciler, clock, isAsDesired, stop } = await reconciling({ overlay, peers: [peer] });
    const objects = peerObjects(overlay, peer);
    for (const object of objects) kernel.state.set(keyOf(object), object);
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    const link = kernel.state.get('link flannel.1') as Link;
    kernel.state.set('link flannel.1', { ...link, vxlan: { ...link.vxlan!, port: 4789 } });
    const before = kernel.operations.length;
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    expect(kernel.printed(before)[0]).toMatch(/^remove link flannel\.1/);
    expect(kernel.printed(before)[1]).toMatch(/^put link flannel\.1/);
    expect(kernel.state.get('link flannel.1')).toEqual(link);
    kernel.state.set(keyOf(objects[0]), { ...objects[0], destination: DETOUR });
    reconciler.lookAt([objects[0]], A_TEST);
    await clock.advance(0);
    expect(kernel.state.get(keyOf(objects[0]))).toEqual(objects[0]);
    expect(isAsDesired()).toBe(true);
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
    later.reconciler.trigger({ kind: 'wanted', what: 'in sync' });
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
    reconciler.trigger(A_TEST);
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
    for (let n = 0; n < 10; n++) reconciler.trigger({ kind: 'external', what: `reason ${n}` });
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
    reconciler.trigger(A_TEST);
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
    reconciler.trigger(A_TEST);
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

  it('leaves nothing of a peer that changes twice before the next pass', async () => {
    const { kernel, clock, put, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const release = kernel.hold();
    put(examplePeer(9));
    await clock.advance(0);
    put(examplePeer(2, { vtepMac: macAddress('02:00:00:00:00:22') }));
    put(examplePeer(2, { vtepMac: macAddress('02:00:00:00:00:23') }));
    release();
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('looks at the objects of a peer when one of them is changed, and at nothing else', async () => {
    const peers = Array.from({ length: 200 }, (_, n) => examplePeer(n + 2));
    const { kernel, clock, passes, reconciler, isAsDesired, stop } = await reconciling({ peers });
    const { observations } = kernel;
    for (const object of peerObjects(exampleOverlay(), examplePeer(7))) {
      const { looks } = kernel;
      kernel.tamper({ verb: 'remove', object });
      await clock.advance(0);
      expect(kernel.looks - looks).toBe(3);
      expect(passes.at(-1)).toMatchObject({ kind: 'named', operations: 1, looked: 3 });
    }
    expect(kernel.observations).toBe(observations);
    expect(reconciler.repairs).toBe(3);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('removes what others have put, by looking at that alone', async () => {
    const { kernel, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const { observations } = kernel;
    for (const object of peerObjects(exampleOverlay(), examplePeer(9)))
      kernel.tamper({ verb: 'put', object });
    await clock.advance(0);
    expect(kernel.observations).toBe(observations);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it.each([
    ['the kernel cannot tell of single objects', (kernel: FakeKernel) => void (kernel.isOld = true)],
    ['the look fails', (kernel: FakeKernel) => kernel.failObserve('ENOBUFS', 1)],
  ])('reads everything where %s', async (_why, prepare) => {
    const { kernel, clock, put, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const { observations } = kernel;
    prepare(kernel);
    put(examplePeer(2, { publicIp: examplePeer(9).publicIp }));
    await clock.advance(1_000);
    expect(kernel.observations).toBe(observations + 1);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it.each([
    ['one that joined', 'preload', true, 0],
    ['one that joined, on demand', 'on-demand', true, 3],
    ['one that joined while the registry has not been read', 'preload', false, 3],
  ] as const)('reads of %s (%s, in sync: %s) %i objects', async (_what, kind, isInSync, looked) => {
    const resolve = kind === 'preload' ? { kind } : { kind, idleMilliseconds: 60_000 };
    const overlay = exampleOverlay({ resolve });
    const { passes, put, clock, stop } = await reconciling({ overlay, peers: [examplePeer(2)], isInSync });
    put(examplePeer(3));
    await clock.advance(0);
    expect(passes.at(-1)).toMatchObject({ kind: 'named', looked });
    await stop();
  });

  it('reads what belongs to one that left and joined again before a pass, and what was tampered with', async () => {
    const { kernel, passes, put, remove, clock, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2)],
    });
    remove(examplePeer(2));
    put(examplePeer(2, { publicIp: examplePeer(9).publicIp }));
    await clock.advance(0);
    expect(passes.at(-1)).toMatchObject({ kind: 'named', looked: 3, operations: 1 });
    put(examplePeer(3));
    kernel.tamper({ verb: 'put', object: peerObjects(exampleOverlay(), examplePeer(3))[1] });
    await clock.advance(0);
    expect(passes.at(-1)).toMatchObject({ kind: 'named', looked: 1, operations: 2 });
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('reads everything when very many peers change at once', async () => {
    const { kernel, clock, table, reconciler, log, isAsDesired, stop } = await reconciling();
    const { observations, looks } = kernel;
    const join = (from: number, to: number) =>
      reconciler.peersChanged(
        Array.from({ length: to - from + 1 }, (_, n) => table.put(examplePeer(from + n))!),
      );
    join(2, 65);
    await clock.advance(0);
    expect([kernel.observations - observations, kernel.looks - looks]).toEqual([0, 0]);
    join(66, 131);
    await clock.advance(0);
    expect([kernel.observations - observations, kernel.looks - looks]).toEqual([1, 0]);
    expect(log.lines.at(-1)?.fields).toMatchObject({ because: 'peers changed', operations: 198 });
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('reads everything when the named objects belong to very many peers', async () => {
    const vtepMac = macAddress('02:00:00:00:00:aa');
    const { publicIp } = examplePeer(2);
    const peers = Array.from({ length: 100 }, (_, n) => examplePeer(n + 2, { vtepMac, publicIp }));
    const { kernel, clock, isAsDesired, stop } = await reconciling({ peers });
    const { observations } = kernel;
    kernel.tamper({ verb: 'remove', object: peerObjects(exampleOverlay(), peers[0]!)[0] });
    await clock.advance(0);
    expect(kernel.observations).toBe(observations + 1);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('looks at everything when the link is changed', async () => {
    const { kernel, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const { observations } = kernel;
    kernel.tamper({ verb: 'remove', object: kernel.state.get('link flannel.1')! });
    await clock.advance(0);
    expect(kernel.observations).toBe(observations + 1);
    expect(isAsDesired()).toBe(true);
    await stop();
  });

  it('neither removes nor changes a named peer before the registry has been read', async () => {
    const earlier = await reconciling({ peers: [examplePeer(2), examplePeer(3)] });
    await earlier.stop();
    const { kernel } = earlier;
    const later = await reconciling({ kernel, peers: [examplePeer(3)], isInSync: false });
    const before = kernel.operations.length;
    later.put(examplePeer(2, { publicIp: ipAddress('192.168.0.99') }));
    later.put(examplePeer(4));
    later.remove(examplePeer(3));
    await later.clock.advance(0);
    expect(kernel.printed(before)).toEqual([
      'put fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4 self permanent',
      'put neigh 10.5.4.0 dev flannel.1 lladdr 02:00:00:00:00:04 permanent',
      'put route 10.5.4.0/24 via 10.5.4.0 dev flannel.1 proto 84 metric 5 onlink',
    ]);
    expect(later.passes.at(-1)).toMatchObject({ kind: 'named', isInSync: false });
    await later.stop();
  });

  it('does not count as a repair what changes because a peer changed, whatever pass writes it', async () => {
    const { kernel, reconciler, clock, put, remove, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2), examplePeer(3)],
    });
    put(examplePeer(4));
    await clock.advance(0);
    const release = kernel.hold();
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    // The whole pass reads the table after that, and finds them changed.
    put(examplePeer(5));
    remove(examplePeer(3));
    put(examplePeer(2, { vtepMac: macAddress('02:00:00:00:00:22') }));
    release();
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    expect(reconciler.repairs).toBe(0);
    await stop();
  });

  it('counts repairs also while a peer changes', async () => {
    const { kernel, reconciler, clock, put, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2), examplePeer(3)],
    });
    const [, , route] = peerObjects(exampleOverlay(), examplePeer(3));
    put(examplePeer(4));
    kernel.tamper({ verb: 'remove', object: route });
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    expect(reconciler.repairs).toBe(1);
    await stop();
  });

  it('is as ready with a peer that the kernel refuses, and not without the network route', async () => {
    const kernel = new FakeKernel();
    const [, , route] = peerObjects(exampleOverlay(), examplePeer(2));
    kernel.failPut(keyOf(route), 'ENOBUFS', Infinity);
    const { clock, passes, put, reconciler, stop } = await reconciling({ peers: [examplePeer(2)], kernel });
    expect(passes).toMatchObject([{ isBaseInPlace: true }]);
    expect(reconciler.isBaseInPlace).toBe(true);
    put(examplePeer(3));
    await clock.advance(0);
    expect(reconciler.isBaseInPlace).toBe(true);
    const network = [...kernel.state.values()].find((object) => object.kind === 'route' && !object.gateway)!;
    kernel.failPut(keyOf(network), 'EPERM', 3);
    kernel.tamper({ verb: 'remove', object: network });
    await clock.advance(0);
    expect(reconciler.isBaseInPlace).toBe(false);
    await clock.advance(10_000);
    expect(reconciler.isBaseInPlace).toBe(true);
    await stop();
  });

  it('tries what failed again with growing pauses, and meanwhile goes on with what changes', async () => {
    const kernel = new FakeKernel();
    const [fdbEntry] = peerObjects(exampleOverlay(), examplePeer(2));
    kernel.failPut(keyOf(fdbEntry), 'ENOBUFS', Infinity);
    const { clock, put, remove, isAsDesired, reconciler, stop } = await reconciling({
      peers: [examplePeer(2)],
      kernel,
    });
    await clock.advance(60_000);
    const { observations } = kernel;
    // A hundred changes in ten seconds, while the next try is up to half a minute away.
    for (let n = 0; n < 100; n++) {
      if (n % 2 === 0) put(examplePeer(3));
      else remove(examplePeer(3));
      await clock.advance(100);
    }
    expect(kernel.observations - observations).toBeLessThan(3);
    expect(reconciler.trouble?.complaint).toContain('the kernel refused a change');
    kernel.failPut(keyOf(fdbEntry), 'ENOBUFS', 0);
    await clock.advance(31_000);
    expect(isAsDesired()).toBe(true);
    expect(reconciler.trouble).toBeUndefined();
    expect(reconciler.isConverged).toBe(true);
    await stop();
  });

  it('looks later at what it is told to look at later', async () => {
    const { kernel, reconciler, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    const stale = examplePeer(9);
    kernel.applyNow(peerObjects(exampleOverlay(), stale).map((object) => ({ verb: 'put', object })));
    reconciler.lookLater(peerNames(exampleOverlay(), stale), 5_000, { kind: 'wanted', what: 'a test' });
    expect(reconciler.isConverged).toBe(false);
    await clock.advance(4_999);
    expect(isAsDesired()).toBe(false);
    await clock.advance(1);
    expect(isAsDesired()).toBe(true);
    expect([reconciler.repairs, reconciler.isConverged]).toEqual([0, true]);
    await stop();
  });

  it('audits the kernel however often peers change', async () => {
    const { kernel, clock, put, remove, stop } = await reconciling({ peers: [examplePeer(2)] });
    const { observations } = kernel;
    for (let second = 0; second < 180; second++) {
      if (second % 2 === 0) put(examplePeer(3));
      else remove(examplePeer(3));
      await clock.advance(1_000);
    }
    expect(kernel.observations - observations).toBe(3);
    await stop();
  });

  it('says why it put something in order, and what', async () => {
    const { kernel, log, clock, reconciler, put, stop } = await reconciling({ peers: [examplePeer(2)] });
    const [, , route] = peerObjects(exampleOverlay(), examplePeer(2));
    put(examplePeer(3));
    await clock.advance(0);
    kernel.tamper({ verb: 'remove', object: route });
    kernel.state.delete(keyOf(peerObjects(exampleOverlay(), examplePeer(3))[0]));
    await clock.advance(0);
    reconciler.trigger({ kind: 'audit', what: 'SIGHUP' });
    reconciler.trigger({ kind: 'audit', what: 'SIGHUP' });
    await clock.advance(1_000);
    expect(log.lines.filter(({ level }) => level === 'info').map(({ fields }) => fields)).toMatchObject([
      { because: 'start', operations: 7, failed: 0 },
      {
        because: `${keyOf(route)} removed`,
        operations: 1,
        changes: 'put route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink',
      },
      { because: 'SIGHUP', operations: 1, changes: expect.stringContaining('put fdb') as string },
    ]);
    await stop();
  });

  it('sums up in one line what it repaired within a second', async () => {
    const { kernel, log, clock, stop } = await reconciling({ peers: [examplePeer(2), examplePeer(3)] });
    const routes = [2, 3].map((n) => peerObjects(exampleOverlay(), examplePeer(n))[2]);
    const lines = () => log.lines.slice(1).map(({ fields }) => fields);
    for (let n = 0; n < 8; n++) {
      kernel.tamper({ verb: 'remove', object: routes[n % 2]! });
      await clock.advance(100);
    }
    expect(lines()).toMatchObject([{ operations: 1, because: `${keyOf(routes[0]!)} removed` }]);
    await clock.advance(1_000);
    expect(lines()[1]).toMatchObject({
      operations: 7,
      failed: 0,
      because: `${keyOf(routes[1]!)} removed, ${keyOf(routes[0]!)} removed`,
    });
    expect(String(lines()[1]!['changes']).split('; ')).toHaveLength(7);
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

  it('looks at single peers, too: at those who are there, and at those who are asked for', async () => {
    const { kernel, clock, put, log, stop } = await reconciling({
      overlay,
      peers: [examplePeer(2), examplePeer(3)],
    });
    const objects = peerObjects(overlay, examplePeer(2));
    kernel.applyNow(objects.map((object) => ({ verb: 'put', object })));
    const { observations } = kernel;
    for (const object of objects) {
      kernel.tamper({ verb: 'remove', object });
      await clock.advance(0);
      expect(kernel.state.get(keyOf(object))).toEqual(object);
    }
    put(examplePeer(3, { vtepMac: macAddress('02:00:00:00:00:33') }));
    put(examplePeer(4));
    await clock.advance(0);
    expect([...kernel.state.values()].filter(({ kind }) => kind === 'fdb-entry')).toHaveLength(1);
    expect(kernel.observations).toBe(observations);
    expect(log.lines.map(({ fields }) => fields['because'])).not.toContain('');
    await stop();
  });

  it('does not bring back an idle peer of which another program removed something', async () => {
    const { kernel, clock, reconciler, stop } = await reconciling({ overlay, peers: [examplePeer(2)] });
    const [fdbEntry, neighbor, route] = peerObjects(overlay, examplePeer(2));
    kernel.applyNow([fdbEntry, neighbor, route].map((object) => ({ verb: 'put', object })));
    kernel.age(neighbor.address, IDLE_MILLISECONDS);
    kernel.tamper({ verb: 'remove', object: route });
    await clock.advance(0);
    for (const object of [fdbEntry, neighbor, route]) expect(kernel.state.has(keyOf(object))).toBe(false);
    expect(reconciler.repairs).toBe(0);
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
  const [there, elsewhere, forgotten] = ['10.5.9.0/24', '10.5.8.0/24', '10.5.7.0/24'].map((text) =>
    subnet(text),
  );
  for (const absent of [there!, forgotten!])
    kernel.applyNow([{ verb: 'put', object: unreachableRoute(absent) }]);
  situation.absent = [there!, elsewhere!];
  reconciler.trigger(A_TEST);
  await clock.advance(0);
  const routes = [...kernel.state.values()].filter((object) => object.kind === 'route');
  expect(routes.filter(({ type }) => type === 'unreachable')).toEqual([unreachableRoute(there!)]);
  await stop();
});

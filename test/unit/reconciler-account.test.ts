/** What the reconciler counts, logs and says of itself; what it does is in reconciler.test.ts. */
import { peerNames, peerObjects } from '../../src/core/desired';
import { Reconciler, type Cause } from '../../src/engine/reconciler';
import { subnet } from '../../src/model/address';
import {
  ROUTE_PROTOCOL,
  keyOf,
  printKernelObject,
  type Link,
  type Route,
} from '../../src/model/kernel-state';
import { IDLE_MILLISECONDS, ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { reconciling } from '../support/reconciling';

const A_TEST: Cause = { kind: 'external', what: 'a test' };
const AUDIT_MILLISECONDS = 60_000;
const objectsOf = (n: number) => peerObjects(exampleOverlay(), examplePeer(n));
const routeOf = (n: number) => objectsOf(n)[2];
const infos = (log: FakeLog) => log.lines.filter(({ level }) => level === 'info').map(({ fields }) => fields);

describe('how far the reconciler is', () => {
  it('is told: nothing is in place, and nothing done, before the first pass has ended', async () => {
    const kernel = new FakeKernel();
    const release = kernel.hold();
    const { reconciler, clock, stop } = await reconciling({ kernel, peers: [examplePeer(2)] });
    const state = () => {
      const { isConverged, isBaseInPlace, operations, repairs, trouble, fights } = reconciler;
      return { isConverged, isBaseInPlace, operations, repairs, trouble, fights };
    };
    const nothing = { repairs: 0, trouble: undefined, fights: [] };
    expect(state()).toEqual({ ...nothing, isConverged: false, isBaseInPlace: false, operations: 0 });
    release();
    await clock.advance(0);
    expect(state()).toEqual({ ...nothing, isConverged: true, isBaseInPlace: true, operations: 7 });
    kernel.tamper({ verb: 'remove', object: routeOf(2) });
    await clock.advance(0);
    expect(state()).toMatchObject({ operations: 8, repairs: 1 });
    await stop();
  });

  it('is not converged while a pass is under way, nor with something to look at, now or later', async () => {
    const { kernel, reconciler, clock, stop } = await reconciling({ peers: [examplePeer(2)] });
    const release = kernel.hold();
    reconciler.trigger(A_TEST);
    expect(reconciler.isConverged).toBe(false);
    await clock.advance(0);
    expect(reconciler.isConverged).toBe(false);
    release();
    await clock.advance(0);
    expect(reconciler.isConverged).toBe(true);
    reconciler.lookAt([routeOf(2)], A_TEST);
    expect(reconciler.isConverged).toBe(false);
    await clock.advance(0);
    expect(reconciler.isConverged).toBe(true);
    await stop();
  });

  it('tells for how long a pass has lasted, and 0 between two: a pass that does not end is what the watchdog looks for', async () => {
    const { kernel, reconciler, clock, stop } = await reconciling();
    await clock.advance(5_000);
    expect(reconciler.passMilliseconds).toBe(0);
    const release = kernel.hold();
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    expect(reconciler.passMilliseconds).toBe(0);
    await clock.advance(70_000);
    expect(reconciler.passMilliseconds).toBe(70_000);
    release();
    await clock.advance(0);
    expect(reconciler.passMilliseconds).toBe(0);
    await stop();
  });

  it('ends a pass also when the kernel could not be read', async () => {
    const { kernel, reconciler, clock, stop } = await reconciling();
    kernel.failObserve('ENOBUFS', 1);
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    await clock.advance(20);
    expect(reconciler.passMilliseconds).toBe(0);
    expect(reconciler.trouble?.complaint).toContain('cannot read or write the kernel state; trying again: ');
    await stop();
  });

  it('stays without its base after passes that did not look at it', async () => {
    const kernel = new FakeKernel();
    const { clock, reconciler, put, stop } = await reconciling({ peers: [examplePeer(2)], kernel });
    const network = [...kernel.state.values()].find((object) => object.kind === 'route' && !object.gateway)!;
    kernel.failPut(keyOf(network), 'EPERM', Infinity);
    kernel.tamper({ verb: 'remove', object: network });
    await clock.advance(0);
    expect(reconciler.isBaseInPlace).toBe(false);
    put(examplePeer(3));
    await clock.advance(0);
    expect(kernel.state.has(keyOf(routeOf(3)))).toBe(true);
    expect(reconciler.isBaseInPlace).toBe(false);
    await stop();
  });

  it('names what of its base is missing, and nothing else that is refused', async () => {
    const kernel = new FakeKernel();
    kernel.failPut(keyOf(routeOf(2)), 'ENOBUFS', Infinity);
    const { clock, reconciler, stop } = await reconciling({ peers: [examplePeer(2)], kernel });
    expect(reconciler.missingBase).toEqual([]);
    const network = [...kernel.state.values()].find((object) => object.kind === 'route' && !object.gateway)!;
    kernel.failPut(keyOf(network), 'EPERM', 1);
    kernel.tamper({ verb: 'remove', object: network });
    await clock.advance(0);
    expect(reconciler.missingBase).toEqual([printKernelObject(network)]);
    await clock.advance(10_000);
    expect(reconciler.missingBase).toEqual([]);
    await stop();
  });

  it.each([0, 1, 2])('has its base although part %d of a peer is refused', async (part) => {
    const kernel = new FakeKernel();
    kernel.failPut(keyOf(objectsOf(2)[part]!), 'ENOBUFS', Infinity);
    const { reconciler, stop } = await reconciling({ peers: [examplePeer(2)], kernel });
    expect(reconciler.isBaseInPlace).toBe(true);
    expect(reconciler.isConverged).toBe(false);
    await stop();
  });

  it.each(['link flannel.1', 'address', 'neighbor-parameters'])(
    'has no base while its %s is refused',
    async (what) => {
      const good = await reconciling();
      const [key] = [...good.kernel.state.keys()].filter((key) => key.startsWith(what));
      await good.stop();
      const kernel = new FakeKernel();
      kernel.failPut(key!, 'EPERM', Infinity);
      const { reconciler, stop } = await reconciling({ kernel });
      expect(reconciler.isBaseInPlace).toBe(false);
      await stop();
    },
  );

  it('ends with an error that is no error of the kernel: that is a mistake of ours', async () => {
    const mistake = new TypeError('a mistake');
    const reconciler = new Reconciler(new FakeKernel(), new FakeClock(), new FakeLog(), () => {
      throw mistake;
    });
    await expect(reconciler.run(() => undefined, new AbortController().signal)).rejects.toBe(mistake);
  });
});

describe('when the reconciler looks', () => {
  it('is at everything, where something without a name is to be looked at', async () => {
    const { kernel, reconciler, clock, passes, stop } = await reconciling({ peers: [examplePeer(2)] });
    reconciler.lookAt([routeOf(2), kernel.state.get('link flannel.1') as Link], A_TEST);
    await clock.advance(0);
    expect(passes.map(({ kind }) => kind)).toEqual(['whole', 'whole']);
    await stop();
  });

  it('is at the time of each thing that is to be looked at later, and not before', async () => {
    const { reconciler, clock, passes, stop } = await reconciling({
      peers: [2, 3, 4].map((n) => examplePeer(n)),
    });
    const later = (n: number, seconds: number) =>
      reconciler.lookLater(peerNames(exampleOverlay(), examplePeer(n)).slice(2), seconds * 1_000, A_TEST);
    later(3, 20);
    later(2, 10);
    later(4, 30);
    const times: number[] = [];
    for (let second = 0; second < 35; second++) {
      const before = passes.length;
      await clock.advance(1_000);
      for (const pass of passes.slice(before)) times.push(second + 1, pass.looked);
    }
    // At each time one peer's three objects.
    expect(times).toEqual([10, 3, 20, 3, 30, 3]);
    expect(reconciler.isConverged).toBe(true);
    await stop();
  });

  it('is twice within the time after which a peer is idle on demand, but at least once a minute', async () => {
    for (const [idleMilliseconds, seconds] of [
      [IDLE_MILLISECONDS, 60],
      [40_000, 20],
    ] as const) {
      const overlay = exampleOverlay({ resolve: { ...ON_DEMAND, idleMilliseconds } as typeof ON_DEMAND });
      const { kernel, clock, stop } = await reconciling({ overlay });
      const { observations } = kernel;
      await clock.advance(seconds * 1_000 - 1);
      expect(kernel.observations - observations).toBe(0);
      await clock.advance(1);
      expect(kernel.observations - observations).toBe(1);
      await stop();
    }
  });

  it('is soon after a first failure, and later after each further one', async () => {
    const kernel = new FakeKernel();
    kernel.failObserve('ENOBUFS', Infinity);
    const { clock, reconciler, stop } = await reconciling({ kernel });
    const tried: number[] = [];
    const start = clock.now();
    const observe = kernel.observe.bind(kernel);
    kernel.observe = (...args) => (tried.push(clock.now() - start), observe(...args));
    await clock.advance(10_000);
    const pauses = tried.map((at, n) => at - (tried[n - 1] ?? 0));
    // Doubled from a tenth of a second, and of that half to all.
    [100, 200, 400, 800].forEach((most, n) => {
      expect(pauses[n]).toBeGreaterThanOrEqual(most / 2);
      expect(pauses[n]).toBeLessThanOrEqual(most);
    });
    expect(reconciler.trouble).toBeDefined();
    await stop();
  });
});

describe('what the reconciler counts as a repair', () => {
  /** What is there, with peer 2's route removed and a stray one there, without a notice. */
  const damage = (kernel: FakeKernel) => {
    kernel.state.delete(keyOf(routeOf(2)));
    for (const object of objectsOf(9)) kernel.state.set(keyOf(object), object);
  };

  it.each([
    ['external', 4],
    ['audit', 4],
    ['wanted', 0],
    ['retry', 0],
    ['start', 0],
  ] as const)('of what a whole pass finds: for the cause %s, %d', async (kind, repairs) => {
    const { kernel, reconciler, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)] });
    damage(kernel);
    reconciler.trigger({ kind, what: 'a test' });
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    expect(reconciler.repairs).toBe(repairs);
    await stop();
  });

  it('is not what was left undone by a pass that failed', async () => {
    const kernel = new FakeKernel();
    kernel.failPut(keyOf(objectsOf(2)[0]), 'ENOBUFS', 1);
    const { reconciler, clock, isAsDesired, stop } = await reconciling({ peers: [examplePeer(2)], kernel });
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    expect(isAsDesired()).toBe(true);
    expect(reconciler.repairs).toBe(0);
    await stop();
  });

  it('is what is found by name, also while something else waits to be tried again', async () => {
    const kernel = new FakeKernel();
    kernel.failPut(keyOf(objectsOf(2)[0]), 'ENOBUFS', Infinity);
    const peers = [examplePeer(2), examplePeer(3)];
    const { reconciler, clock, stop } = await reconciling({ peers, kernel });
    expect(reconciler.isConverged).toBe(false);
    kernel.tamper({ verb: 'remove', object: routeOf(3) });
    await clock.advance(0);
    expect(kernel.state.has(keyOf(routeOf(3)))).toBe(true);
    expect(reconciler.repairs).toBe(1);
    await stop();
  });

  it('is no removal on demand, for that is mostly a peer that nobody uses any more', async () => {
    const overlay = exampleOverlay({ resolve: ON_DEMAND });
    const { kernel, reconciler, clock, stop } = await reconciling({ overlay, peers: [examplePeer(2)] });
    const [fdbEntry, neighbor, route] = peerObjects(overlay, examplePeer(2));
    kernel.applyNow([fdbEntry, neighbor, route].map((object) => ({ verb: 'put', object })));
    kernel.age(neighbor.address, IDLE_MILLISECONDS);
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    expect(kernel.state.has(keyOf(route))).toBe(false);
    expect(reconciler.repairs).toBe(0);
    // What is put back is one all the same.
    const network = [...kernel.state.values()].find((object) => object.kind === 'route' && !object.gateway)!;
    kernel.tamper({ verb: 'remove', object: network });
    await clock.advance(0);
    expect(reconciler.repairs).toBe(1);
    await stop();
  });

  it('is held back in a fight, also of the link, which is then looked at with all else', async () => {
    const { kernel, reconciler, clock, log, isAsDesired, stop } = await reconciling({
      peers: [examplePeer(2)],
    });
    const link = kernel.state.get('link flannel.1') as Link;
    const passesOf = async (milliseconds: number) => {
      const { observations } = kernel;
      await clock.advance(milliseconds);
      return kernel.observations - observations;
    };
    for (let n = 0; n < 25; n++) {
      kernel.tamper({ verb: 'put', object: { ...link, mtu: 1400 } });
      await clock.advance(10);
    }
    expect(reconciler.fights).toEqual(['link flannel.1']);
    expect(reconciler.isConverged).toBe(false);
    expect(isAsDesired()).toBe(false);
    const [warned] = log.lines.filter(({ message }) => message.includes('repairing it more slowly'));
    expect(warned?.fields).toEqual({
      object: expect.stringContaining('flannel.1') as string,
      repairs: 20,
    });
    expect(await passesOf(1_000)).toBe(1);
    expect(isAsDesired()).toBe(true);
    expect(reconciler.isConverged).toBe(true);
    expect(await passesOf(30_000)).toBe(0);
    expect(reconciler.fights).toEqual([]);
    await stop();
  });
});

describe('the log of the reconciler', () => {
  it('says that it is put in order at the start also when there was nothing to do', async () => {
    const first = await reconciling({ peers: [examplePeer(2)] });
    await first.stop();
    const { log, stop } = await reconciling({ peers: [examplePeer(2)], kernel: first.kernel });
    expect(infos(log)).toEqual([{ because: 'start', operations: 0, failed: 0, milliseconds: 0 }]);
    await stop();
  });

  it('names the audit and a new try as causes', async () => {
    const { kernel, log, clock, stop } = await reconciling({ peers: [examplePeer(2)] });
    kernel.state.delete(keyOf(routeOf(2)));
    await clock.advance(AUDIT_MILLISECONDS);
    kernel.state.delete(keyOf(routeOf(2)));
    kernel.failObserve('ENOBUFS', 1);
    await clock.advance(AUDIT_MILLISECONDS + 1_000);
    expect(infos(log).map(({ because }) => because)).toEqual(['start', 'audit', 'retry', undefined]);
    await stop();
  });

  it('says how long a pass lasted', async () => {
    const { kernel, log, reconciler, clock, stop } = await reconciling({ peers: [examplePeer(2)] });
    kernel.state.delete(keyOf(routeOf(2)));
    const release = kernel.hold();
    reconciler.trigger(A_TEST);
    await clock.advance(30);
    release();
    await clock.advance(0);
    expect(infos(log)[1]).toMatchObject({ because: 'a test', operations: 1, milliseconds: 30 });
    await stop();
  });

  it.each([
    [8, 8],
    [9, undefined],
  ])('tells %d changes one by one: %s', async (count, told) => {
    const { kernel, log, reconciler, clock, stop } = await reconciling({
      peers: Array.from({ length: 9 }, (_, n) => examplePeer(n + 2)),
    });
    for (let n = 0; n < count; n++) kernel.state.delete(keyOf(routeOf(n + 2)));
    reconciler.trigger(A_TEST);
    await clock.advance(0);
    const changes = infos(log)[1]!['changes'] as string | undefined;
    expect(changes?.split('; ').length).toBe(told);
    expect('changes' in infos(log)[1]!).toBe(told !== undefined);
    await stop();
  });

  it('says nothing of what peers made it write, and names no such cause where it also repaired something', async () => {
    const { kernel, log, clock, put, stop } = await reconciling({ peers: [examplePeer(2)] });
    put(examplePeer(3));
    await clock.advance(5_000);
    put(examplePeer(4));
    kernel.tamper({ verb: 'remove', object: routeOf(2) });
    await clock.advance(5_000);
    expect(infos(log).map(({ because, operations }) => [because, operations])).toEqual([
      ['start', 10 - 3],
      [`${keyOf(routeOf(2))} removed`, 1],
    ]);
    await stop();
  });

  it('names what it could not write, how many of such there are, and why', async () => {
    const kernel = new FakeKernel();
    for (const n of [2, 3]) kernel.failPut(keyOf(routeOf(n)), 'ENOBUFS', Infinity);
    const { log, stop } = await reconciling({ peers: [examplePeer(2), examplePeer(3)], kernel });
    const [line] = log.lines.filter(({ level }) => level === 'warn');
    expect(line).toMatchObject({
      message: 'the kernel refused a change; trying again',
      fields: { object: expect.stringContaining('10.5.2.0/24') as string, failed: 2 },
    });
    await stop();
  });

  it('sums up a second: all operations and failures, each cause once and at most eight, single changes up to eight', async () => {
    const peers = Array.from({ length: 12 }, (_, n) => examplePeer(n + 2));
    for (const count of [9, 10]) {
      const { kernel, log, clock, stop } = await reconciling({ peers });
      for (let n = 0; n < count; n++) {
        kernel.tamper({ verb: 'remove', object: routeOf(n + 2) });
        await clock.advance(10);
      }
      await clock.advance(1_000);
      const line = infos(log)[2]!;
      // The first was said at once.
      expect(line).toMatchObject({ operations: count - 1, failed: 0 });
      expect(String(line['because']).split(', ')).toHaveLength(8);
      expect((line['changes'] as string | undefined)?.split('; ').length).toBe(count === 9 ? 8 : undefined);
      await stop();
    }
  });

  it('sums up what failed and how long it took', async () => {
    const { kernel, log, clock, stop } = await reconciling({ peers: [2, 3, 4].map((n) => examplePeer(n)) });
    kernel.tamper({ verb: 'remove', object: routeOf(2) });
    await clock.advance(0);
    for (const n of [3, 4]) {
      const [fdbEntry, , route] = objectsOf(n);
      kernel.failPut(keyOf(route), 'ENOBUFS', 1);
      const release = kernel.hold();
      kernel.tamper({ verb: 'remove', object: route });
      kernel.tamper({ verb: 'remove', object: fdbEntry });
      await clock.advance(20);
      release();
      await clock.advance(0);
    }
    await clock.advance(1_000);
    const line = infos(log).find(({ failed }) => failed === 2);
    expect(line).toMatchObject({ operations: 4, milliseconds: 40 });
    await stop();
  });

  it('says at the stop what was summed up and not yet said', async () => {
    const { kernel, log, clock, stop } = await reconciling({ peers: [examplePeer(2), examplePeer(3)] });
    for (const n of [2, 3]) {
      kernel.tamper({ verb: 'remove', object: routeOf(n) });
      await clock.advance(1);
    }
    expect(infos(log)).toHaveLength(2);
    await stop();
    expect(infos(log)).toHaveLength(3);
  });
});

test('a stray route without a gateway that the kernel does not let go is no missing base', async () => {
  const kernel = new FakeKernel();
  const { reconciler, clock, stop } = await reconciling({ kernel });
  const network = [...kernel.state.values()].find(
    (object): object is Route => object.kind === 'route' && !object.gateway,
  )!;
  const stray: Route = { ...network, destination: subnet('10.77.0.0/16'), source: undefined };
  expect(stray.protocol).toBe(ROUTE_PROTOCOL);
  kernel.state.set(keyOf(stray), stray);
  kernel.failRemove(keyOf(stray), 'EPERM', Infinity);
  reconciler.trigger(A_TEST);
  await clock.advance(0);
  expect(kernel.state.has(keyOf(stray))).toBe(true);
  expect(reconciler.isBaseInPlace).toBe(true);
  await stop();
});

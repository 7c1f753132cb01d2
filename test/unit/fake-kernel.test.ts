import { ipAddress } from '../../src/model/address';
import { keyOf } from '../../src/model/kernel-state';
import type { Miss } from '../../src/model/miss';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import {
  LINK,
  NoticeProbe,
  PEER,
  SCOPE,
  describeKernelContract,
  exampleBase,
  exampleLink,
  neighborOf,
  printed,
  put,
  remove,
} from '../support/kernel-contract';

describeKernelContract('the fake kernel', () => {
  const kernel = new FakeKernel();
  return Promise.resolve({
    kernel,
    underlay: FAKE_UNDERLAY,
    tamper: (operation) => Promise.resolve(kernel.tamper(operation)),
    reroute: (verb, what) => Promise.resolve(kernel.reroute(verb, what)),
    send: (address: string) =>
      Promise.resolve(kernel.raiseMiss({ layer: 'l3', address: ipAddress(address) })),
    close: () => Promise.resolve(kernel.close()),
  });
});

describe('the faults of the fake kernel:', () => {
  const signal = new AbortController().signal;
  let kernel: FakeKernel;

  beforeEach(() => {
    kernel = new FakeKernel();
    expect(kernel.applyNow(exampleBase(FAKE_UNDERLAY).map(put))).toEqual([]);
  });

  test('a put or removal by key is refused so many times', () => {
    const object = PEER[1]!;
    kernel.failPut(keyOf(object), 'ENOBUFS', 2);
    expect(kernel.applyNow([put(object)])).toMatchObject([{ error: { code: 'ENOBUFS' } }]);
    expect(kernel.applyNow([put(object)])).toHaveLength(1);
    expect(kernel.applyNow([put(object)])).toEqual([]);
    kernel.failRemove(keyOf(object));
    expect(kernel.applyNow([remove(object)])).toMatchObject([{ error: { code: 'EBUSY' } }]);
    expect(kernel.applyNow([remove(object)])).toEqual([]);
  });

  test('the next observation throws', async () => {
    kernel.failObserve();
    await expect(kernel.observe(SCOPE, signal)).rejects.toMatchObject({ code: 'EINTR' });
    await expect(kernel.observe(SCOPE, signal)).resolves.toBeDefined();
  });

  test('everything of the next apply is refused', async () => {
    kernel.failApply('EPERM');
    expect(await kernel.apply(PEER.map(put), signal)).toHaveLength(PEER.length);
    expect(await kernel.apply(PEER.map(put), signal)).toEqual([]);
  });

  test('what is held back is done when it is released, or given up when the signal aborts', async () => {
    const release = kernel.hold();
    const abort = new AbortController();
    let done = false;
    const first = kernel.apply(PEER.map(put), signal).then(() => (done = true));
    const second = kernel.observe(SCOPE, abort.signal);
    abort.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    expect(done).toBe(false);
    release();
    await first;
    expect(kernel.printedState()).toEqual(expect.arrayContaining(printed(PEER)));
  });

  test('operations are recorded, tampering is not', () => {
    const since = kernel.operations.length;
    kernel.tamper(...PEER.map(put));
    expect(kernel.printed(since)).toEqual([]);
    kernel.applyNow([remove(PEER[2]!)]);
    expect(kernel.printed(since)).toEqual([
      'remove route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink',
    ]);
  });

  test('an overrun hides misses, which are pending then', async () => {
    const probe = new NoticeProbe(kernel);
    const miss: Miss = { layer: 'l3', address: ipAddress('10.5.2.5') };
    kernel.overrun(miss);
    expect(probe.notices).toEqual([{ kind: 'overrun' }]);
    expect(await kernel.pendingMisses(LINK, signal)).toEqual([miss]);
    probe.stop();
    expect(kernel.listenerCount).toBe(0);
  });

  test('a neighbor can be made old', async () => {
    kernel.applyNow(PEER.map(put));
    kernel.age(ipAddress('10.5.2.0'), 60_000);
    const state = await kernel.observe(SCOPE, signal);
    expect(state.get(keyOf(PEER[1]!))).toMatchObject({ idleMilliseconds: 60_000 });
  });

  test('a neighbor can be given up, which is told and observed', async () => {
    const neighbor = neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned');
    kernel.applyNow([put(neighbor)]);
    const probe = new NoticeProbe(kernel);
    kernel.fail(neighbor.address);
    expect(probe.notices).toEqual([{ kind: 'unanswered', address: '10.5.2.0', mac: '02:00:00:00:00:02' }]);
    const state = await kernel.observe(SCOPE, signal);
    expect(state.get(keyOf(neighbor))).toMatchObject({ state: 'failed', mac: undefined });
    probe.stop();
  });

  test('without its underlay the link is gone', () => {
    kernel.applyNow(PEER.map(put));
    kernel.changeInterfaces([]);
    expect(kernel.state.has(keyOf(exampleLink(FAKE_UNDERLAY)))).toBe(false);
    expect(kernel.printedState()).toEqual([]);
  });
});

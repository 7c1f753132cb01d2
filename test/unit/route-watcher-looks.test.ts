/** When the route watcher looks, for how much it asks, and since when it tells of something; route-watcher.test.ts is about what it finds. */
import { desiredState } from '../../src/core/desired';
import { RouteWatcher } from '../../src/engine/route-watcher';
import { MutablePeerTable } from '../../src/model/peer';
import { KernelError } from '../../src/model/errors';
import { exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { foreignRoute, put } from '../support/kernel-contract';

const PEERS = 5;

/** A host with five peers whose routes are in place. */
async function looking() {
  const [kernel, clock, log] = [new FakeKernel(), new FakeClock(), new FakeLog()];
  kernel.networkInterfaces = [FAKE_UNDERLAY];
  const overlay = exampleOverlay();
  const peers = Array.from({ length: PEERS }, (_, n) => examplePeer(n + 2));
  expect(kernel.applyNow([...desiredState(overlay, peers, []).values()].map(put))).toEqual([]);
  const state = { isThere: true };
  const watcher = new RouteWatcher(kernel, clock, log, () =>
    state.isThere ? { overlay, peers: new MutablePeerTable(peers), needed: [] } : undefined,
  );
  const stop = new AbortController();
  const end = watcher.run(stop.signal);
  await clock.advance(0);
  const asked = async (what: () => void, milliseconds = 1_000) => {
    const { questions, routing } = kernel.routingReads;
    what();
    await clock.advance(milliseconds);
    return [kernel.routingReads.questions - questions, kernel.routingReads.routing - routing];
  };
  return { kernel, clock, log, state, watcher, asked, end, stop: () => (stop.abort(), end) };
}

it('nothing is known, and nothing asked, before there is something that could be overridden', async () => {
  const { watcher, state, asked, stop } = await looking();
  expect(watcher.isKnown).toBe(false);
  state.isThere = false;
  expect(await asked(() => watcher.audit())).toEqual([0, 0]);
  expect(watcher.isKnown).toBe(false);
  state.isThere = true;
  expect((await asked(() => watcher.audit()))[1]).toBe(1);
  expect(watcher.isKnown).toBe(true);
  await stop();
});

it('half a minute after the start an audit asks about all peers, and then every ten minutes', async () => {
  const { watcher, clock, asked, stop } = await looking();
  const [few] = await asked(() => watcher.audit());
  await clock.advance(29_000);
  for (let n = 0; n < 3; n++) {
    expect((await asked(() => watcher.audit()))[0]).toBe(PEERS + few!);
    expect((await asked(() => watcher.audit(), 599_000))[0]).toBe(few);
  }
  await stop();
});

it('an audit that asks about all peers does so also where something smaller is asked for meanwhile', async () => {
  const { watcher, clock, asked, stop } = await looking();
  await clock.advance(30_000);
  const [all] = await asked(() => watcher.audit());
  const [few] = await asked(() => watcher.peersChanged());
  expect(all).toBe(PEERS + few!);
  const both = () => {
    watcher.audit();
    watcher.routingChanged();
    watcher.peersChanged();
  };
  await clock.advance(600_000);
  expect(await asked(both)).toEqual([all, 1]);
  await stop();
});

it('where nothing is in the way it does not look by itself for an hour; where something is, every five seconds', async () => {
  const { kernel, clock, watcher, asked, stop } = await looking();
  await asked(() => watcher.audit());
  expect(await asked(() => undefined, 3_000_000)).toEqual([0, 0]);
  await asked(() => {
    kernel.foreignRoutes = [foreignRoute('10.5.3.0/24')];
    watcher.routingChanged();
  });
  const [, reads] = await asked(() => undefined, 60_000);
  expect(reads).toBeGreaterThanOrEqual(9);
  expect(reads).toBeLessThanOrEqual(12);
  // What was named is asked about once more when it is in no doubt any more, and then not.
  kernel.foreignRoutes = [];
  const [asks] = await asked(() => watcher.routingChanged(), 1_000);
  const [usual] = await asked(() => watcher.routingChanged(), 1_000);
  expect(asks).toBe(usual! + 1);
  expect(watcher.trouble).toBeUndefined();
  await clock.advance(20_000);
  expect(await asked(() => undefined, 3_000_000)).toEqual([0, 0]);
  await stop();
});

it('it tells since when something is in the way, though that changes, and logs each with its reason', async () => {
  const { kernel, clock, log, watcher, stop } = await looking();
  const set = async (...destinations: string[]) => {
    kernel.foreignRoutes = destinations.map((each) => foreignRoute(each));
    watcher.routingChanged();
    await clock.advance(20_000);
  };
  await set('10.5.3.0/24');
  const first = watcher.trouble!;
  expect(first.forMilliseconds).toBe(20_000);
  await set('10.5.3.0/24', '10.5.4.0/24');
  const second = watcher.trouble!;
  expect(second.forMilliseconds).toBe(40_000);
  expect(second.complaint).not.toBe(first.complaint);
  expect(log.lines.map(({ level, fields }) => [level, fields['error']])).toEqual([
    ['warn', first.complaint],
    ['warn', second.complaint],
  ]);
  await stop();
});

it('after a look that took long it rests for 150 times as long, or a minute', async () => {
  for (const [took, rest] of [
    [100, 15_000],
    [3_000, 60_000],
  ] as const) {
    const { kernel, clock, watcher, asked, stop } = await looking();
    const routing = kernel.routing.bind(kernel);
    kernel.routing = async (scope, signal) => {
      await clock.sleep(took, signal);
      return routing(scope, signal);
    };
    await asked(() => watcher.routingChanged(), took);
    expect(await asked(() => watcher.routingChanged(), rest - 1)).toEqual([0, 0]);
    expect((await asked(() => undefined, took + 1))[1]).toBe(1);
    await stop();
  }
});

it('what it cannot read is not known any more, and it goes on; a mistake of ours ends it', async () => {
  const { kernel, watcher, asked, end } = await looking();
  await asked(() => watcher.audit());
  const read = jest.spyOn(kernel, 'routing').mockRejectedValueOnce(new KernelError('EINTR', 'interrupted'));
  await asked(() => watcher.routingChanged());
  expect(watcher.isKnown).toBe(false);
  await asked(() => watcher.peersChanged());
  expect(watcher.isKnown).toBe(true);
  read.mockRejectedValueOnce(new TypeError('a mistake'));
  const ended = expect(end).rejects.toThrow('a mistake');
  await asked(() => watcher.routingChanged());
  await ended;
});

/** The watcher follows the registry through whatever happens to it. */
import { ipAddress } from '../../src/model/address';
import { exampleLease, examplePeer, exampleRange, exampleSelf } from '../support/examples';
import { GRACE_MILLISECONDS, newWatcher, putLease, valueOf, watching } from '../support/watching';

describe('the peer watcher', () => {
  it('knows every peer after the first snapshot, and not itself', async () => {
    const { subnets, stop } = await watching(1, 2, 3);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    await stop();
  });

  it('follows peers that join, change and leave', async () => {
    const { store, clock, changes, watcher, stop } = await watching(2);
    changes.length = 0;
    putLease(store, 3);
    await clock.advance(0);
    store.put('subnets/10.5.2.0-24', valueOf(9));
    await clock.advance(0);
    store.delete('subnets/10.5.3.0-24');
    await clock.advance(0);
    const moved = { ...examplePeer(9), subnet: examplePeer(2).subnet };
    expect(changes).toEqual([
      { before: undefined, after: examplePeer(3) },
      { before: examplePeer(2), after: moved },
      { before: examplePeer(3), after: undefined },
    ]);
    expect([...watcher.peers]).toEqual([moved]);
    await stop();
  });

  it('keeps its peers while the registry is away, and finds what changed when it is back', async () => {
    const { store, registry, clock, subnets, log, stop } = await watching(2, 3);
    registry.down = true;
    await clock.advance(600_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    putLease(store, 4);
    store.delete('subnets/10.5.2.0-24');
    registry.down = false;
    await clock.advance(15_000);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    expect(log.messages('warn').filter((line) => line.startsWith('cannot read leases')).length).toBeLessThan(
      6,
    );
    await stop();
  });

  it('reads ever more rarely, and says so once, while the registry ends each watch at once', async () => {
    const { registry, clock, log, watcher, stop } = await watching(2);
    const before = registry.countOf('list');
    for (let second = 0; second < 300; second++) {
      registry.cutWatches();
      await clock.advance(1_000);
    }
    expect(registry.countOf('list') - before).toBeLessThan(60);
    expect(log.messages('warn').length + log.messages('info').length).toBeLessThan(20);
    expect(watcher.trouble?.complaint).toContain('the connection was lost');
    await clock.advance(30_000);
    expect(watcher.trouble).toBeUndefined();
    await stop();
  });

  it('gives up a watch that is behind: the registry has another number of leases than it told of', async () => {
    const { store, registry, clock, log, subnets, stop } = await watching(2);
    registry.deaf = true;
    putLease(store, 3);
    await clock.advance(59_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await clock.advance(70_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    expect(log.lines.map(({ fields }) => String(fields['error']))).toContainEqual(
      expect.stringContaining('the watch is behind: etcd has 2 leases, and it told of 1'),
    );
    await stop();
  });

  it('keeps a watch without news for as long as the number of leases is what it told', async () => {
    const { registry, clock, stop } = await watching(2);
    const before = registry.countOf('watch');
    await clock.advance(400_000);
    expect(registry.countOf('watch')).toBe(before);
    expect(registry.countOf('count')).toBeGreaterThanOrEqual(6);
    await stop();
  });

  it('complains once a minute at most about a lease that is spoiled and mended again and again', async () => {
    const { store, clock, log, watcher, stop } = await watching(2, 3);
    for (let turn = 0; turn < 600; turn++) {
      store.put('subnets/10.5.3.0-24', turn % 2 === 0 ? 'garbage' : valueOf(3));
      await clock.advance(100);
    }
    store.put('subnets/10.5.3.0-24', 'garbage');
    await clock.advance(0);
    expect(log.messages('warn').filter((line) => line === 'lease ignored').length).toBeLessThanOrEqual(2);
    expect(watcher.complaints).toMatchObject([{ lease: '10.5.3.0-24', reason: 'value is not JSON' }]);
    await stop();
  });

  it('loses nothing when the history it needs is compacted, or its connection cut', async () => {
    const { store, registry, clock, subnets, stop } = await watching(2);
    registry.cutWatches();
    putLease(store, 3);
    store.compact();
    putLease(store, 4);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(1_000);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    await stop();
  });

  it('follows a peer whose address and MAC changed while the history was compacted', async () => {
    const { store, registry, clock, watcher, stop } = await watching(2, 3);
    registry.cutWatches();
    putLease(store, 2, valueOf(9));
    store.compact();
    await clock.advance(1_000);
    const { publicIp, vtepMac } = examplePeer(9);
    expect([...watcher.peers]).toContainEqual({ ...examplePeer(2), publicIp, vtepMac });
    await stop();
  });

  it('takes nobody away, and does not miss its own lease, however often everything is read anew', async () => {
    const { registry, clock, changes, own, subnets, stop } = await watching(1, 2, 3);
    changes.length = 0;
    own.length = 0;
    for (let round = 0; round < 4; round++) {
      registry.cutWatches();
      await clock.advance(10_000);
    }
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    expect(changes).toEqual([]);
    expect(own).not.toContain('gone');
    await stop();
  });

  it('survives a store that was restored from an older backup', async () => {
    const { store, clock, subnets, stop } = await watching(2, 3);
    const backup = store.backup();
    putLease(store, 4);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    store.restore(backup);
    await clock.advance(1_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    putLease(store, 5);
    await clock.advance(0);
    expect(subnets()).toContain('10.5.5.0/24');
    await stop();
  });

  it('comes back to the store the later, the more hosts there are to come back with it', async () => {
    const firstLook = async (leases: number) => {
      const { store, clock, registry, stop } = await watching();
      for (let n = 0; n < leases; n++) putLease(store, n, valueOf(n % 200));
      await clock.advance(0);
      const before = registry.countOf('list');
      registry.cutWatches();
      let waited = 0;
      for (; registry.countOf('list') === before; waited += 10) await clock.advance(10);
      await stop();
      return waited;
    };
    expect(await firstLook(2)).toBeLessThanOrEqual(110);
    const waited = await firstLook(250);
    expect(waited).toBeGreaterThanOrEqual(500);
    expect(waited).toBeLessThanOrEqual(1_010);
  });

  it('tells of every change of our own key', async () => {
    const { store, clock, own, stop } = await watching(1, 2);
    putLease(store, 1, 'garbage');
    await clock.advance(0);
    store.delete('subnets/10.5.1.0-24');
    await clock.advance(0);
    expect(own).toEqual([expect.stringContaining('not JSON'), 'gone']);
    await stop();
  });

  it('tells that our own key is gone after a snapshot, though it never saw it', async () => {
    const { store, registry, clock, own, stop } = await watching(2);
    registry.down = true;
    putLease(store, 1);
    store.delete('subnets/10.5.1.0-24');
    registry.down = false;
    await clock.advance(20_000);
    expect(own).toEqual(['gone']);
    await stop();
  });

  it.each([
    ['a lease', valueOf(3), [valueOf(3)]],
    ['garbage', 'garbage', [expect.stringContaining('not JSON')]],
    ['nothing', undefined, ['gone']],
  ])('tells what is stored of a key that becomes our own: %s', async (_, value, told) => {
    const { store, clock, watcher, own, stop } = await watching(2);
    if (value === undefined) {
      putLease(store, 3);
      store.delete('subnets/10.5.3.0-24');
    } else putLease(store, 3, value);
    await clock.advance(0);
    await watcher.identify(exampleSelf({ leaseName: '10.5.3.0-24' }), exampleRange());
    expect(own).toEqual(told);
    await stop();
  });

  it('tells nothing of our own key when we are who we were, or have none', async () => {
    const { watcher, own, stop } = await watching(1, 2);
    await watcher.identify(exampleSelf({ publicIp: ipAddress('192.168.0.77') }), exampleRange());
    await watcher.identify(exampleSelf({ leaseName: undefined }), exampleRange());
    expect(own).toEqual([]);
    await stop();
  });

  it('tells of our own key alone, whatever becomes of others, also before it knows which it is', async () => {
    const { watcher, store, own, clock, registry } = newWatcher(GRACE_MILLISECONDS, 1, 2, 3);
    const stop = new AbortController();
    await watcher.sync(stop.signal);
    const end = watcher.run(stop.signal);
    await clock.advance(0);
    store.delete('subnets/10.5.3.0-24');
    putLease(store, 4, 'garbage');
    await clock.advance(0);
    await watcher.identify(exampleSelf(), exampleRange());
    store.delete('subnets/10.5.4.0-24');
    putLease(store, 2, 'garbage');
    putLease(store, 1, valueOf(9));
    await clock.advance(0);
    registry.cutWatches();
    await clock.advance(1_000);
    // Once as a change, and once more with the snapshot.
    expect(own).toEqual([valueOf(9), valueOf(9)]);
    stop.abort();
    await end;
  });

  it.each([
    ['is a second old', 1_000, 0],
    ['is older, for the store may have another past now', 1_001, 1],
  ])('begins its watch after a snapshot that %s: after %i ms it reads %i more', async (_, age, reads) => {
    const { store, registry, watcher, clock } = newWatcher();
    const backup = store.backup();
    putLease(store, 2);
    const stop = new AbortController();
    await watcher.sync(stop.signal);
    if (reads > 0) {
      store.restore(backup);
      putLease(store, 3);
    }
    await watcher.identify(exampleSelf(), exampleRange());
    await clock.advance(age);
    const end = watcher.run(stop.signal);
    await clock.advance(0);
    expect(registry.countOf('list')).toBe(1 + reads);
    expect([...watcher.peers]).toEqual([examplePeer(2 + reads)]);
    stop.abort();
    await end;
  });

  it.each([
    [0, 450],
    [1, 750],
  ])(
    'reads everything anew now and then, though the watch seems well: at random %d after %i s',
    async (random, seconds) => {
      const { registry, clock, watcher } = newWatcher();
      clock.random = () => random;
      const stop = new AbortController();
      await watcher.sync(stop.signal);
      const end = watcher.run(stop.signal);
      await clock.advance(seconds * 1000 - 1);
      expect(registry.countOf('list')).toBe(1);
      await clock.advance(1);
      expect(registry.countOf('list')).toBe(2);
      expect(registry.watchCount).toBe(1);
      stop.abort();
      await end;
    },
  );

  it('hurries back after each time that the watch went well, and leaves no timer behind', async () => {
    const { registry, clock, stop } = await watching(2);
    await clock.advance(20_000);
    const sleepers = clock.sleepers;
    for (let round = 0; round < 8; round++) {
      const before = registry.countOf('list');
      registry.cutWatches();
      await clock.advance(100);
      expect(registry.countOf('list')).toBe(before + 1);
      await clock.advance(20_000);
    }
    expect(clock.sleepers).toBe(sleepers);
    await stop();
    expect(clock.sleepers).toBe(0);
  });

  it('waits ever longer, up to ten seconds, for a registry that does not answer', async () => {
    const { registry, clock, watcher } = newWatcher();
    clock.random = () => 1;
    registry.down = true;
    const stop = new AbortController();
    const start = clock.now();
    const looks: number[] = [];
    const list = registry.list.bind(registry);
    registry.list = (signal) => (looks.push(clock.now() - start), list(signal));
    const synced = watcher.sync(stop.signal);
    await clock.advance(40_000);
    expect(looks).toEqual([0, 100, 300, 700, 1_500, 3_100, 6_300, 12_700, 22_700, 32_700]);
    stop.abort();
    await expect(synced).rejects.toThrow('aborted');
  });

  it('says that etcd is away once, and once that it answers again', async () => {
    const { registry, clock, watcher, log, stop } = await watching(2);
    expect(watcher.trouble).toBeUndefined();
    registry.down = true;
    await clock.advance(30_000);
    expect(watcher.trouble).toEqual({
      complaint: expect.stringContaining('cannot read leases from etcd; peers stay as they are') as string,
      forMilliseconds: 30_000,
    });
    registry.down = false;
    await clock.advance(10_000);
    expect(watcher.trouble).toBeUndefined();
    // First the watch is cut, then nobody answers.
    expect(log.messages('warn', 'info').slice(1)).toEqual([
      'cannot read leases from etcd; peers stay as they are',
      'cannot read leases from etcd; peers stay as they are',
      'etcd answers again',
    ]);
    await stop();
  });

  it('says that etcd is not well while it can be read but not watched', async () => {
    const { registry, clock, watcher, log, stop } = await watching(2);
    const lines = log.lines.length;
    for (let n = 0; n < 30; n++) registry.failNext('watch');
    registry.cutWatches();
    await clock.advance(60_000);
    expect(watcher.trouble?.forMilliseconds).toBe(60_000);
    expect(log.messages('warn', 'info').slice(lines)).toEqual([
      'cannot read leases from etcd; peers stay as they are',
    ]);
    await stop();
  });

  it('is in sync once it has judged a snapshot, and says so before it tells of any peer', async () => {
    const { watcher, calls, clock } = newWatcher(GRACE_MILLISECONDS, 1, 2, 3);
    const states = () => [watcher.isJudged, watcher.isInSync, watcher.leases.length, watcher.peers.size];
    expect(states()).toEqual([false, false, 0, 0]);
    const stop = new AbortController();
    await watcher.sync(stop.signal);
    expect(states()).toEqual([false, false, 3, 0]);
    await watcher.identify(exampleSelf(), exampleRange());
    expect(states()).toEqual([true, true, 3, 2]);
    const end = watcher.run(stop.signal);
    await clock.advance(1_800_000);
    expect(calls).toEqual(['in sync', 'table 2', 'peers 2']);
    stop.abort();
    await end;
  });

  it('has the peers it remembers until the first snapshot, and is not in sync before', async () => {
    const { watcher, store, subnets, calls } = newWatcher(GRACE_MILLISECONDS, 3, 4);
    watcher.restore([exampleLease(2), exampleLease(3)]);
    await watcher.identify(exampleSelf(), exampleRange());
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    expect([watcher.isJudged, watcher.isInSync]).toEqual([true, false]);
    store.put('subnets/10.5.2.0-24', 'garbage');
    await watcher.sync(new AbortController().signal);
    expect(watcher.isInSync).toBe(true);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24', '10.5.4.0/24']);
    expect(calls).toEqual(['table 2', 'peers 2', 'table 1', 'peers 1', 'in sync']);
  });
});

describe('a watch of which it is not certain that it works', () => {
  it('is kept although the number of leases was another once: its news may just be under way', async () => {
    const { store, registry, clock, subnets, stop } = await watching(2);
    const before = registry.countOf('watch');
    await clock.advance(59_500);
    registry.deaf = true;
    putLease(store, 3);
    await clock.advance(1_000);
    expect(registry.countOf('count')).toBe(1);
    registry.deaf = false;
    registry.wakeWatches();
    await clock.advance(300_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    expect(registry.countOf('watch')).toBe(before);
    await stop();
  });

  it('is trusted again with the first change that it tells of, though many before it ended at once', async () => {
    const { store, registry, clock, watcher, stop } = await watching(2);
    for (let n = 0; n < 4; n++) {
      registry.cutWatches();
      await clock.advance(9_000);
    }
    expect(registry.watchCount).toBe(1);
    expect(watcher.trouble).toBeDefined();
    putLease(store, 3);
    await clock.advance(0);
    expect(watcher.trouble).toBeUndefined();
    await stop();
  });
});

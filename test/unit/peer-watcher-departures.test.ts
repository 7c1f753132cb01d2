/** Peers whose leases are gone: kept for a while, dismissed, or back. */
import { RegistryError } from '../../src/model/errors';
import { printLeaseAttributes, vxlanData } from '../../src/model/lease-codec';
import { exampleLease, examplePeer, exampleRange, exampleSelf } from '../support/examples';
import type { FakeStore } from '../support/fake-registry';
import { GRACE_MILLISECONDS, newWatcher, putLease, valueOf, watchingWith } from '../support/watching';

describe('a peer whose lease is gone', () => {
  /** Host 1 with peer 2, whose key hangs on an etcd lease. */
  async function watchingLeased(graceMilliseconds = GRACE_MILLISECONDS) {
    const host = await watchingWith(graceMilliseconds);
    const id = host.store.grant(100);
    host.store.put('subnets/10.5.2.0-24', valueOf(2), id);
    await host.clock.advance(0);
    expect(host.subnets()).toEqual(['10.5.2.0/24']);
    return { ...host, id };
  }

  it('is removed two seconds after its key was deleted', async () => {
    const { store, clock, subnets, watcher, stop } = await watchingLeased();
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(1_900);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    expect(watcher.graced).toEqual([]);
    await clock.advance(200);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it('is never removed when its host writes a deleted key again at once', async () => {
    const { store, clock, subnets, id, changes, stop } = await watchingLeased();
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(500);
    store.put('subnets/10.5.2.0-24', valueOf(2), id);
    await clock.advance(10_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    expect(changes).toHaveLength(1);
    await stop();
  });

  it('is kept for the grace time when its lease expired: its host may be cut off from etcd only', async () => {
    const { store, clock, subnets, watcher, log, stop } = await watchingLeased();
    await clock.advance(101_000);
    store.expireLeases();
    await clock.advance(GRACE_MILLISECONDS - 60_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    expect(watcher.graced).toEqual([{ lease: '10.5.2.0-24', forMilliseconds: GRACE_MILLISECONDS - 60_000 }]);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        message: 'lease expired; its peer is kept for a while',
        fields: { lease: '10.5.2.0-24', seconds: GRACE_MILLISECONDS / 1000 },
      },
    ]);
    await clock.advance(120_000);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it('is told of in few lines, some by name, where the leases of two hundred expire at once', async () => {
    const { store, clock, log, watcher, stop } = await watchingWith(GRACE_MILLISECONDS);
    const id = store.grant(100);
    for (let n = 2; n < 202; n++) store.put(`subnets/10.5.${n}.0-24`, valueOf(n), id);
    await clock.advance(101_000);
    store.expireLeases();
    await clock.advance(10_000);
    expect(watcher.graced).toHaveLength(200);
    const lines = log.lines.filter(({ level }) => level === 'warn');
    expect(lines.map(({ fields }) => fields)).toEqual([
      { lease: '10.5.2.0-24', seconds: GRACE_MILLISECONDS / 1000 },
      { leases: 199, among: '10.5.3.0-24; 10.5.4.0-24; 10.5.5.0-24', seconds: GRACE_MILLISECONDS / 1000 },
    ]);
    await stop();
  });

  it('goes after two seconds where there is no grace, whichever way its lease went, and etcd is not asked', async () => {
    const { store, clock, subnets, id, log, registry, stop } = await watchingLeased(0);
    store.revoke(id);
    await clock.advance(1_900);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await clock.advance(200);
    expect(subnets()).toEqual([]);
    expect(log.messages('warn')).toEqual([]);
    expect(registry.countOf('lifeOf')).toBe(0);
    await stop();
  });

  it('is not asked about when it is back within two seconds, so that a thousand do not ask about a thousand', async () => {
    const { store, clock, id, registry, stop } = await watchingLeased();
    const asked = jest.spyOn(registry, 'lifeOf');
    for (let round = 0; round < 3; round++) {
      store.delete('subnets/10.5.2.0-24');
      await clock.advance(1_500);
      store.put('subnets/10.5.2.0-24', valueOf(2), id);
      await clock.advance(5_000);
    }
    expect(asked).not.toHaveBeenCalled();
    await stop();
  });

  it.each([
    ['deleted', (store: FakeStore) => store.delete('subnets/10.5.2.0-24')],
    ['expired', (store: FakeStore, id: string) => store.revoke(id)],
  ])('stays when its lease, which was %s, is back while etcd is asked how it went', async (_, end) => {
    const { store, registry, clock, subnets, id, changes, log, watcher, stop } = await watchingLeased();
    registry.slowMilliseconds = 1_000;
    end(store, id);
    await clock.advance(2_500);
    expect(registry.countOf('lifeOf')).toBe(1);
    putLease(store, 2);
    await clock.advance(2 * GRACE_MILLISECONDS);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    expect(changes).toHaveLength(1);
    expect(log.messages('warn')).toEqual([]);
    expect(watcher.graced).toEqual([]);
    await stop();
  });

  it('stays when its lease is back, just when its grace time is over, while etcd is asked about another', async () => {
    const { store, registry, clock, subnets, id, stop } = await watchingLeased();
    const other = store.grant(3_600);
    store.put('subnets/10.5.3.0-24', valueOf(3), other);
    await clock.advance(0);
    const lifeOf = registry.lifeOf.bind(registry);
    registry.lifeOf = async (asked, signal) => {
      if (asked !== other) return lifeOf(asked, signal);
      await clock.sleep(1_000, signal);
      if (clock.now() > end && store.valueOf('subnets/10.5.2.0-24') === undefined) putLease(store, 2);
      await clock.sleep(1_000, signal);
      throw new RegistryError('unavailable', 'nobody knows');
    };
    let end = Infinity;
    store.delete('subnets/10.5.3.0-24');
    await clock.advance(1);
    store.revoke(id);
    end = clock.now() + GRACE_MILLISECONDS;
    await clock.advance(GRACE_MILLISECONDS + 60_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    await stop();
  });

  it('is never removed, not even without any grace, when its key was deleted and its host writes it again', async () => {
    const { store, clock, subnets, id, changes, stop } = await watchingLeased(0);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(500);
    store.put('subnets/10.5.2.0-24', valueOf(2), id);
    await clock.advance(10_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    expect(changes).toHaveLength(1);
    await stop();
  });

  it('is replaced at once by who leases its subnet', async () => {
    const { store, clock, watcher, id, stop } = await watchingLeased();
    store.revoke(id);
    await clock.advance(0);
    putLease(store, 2, valueOf(9));
    await clock.advance(0);
    expect([...watcher.peers]).toMatchObject([{ publicIp: '192.168.0.9' }]);
    await clock.advance(2 * GRACE_MILLISECONDS);
    expect([...watcher.peers]).toHaveLength(1);
    await stop();
  });

  it('is removed when its host has another subnet', async () => {
    const { store, clock, subnets, id, stop } = await watchingLeased();
    store.revoke(id);
    await clock.advance(0);
    putLease(store, 5, valueOf(2));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.5.0/24']);
    await stop();
  });

  it('is kept while nobody can say how it went', async () => {
    const { store, registry, clock, subnets, stop } = await watchingLeased();
    for (let n = 0; n < 3; n++) registry.failNext('lifeOf');
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await clock.advance(20_000);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it.each([
    ['deleted', 5_000, 'its lease is gone'],
    ['expired', 2 * GRACE_MILLISECONDS, 'the grace time of its expired lease is over'],
    ['moved', 0, 'its host has another'],
  ])('is dismissed with the reason, where its key was %s', async (how, milliseconds, reason) => {
    const { store, clock, id, log, stop } = await watchingLeased();
    if (how === 'deleted') store.delete('subnets/10.5.2.0-24');
    else store.revoke(id);
    if (how === 'moved') putLease(store, 5, valueOf(2));
    await clock.advance(milliseconds);
    expect(log.lines.filter(({ message }) => message === 'peer dismissed')).toEqual([
      { level: 'debug', message: 'peer dismissed', fields: { lease: '10.5.2.0-24', reason } },
    ]);
    await stop();
  });

  it('is asked about once, though others come and go meanwhile', async () => {
    const { store, registry, clock, id, stop } = await watchingLeased();
    store.revoke(id);
    await clock.advance(3_000);
    const other = store.grant(GRACE_MILLISECONDS);
    for (let round = 0; round < 3; round++) {
      store.put('subnets/10.5.3.0-24', valueOf(3), other);
      await clock.advance(0);
      store.delete('subnets/10.5.3.0-24');
      await clock.advance(60_000);
    }
    // Once about the first, and each time about the second.
    expect(registry.countOf('lifeOf')).toBe(4);
    await stop();
  });

  it('goes at its own time, though another one is kept longer', async () => {
    const { store, clock, id, subnets, stop } = await watchingLeased();
    const other = store.grant(GRACE_MILLISECONDS);
    store.put('subnets/10.5.3.0-24', valueOf(3), other);
    await clock.advance(0);
    store.revoke(other);
    await clock.advance(60_000);
    store.revoke(id);
    await clock.advance(GRACE_MILLISECONDS - 60_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await clock.advance(59_999);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await clock.advance(1);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it('gives way to a younger lease of half of its subnet, also when all are judged once more, and stays away', async () => {
    const { store, clock, id, watcher, subnets, stop } = await watchingLeased();
    store.revoke(id);
    await clock.advance(3_000);
    await watcher.identify(exampleSelf(), exampleRange());
    expect(subnets()).toEqual(['10.5.2.0/24']);
    store.put('subnets/10.5.2.0-25', valueOf(9));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/25']);
    expect(watcher.graced).toEqual([]);
    expect(watcher.complaints).toEqual([]);
    store.delete('subnets/10.5.2.0-25');
    await clock.advance(0);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it('gives way to a younger lease of half of its subnet while it is not known how it went', async () => {
    const { store, clock, subnets, stop } = await watchingLeased();
    store.delete('subnets/10.5.2.0-24');
    store.put('subnets/10.5.2.0-25', valueOf(9));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/25']);
    await stop();
  });

  it('is not kept where it was none: its lease was ignored', async () => {
    const { store, registry, clock, watcher, stop } = await watchingLeased();
    const other = store.grant(100);
    store.put('subnets/10.5.2.0-25', valueOf(9), other);
    await clock.advance(0);
    expect(watcher.complaints).toHaveLength(1);
    store.revoke(other);
    await clock.advance(10_000);
    expect(watcher.complaints).toEqual([]);
    expect(watcher.graced).toEqual([]);
    expect(registry.countOf('lifeOf')).toBe(0);
    await stop();
  });

  it('is kept with the remarks on it, which end with it', async () => {
    const { store, clock, id, watcher, stop } = await watchingLeased();
    const data = { ...exampleLease(2).attributes, backendData: vxlanData(9, examplePeer(2).vtepMac) };
    store.put('subnets/10.5.2.0-24', printLeaseAttributes(data), id);
    await clock.advance(0);
    store.revoke(id);
    await clock.advance(10_000);
    expect(watcher.complaints).toMatchObject([{ lease: '10.5.2.0-24', isUsed: true }]);
    await clock.advance(GRACE_MILLISECONDS);
    expect(watcher.complaints).toEqual([]);
    await stop();
  });

  it('is not asked about any more when the agent stops', async () => {
    const { store, registry, clock, stop } = await watchingLeased();
    const other = store.grant(GRACE_MILLISECONDS);
    store.put('subnets/10.5.3.0-24', valueOf(3), other);
    await clock.advance(0);
    registry.slowMilliseconds = 60_000;
    store.delete('subnets/10.5.2.0-24', 'subnets/10.5.3.0-24');
    await clock.advance(3_000);
    await stop();
    expect(registry.countOf('lifeOf')).toBe(1);
  });
});

describe('a peer that an earlier process knew, and that etcd has no more', () => {
  const lease = (n: number, etcdLeaseId?: string) => ({ ...exampleLease(n), etcdLeaseId });

  /** Host 1, which is started at a store that has hosts 3 and 4, with these leases in its state file. */
  async function startedWith(...saved: ReturnType<typeof lease>[]) {
    const host = newWatcher(GRACE_MILLISECONDS, 3, 4);
    const stop = new AbortController();
    await host.watcher.sync(stop.signal);
    host.watcher.recall(saved);
    await host.watcher.identify(exampleSelf(), exampleRange());
    const end = host.watcher.run(stop.signal);
    await host.clock.advance(0);
    return { ...host, stop: () => (stop.abort(), end) };
  }

  it('is kept for the grace time when its lease expired, from the first moment on', async () => {
    const { subnets, watcher, clock, stop } = await startedWith(lease(2, '77'), lease(3, '78'));
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24', '10.5.4.0/24']);
    expect(watcher.remembered.map(({ name }) => name)).toEqual(['10.5.3.0-24', '10.5.4.0-24', '10.5.2.0-24']);
    await clock.advance(GRACE_MILLISECONDS - 1_000);
    expect(watcher.graced.map((peer) => peer.lease)).toEqual(['10.5.2.0-24']);
    expect(subnets()).toContain('10.5.2.0/24');
    await clock.advance(2_000);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    await stop();
  });

  it('goes after two seconds when its key was deleted: its etcd lease lives', async () => {
    const host = newWatcher(GRACE_MILLISECONDS, 3);
    const stop = new AbortController();
    const id = host.store.grant(100);
    await host.watcher.sync(stop.signal);
    host.watcher.recall([lease(2, id)]);
    await host.watcher.identify(exampleSelf(), exampleRange());
    const end = host.watcher.run(stop.signal);
    await host.clock.advance(1_900);
    expect(host.subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    await host.clock.advance(200);
    expect(host.subnets()).toEqual(['10.5.3.0/24']);
    stop.abort();
    await end;
  });

  it('is none when it was a reservation, or when its host has another subnet now', async () => {
    const moved = { ...lease(2, '77'), attributes: exampleLease(4).attributes };
    const { subnets, stop } = await startedWith(lease(5), moved);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    await stop();
  });

  it('is one still when its key was spoiled', async () => {
    const host = newWatcher(GRACE_MILLISECONDS);
    putLease(host.store, 2, '{');
    await host.watcher.sync(new AbortController().signal);
    host.watcher.recall([lease(2, '77')]);
    await host.watcher.identify(exampleSelf(), exampleRange());
    expect(host.subnets()).toEqual(['10.5.2.0/24']);
    expect(host.watcher.complaints.map((complaint) => complaint.lease)).toEqual(['10.5.2.0-24']);
  });
});

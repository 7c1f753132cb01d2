import { PeerWatcher } from '../../src/engine/peer-watcher';
import { ipAddress, printSubnet, subnet } from '../../src/model/address';
import { RegistryError } from '../../src/model/errors';
import type { Lease, MalformedLease } from '../../src/model/lease';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import type { PeerChange } from '../../src/model/peer';
import { exampleLease, examplePeer, exampleRange, exampleSelf } from '../support/examples';
import { FakeClock, settle } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const valueOf = (n: number) => printLeaseAttributes(exampleLease(n).attributes);
const put = (store: FakeStore, n: number, value = valueOf(n)) => store.put(`subnets/10.5.${n}.0-24`, value);

const GRACE_MILLISECONDS = 3_600_000;

/** Host 1 watching a store. */
const watching = (...peers: number[]) => watchingWith(GRACE_MILLISECONDS, ...peers);

async function watchingWith(graceMilliseconds: number, ...peers: number[]) {
  const clock = new FakeClock();
  const store = new FakeStore(clock);
  for (const n of peers) put(store, n);
  const registry = store.client();
  const log = new FakeLog();
  const changes: PeerChange[] = [];
  const own: (Lease | MalformedLease | undefined)[] = [];
  const claims: string[] = [];
  const watcher = new PeerWatcher(
    registry,
    clock,
    log,
    {
      inSync: () => undefined,
      tableChanged: () => undefined,
      peersChanged: (some) => changes.push(...some),
      ownLeaseChanged: (stored) => own.push(stored),
      ownMacClaimed: (lease) => claims.push(lease.name),
    },
    graceMilliseconds,
  );
  const stop = new AbortController();
  await watcher.sync(stop.signal);
  await watcher.identify(exampleSelf(), exampleRange());
  const end = watcher.run(stop.signal);
  await clock.advance(0);
  return {
    clock,
    store,
    registry,
    log,
    watcher,
    changes,
    own,
    claims,
    subnets: () => [...watcher.peers].map((peer) => printSubnet(peer.subnet)).sort(),
    stop: () => (stop.abort(), end),
  };
}

describe('the peer watcher', () => {
  it('knows every peer after the first snapshot, and not itself', async () => {
    const { subnets, stop } = await watching(1, 2, 3);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    await stop();
  });

  it('follows peers that join, change and leave', async () => {
    const { store, clock, changes, watcher, stop } = await watching(2);
    changes.length = 0;
    put(store, 3);
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

  it('judges thousands of leases in turns, and before all others the one that a packet waits for', async () => {
    const { clock, watcher, changes, stop } = await watching(...Array.from({ length: 200 }, (_, n) => n + 2));
    let now = clock.now();
    jest.spyOn(clock, 'now').mockImplementation(() => (now += 0.3));
    const moved = { ...exampleSelf(), publicIp: ipAddress('192.168.0.201') };
    const judged = watcher.identify(moved, exampleRange());
    changes.length = 0;
    expect(watcher.meet(subnet('10.5.201.0/24'))).toBeUndefined();
    expect(changes).toEqual([{ before: examplePeer(201), after: undefined }]);
    await judged;
    expect(changes).toHaveLength(1);
    await stop();
  });

  it.each([
    ['goes', (store: FakeStore) => store.delete('subnets/10.5.201.0-24'), undefined],
    [
      'changes',
      (store: FakeStore) => void put(store, 201, valueOf(202)),
      { publicIp: '192.168.0.202', vtepMac: '02:00:00:00:00:ca' },
    ],
  ])(
    'believes of a lease that %s while thousands are judged what is stored last',
    async (_, change, after) => {
      const all = Array.from({ length: 200 }, (_, n) => n + 2);
      const { store, clock, watcher, stop } = await watching(...all.filter((n) => n !== 202));
      let now = clock.now();
      jest.spyOn(clock, 'now').mockImplementation(() => (now += 0.3));
      const judged = watcher.identify(exampleSelf(), exampleRange());
      change(store);
      await judged;
      await settle();
      const peer = watcher.peers.bySubnet(subnet('10.5.201.0/24'));
      expect(peer).toEqual(after && { subnet: subnet('10.5.201.0/24'), ...after });
      await stop();
    },
  );

  it('keeps its peers while the registry is away, and finds what changed when it is back', async () => {
    const { store, registry, clock, subnets, log, stop } = await watching(2, 3);
    registry.down = true;
    await clock.advance(600_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    put(store, 4);
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
    put(store, 3);
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
    put(store, 3);
    store.compact();
    put(store, 4);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(1_000);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    await stop();
  });

  it('follows a peer whose address and MAC changed while the history was compacted', async () => {
    const { store, registry, clock, watcher, stop } = await watching(2, 3);
    registry.cutWatches();
    put(store, 2, valueOf(9));
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
    expect(own).not.toContain(undefined);
    await stop();
  });

  it('sends to a host of two families by its IPv4 subnet', async () => {
    const { store, clock, subnets, stop } = await watching(2);
    store.put('subnets/10.5.3.0-24&fd00:0:0:3::-64', valueOf(3));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    store.delete('subnets/10.5.3.0-24&fd00:0:0:3::-64');
    await clock.advance(5_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await stop();
  });

  it('survives a store that was restored from an older backup', async () => {
    const { store, clock, subnets, stop } = await watching(2, 3);
    const backup = store.backup();
    put(store, 4);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.3.0/24', '10.5.4.0/24']);
    store.restore(backup);
    await clock.advance(1_000);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    put(store, 5);
    await clock.advance(0);
    expect(subnets()).toContain('10.5.5.0/24');
    await stop();
  });

  it('comes back to the store the later, the more hosts there are to come back with it', async () => {
    const firstLook = async (leases: number) => {
      const { store, clock, registry, stop } = await watching();
      for (let n = 0; n < leases; n++) put(store, n, valueOf(n % 200));
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

  it('believes a lease that can be read rather than what it remembers of one that cannot', async () => {
    const { store, clock, subnets, stop } = await watching(2, 3);
    const { attributes } = exampleLease(3);
    const { backendData } = exampleLease(2).attributes;
    put(store, 3, printLeaseAttributes({ ...attributes, backendData }));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    put(store, 2, 'garbage');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.3.0/24']);
    await stop();
  });

  it('names a garbage lease once, and lets it harm no other', async () => {
    const { store, clock, subnets, log, stop } = await watching(2);
    store.put('subnets/nonsense', '{}');
    put(store, 4, 'garbage');
    put(store, 4, 'garbage');
    put(store, 3);
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    expect(log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['lease'])).toEqual([
      'nonsense',
      '10.5.4.0-24',
    ]);
    await stop();
  });

  it('keeps a peer whose value was spoiled, until its key goes', async () => {
    const { store, registry, clock, subnets, stop } = await watching(2);
    put(store, 2, 'garbage');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    registry.cutWatches();
    await clock.advance(1_000);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(0);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it('gives a subnet to the other of two keys that name it, when the older one goes', async () => {
    const { store, clock, watcher, changes, stop } = await watching(2);
    store.put('subnets/10.5.2.0-24&fd00:5::-64', valueOf(9));
    await clock.advance(0);
    expect([...watcher.peers]).toEqual([examplePeer(2)]);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(0);
    expect([...watcher.peers]).toMatchObject([{ publicIp: '192.168.0.9' }]);
    expect(changes.at(-1)).toMatchObject({ before: examplePeer(2), after: { publicIp: '192.168.0.9' } });
    await stop();
  });

  it('ignores a lease of half of a peer’s subnet, names it, and believes it once the peer has gone', async () => {
    const { store, clock, watcher, subnets, log, stop } = await watching(2);
    store.put('subnets/10.5.2.0-25', valueOf(9));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    const complaint = { lease: '10.5.2.0-25', reason: 'its subnet overlaps that of 10.5.2.0-24' };
    expect(watcher.complaints).toEqual([{ ...complaint, isUsed: false }]);
    expect(log.lines.filter(({ message }) => message === 'lease ignored')).toMatchObject([
      { fields: complaint },
    ]);
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/25']);
    expect(watcher.complaints).toEqual([]);
    await stop();
  });

  it('finds the same peers whether a stranger’s lease was there before the peer’s or came later', async () => {
    const { store, registry, clock, subnets, stop } = await watching(2, 3);
    store.put('subnets/10.5.2.128-25', valueOf(9));
    store.put('subnets/10.5.7.0-25', valueOf(7));
    await clock.advance(0);
    const before = subnets();
    registry.cutWatches();
    await clock.advance(1_000);
    expect(subnets()).toEqual(before);
    expect(before).toEqual(['10.5.2.0/24', '10.5.3.0/24', '10.5.7.0/25']);
    await stop();
  });

  it('remarks on two leases with one PublicIP, and uses both', async () => {
    const { store, clock, subnets, watcher, stop } = await watching(2);
    const attributes = { ...exampleLease(3).attributes, publicIp: examplePeer(2).publicIp };
    put(store, 3, printLeaseAttributes(attributes));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24', '10.5.3.0/24']);
    expect(watcher.complaints).toMatchObject([
      { lease: '10.5.2.0-24', isUsed: true },
      { lease: '10.5.3.0-24', isUsed: true },
    ]);
    await stop();
  });

  it('logs a hundred bad leases as one line', async () => {
    const { store, registry, clock, log, watcher, stop } = await watching();
    registry.cutWatches();
    for (let n = 0; n < 100; n++) store.put(`subnets/nonsense-${n}`, '{}');
    await clock.advance(1_000);
    expect(watcher.complaints).toHaveLength(100);
    expect(log.lines.filter(({ message }) => message.includes('ignored'))).toMatchObject([
      { message: 'many leases ignored or doubtful', fields: { leases: 100 } },
    ]);
    await stop();
  });

  it('tells of every change of our own key', async () => {
    const { store, clock, own, stop } = await watching(1, 2);
    put(store, 1, 'garbage');
    await clock.advance(0);
    store.delete('subnets/10.5.1.0-24');
    await clock.advance(0);
    expect(own).toMatchObject([{ reason: expect.any(String) as string }, undefined]);
    await stop();
  });

  it('tells that our own key is gone after a snapshot, though it never saw it', async () => {
    const { store, registry, clock, own, stop } = await watching(2);
    registry.down = true;
    put(store, 1);
    store.delete('subnets/10.5.1.0-24');
    registry.down = false;
    await clock.advance(20_000);
    expect(own).toEqual([undefined]);
    await stop();
  });

  it('tells what is stored of a key that becomes our own', async () => {
    const { store, clock, watcher, own, stop } = await watching(2);
    put(store, 3);
    store.delete('subnets/10.5.3.0-24');
    await clock.advance(0);
    await watcher.identify(exampleSelf({ leaseName: '10.5.3.0-24' }), exampleRange());
    expect(own).toEqual([undefined]);
    await stop();
  });

  it('begins no watch after a snapshot that has become old, for the store may have another past now', async () => {
    const clock = new FakeClock();
    const store = new FakeStore(clock);
    const backup = store.backup();
    put(store, 2);
    const registry = store.client();
    const nothing = () => undefined;
    const events = {
      inSync: nothing,
      tableChanged: nothing,
      peersChanged: nothing,
      ownLeaseChanged: nothing,
      ownMacClaimed: nothing,
    };
    const watcher = new PeerWatcher(registry, clock, new FakeLog(), events, 0);
    const stop = new AbortController();
    await watcher.sync(stop.signal);
    store.restore(backup);
    put(store, 3);
    await watcher.identify(exampleSelf(), exampleRange());
    await clock.advance(60_000);
    const end = watcher.run(stop.signal);
    await clock.advance(0);
    expect([...watcher.peers]).toEqual([examplePeer(3)]);
    stop.abort();
    await end;
  });

  it('tells of a lease that leads to another host by our own MAC, and of no other', async () => {
    const { store, clock, claims, subnets, stop } = await watching(2);
    const { backendData } = exampleLease(1).attributes;
    put(store, 3, printLeaseAttributes({ ...exampleLease(3).attributes, backendData }));
    put(store, 4, printLeaseAttributes(exampleLease(1).attributes));
    await clock.advance(0);
    expect(claims).toEqual(['10.5.3.0-24']);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await stop();
  });

  it('reads everything anew now and then, though the watch seems well', async () => {
    const { registry, clock, stop } = await watching(2);
    const before = registry.countOf('list');
    await clock.advance(1_800_000);
    expect(registry.countOf('list') - before).toBeGreaterThanOrEqual(2);
    expect(registry.watchCount).toBe(1);
    await stop();
  });

  it('logs many changes as one line', async () => {
    const { store, registry, clock, log, stop } = await watching();
    registry.cutWatches();
    for (let n = 2; n < 40; n++) put(store, n);
    await clock.advance(1_000);
    expect(log.lines.filter(({ message }) => message.startsWith('peer'))).toMatchObject([
      { message: 'peers changed', fields: { joined: 38, peers: 38 } },
    ]);
    await stop();
  });
});

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
    const { store, clock, subnets, stop } = await watchingLeased();
    store.delete('subnets/10.5.2.0-24');
    await clock.advance(1_900);
    expect(subnets()).toEqual(['10.5.2.0/24']);
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
    expect(watcher.graced).toMatchObject([{ lease: '10.5.2.0-24' }]);
    expect(log.messages('warn')).toEqual(['lease expired; its peer is kept for a while']);
    await clock.advance(120_000);
    expect(subnets()).toEqual([]);
    await stop();
  });

  it('goes after two seconds where there is no grace, whichever way its lease went, and etcd is not asked', async () => {
    const { store, clock, subnets, id, log, registry, stop } = await watchingLeased(0);
    registry.failNext('lifeOf');
    store.revoke(id);
    await clock.advance(1_900);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await clock.advance(200);
    expect(subnets()).toEqual([]);
    expect(log.messages('warn')).toEqual([]);
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
    put(store, 2);
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
      if (clock.now() > end && store.valueOf('subnets/10.5.2.0-24') === undefined) put(store, 2);
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
    put(store, 2, valueOf(9));
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
    put(store, 5, valueOf(2));
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
});

/** Which leases are peers, what is told of them, and what is said of the others. */
import { ipAddress, subnet } from '../../src/model/address';
import { printLeaseAttributes, vxlanData } from '../../src/model/lease-codec';
import { exampleLease, examplePeer, exampleRange, exampleSelf } from '../support/examples';
import { settle } from '../support/fake-clock';
import type { FakeStore } from '../support/fake-registry';
import { GRACE_MILLISECONDS, newWatcher, putLease, valueOf, watching } from '../support/watching';

describe('the peer watcher', () => {
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
      (store: FakeStore) => void putLease(store, 201, valueOf(202)),
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

  it('believes a lease that can be read rather than what it remembers of one that cannot', async () => {
    const { store, clock, subnets, stop } = await watching(2, 3);
    const { attributes } = exampleLease(3);
    const { backendData } = exampleLease(2).attributes;
    putLease(store, 3, printLeaseAttributes({ ...attributes, backendData }));
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    putLease(store, 2, 'garbage');
    await clock.advance(0);
    expect(subnets()).toEqual(['10.5.3.0/24']);
    await stop();
  });

  it('names a garbage lease once, and lets it harm no other', async () => {
    const { store, clock, subnets, log, stop } = await watching(2);
    store.put('subnets/nonsense', '{}');
    putLease(store, 4, 'garbage');
    putLease(store, 4, 'garbage');
    putLease(store, 3);
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
    putLease(store, 2, 'garbage');
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

  it('has a peer for a subnet that passes to the older of two keys in the midst of however many changes', async () => {
    const { store, clock, watcher, stop } = await watching();
    const others = Array.from({ length: 40 }, (_, n) => n + 20);
    const older = 'subnets/x-10.5.7.0-24';
    const unusable = printLeaseAttributes({ ...exampleLease(8).attributes, backendType: 'host-gw' });
    for (const n of others) putLease(store, n);
    for (let count = 0; count <= others.length; count++) {
      store.put(older, unusable);
      putLease(store, 7);
      await clock.advance(0);
      expect(watcher.peers.bySubnet(subnet('10.5.7.0/24'))).toEqual(examplePeer(7));
      for (const n of others.slice(0, count)) putLease(store, n, valueOf(n + 100 * (1 + (count % 2)) - 100));
      store.put(older, valueOf(8));
      putLease(store, 7, valueOf(9));
      await clock.advance(0);
      const { publicIp, vtepMac } = examplePeer(8);
      expect(watcher.peers.bySubnet(subnet('10.5.7.0/24'))).toMatchObject({ publicIp, vtepMac });
    }
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
    putLease(store, 3, printLeaseAttributes(attributes));
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

  it('tells of a lease that leads to another host by our own MAC, and of no other', async () => {
    const { store, clock, claims, subnets, stop } = await watching(2);
    const { backendData } = exampleLease(1).attributes;
    putLease(store, 3, printLeaseAttributes({ ...exampleLease(3).attributes, backendData }));
    putLease(store, 4, printLeaseAttributes(exampleLease(1).attributes));
    await clock.advance(0);
    expect(claims).toEqual(['10.5.3.0-24']);
    expect(subnets()).toEqual(['10.5.2.0/24']);
    await stop();
  });

  it('logs each of eight peers that join, change and leave', async () => {
    const { store, clock, log, stop } = await watching(2);
    await clock.advance(2_000);
    for (let n = 3; n < 10; n++) putLease(store, n);
    putLease(store, 2, valueOf(20));
    await clock.advance(2_000);
    store.delete('subnets/10.5.9.0-24');
    await clock.advance(0);
    const lines = log.lines.filter(({ message }) => message.startsWith('peer'));
    const fieldsOf = (n: number) => ({
      subnet: `10.5.${n}.0/24`,
      publicIp: `192.168.0.${n}`,
      vtepMac: `02:00:00:00:00:0${n}`,
    });
    expect(lines).toEqual(
      [
        { message: 'peer joined', fields: { ...fieldsOf(2), peers: 1 } },
        {
          message: 'peer changed',
          fields: { subnet: '10.5.2.0/24', publicIp: '192.168.0.20', vtepMac: '02:00:00:00:00:14', peers: 8 },
        },
        ...[3, 4, 5, 6, 7, 8, 9].map((n) => ({
          message: 'peer joined',
          fields: { ...fieldsOf(n), peers: 8 },
        })),
        { message: 'peer left', fields: { ...fieldsOf(9), peers: 7 } },
      ].map((line) => ({ level: 'info', ...line })),
    );
    await stop();
  });

  it('logs the first of many changes at once, and the others by seconds and longer times as one line each, and counts all', async () => {
    const { watcher, store, clock, log, stop } = await watching(2);
    await clock.advance(2_000);
    log.lines.length = 0;
    for (let n = 0; n < 60; n++) {
      putLease(store, 3, valueOf(30 + (n % 2)));
      await clock.advance(50);
    }
    expect(log.lines.map(({ message, fields }) => [message, fields['changed']])).toEqual([
      ['peer joined', undefined],
      ['peers changed', 19],
      ['peers changed', 40],
    ]);
    expect(watcher.changeCount).toBe(61);
    await stop();
  });

  it('logs what is summed up when it stops', async () => {
    const { store, clock, log, stop } = await watching(2);
    putLease(store, 2, valueOf(20));
    await clock.advance(0);
    expect(log.messages('info')).toEqual(['peer joined']);
    await stop();
    expect(log.messages('info')).toEqual(['peer joined', 'peer changed']);
  });

  it('tells each change that the table had, also what did not last', async () => {
    const { watcher, tableChanges, each, changes, store, clock, stop } = await watching(
      ...Array.from({ length: 100 }, (_, n) => n + 2),
    );
    const before = changes.length;
    // A lease that is judged out of its turn, because a packet waits, and changes again before its turn comes.
    const judged = watcher.identify(exampleSelf(), exampleRange());
    putLease(store, 101, valueOf(120));
    await clock.advance(0);
    putLease(store, 101, valueOf(121));
    await clock.advance(0);
    await judged;
    expect(changes.length).toBeGreaterThan(before);
    expect(each).toEqual(tableChanges);
    await stop();
  });

  it('logs more changes than that as one line', async () => {
    const { store, registry, clock, log, stop } = await watching(2, 3, 4, 5, 6);
    registry.cutWatches();
    for (let n = 10; n < 40; n++) putLease(store, n);
    for (const n of [2, 3]) putLease(store, n, valueOf(100 + n));
    for (const n of [4, 5, 6]) store.delete(`subnets/10.5.${n}.0-24`);
    await clock.advance(1_000);
    expect(log.lines.filter(({ message }) => message === 'peers changed')).toEqual([
      {
        level: 'info',
        message: 'peers changed',
        fields: { joined: 30, left: 3, changed: 2, peers: 32 },
      },
    ]);
    await stop();
  });

  it('tells of all changes at once, of the table’s as they come while thousands are judged', async () => {
    const { watcher, calls, log } = newWatcher(
      GRACE_MILLISECONDS,
      ...Array.from({ length: 100 }, (_, n) => n + 2),
    );
    await watcher.sync(new AbortController().signal);
    await watcher.identify(exampleSelf(), exampleRange());
    expect(calls).toEqual(['in sync', 'table 32', 'table 32', 'table 32', 'table 4', 'peers 100']);
    expect(log.messages('info')).toEqual(['peers changed']);
  });

  it('tells nothing when nothing changed', async () => {
    const { store, clock, calls, own, log, stop } = await watching(2);
    calls.length = 0;
    const lines = log.lines.length;
    putLease(store, 2);
    await clock.advance(0);
    expect([calls, own, log.lines.slice(lines)]).toEqual([[], [], []]);
    await stop();
  });

  it.each([
    ['of another backend', { backendType: 'udp' }, "its backend is 'udp', not vxlan", false],
    [
      'with our PublicIP',
      { publicIp: ipAddress('192.168.0.1') },
      'its PublicIP 192.168.0.1 is our own',
      false,
    ],
    [
      'of another VNI',
      { backendData: vxlanData(9, examplePeer(3).vtepMac) },
      'its VNI is 9 and ours is 1: no packet arrives until both have read the same configuration',
      true,
    ],
  ])('complains of a lease %s, until it is mended or gone', async (_, changes, reason, isUsed) => {
    const { store, clock, watcher, subnets, stop } = await watching(2);
    const odd = printLeaseAttributes({ ...exampleLease(3).attributes, ...changes });
    for (const end of [() => putLease(store, 3), () => store.delete('subnets/10.5.3.0-24')]) {
      putLease(store, 3, odd);
      await clock.advance(0);
      expect(watcher.complaints).toEqual([{ lease: '10.5.3.0-24', reason, isUsed }]);
      expect(subnets()).toEqual(isUsed ? ['10.5.2.0/24', '10.5.3.0/24'] : ['10.5.2.0/24']);
      end();
      await clock.advance(0);
      expect(watcher.complaints).toEqual([]);
    }
    await stop();
  });

  it('complains of a lease that cannot be read, until it can be or is gone', async () => {
    const { store, clock, watcher, stop } = await watching(2);
    for (const end of [() => putLease(store, 3), () => store.delete('subnets/10.5.3.0-24')]) {
      putLease(store, 3, 'garbage');
      await clock.advance(0);
      expect(watcher.complaints).toMatchObject([{ lease: '10.5.3.0-24', isUsed: false }]);
      end();
      await clock.advance(0);
      expect(watcher.complaints).toEqual([]);
    }
    await stop();
  });

  it('complains no more of two leases with one PublicIP when one has gone', async () => {
    const { store, clock, watcher, stop } = await watching(2);
    const attributes = { ...exampleLease(3).attributes, publicIp: examplePeer(2).publicIp };
    putLease(store, 3, printLeaseAttributes(attributes));
    await clock.advance(0);
    expect(watcher.complaints).toHaveLength(2);
    store.delete('subnets/10.5.3.0-24');
    await clock.advance(0);
    expect(watcher.complaints).toEqual([]);
    await stop();
  });
});

describe('for a packet that waits', () => {
  it('nobody is met before it is known who we are, nor where there is no lease', async () => {
    const { watcher } = newWatcher(GRACE_MILLISECONDS, 2);
    await watcher.sync(new AbortController().signal);
    expect(watcher.meet(subnet('10.5.2.0/24'))).toBeUndefined();
    expect(watcher.peerOf(exampleLease(2))).toBeUndefined();
    await watcher.identify(exampleSelf(), exampleRange());
    expect(watcher.meet(subnet('10.5.3.0/24'))).toBeUndefined();
    expect(watcher.meet(subnet('10.5.2.0/24'))).toEqual(examplePeer(2));
  });

  it('one is met that is judged next, and told of by itself', async () => {
    const { watcher, clock, calls, own } = newWatcher(
      GRACE_MILLISECONDS,
      ...Array.from({ length: 100 }, (_, n) => n + 1),
    );
    await watcher.sync(new AbortController().signal);
    let now = clock.now();
    jest.spyOn(clock, 'now').mockImplementation(() => (now += 0.9));
    const judged = watcher.identify(exampleSelf(), exampleRange());
    calls.length = 0;
    expect(watcher.meet(subnet('10.5.90.0/24'))).toEqual(examplePeer(90));
    expect(calls).toEqual([expect.stringContaining('table'), expect.stringContaining('peers')]);
    expect(own).toEqual([]);
    await judged;
    expect(watcher.peers.size).toBe(99);
  });

  it('a lease that cannot be read any more is met as what it was, but not rather than one that can', async () => {
    const { store, clock, watcher, stop } = await watching(2);
    putLease(store, 2, 'garbage');
    await clock.advance(0);
    expect(watcher.meet(subnet('10.5.2.0/24'))).toEqual(examplePeer(2));
    store.put('subnets/10.5.2.0-25', valueOf(9));
    await clock.advance(0);
    expect(watcher.meet(subnet('10.5.2.0/24'))).toBeUndefined();
    expect(watcher.meet(subnet('10.5.2.0/25'))).toMatchObject({ publicIp: '192.168.0.9' });
    await stop();
  });

  it.each([
    ['that the watch has not told of', exampleLease(3), examplePeer(3)],
    [
      'of another backend',
      exampleLease(3, { attributes: { ...exampleLease(3).attributes, backendType: 'udp' } }),
      undefined,
    ],
    ['that is our own', exampleLease(1), undefined],
    [
      'whose subnet overlaps an older one’s',
      exampleLease(3, { name: '10.5.2.0-25', subnet: subnet('10.5.2.0/25') }),
      undefined,
    ],
  ])('a lease %s is judged as if it were there', async (_, lease, peer) => {
    const { watcher, stop } = await watching(2);
    expect(watcher.peerOf(lease)).toEqual(peer);
    await stop();
  });

  it('a lease is believed rather than what is only kept of one that is gone', async () => {
    const { store, clock, watcher, stop } = await watching();
    const id = store.grant(100);
    store.put('subnets/10.5.2.0-24', valueOf(2), id);
    await clock.advance(0);
    store.revoke(id);
    await clock.advance(0);
    const half = exampleLease(3, { name: '10.5.2.0-25', subnet: subnet('10.5.2.0/25') });
    expect(watcher.peerOf(half)).toMatchObject({ publicIp: '192.168.0.3' });
    await stop();
  });
});

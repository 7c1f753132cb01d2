import fc from 'fast-check';
import { claimsOurMac, judgeLease, type Self } from '../../src/core/peers';
import { contains, ipAddress, printSubnet, subnet } from '../../src/model/address';
import type { Lease } from '../../src/model/lease';
import { macAddress } from '../../src/model/mac';
import { MutablePeerTable, mergedChanges, outranks, samePeer, type Peer } from '../../src/model/peer';
import { exampleLease, examplePeer, exampleSelf } from '../support/examples';

const self = exampleSelf({ guarded: [ipAddress('10.5.9.9')] });

describe('a lease', () => {
  it('is a peer when it says how its VTEP is reached', () => {
    expect(judgeLease(exampleLease(2), self)).toEqual({ kind: 'peer', peer: examplePeer(2) });
  });

  it.each([
    ['none, as flannel before 0.14', undefined, 70_000, undefined],
    ['all of it', 70_000, 70_000, undefined],
    ['its lower 16 bits, as flannel 0.14 to 0.23', 70_000 - 65_536, 70_000, undefined],
    ['another one', 2, 1, /^its VNI is 2 and ours is 1: /],
  ])('is a peer whatever VNI it names: %s', (_, theirs, ours, remark) => {
    const { attributes, ...lease } = exampleLease(2);
    const backendData = { VNI: theirs, VtepMAC: '02:00:00:00:00:02' };
    const verdict = judgeLease(
      { ...lease, attributes: { ...attributes, backendData } },
      exampleSelf({ vni: ours }),
    );
    expect(verdict).toMatchObject({ kind: 'peer', peer: examplePeer(2) });
    expect((verdict as { remark?: string }).remark).toEqual(
      remark === undefined ? undefined : (expect.stringMatching(remark) as string),
    );
  });

  it('is ourselves by its name', () => {
    expect(judgeLease(exampleLease(1), self)).toEqual({ kind: 'self' });
  });

  it.each([
    ['another backend', { backendType: 'host-gw' }, "its backend is 'host-gw', not vxlan"],
    [
      'a backend with a long name',
      { backendType: 'x'.repeat(16_000) },
      `its backend is '${'x'.repeat(40)}…', not vxlan`,
    ],
    [
      'a VtepMAC that is none',
      { backendData: { VtepMAC: 'c6:d2\u001b' } },
      'its VtepMAC "c6:d2\\u001b" is no MAC address',
    ],
    ['a VtepMAC of another type', { backendData: { VtepMAC: [1] } }, 'its VtepMAC [1] is no MAC address'],
    ['no VtepMAC', { backendData: { VNI: 1 } }, 'it has no VtepMAC'],
    [
      'a multicast VtepMAC',
      { backendData: { VtepMAC: '01:00:5e:00:00:01' } },
      'its VtepMAC 01:00:5e:00:00:01 is not that of one station',
    ],
    ['our VtepMAC', { backendData: { VtepMAC: self.vtepMac } }, 'its VtepMAC 02:00:00:00:00:01 is our own'],
    ['our PublicIP', { publicIp: self.publicIp }, 'its PublicIP 192.168.0.1 is our own'],
    ['no PublicIP', { publicIp: undefined }, 'it has no PublicIP'],
  ])('with %s is unusable, and says why', (_, attributes, reason) => {
    const lease = exampleLease(2);
    const verdict = judgeLease({ ...lease, attributes: { ...lease.attributes, ...attributes } }, self);
    expect(verdict).toEqual({ kind: 'unusable', reason });
  });

  it.each([
    ['0.0.0.1', 'no address of a host'],
    ['::', 'no address of a host'],
    ['127.0.0.1', 'a loopback address'],
    ['::1', 'a loopback address'],
    ['224.0.0.9', 'a multicast address'],
    ['239.255.255.255', 'a multicast address'],
    ['ff02::1', 'a multicast address'],
    ['255.255.255.255', 'the broadcast address'],
  ])('with the PublicIP %s is unusable, for it is %s', (text, oddity) => {
    const { attributes, ...lease } = exampleLease(2);
    const verdict = judgeLease({ ...lease, attributes: { ...attributes, publicIp: ipAddress(text) } }, self);
    expect(verdict).toEqual({ kind: 'unusable', reason: `its PublicIP ${text} is ${oddity}` });
  });

  describe('whose PublicIP is known to be something else', () => {
    const GATEWAY = ipAddress('192.168.0.2');
    const judge = (occupied: Self['occupied'], changes: Partial<Lease> = {}) => {
      const verdict = judgeLease(exampleLease(2, changes), { ...self, occupied });
      return verdict.kind === 'unusable' ? verdict.reason : verdict.kind;
    };
    const untouched = { etcdLeaseId: undefined, createRevision: '12', modRevision: '12' };

    it('is unusable, and says what is there', () => {
      const by = 'the broadcast address of 192.168.0.0/30';
      expect(judge({ [GATEWAY]: { by, mayBePeer: false } })).toBe(`its PublicIP 192.168.0.2 is ${by}`);
      expect(judge({ [ipAddress('192.168.0.3')]: { by, mayBePeer: false } })).toBe('peer');
    });

    it('may be that of a gateway, if an agent of the gateway wrote it', () => {
      const occupied = { [GATEWAY]: { by: 'a default gateway', mayBePeer: true } };
      expect(judge(occupied)).toBe('peer');
      expect(judge(occupied, { ...untouched, modRevision: '13' })).toBe('peer');
      // From the state file, which does not say.
      expect(judge(occupied, { ...untouched, modRevision: '0' })).toBe('peer');
      expect(judge(occupied, untouched)).toBe(
        'its PublicIP 192.168.0.2 is a default gateway, and no agent has written this lease',
      );
      expect(judge({}, untouched)).toBe('peer');
    });
  });

  it('with a PublicIP inside the network is unusable while the network is routed to the VTEP', () => {
    const { attributes, ...lease } = exampleLease(2);
    const inside = { ...lease, attributes: { ...attributes, publicIp: ipAddress('10.5.77.1') } };
    expect(judgeLease(inside, self)).toEqual({
      kind: 'unusable',
      reason:
        'its PublicIP 10.5.77.1 is in the network 10.5.0.0/16: what is sent to it would go into the overlay itself',
    });
    expect(judgeLease(inside, { ...self, isNetworkRouted: false })).toMatchObject({ kind: 'peer' });
  });

  it.each([
    '10.0.0.1',
    '1.127.0.1',
    '223.255.255.255',
    '240.0.0.1',
    '255.255.255.254',
    '::2',
    'fd00::1',
    'fd00::ff',
    '::1:1',
  ])('with the PublicIP %s is a peer like any other', (text) => {
    const { attributes, ...lease } = exampleLease(2);
    const verdict = judgeLease({ ...lease, attributes: { ...attributes, publicIp: ipAddress(text) } }, self);
    expect(verdict).toMatchObject({ kind: 'peer', peer: { publicIp: text } });
  });
});

describe('a lease whose subnet', () => {
  it('is a part of what another interface has is used, and what it takes from there is said', () => {
    const attached = [{ subnet: subnet('10.5.0.0/20'), name: 'eth1' }];
    expect(judgeLease(exampleLease(2), exampleSelf({ attached }))).toEqual({
      kind: 'peer',
      peer: examplePeer(2),
      remark:
        'its subnet is a part of 10.5.0.0/20 of eth1: what this host looks for there goes to the peer, and not by eth1',
    });
    for (const other of ['10.5.2.0/24', '10.5.2.128/25', '10.5.16.0/20'])
      expect(
        judgeLease(exampleLease(2), exampleSelf({ attached: [{ subnet: subnet(other), name: 'eth1' }] })),
      ).toEqual({
        kind: 'peer',
        peer: examplePeer(2),
      });
  });

  it.each([
    ['lies outside the network', '10.6.2.0/24', 'its subnet is outside the network 10.5.0.0/16'],
    ['is everything', '0.0.0.0/1', 'its subnet is outside the network 10.5.0.0/16'],
    ['overlaps ours', '10.5.0.0/20', 'its subnet overlaps ours, 10.5.1.0/24'],
    [
      'holds an address that the underlay must reach',
      '10.5.9.0/24',
      'its subnet holds 10.5.9.9, which the underlay must reach',
    ],
  ])('%s is unusable: it would take packets from where they belong', (_, text, reason) => {
    const verdict = judgeLease(exampleLease(2, { subnet: subnet(text) }), self);
    expect(verdict).toEqual({ kind: 'unusable', reason });
  });

  it('holds its own PublicIP is unusable: packets to it would go round in circles', () => {
    const lease = exampleLease(2);
    const attributes = { ...lease.attributes, publicIp: ipAddress('10.5.2.9') };
    expect(judgeLease({ ...lease, attributes }, self)).toEqual({
      kind: 'unusable',
      reason: 'its PublicIP 10.5.2.9 is in its own subnet',
    });
  });
});

describe('the peer table', () => {
  it('finds a peer by any address of its subnet, and by its VTEP MAC', () => {
    const table = new MutablePeerTable([examplePeer(2), examplePeer(3)]);
    expect(table.byAddress(ipAddress('10.5.3.77'))).toEqual(examplePeer(3));
    expect(table.byAddress(ipAddress('10.5.4.1'))).toBeUndefined();
    expect(table.byMac(macAddress('02:00:00:00:00:02'))).toEqual(examplePeer(2));
  });

  it('says what a change was, and nothing when there was none', () => {
    const table = new MutablePeerTable();
    const moved = examplePeer(2, { publicIp: ipAddress('192.168.0.200') });
    expect(table.put(examplePeer(2))).toEqual({ before: undefined, after: examplePeer(2) });
    expect(table.put(examplePeer(2))).toBeUndefined();
    expect(table.put(moved)).toEqual({ before: examplePeer(2), after: moved });
    expect(table.remove(moved.subnet)).toEqual({ before: moved, after: undefined });
    expect(table.remove(moved.subnet)).toBeUndefined();
  });

  it('finds the longest subnet when leases overlap', () => {
    const wide = examplePeer(9, { subnet: subnet('10.5.0.0/20') });
    const table = new MutablePeerTable([wide, examplePeer(2)]);
    expect(table.byAddress(ipAddress('10.5.2.1'))).toEqual(examplePeer(2));
    expect(table.byAddress(ipAddress('10.5.3.1'))).toEqual(wide);
  });

  it('keeps a VTEP MAC findable while any of its claimants is there', () => {
    const twin = examplePeer(3, { vtepMac: examplePeer(2).vtepMac });
    const table = new MutablePeerTable([examplePeer(2), twin]);
    table.remove(examplePeer(2).subnet);
    expect(table.byMac(twin.vtepMac)).toEqual(twin);
    table.remove(twin.subnet);
    expect(table.byMac(twin.vtepMac)).toBeUndefined();
  });

  it('forgets the VTEP MAC that a peer had before, and finds the one that it has now', () => {
    const [before, after] = [macAddress('02:00:00:00:00:0a'), macAddress('02:00:00:00:00:0b')];
    const table = new MutablePeerTable([examplePeer(2, { vtepMac: before })]);
    table.put(examplePeer(2, { vtepMac: after }));
    expect(table.byMac(before)).toBeUndefined();
    expect(table.byMac(after)).toEqual(examplePeer(2, { vtepMac: after }));
  });

  it('sees a change in any part of a peer', () => {
    const table = new MutablePeerTable([examplePeer(2)]);
    const moved = examplePeer(2, { publicIp: ipAddress('192.168.0.99') });
    expect(table.put(moved)).toEqual({ before: examplePeer(2), after: moved });
    const anew = { ...moved, vtepMac: macAddress('02:00:00:00:00:63') };
    expect(table.put(anew)).toEqual({ before: moved, after: anew });
    const shorter = { ...anew, subnet: subnet('10.5.2.0/25') };
    expect(table.put(shorter)).toEqual({ before: undefined, after: shorter });
  });

  it('finds peers of both families beside each other, each by the addresses of its own', () => {
    const wide = examplePeer(3, { subnet: subnet('fd00::/16') });
    const table = new MutablePeerTable([examplePeer(2), wide]);
    expect(table.byAddress(ipAddress('fd00::7'))).toEqual(wide);
    expect(table.byAddress(ipAddress('10.5.2.7'))).toEqual(examplePeer(2));
    expect(table.byAddress(ipAddress('10.5.3.7'))).toBeUndefined();
    expect(table.byAddress(ipAddress('fe80::1'))).toBeUndefined();
  });

  it('agrees with a search through a list, after any changes', () => {
    const change = fc.record({
      n: fc.integer({ min: 2, max: 9 }),
      length: fc.constantFrom(23, 24, 25),
      mac: fc.integer({ min: 1, max: 3 }),
      isPut: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.integer({ min: 0, max: 2600 }), (changes, host) => {
        const table = new MutablePeerTable();
        const list = new Map<string, Peer>();
        for (const { n, length, mac, isPut } of changes) {
          const peer = examplePeer(n, {
            subnet: subnet(`10.5.${n}.0/${length}`),
            vtepMac: macAddress(`02:00:00:00:00:0${mac}`),
          });
          if (isPut) {
            table.put(peer);
            list.set(printSubnet(peer.subnet), peer);
          } else {
            table.remove(peer.subnet);
            list.delete(printSubnet(peer.subnet));
          }
        }
        const address = ipAddress(`10.5.${host >> 8}.${host & 255}`);
        const best = [...list.values()]
          .filter((peer) => contains(peer.subnet, address))
          .sort((a, b) => b.subnet.prefixLength - a.subnet.prefixLength)[0];
        expect(table.byAddress(address)).toEqual(best);
        expect(table.size).toBe(list.size);
        expect(new Map([...table].map((peer) => [printSubnet(peer.subnet), peer]))).toEqual(list);
        for (let mac = 1; mac <= 3; mac++) {
          const vtepMac = macAddress(`02:00:00:00:00:0${mac}`);
          const claimants = [...list.values()].filter((peer) => peer.vtepMac === vtepMac);
          const [first] = [...claimants].sort((a, b) => (outranks(a, b) ? -1 : 1));
          expect(table.byMac(vtepMac)).toEqual(first);
          expect(new Set(table.allByMac(vtepMac))).toEqual(new Set(claimants));
        }
      }),
    );
  });
});

it('thousands of peers of one VTEP MAC leave the table one after the other, each in as few steps as any other', () => {
  let steps = 0;
  const peers = Array.from({ length: 2_000 }, (_, n): Peer => {
    const { address, prefixLength } = subnet(`10.${n >> 8}.${n & 255}.0/24`);
    const counted = {
      get address() {
        steps++;
        return address;
      },
      prefixLength,
    };
    return examplePeer(2, { subnet: counted });
  });
  const table = new MutablePeerTable(peers);
  expect(table.byMac(examplePeer(2).vtepMac)).toBe(peers[0]);
  steps = 0;
  for (const peer of peers.slice(0, -1)) table.remove(peer.subnet);
  expect(steps / peers.length).toBeLessThan(10);
  expect(table.byMac(examplePeer(2).vtepMac)).toBe(peers.at(-1));
});

describe('a frozen table', () => {
  it('stays as it was, whatever becomes of the other', () => {
    const [two, three] = [examplePeer(2), examplePeer(3)];
    const [twin, other] = [
      examplePeer(4, { vtepMac: two.vtepMac }),
      examplePeer(5, { vtepMac: two.vtepMac }),
    ];
    const table = new MutablePeerTable([two, three, twin]);
    const frozen = table.frozen();
    table.remove(two.subnet);
    table.put(other);
    table.put(examplePeer(3, { publicIp: ipAddress('192.168.0.99') }));
    table.put(examplePeer(9, { subnet: subnet('10.5.9.0/28') }));
    expect([...frozen]).toEqual([two, three, twin]);
    expect(frozen.size).toBe(3);
    expect(frozen.bySubnet(two.subnet)).toEqual(two);
    expect(frozen.byAddress(ipAddress('10.5.3.7'))).toEqual(three);
    expect(frozen.byAddress(ipAddress('10.5.9.7'))).toBeUndefined();
    expect(frozen.byMac(two.vtepMac)).toEqual(two);
    expect(frozen.allByMac(two.vtepMac)).toEqual([two, twin]);
    expect(table.allByMac(two.vtepMac)).toEqual([twin, other]);
  });
});

test.each([
  ['the longer subnet', { subnet: subnet('10.5.9.0/25') }, { subnet: subnet('10.5.2.0/24') }],
  ['the subnet that comes first as text, of two that are as long', {}, { subnet: subnet('10.5.3.0/24') }],
])('of two peers that claim one object %s has it', (_, first, second) => {
  const [a, b] = [examplePeer(2, first), examplePeer(2, second)];
  expect(outranks(a, b)).toBe(true);
  expect(outranks(b, a)).toBe(false);
  expect(outranks(a, a)).toBe(false);
});

test.each([
  ['nothing', {}, true],
  ['the PublicIP', { publicIp: ipAddress('192.168.0.99') }, false],
  ['the VTEP MAC', { vtepMac: macAddress('02:00:00:00:00:63') }, false],
  ['the address of the subnet', { subnet: subnet('10.5.3.0/24') }, false],
  ['the length of the subnet', { subnet: subnet('10.5.2.0/25') }, false],
])('of two peers that differ in %s we know whether they are the same', (_, changes, expected) => {
  expect(samePeer(examplePeer(2), examplePeer(2, changes))).toBe(expected);
});

test.each([
  [
    'two of one subnet are one, from its first state to its last',
    [
      [2, 3],
      [3, 4],
    ],
    [[2, 4]],
  ],
  [
    'a peer that came and went is none',
    [
      [0, 2],
      [2, 0],
    ],
    [],
  ],
  [
    'a peer that went and came back is one',
    [
      [2, 0],
      [0, 3],
    ],
    [[2, 3]],
  ],
  ['one alone stays what it is', [[2, 0]], [[2, 0]]],
  [
    'a peer that changed and became what it was is none',
    [
      [2, 3],
      [3, 2],
    ],
    [],
  ],
])('of the changes of peers %s', (_, changes, merged) => {
  /** Number n says who the peer of 10.5.7.0/24 is; 0 for none. */
  const peer = (n: number) => (n === 0 ? undefined : examplePeer(n, { subnet: subnet('10.5.7.0/24') }));
  const changeOf = ([before, after]: number[]) => ({ before: peer(before!), after: peer(after!) });
  const other = { before: undefined, after: examplePeer(9) };
  expect(mergedChanges([...changes.map(changeOf), other])).toEqual([...merged.map(changeOf), other]);
});

describe('a lease leads to another host by the MAC that is ours', () => {
  const lease = exampleLease(2);
  const withMac = (vtepMac: string) => ({ ...lease.attributes, backendData: { VNI: 1, VtepMAC: vtepMac } });
  const clone = { ...lease, attributes: withMac(self.vtepMac) };

  it('if it names our MAC and another PublicIP', () => {
    expect(claimsOurMac(clone, self)).toBe(true);
  });

  it.each([
    ['it names another MAC', lease],
    ['it names none', { ...lease, attributes: { ...lease.attributes, backendData: undefined } }],
    ['it is our own', { ...clone, name: self.leaseName! }],
    ['it has our PublicIP', { ...clone, attributes: { ...clone.attributes, publicIp: self.publicIp } }],
    ['it has no PublicIP', { ...clone, attributes: { ...clone.attributes, publicIp: undefined } }],
  ])('but not if %s', (_, other) => {
    expect(claimsOurMac(other, self)).toBe(false);
  });
});

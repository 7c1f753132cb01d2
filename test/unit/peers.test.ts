import fc from 'fast-check';
import { judgeLease } from '../../src/core/peers';
import { contains, ipAddress, printSubnet, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import { MutablePeerTable, type Peer } from '../../src/model/peer';
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
    ['no VtepMAC', { backendData: { VNI: 1 } }, 'it has no VtepMAC'],
    ['a multicast VtepMAC', { backendData: { VtepMAC: '01:00:5e:00:00:01' } }, 'not that of one station'],
    ['our VtepMAC', { backendData: { VtepMAC: self.vtepMac } }, 'is our own'],
    ['our PublicIP', { publicIp: self.publicIp }, 'is our own'],
    ['no PublicIP', { publicIp: undefined }, 'it has no PublicIP'],
    ['a loopback PublicIP', { publicIp: ipAddress('127.0.0.1') }, 'a loopback address'],
    ['a multicast PublicIP', { publicIp: ipAddress('224.0.0.9') }, 'a multicast address'],
  ])('with %s is unusable, and says why', (_, attributes, reason) => {
    const lease = exampleLease(2);
    const verdict = judgeLease({ ...lease, attributes: { ...lease.attributes, ...attributes } }, self);
    expect(verdict.kind).toBe('unusable');
    expect((verdict as { reason: string }).reason).toContain(reason);
  });
});

describe('a lease whose subnet', () => {
  it.each([
    ['lies outside the network', '10.6.2.0/24', 'outside the network 10.5.0.0/16'],
    ['is everything', '0.0.0.0/1', 'outside the network'],
    ['overlaps ours', '10.5.0.0/20', 'overlaps ours, 10.5.1.0/24'],
    ['holds an address that the underlay must reach', '10.5.9.0/24', 'holds 10.5.9.9'],
  ])('%s is unusable: it would take packets from where they belong', (_, text, reason) => {
    const verdict = judgeLease(exampleLease(2, { subnet: subnet(text) }), self);
    expect((verdict as { reason: string }).reason).toContain(reason);
  });

  it('holds its own PublicIP is unusable: packets to it would go round in circles', () => {
    const lease = exampleLease(2);
    const attributes = { ...lease.attributes, publicIp: ipAddress('10.5.2.9') };
    expect(judgeLease({ ...lease, attributes }, self)).toMatchObject({ kind: 'unusable' });
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
        for (const { vtepMac } of list.values()) expect(table.byMac(vtepMac)?.vtepMac).toBe(vtepMac);
      }),
    );
  });
});

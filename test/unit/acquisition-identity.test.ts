/** Which leases are ours: of several with our PublicIP, and of those with another. */
import { decideAcquisition, oddLeases, type Claim, type RememberedLease } from '../../src/core/acquisition';
import { ipAddress, subnet } from '../../src/model/address';
import type { Lease } from '../../src/model/lease';
import { macAddress } from '../../src/model/mac';
import { exampleLease, examplePeer, exampleRange } from '../support/examples';

const ours = examplePeer(7);
const HAD = subnet('10.5.7.0/24');
const NEW = subnet('10.5.1.0/24');

/** Host 7, which has come to host 9's address. */
const claim: Claim = {
  range: exampleRange(),
  publicIp: examplePeer(9).publicIp,
  previous: undefined,
  mayRenumber: true,
  avoid: [],
  random: 0,
};
const remembered: RememberedLease = {
  subnet: HAD,
  publicIp: ours.publicIp,
  vtepMac: ours.vtepMac,
  isThisHosts: true,
};
const reservation = (lease: Lease): Lease => ({ ...lease, etcdLeaseId: undefined });
const reasons = (changes: Partial<Claim>, ...leases: Lease[]) =>
  oddLeases({ ...claim, ...changes }, leases).map(({ lease, reason }) => `${lease.name}: ${reason}`);

describe('a lease with our PublicIP', () => {
  const [theirs] = [exampleLease(9)];

  it.each<[string, Partial<Claim>]>([
    ['we remember no subnet at all', {}],
    ['we remember one of another network', { previous: subnet('10.9.7.0/24') }],
    ['it is for the subnet of subnet.env', { previous: theirs.subnet }],
    ['it is for the subnet of the state file', { remembered: { ...remembered, subnet: theirs.subnet } }],
    [
      'it is for the subnet of the state file, though subnet.env names another',
      { previous: HAD, remembered: { ...remembered, subnet: theirs.subnet } },
    ],
    ['its VTEP MAC is ours', { previous: HAD, ownMacs: [undefined, examplePeer(9).vtepMac] }],
    [
      'its etcd lease is ours since the boot',
      { previous: HAD, isGrantedToUs: (id) => id === theirs.etcdLeaseId },
    ],
  ])('is ours when %s', (_, changes) => {
    expect(decideAcquisition({ ...claim, ...changes }, [theirs])).toEqual({ kind: 'reuse', lease: theirs });
    expect(reasons(changes, theirs)).toEqual([]);
  });

  it.each<[string, Partial<Claim>]>([
    ['subnet.env', { previous: HAD }],
    ['the state file', { remembered: { ...remembered, isThisHosts: false } }],
  ])(
    "is another host's when our subnet is another by %s, and it leads to none of our devices",
    (_, changes) => {
      const all = { ownMacs: [undefined, ours.vtepMac], isGrantedToUs: () => false, ...changes };
      expect(decideAcquisition({ ...claim, ...all }, [theirs])).toEqual({ kind: 'create', subnet: HAD });
      expect(reasons(all, theirs, exampleLease(3))).toEqual([
        "10.5.9.0-24: it is another host's, which had our PublicIP: our subnet is 10.5.7.0/24, and its VTEP MAC is not ours",
      ]);
    },
  );

  it("is another host's when it names no VTEP MAC at all", () => {
    const backendData = { VNI: 1 };
    const bare = { ...theirs, attributes: { ...theirs.attributes, backendData } };
    const changes = { previous: HAD, ownMacs: [undefined] };
    expect(decideAcquisition({ ...claim, ...changes }, [bare])).toEqual({ kind: 'create', subnet: HAD });
  });

  it("is never deleted when it is another host's, though it does not fit the network", () => {
    const long = exampleLease(9, { subnet: subnet('10.5.9.0/25'), name: '10.5.9.0-25' });
    expect(decideAcquisition({ ...claim, previous: HAD }, [long])).toEqual({ kind: 'create', subnet: HAD });
  });

  it('is ours as a reservation, whatever we remember: an administrator made it', () => {
    const reserved = reservation(theirs);
    expect(decideAcquisition({ ...claim, previous: HAD }, [reserved])).toEqual({
      kind: 'reuse',
      lease: reserved,
    });
  });

  it.each([
    ['outside of the range', subnet('10.9.9.0/24')],
    ['below SubnetMin', subnet('10.5.0.0/24')],
    ['of another length', subnet('10.5.9.0/25')],
  ])('stays as it is, and is named, when it is a reservation %s', (_, odd) => {
    const name = `${odd.address}-${odd.prefixLength}`;
    const reserved = reservation(exampleLease(9, { subnet: odd, name }));
    expect(decideAcquisition(claim, [reserved])).toEqual({ kind: 'create', subnet: NEW });
    expect(reasons({}, reserved)).toEqual([
      `${name}: it is a reservation for our PublicIP that does not fit 10.5.0.0/16 (a /24 from 10.5.1.0 to 10.5.255.0); it stays as it is, and we take another`,
    ]);
  });

  it('is nothing odd as a reservation that fits, nor where another host has the PublicIP', () => {
    expect(
      reasons({}, reservation(theirs), reservation(exampleLease(3, { subnet: subnet('10.9.3.0/24') }))),
    ).toEqual([]);
  });

  it('is discarded when it does not fit and hangs on an etcd lease, beside a reservation that does not fit', () => {
    const old = exampleLease(9, { subnet: subnet('10.9.9.0/24'), name: '10.9.9.0-24' });
    const reserved = reservation(exampleLease(9, { subnet: subnet('10.9.8.0/24'), name: '10.9.8.0-24' }));
    expect(decideAcquisition(claim, [reserved, old])).toEqual({ kind: 'discard', lease: old });
  });
});

describe('the lease that we held under another PublicIP', () => {
  const held = exampleLease(7);

  it('is followed, before any other is taken', () => {
    expect(decideAcquisition({ ...claim, remembered }, [exampleLease(2), held])).toEqual({
      kind: 'follow',
      lease: held,
    });
    expect(oddLeases({ ...claim, remembered }, [held])).toEqual([]);
  });

  it('is followed though another host left a lease with the PublicIP that we have now', () => {
    expect(decideAcquisition({ ...claim, remembered }, [exampleLease(9), held])).toEqual({
      kind: 'follow',
      lease: held,
    });
  });

  it('is not needed where one with our PublicIP is ours', () => {
    const now = exampleLease(9);
    const own = { remembered, ownMacs: [examplePeer(9).vtepMac] };
    expect(decideAcquisition({ ...claim, ...own }, [held, now])).toEqual({ kind: 'reuse', lease: now });
  });

  const with_ = (changes: Partial<Lease['attributes']>): Lease => ({
    ...held,
    attributes: { ...held.attributes, ...changes },
  });

  it.each<[string, Partial<Claim>, Lease]>([
    ['nothing is remembered', { remembered: undefined }, held],
    ['the file was written by another host', { remembered: { ...remembered, isThisHosts: false } }, held],
    ['it is of another subnet', { remembered: { ...remembered, subnet: subnet('10.5.8.0/24') } }, held],
    ['another PublicIP was written into it', {}, with_({ publicIp: ipAddress('192.168.0.77') })],
    [
      'another MAC was written into it',
      {},
      with_({ backendData: { VNI: 1, VtepMAC: macAddress('02:00:00:00:00:77') } }),
    ],
    [
      'no MAC is remembered',
      { remembered: { ...remembered, vtepMac: undefined } },
      with_({ backendData: {} }),
    ],
    [
      'no PublicIP is remembered',
      { remembered: { ...remembered, publicIp: undefined } },
      with_({ publicIp: undefined }),
    ],
    ['it is a reservation for that PublicIP', {}, reservation(held)],
    ['a host that lives keeps it', { conceded: new Set(['10.5.7.0-24']) }, held],
    [
      'it does not fit the network any more',
      { range: exampleRange({ subnetMin: ipAddress('10.5.8.0') }) },
      held,
    ],
  ])('is not followed when %s', (_, changes, lease) => {
    const decision = decideAcquisition({ ...claim, remembered, ...changes }, [lease]);
    expect(decision.kind).toBe('create');
    expect(decision).not.toMatchObject({ subnet: lease.subnet });
  });

  it('has its subnet taken again when it is gone, by whichever host has the file', () => {
    for (const isThisHosts of [true, false])
      expect(decideAcquisition({ ...claim, remembered: { ...remembered, isThisHosts } }, [])).toEqual({
        kind: 'create',
        subnet: HAD,
      });
  });

  it('comes after subnet.env, which is newer', () => {
    const previous = subnet('10.5.33.0/24');
    expect(decideAcquisition({ ...claim, remembered, previous }, [])).toEqual({
      kind: 'create',
      subnet: previous,
    });
  });

  it('does not end a host that wants no other subnet: that is for what subnet.env names', () => {
    const lost = { ...claim, remembered: { ...remembered, isThisHosts: false }, mayRenumber: false };
    expect(decideAcquisition(lost, [held])).toEqual({ kind: 'create', subnet: NEW });
  });
});

describe('a subnet that this host cannot do without', () => {
  const reserved = [{ subnet: subnet('10.5.1.254/32'), what: '10.5.1.254, a default gateway' }];

  it('is not leased', () => {
    expect(decideAcquisition({ ...claim, reserved }, [])).toEqual({
      kind: 'create',
      subnet: subnet('10.5.2.0/24'),
    });
  });

  it('is not taken again either', () => {
    const previous = NEW;
    expect(decideAcquisition({ ...claim, reserved, previous }, [])).toEqual({
      kind: 'create',
      subnet: subnet('10.5.2.0/24'),
    });
  });

  it('stays ours where the lease is ours already', () => {
    const lease = exampleLease(9, { subnet: NEW, name: '10.5.1.0-24' });
    expect(decideAcquisition({ ...claim, reserved }, [lease])).toEqual({ kind: 'reuse', lease });
  });

  it('is named when no other is left', () => {
    const range = exampleRange({ subnetMax: ipAddress('10.5.2.0') });
    const outside = { subnet: subnet('192.168.0.0/24'), what: 'eth0' };
    const full = { ...claim, range, reserved: [...reserved, outside] };
    expect(decideAcquisition(full, [exampleLease(2)])).toEqual({ kind: 'exhausted', blocked: reserved });
    const leased = [exampleLease(2), exampleLease(3, { subnet: NEW })];
    expect(decideAcquisition(full, leased)).toEqual({ kind: 'exhausted' });
  });
});

/** What this host says of itself, and by what it knows its own lease. */
import { Identity } from '../../src/engine/identity';
import { ipAddress } from '../../src/model/address';
import type { Lease } from '../../src/model/lease';
import { vtepMacOf, vxlanData } from '../../src/model/lease-codec';
import { macAddress, type MacAddress } from '../../src/model/mac';
import { exampleLease, examplePeer } from '../support/examples';
import { FakeHost } from '../support/fake-host';
import { FakeLog } from '../support/fake-log';

const DEVICE = macAddress('02:00:00:00:00:aa');
const OTHER = macAddress('02:00:00:00:00:bb');

/** The lease of host n with this VTEP MAC, or none. */
function leaseWith(n: number, vtepMac: MacAddress | undefined): Lease {
  const lease = exampleLease(n);
  const backendData = vtepMac && vxlanData(1, vtepMac);
  return { ...lease, attributes: { ...lease.attributes, backendData } };
}

/** Host 1, whose device has this MAC, if there is one. */
function identityOf(existingMac: MacAddress | undefined, leases: readonly Lease[] = []) {
  const log = new FakeLog();
  let { publicIp } = examplePeer(1);
  const identity = new Identity(
    new FakeHost(),
    log,
    7,
    () => publicIp,
    () => leases,
    existingMac,
  );
  const macFor = (held: Lease | undefined) => {
    const { backendData } = identity.attributesFor(held, '10.5.1.0-24');
    return vtepMacOf(leaseWith(1, (backendData as { VtepMAC: MacAddress }).VtepMAC));
  };
  return { identity, log, macFor, move: (to: string) => (publicIp = ipAddress(to)) };
}

describe('our VTEP MAC', () => {
  it('is known, to tell our leases by, from the device that is there, or once it was made', () => {
    expect(identityOf(DEVICE).identity.vtepMac).toBe(DEVICE);
    const { identity, macFor } = identityOf(undefined);
    expect(identity.vtepMac).toBeUndefined();
    const made = macFor(undefined);
    expect(identity.vtepMac).toBe(made);
    expect(made).toBeDefined();
  });

  it('is that of the device, whatever our lease says: peers know it already', () => {
    expect(identityOf(DEVICE).macFor(leaseWith(1, OTHER))).toBe(DEVICE);
  });

  it('is that of the lease we take over, where there is no device', () => {
    expect(identityOf(undefined).macFor(leaseWith(1, OTHER))).toBe(OTHER);
  });

  it.each([
    ['there is no lease', undefined],
    ['the lease names none: a reservation', leaseWith(1, undefined)],
  ])('is a new one where there is no device and %s, and stays that', (_, held) => {
    const { macFor } = identityOf(undefined);
    const mac = macFor(held);
    expect(mac).toMatch(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
    expect(macFor(leaseWith(1, OTHER))).toBe(mac);
  });

  it('is a new one where another lease leads to another host by it, and that is said', () => {
    const { macFor, log } = identityOf(DEVICE, [leaseWith(2, OTHER), leaseWith(3, DEVICE)]);
    const mac = macFor(undefined);
    expect(mac).not.toBe(DEVICE);
    expect(macFor(undefined)).toBe(mac);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        message: 'another lease has our VTEP MAC; taking a new one',
        fields: { vtepMac: DEVICE },
      },
    ]);
  });

  it.each([
    ['our own lease', leaseWith(1, DEVICE)],
    ['a lease with our PublicIP', { ...leaseWith(1, DEVICE), name: '10.5.9.0-24' }],
  ])('stays where the lease that has it is %s', (_, lease) => {
    const { macFor, log } = identityOf(DEVICE, [lease]);
    expect(macFor(undefined)).toBe(DEVICE);
    expect(log.lines).toEqual([]);
  });
});

it('what we write is of the vxlan backend, with the PublicIP of now, our VNI and our MAC', () => {
  const { identity, move } = identityOf(DEVICE);
  move('192.168.0.99');
  expect(identity.attributesFor(undefined, '10.5.1.0-24')).toEqual({
    publicIp: '192.168.0.99',
    publicIpv6: undefined,
    backendType: 'vxlan',
    backendData: { VNI: 7, VtepMAC: DEVICE },
    backendV6Data: undefined,
  });
});

describe('a remembered lease', () => {
  it.each([
    ['has our PublicIP and the MAC of our device', DEVICE, leaseWith(1, DEVICE), true],
    ['has our PublicIP and a MAC, and there is no device', undefined, leaseWith(1, OTHER), true],
    ['has our PublicIP and another MAC than our device', DEVICE, leaseWith(1, OTHER), false],
    ['has another PublicIP', DEVICE, leaseWith(2, DEVICE), false],
    ['has no MAC', undefined, leaseWith(1, undefined), false],
  ])('that %s: is it ours?', (_, device, lease, isOurs) => {
    expect(identityOf(device).identity.isOurs(lease)).toBe(isOurs);
  });
});

describe('a lease', () => {
  it.each([
    ['names the MAC of the device that was there', DEVICE, leaseWith(1, DEVICE), true],
    ['names another MAC', DEVICE, leaseWith(1, OTHER), false],
    ['names none', DEVICE, leaseWith(1, undefined), false],
    ['names none, and there was no device', undefined, leaseWith(1, undefined), false],
  ])('that %s: is it proven ours?', (_, device, lease, isProven) => {
    const { identity } = identityOf(device);
    identity.attributesFor(leaseWith(1, OTHER), '10.5.1.0-24');
    expect(identity.isProven(lease)).toBe(isProven);
  });
});

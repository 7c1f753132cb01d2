import { alterations, desiredLink, misfits, overlayMtu } from '../../src/core/vxlan';
import { ipAddress } from '../../src/model/address';
import type { Link, VxlanParameters } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { ON_DEMAND, exampleOverlay } from '../support/examples';

const { backend, underlay } = exampleOverlay();
const IPV6_UNDERLAY = ipAddress('fd00::1');

describe('the MTU of the overlay', () => {
  test.each([
    ["that of the underlay's interface, less the outer headers", undefined, 1500, '192.168.0.1', 1450],
    ['less by twenty bytes more over IPv6', undefined, 1500, 'fd00::1', 1430],
    ['Backend.MTU, which is that of the outer packets, less the headers', 1400, 1500, '192.168.0.1', 1350],
    ['never above what the interface can send, whatever Backend.MTU says', 9000, 1500, '192.168.0.1', 1450],
  ])('is %s', (_, mtu, interfaceMtu, address, expected) => {
    const found = overlayMtu(
      { ...backend, mtu },
      { ...underlay, mtu: interfaceMtu, address: ipAddress(address) },
    );
    expect(found).toBe(expected);
  });
});

describe('the device that we want', () => {
  it('is what configuration and underlay say', () => {
    expect(desiredLink(exampleOverlay())).toEqual({
      kind: 'link',
      name: 'flannel.1',
      mac: '02:00:00:00:00:01',
      mtu: 1450,
      up: true,
      vxlan: {
        vni: 1,
        local: '192.168.0.1',
        underlayIndex: 2,
        port: 8472,
        learning: false,
        gbp: false,
        l2miss: false,
      },
    });
    const other = exampleOverlay({ backend: { ...backend, vni: 7, port: 4789, learning: true, gbp: true } });
    expect(desiredLink(other)).toMatchObject({
      name: 'flannel.7',
      vxlan: { vni: 7, port: 4789, learning: true, gbp: true },
    });
  });

  it('tells of L2 misses on demand, and not where every FDB entry is there from the start', () => {
    expect(desiredLink(exampleOverlay({ resolve: ON_DEMAND })).vxlan?.l2miss).toBe(true);
    expect(desiredLink(exampleOverlay({ resolve: { kind: 'preload' } })).vxlan?.l2miss).toBe(false);
  });
});

describe('a device that is there', () => {
  const desired = desiredLink(exampleOverlay());
  const differing = (vxlan: Partial<VxlanParameters>, changes: Partial<Link> = {}): Link => ({
    ...desired,
    ...changes,
    vxlan: { ...desired.vxlan!, ...vxlan },
  });

  it('fits, and is left alone, when it is as we want it', () => {
    expect(misfits(desired, desired)).toEqual([]);
    expect(alterations(desired, desired)).toEqual([]);
  });

  it.each<[string, Link, string[]]>([
    ['another VNI', differing({ vni: 7 }), ['VNI 7 instead of 1']],
    ['another port', differing({ port: 4789 }), ['port 4789 instead of 8472']],
    ['GBP', differing({ gbp: true }), ['GBP is on']],
    [
      'remote checksums, with which other hosts drop its packets',
      differing({ remoteChecksum: true }),
      ['remote checksum offload is on'],
    ],
    ['a limit', differing({ mostFdbEntries: 100 }), ['it takes no more than 100 FDB entries']],
    ['the TTL of what it carries', differing({ ttlInherited: true }), ['TTL is inherited']],
    [
      'a local address of the other family',
      differing({ local: IPV6_UNDERLAY }),
      ['an underlay address of another family, fd00::1'],
    ],
    [
      'another VNI and port',
      differing({ vni: 7, port: 4789 }),
      ['VNI 7 instead of 1', 'port 4789 instead of 8472'],
    ],
    ['another type', { ...desired, vxlan: undefined }, ['it is not a vxlan device']],
  ])('must be made anew for %s', (_, actual, reasons) => {
    expect(misfits(desired, actual)).toEqual(reasons);
  });

  it('must be made anew without GBP, where that is configured', () => {
    const gbp = desiredLink(exampleOverlay({ backend: { ...backend, gbp: true } }));
    expect(misfits(gbp, desired)).toEqual(['GBP is off']);
  });

  it('is not looked at by a desired device of another type', () => {
    expect(misfits({ ...desired, vxlan: undefined }, desired)).toEqual(['it is not a vxlan device']);
  });

  it.each<[string, Link, string[]]>([
    [
      'mac',
      { ...desired, mac: macAddress('02:00:00:00:00:99') },
      ['mac 02:00:00:00:00:99 → 02:00:00:00:00:01'],
    ],
    ['mtu', { ...desired, mtu: 1500 }, ['mtu 1500 → 1450']],
    ['state', { ...desired, up: false }, ['up false → true']],
    [
      'master: what arrives would go to the bridge, and not to our routes',
      { ...desired, master: 9 },
      ['master 9 → 0'],
    ],
    ['local address', differing({ local: ipAddress('192.168.0.9') }), ['local 192.168.0.9 → 192.168.0.1']],
    [
      'local address, of which it has none',
      differing({ local: undefined }),
      ['local undefined → 192.168.0.1'],
    ],
    ['underlay', differing({ underlayIndex: 3 }), ['underlay 3 → 2']],
    ['learning', differing({ learning: true }), ['learning true → false']],
    ['protodown', { ...desired, protodown: true }, ['protodown true → false']],
    ['ARP', { ...desired, noarp: true }, ['noarp true → false']],
    ['TTL, which may end at the first router', differing({ ttl: 1 }), ['ttl 1 → 0']],
    ['DF', differing({ dontFragment: 1 }), ['df 1 → 0']],
    [
      'mtu and underlay',
      differing({ underlayIndex: 3 }, { mtu: 1500 }),
      ['mtu 1500 → 1450', 'underlay 3 → 2'],
    ],
    ['master, of which it has none, said in other words', { ...desired, master: 0 }, []],
    ['L2 misses, for which no packet is worth losing', differing({ l2miss: true }), []],
  ])('is changed in place for its %s', (_, actual, changes) => {
    expect(misfits(desired, actual)).toEqual([]);
    expect(alterations(desired, actual)).toEqual(changes);
  });

  it('of another type has no parameters to compare', () => {
    expect(alterations(desired, { ...desired, vxlan: undefined })).toEqual([
      'local undefined → 192.168.0.1',
      'underlay undefined → 2',
      'learning undefined → false',
    ]);
    expect(alterations({ ...desired, vxlan: undefined }, { ...desired, vxlan: undefined })).toEqual([]);
  });
});

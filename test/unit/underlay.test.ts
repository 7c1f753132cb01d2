import { chooseUnderlay, type UnderlayWish } from '../../src/core/underlay';
import { ipAddress } from '../../src/model/address';
import type { InterfaceAddress, NetworkInterface } from '../../src/model/network-interface';

const address = (text: string, changes: Partial<InterfaceAddress> = {}): InterfaceAddress => ({
  address: ipAddress(text),
  prefixLength: 24,
  scope: 'global',
  permanent: true,
  temporary: false,
  deprecated: false,
  ...changes,
});
const nic = (name: string, index: number, ...addresses: InterfaceAddress[]): NetworkInterface => ({
  name,
  index,
  mtu: 1500,
  up: true,
  carrier: true,
  loopback: name === 'lo',
  mac: undefined,
  addresses,
});

const interfaces = [
  nic('lo', 1, address('127.0.0.1', { scope: 'host' })),
  nic('eth0', 2, address('192.168.0.1'), address('fe80::1', { scope: 'link' })),
  nic('eth1', 3, address('10.0.0.1'), address('10.0.0.2')),
  nic('eth2', 4),
];
const viaEth0 = { interfaceIndex: 2, source: undefined, gateway: ipAddress('192.168.0.254') };
const wish = (changes: Partial<UnderlayWish> = {}): UnderlayWish => ({
  iface: [],
  ifaceRegex: [],
  canReach: undefined,
  publicIp: undefined,
  ...changes,
});
const choose = (changes: Partial<UnderlayWish>, routes = [viaEth0]) =>
  chooseUnderlay(wish(changes), interfaces, routes);

describe('the underlay', () => {
  it('is where the default route leads, when nothing is asked for', () => {
    expect(choose({})).toMatchObject({
      kind: 'chosen',
      underlay: { name: 'eth0', index: 2, mtu: 1500, address: '192.168.0.1', publicIp: '192.168.0.1' },
    });
  });

  it('is the interface that has the public IP, when only that is given', () => {
    expect(choose({ publicIp: ipAddress('10.0.0.2') })).toMatchObject({
      underlay: { name: 'eth1', address: '10.0.0.2' },
    });
  });

  it('is named, with a public IP that no interface has behind NAT', () => {
    expect(choose({ iface: ['eth1'], publicIp: ipAddress('203.0.113.7') })).toMatchObject({
      underlay: { name: 'eth1', address: '10.0.0.1', publicIp: '203.0.113.7' },
    });
  });

  it.each([
    ['by name', { iface: ['eth1'] }, 'eth1', '10.0.0.1'],
    ['by address, and that address is used', { iface: ['10.0.0.2'] }, 'eth1', '10.0.0.2'],
    ['by the first name that exists', { iface: ['eth9', 'eth1', 'eth0'] }, 'eth1', '10.0.0.1'],
    ['by a regular expression on addresses', { ifaceRegex: ['^10\\.'] }, 'eth1', '10.0.0.1'],
    ['by a regular expression on names', { ifaceRegex: ['th0$'] }, 'eth0', '192.168.0.1'],
    ['by name before any regular expression', { ifaceRegex: ['^192'], iface: ['eth1'] }, 'eth1', '10.0.0.1'],
  ])('is found %s', (_, changes, name, own) => {
    expect(choose(changes)).toMatchObject({ kind: 'chosen', underlay: { name, address: own } });
  });

  it('is the way to an address that must be reachable', () => {
    const target = ipAddress('10.9.9.9');
    const route = { interfaceIndex: 3, source: ipAddress('10.0.0.2'), gateway: undefined };
    expect(choose({ canReach: { address: target, route } })).toMatchObject({
      underlay: { name: 'eth1', address: '10.0.0.2' },
    });
    expect(choose({ canReach: { address: target, route: undefined } })).toMatchObject({ kind: 'none' });
  });

  it('prefers a lasting address, and never takes a deprecated one', () => {
    const many = nic(
      'eth0',
      2,
      address('192.168.0.9', { deprecated: true }),
      address('192.168.0.8', { permanent: false }),
      address('192.168.0.7'),
    );
    expect(chooseUnderlay(wish(), [many], [viaEth0])).toMatchObject({ underlay: { address: '192.168.0.7' } });
  });

  it.each([
    ['no such interface', { iface: ['eth9'] }, "there is no interface 'eth9'"],
    ['an interface without address', { iface: ['eth2'] }, 'interface eth2 has no IPv4 address'],
    ['an address nobody has', { iface: ['10.7.7.7'] }, 'no interface has the address 10.7.7.7'],
    ['a public IP nobody has', { publicIp: ipAddress('203.0.113.7') }, 'name the interface with --iface'],
    ['a regular expression nothing matches', { ifaceRegex: ['^wlan'] }, "matches '^wlan'"],
  ])('is explained when there is none: %s', (_, changes, reason) => {
    const choice = choose(changes);
    expect(choice.kind).toBe('none');
    expect((choice as { reason: string }).reason).toContain(reason);
    expect((choice as { reason: string }).reason).toContain('eth0 (192.168.0.1 fe80::1)');
  });

  it('needs a default route when nothing is asked for', () => {
    expect(choose({}, [])).toMatchObject({ kind: 'none' });
  });
});

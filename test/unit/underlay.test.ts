import { chooseUnderlay, type UnderlayWish } from '../../src/core/underlay';
import { ipAddress } from '../../src/model/address';
import type { InterfaceAddress, NetworkInterface, ResolvedRoute } from '../../src/model/network-interface';

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

const THERE = 'lo (127.0.0.1), eth0 (192.168.0.1 fe80::1), eth1 (10.0.0.1 10.0.0.2), eth2 (no address)';

describe('the underlay', () => {
  it('is where the default route leads, when nothing is asked for', () => {
    expect(choose({})).toEqual({
      kind: 'chosen',
      underlay: { name: 'eth0', index: 2, mtu: 1500, address: '192.168.0.1', publicIp: '192.168.0.1' },
      because: 'it has the default route',
    });
  });

  it('is where the first default route leads that leads through an interface with an address', () => {
    const via = (interfaceIndex: number) => ({ ...viaEth0, interfaceIndex });
    expect(choose({}, [via(9), via(4), via(3), via(2)])).toMatchObject({ underlay: { name: 'eth1' } });
  });

  it('is the interface that has the public IP, when only that is given', () => {
    expect(choose({ publicIp: ipAddress('10.0.0.2') })).toMatchObject({
      underlay: { name: 'eth1', address: '10.0.0.2', publicIp: '10.0.0.2' },
      because: 'it has the public IP 10.0.0.2',
    });
  });

  it('is named, with a public IP that no interface has behind NAT', () => {
    expect(choose({ iface: ['eth1'], publicIp: ipAddress('203.0.113.7') })).toMatchObject({
      underlay: { name: 'eth1', address: '10.0.0.1', publicIp: '203.0.113.7' },
    });
  });

  it.each<[string, Partial<UnderlayWish>, string, string, string]>([
    ['by name', { iface: ['eth1'] }, 'eth1', '10.0.0.1', '--iface names it'],
    [
      'by address, and that address is used',
      { iface: ['10.0.0.2'] },
      'eth1',
      '10.0.0.2',
      'it has the address 10.0.0.2',
    ],
    [
      'by the first name that exists',
      { iface: ['eth9', 'eth1', 'eth0'] },
      'eth1',
      '10.0.0.1',
      '--iface names it',
    ],
    [
      'by a regular expression on addresses',
      { ifaceRegex: ['^10\\.'] },
      'eth1',
      '10.0.0.1',
      'its address matches ^10\\.',
    ],
    [
      'by a regular expression on names',
      { ifaceRegex: ['th0$'] },
      'eth0',
      '192.168.0.1',
      'its name matches th0$',
    ],
    [
      'by a regular expression that a later interface matches by its address, and an earlier one by its name',
      { ifaceRegex: ['0$'] },
      'eth0',
      '192.168.0.1',
      'its name matches 0$',
    ],
    [
      'by a regular expression on addresses of the family alone, and never the loopback',
      { ifaceRegex: ['1$'] },
      'eth0',
      '192.168.0.1',
      'its address matches 1$',
    ],
    [
      'by name before any regular expression',
      { ifaceRegex: ['^192'], iface: ['eth1'] },
      'eth1',
      '10.0.0.1',
      '--iface names it',
    ],
    [
      'by the second regular expression, where the first matches nothing',
      { ifaceRegex: ['^wlan', 'eth1'] },
      'eth1',
      '10.0.0.1',
      'its name matches eth1',
    ],
    [
      'by the way to an address, where no name exists',
      {
        iface: ['eth9'],
        canReach: { address: ipAddress('10.9.9.9'), route: { ...viaEth0, interfaceIndex: 3 } },
      },
      'eth1',
      '10.0.0.1',
      'it is the way to 10.9.9.9',
    ],
  ])('is found %s', (_, changes, name, own, because) => {
    expect(choose(changes)).toMatchObject({ kind: 'chosen', underlay: { name, address: own }, because });
  });

  it('is the way to an address that must be reachable, and its address the source on that way', () => {
    const target = ipAddress('10.9.9.9');
    const reach = (route: ResolvedRoute | undefined) => choose({ canReach: { address: target, route } });
    const source = ipAddress('10.0.0.2');
    expect(reach({ interfaceIndex: 3, source, gateway: undefined })).toMatchObject({
      underlay: { name: 'eth1', address: '10.0.0.2' },
      because: 'it is the way to 10.9.9.9',
    });
    const none = { kind: 'none', reason: `there is no route to 10.9.9.9; there are: ${THERE}` };
    expect(reach(undefined)).toEqual(none);
    expect(reach({ interfaceIndex: 9, source, gateway: undefined })).toEqual(none);
    expect(reach({ interfaceIndex: 4, source: undefined, gateway: undefined })).toEqual({
      kind: 'none',
      reason: `the way to 10.9.9.9 leads through eth2, which has no IPv4 address; there are: ${THERE}`,
    });
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

  it.each<[string, InterfaceAddress[]]>([
    [
      'global before link-local',
      [address('10.0.0.8', { scope: 'link' }), address('10.0.0.7', { permanent: false, temporary: true })],
    ],
    [
      'configured before dynamic',
      [address('10.0.0.8', { permanent: false }), address('10.0.0.7', { temporary: true })],
    ],
    ['lasting before temporary', [address('10.0.0.8', { temporary: true }), address('10.0.0.7')]],
    ['the first of several as good', [address('10.0.0.7'), address('10.0.0.8')]],
    [
      'of the family',
      [address('fd00::8'), address('10.0.0.7', { scope: 'link', permanent: false, temporary: true })],
    ],
  ])('has the best address of its interface: %s', (_, addresses) => {
    const choice = chooseUnderlay(wish(), [nic('eth0', 2, ...addresses)], [viaEth0]);
    expect(choice).toMatchObject({ underlay: { address: '10.0.0.7' } });
  });

  it('is found by the same rules for IPv6', () => {
    const dual = [
      nic('eth0', 2, address('10.0.0.1'), address('fd00::1')),
      nic('eth1', 3, address('10.0.0.2')),
    ];
    const chooseIpv6 = (changes: Partial<UnderlayWish>, routes = [viaEth0]) =>
      chooseUnderlay(wish(changes), dual, routes, 'ipv6');
    expect(chooseIpv6({})).toMatchObject({ underlay: { name: 'eth0', address: 'fd00::1' } });
    expect(chooseIpv6({ ifaceRegex: ['1$'] })).toMatchObject({ underlay: { address: 'fd00::1' } });
    const there = 'there are: eth0 (10.0.0.1 fd00::1), eth1 (10.0.0.2)';
    expect(chooseIpv6({ iface: ['eth1'] })).toEqual({
      kind: 'none',
      reason: `interface eth1 has no IPv6 address; ${there}`,
    });
    expect(chooseIpv6({}, [])).toEqual({
      kind: 'none',
      reason: `no default route leads through an interface with an IPv6 address; choose with --iface; ${there}`,
    });
  });

  it.each<[string, Partial<UnderlayWish>, string]>([
    ['no such interface', { iface: ['eth9'] }, "there is no interface 'eth9'"],
    ['an interface without address', { iface: ['eth2'] }, 'interface eth2 has no IPv4 address'],
    ['an address nobody has', { iface: ['10.7.7.7'] }, 'no interface has the address 10.7.7.7'],
    [
      'a public IP nobody has',
      { publicIp: ipAddress('203.0.113.7') },
      'no interface has the address 203.0.113.7 (--public-ip); name the interface with --iface if it is behind NAT',
    ],
    [
      'a regular expression nothing matches',
      { ifaceRegex: ['^wlan'] },
      "no interface has an address or a name that matches '^wlan'",
    ],
    [
      'several wishes, none of which can be met',
      { iface: ['eth9', 'eth8'], ifaceRegex: ['^wlan'] },
      "there is no interface 'eth9'; there is no interface 'eth8'; " +
        "no interface has an address or a name that matches '^wlan'",
    ],
  ])('is explained when there is none: %s', (_, changes, reason) => {
    expect(choose(changes)).toEqual({ kind: 'none', reason: `${reason}; there are: ${THERE}` });
  });

  it('needs a default route when nothing is asked for', () => {
    expect(choose({}, [])).toEqual({
      kind: 'none',
      reason: `no default route leads through an interface with an IPv4 address; choose with --iface; there are: ${THERE}`,
    });
  });

  it('needs an MTU', () => {
    const mute = { ...nic('eth0', 2, address('10.0.0.1')), mtu: 0 };
    expect(chooseUnderlay(wish(), [mute], [viaEth0])).toEqual({
      kind: 'none',
      reason: 'interface eth0 has an MTU of 0',
    });
  });
});

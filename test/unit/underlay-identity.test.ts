/** Which of this host's addresses may be the underlay's, and which of several is. */
import { chooseUnderlay, type UnderlayChoice, type UnderlayWish } from '../../src/core/underlay';
import type { UnderlayPast } from '../../src/core/underlay-candidates';
import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { InterfaceAddress, NetworkInterface, ResolvedRoute } from '../../src/model/network-interface';

const OWN = subnet('10.5.7.0/24');
const MAC = (n: number) => macAddress(`02:ee:00:00:00:0${n}`);

/** Written as ip(8) does: `10.0.0.1/24`. */
const address = (text: string, changes: Partial<InterfaceAddress> = {}): InterfaceAddress => ({
  address: ipAddress(text.split('/')[0]!),
  prefixLength: Number(text.split('/')[1]),
  scope: 'global',
  permanent: true,
  temporary: false,
  deprecated: false,
  ...changes,
});
const DHCP = { permanent: false };
const nic = (
  name: string,
  index: number,
  addresses: (string | InterfaceAddress)[],
  changes: Partial<NetworkInterface> = {},
): NetworkInterface => ({
  ...{ name, index, mtu: 1500, up: true, carrier: true, loopback: name === 'lo', mac: MAC(index) },
  addresses: addresses.map((own) => (typeof own === 'string' ? address(own) : own)),
  ...changes,
});
const LO = nic('lo', 1, [address('127.0.0.1/8', { scope: 'host' })], { mtu: 65_536, mac: undefined });
const via = (interfaceIndex: number, gateway?: string, source?: string): ResolvedRoute => ({
  interfaceIndex,
  gateway: gateway === undefined ? undefined : ipAddress(gateway),
  source: source === undefined ? undefined : ipAddress(source),
});
const bridge = { kind: 'bridge' };

const DEFAULT: UnderlayWish = { iface: [], ifaceRegex: [], canReach: undefined, publicIp: undefined };
const named = (...iface: string[]): UnderlayWish => ({ ...DEFAULT, iface });
const matching = (...ifaceRegex: string[]): UnderlayWish => ({ ...DEFAULT, ifaceRegex });
const reaching = (text: string, route: ResolvedRoute | undefined): UnderlayWish => ({
  ...DEFAULT,
  canReach: { address: ipAddress(text), route },
});

function choose(
  wish: UnderlayWish,
  interfaces: NetworkInterface[],
  routes: ResolvedRoute[] = [],
  past: UnderlayPast = {},
): string {
  return print(chooseUnderlay(wish, [LO, ...interfaces], routes, 'ipv4', past));
}

/** `eth0 10.0.0.1`, or the reason without the list of what there is. */
function print(choice: UnderlayChoice): string {
  if (choice.kind === 'none') return choice.reason.replace(/; there are: .*/, '');
  const missing = choice.missing === undefined ? '' : `, without ${choice.missing}`;
  return `${choice.underlay.name} ${choice.underlay.address}${missing}`;
}

describe('what is ours carries no overlay:', () => {
  const waiting = nic('eth0', 2, []);
  const flannel = nic('flannel.1', 3, ['10.5.7.0/32'], { kind: 'vxlan' });
  const docker = nic('docker0', 4, ['10.5.7.1/24'], bridge);
  const past = { subnets: [OWN] };

  it.each([
    ['our device', [waiting, flannel]],
    ["flannel's device", [waiting, nic('flannel-v6.1', 3, ['10.5.7.0/32'])]],
    ['the device of another overlay', [waiting, nic('flannel.42', 3, ['10.6.1.0/32'])]],
    ['a bridge with an address of our subnet', [waiting, docker]],
    ['such a bridge by another address', [waiting, nic('br0', 4, ['10.5.7.1/24', '10.1.1.1/16'], bridge)]],
    ['what else has an address of our subnet', [waiting, nic('veth7', 4, ['10.5.7.1/32'], { kind: 'veth' })]],
    ["Docker's bridge", [waiting, nic('docker0', 4, ['10.17.0.1/16'], bridge)]],
    ["a network of Docker's", [waiting, nic('br-0123456789ab', 4, ['10.18.0.1/16'], bridge)]],
    ["CNI's bridge", [waiting, nic('cni0', 4, ['10.18.0.1/16'], bridge)]],
    ["Podman's bridge", [waiting, nic('cni-podman0', 4, ['10.18.0.1/16'], bridge)]],
    ["libvirt's bridge", [waiting, nic('virbr0', 4, ['10.18.0.1/16'], bridge)]],
    ['the loopback', [waiting, nic('lo', 1, ['10.18.0.1/32'])]],
  ])('%s is not found by a regular expression, nor by the default route', (_, interfaces) => {
    const other = interfaces[1]!;
    const none = "no interface has an address or a name that matches '^10\\.'";
    expect(choose(matching('^10\\.'), interfaces, [], past)).toBe(none);
    expect(choose(matching(`^${other.name}$`), interfaces, [], past)).toContain('no interface has');
    expect(choose(DEFAULT, interfaces, [via(other.index, '10.18.0.254')], past)).toContain(
      'no default route',
    );
    expect(choose(reaching('10.18.0.9', via(other.index)), interfaces, [], past)).toContain(
      'the way to 10.18.0.9',
    );
  });

  it.each([
    ['flannel.1', 'interface flannel.1 is a device of an overlay, and cannot carry it'],
    ['10.5.7.0', '10.5.7.0 is the address of flannel.1, a device of an overlay'],
    ['docker0', 'interface docker0 is a bridge of the containers of this host, and cannot carry it'],
    ['10.5.7.1', '10.5.7.1 is the address of docker0, a bridge of the containers of this host'],
    ['veth7', 'interface veth7 has no IPv4 address'],
    ['10.5.7.9', '10.5.7.9 is in our own subnet'],
  ])('%s is refused even if the user names it', (name, reason) => {
    const veth = nic('veth7', 5, ['10.5.7.9/32']);
    expect(choose(named(name), [flannel, docker, veth], [], past)).toBe(reason);
  });

  it('a bridge that has nothing to do with containers is an interface like any other', () => {
    const br0 = nic('br0', 4, ['10.1.1.1/16'], bridge);
    expect(choose(matching('^10\\.'), [br0], [], past)).toBe('br0 10.1.1.1');
    expect(choose(DEFAULT, [br0], [via(4, '10.1.1.254')], past)).toBe('br0 10.1.1.1');
    expect(choose(named('docker0'), [nic('docker0', 4, ['10.17.0.1/16'], bridge)])).toBe('docker0 10.17.0.1');
  });

  it('a bridge comes after other interfaces, unless the default route leads through it', () => {
    const interfaces = [nic('br0', 4, ['10.1.1.1/16'], bridge), nic('eth1', 5, ['10.2.1.1/16'])];
    expect(choose(matching('^10\\.'), interfaces)).toBe('eth1 10.2.1.1');
    expect(choose(matching('^10\\.'), interfaces, [via(4, '10.1.1.254')])).toBe('br0 10.1.1.1');
    // That one leads through another interface is no reason for the bridge.
    expect(choose(matching('^10\\.'), interfaces, [via(9, '10.3.1.254')])).toBe('eth1 10.2.1.1');
  });
});

describe('an address that other hosts do not reach is none:', () => {
  it('the loopback can be named if it has an address of its own', () => {
    const addresses = [address('127.0.0.1/8', { scope: 'host' }), '10.255.0.7/32'];
    const lo = nic('lo', 1, addresses, { mtu: 65_536 });
    const interfaces = [lo];
    expect(print(chooseUnderlay(named('lo'), interfaces, []))).toBe('lo 10.255.0.7');
    expect(print(chooseUnderlay(named('10.255.0.7'), interfaces, []))).toBe('lo 10.255.0.7');
    expect(chooseUnderlay(named('lo'), interfaces, [])).toMatchObject({
      underlay: { name: 'lo', mtu: 1_500 },
    });
    // What leaves has the size of the interfaces that it leaves by.
    const nics = [
      lo,
      nic('eth0', 2, ['10.1.1.1/16'], { mtu: 9_000 }),
      nic('eth1', 3, ['10.2.1.1/16'], { mtu: 1_400 }),
    ];
    // Nor those of containers, whose MTU follows from ours.
    const others = [
      nic('veth7', 6, [], { mtu: 1_200 }),
      nic('docker0', 4, ['10.17.0.1/16'], { mtu: 1_000 }),
      nic('flannel.1', 5, [], { mtu: 900 }),
    ];
    const mtuOf = (routes: Parameters<typeof chooseUnderlay>[2]) => {
      const choice = chooseUnderlay(named('lo'), [...nics, ...others], routes);
      return choice.kind === 'chosen' && choice.underlay.mtu;
    };
    expect(mtuOf([])).toBe(1_400);
    expect(mtuOf([via(2, '10.1.1.254')])).toBe(9_000);
    expect(choose(named('lo'), [])).toBe('interface lo has no IPv4 address that other hosts can reach');
  });

  it.each([
    ['127.0.0.1', 'a loopback address'],
    ['127.1.2.3', 'a loopback address'],
  ])('%s is refused by --iface and by --public-ip', (text, what) => {
    const lo = nic('lo', 1, [address(`${text}/8`, { scope: 'host' })]);
    expect(print(chooseUnderlay(named(text), [lo], []))).toContain(`${text} is ${what}`);
    const wish = { ...DEFAULT, publicIp: ipAddress(text) };
    expect(print(chooseUnderlay(wish, [lo], []))).toContain(`${text} is ${what}`);
  });

  it('of an interface, what is no address of a host is passed over', () => {
    const odd = nic('eth0', 2, ['127.9.9.9/32', '0.1.2.3/24', '224.1.2.3/32', '10.0.0.1/24']);
    expect(choose(named('eth0'), [odd])).toBe('eth0 10.0.0.1');
  });

  it('the way to an address of this host itself leads to the interface that has it', () => {
    const eth0 = nic('eth0', 2, ['10.0.0.1/24']);
    expect(choose(reaching('10.0.0.1', via(1, undefined, '10.0.0.1')), [eth0])).toBe('eth0 10.0.0.1');
    expect(choose(reaching('127.0.0.1', via(1, undefined, '127.0.0.1')), [eth0])).toBe(
      '127.0.0.1 is a loopback address',
    );
    expect(choose(reaching('10.0.0.9', via(1)), [eth0])).toBe(
      'the way to 10.0.0.9 leads through lo, which is the loopback',
    );
  });

  it.each([
    [nic('flannel.1', 3, ['10.5.7.0/32']), 'is a device of an overlay'],
    [nic('cni0', 3, ['10.9.0.1/24'], bridge), 'is for containers alone'],
    [nic('eth3', 3, []), 'has no IPv4 address'],
  ])('the way to an address is said to lead nowhere', (other, why) => {
    expect(choose(reaching('10.9.9.9', via(3)), [other])).toBe(
      `the way to 10.9.9.9 leads through ${other.name}, which ${why}`,
    );
  });

  it('a deprecated address is taken only where there is no other, or it is named or in use', () => {
    const deprecated = address('10.0.0.1/24', { deprecated: true });
    expect(choose(named('eth0'), [nic('eth0', 2, [deprecated])])).toBe('eth0 10.0.0.1');
    const both = nic('eth0', 2, [deprecated, '10.0.0.2/24']);
    expect(choose(named('eth0'), [both])).toBe('eth0 10.0.0.2');
    expect(choose(named('eth0'), [both], [], { addresses: [deprecated.address] })).toBe('eth0 10.0.0.2');
    expect(choose(matching('^10'), [nic('eth0', 2, [deprecated]), nic('eth1', 3, ['10.1.0.1/24'])])).toBe(
      'eth1 10.1.0.1',
    );
    expect(choose(named('10.0.0.1'), [both])).toBe('eth0 10.0.0.1');
    const current = { name: 'eth0', index: 2, address: deprecated.address };
    expect(choose(named('eth0'), [both], [], { current })).toBe('eth0 10.0.0.1');
  });
});

describe('of several addresses', () => {
  const FLOATING = '10.99.9.9/32';
  const eth0 = (...addresses: (string | InterfaceAddress)[]) => [nic('eth0', 2, addresses)];
  const wishes: [string, UnderlayWish][] = [
    ['by default', DEFAULT],
    ['by name', named('eth0')],
    ['by a regular expression', matching('^10\\.')],
    ['by the way to an address', reaching('10.0.0.9', via(2))],
  ];

  describe.each(wishes)('%s', (_, wish) => {
    const pick = (own: (string | InterfaceAddress)[], past: UnderlayPast = {}, route = via(2)) =>
      choose(wish, eth0(...own), [route], past);

    it('one that floats comes after one with a network, though that is from DHCP and this is lasting', () => {
      expect(pick([FLOATING, address('10.0.0.5/24', DHCP)])).toBe('eth0 10.0.0.5');
    });

    it('the first of two that float is taken where there is no other', () => {
      expect(pick(['10.99.9.8/32', FLOATING])).toBe('eth0 10.99.9.8');
    });

    it('one of a point-to-point link does not float', () => {
      const own = [FLOATING, address('10.0.0.5/32', { ...DHCP, peer: ipAddress('10.0.0.6') })];
      expect(pick(own)).toBe('eth0 10.0.0.5');
    });

    it('a secondary one comes after that which it is secondary to', () => {
      const own = [address('10.0.0.100/24', { secondary: true }), address('10.0.0.5/24', DHCP)];
      expect(pick(own)).toBe('eth0 10.0.0.5');
    });

    it('the one that the default route sends from comes first', () => {
      const own = ['10.1.0.1/24', address('10.0.0.5/24', DHCP), FLOATING];
      expect(pick(own, {}, via(2, '10.9.9.9', '10.0.0.5'))).toBe('eth0 10.0.0.5');
      expect(pick(own, {}, via(2, '10.9.9.9', '10.99.9.9'))).toBe('eth0 10.99.9.9');
    });

    it('without a source in the default route, it is the one in whose network the gateway is', () => {
      const own = ['10.1.0.1/24', address('10.0.0.5/24', DHCP)];
      expect(pick(own, {}, via(2, '10.0.0.254'))).toBe('eth0 10.0.0.5');
      const peer = address('10.0.0.5/32', { ...DHCP, peer: ipAddress('10.0.0.254') });
      expect(pick(['10.1.0.1/24', peer], {}, via(2, '10.0.0.254'))).toBe('eth0 10.0.0.5');
    });

    it('the default route of another interface says nothing of it', () => {
      expect(choose(wish, eth0('10.1.0.1/24', '10.0.0.5/24'), [via(2), via(9, '10.0.0.254')])).toBe(
        'eth0 10.1.0.1',
      );
    });

    it('the one of our last lease comes before all that, the likeliest first', () => {
      const own = ['10.1.0.1/24', address('10.0.0.5/24', DHCP), FLOATING];
      const addresses = ['10.7.7.7', '10.99.9.9', '10.0.0.5'].map(ipAddress);
      expect(pick(own, { addresses }, via(2, '10.1.0.254'))).toBe('eth0 10.99.9.9');
    });

    it('the one in use stays while its interface has it', () => {
      const own = ['10.1.0.1/24', address('10.0.0.5/24', DHCP), FLOATING];
      const past = (text: string, name = 'eth0', index = 2): UnderlayPast => ({
        current: { name, index, address: ipAddress(text) },
        addresses: [ipAddress('10.0.0.5')],
      });
      expect(pick(own, past('10.99.9.9'))).toBe('eth0 10.99.9.9');
      // Renamed, or made anew.
      expect(pick(own, past('10.99.9.9', 'nic7'))).toBe('eth0 10.99.9.9');
      expect(pick(own, past('10.99.9.9', 'eth0', 7))).toBe('eth0 10.99.9.9');
      expect(pick(own, past('10.99.9.9', 'eth7', 7))).toBe('eth0 10.0.0.5');
      expect(pick(own, past('10.7.7.7'))).toBe('eth0 10.0.0.5');
    });

    it('one of the link alone comes after one that routes, and a lasting one before one that is not', () => {
      expect(pick([address('10.0.0.4/24', { scope: 'link' }), address('10.0.0.5/24', DHCP)])).toBe(
        'eth0 10.0.0.5',
      );
      expect(pick([address('10.0.0.4/24', DHCP), '10.0.0.5/24'])).toBe('eth0 10.0.0.5');
      expect(pick([address('10.0.0.4/24', { temporary: true }), '10.0.0.5/24'])).toBe('eth0 10.0.0.5');
    });
  });

  it('the source of the way to an address comes first', () => {
    const own = eth0('10.1.0.1/24', address('10.0.0.5/24', DHCP));
    expect(choose(reaching('10.9.9.9', via(2, '10.0.0.254', '10.0.0.5')), own)).toBe('eth0 10.0.0.5');
  });

  it('an IPv6 gateway is found in the network of an IPv6 address', () => {
    const both = nic('eth0', 2, ['fd01::1/64', 'fd02::1:2/64', '10.0.0.1/24']);
    const choice = chooseUnderlay(named('eth0'), [both], [via(2, 'fd02::fe')], 'ipv6');
    expect(choice).toMatchObject({ underlay: { address: 'fd02::1:2' } });
  });
});

describe('of several interfaces', () => {
  const eth0 = nic('eth0', 2, ['10.0.0.1/24']);
  const eth1 = nic('eth1', 3, ['10.1.0.1/24']);
  const both = [eth0, eth1];
  const home = { name: 'eth1', mac: MAC(3) };
  const routes = [via(2, '10.0.0.254'), via(3, '10.1.0.254')];

  it('the first default route leads to the one, whatever its addresses are', () => {
    const dynamic = nic('eth0', 2, [address('10.0.0.1/32', DHCP)]);
    expect(choose(DEFAULT, [dynamic, eth1], [via(2), via(3, '10.1.0.254')])).toBe('eth0 10.0.0.1');
    expect(choose(DEFAULT, both, [via(9), via(3), via(2)])).toBe('eth1 10.1.0.1');
  });

  it.each([
    ['by default', DEFAULT],
    ['by a regular expression', matching('^10\\.')],
  ])('%s, the one that carried the overlay goes on, though another would be found first', (_, wish) => {
    expect(choose(wish, both, routes)).toBe('eth0 10.0.0.1');
    expect(choose(wish, both, routes, { home })).toBe('eth1 10.1.0.1');
    const current = { name: 'eth1', index: 3, address: ipAddress('10.1.0.1') };
    expect(choose(wish, both, routes, { current })).toBe('eth1 10.1.0.1');
    expect(choose(wish, both, routes, { addresses: [ipAddress('10.1.0.1')] })).toBe('eth1 10.1.0.1');
  });

  it('it goes back to the one that carried the overlay from the one that stood in for it', () => {
    const current = { name: 'eth0', index: 2, address: ipAddress('10.0.0.1') };
    expect(choose(DEFAULT, both, routes, { current, home })).toBe('eth1 10.1.0.1');
    expect(choose(DEFAULT, both, [routes[0]!], { current, home })).toBe('eth0 10.0.0.1, without eth1');
  });

  it('the one that the user names carries it, in the order of the names, whatever was before', () => {
    expect(choose(named('eth0', 'eth1'), both, routes, { home })).toBe('eth0 10.0.0.1');
    expect(choose(named('eth0'), [eth0, nic('eth1', 3, [])], routes, { home })).toBe('eth0 10.0.0.1');
    expect(
      choose({ ...DEFAULT, publicIp: ipAddress('10.0.0.1') }, [eth0, nic('eth1', 3, [])], [], { home }),
    ).toBe('eth0 10.0.0.1');
  });

  it('the first regular expression that finds one decides', () => {
    expect(choose(matching('^eth9', '^10\\.1', '^10\\.0'), both)).toBe('eth1 10.1.0.1');
    expect(choose(matching('^10\\.0'), both, routes, { home, addresses: [ipAddress('10.1.0.1')] })).toBe(
      'eth0 10.0.0.1',
    );
  });

  it.each<[string, UnderlayWish, string]>([
    ['by default', DEFAULT, 'eth0 10.0.0.1, without eth1'],
    ['by an address that matched', matching('^10\\.'), 'eth0 10.0.0.1, without eth1'],
    ['by its name', matching('^eth'), 'eth0 10.0.0.1, without eth1'],
    ['by one of two expressions', matching('^10\\.0', '^eth1'), 'eth0 10.0.0.1, without eth1'],
    ['but not where no expression would find it', matching('^10\\.0'), 'eth0 10.0.0.1'],
    ['by the way to an address', reaching('10.0.0.9', via(2)), 'eth0 10.0.0.1, without eth1'],
  ])(
    'the one that carried the overlay is missed while it is there without an address: %s',
    (_, wish, chosen) => {
      const past = { home, addresses: [ipAddress('10.1.0.1')] };
      expect(choose(wish, [eth0, nic('eth1', 3, [])], routes, past)).toBe(chosen);
    },
  );

  it('one that is not there any more is not missed', () => {
    expect(choose(DEFAULT, [eth0], routes, { home })).toBe('eth0 10.0.0.1');
  });

  it('it is known by its hardware address where it was renamed, and by its name where that is another', () => {
    const renamed = [eth0, nic('nic7', 3, ['10.1.0.1/24'])];
    expect(choose(DEFAULT, renamed, routes, { home })).toBe('nic7 10.1.0.1');
    const replaced = [eth0, nic('eth1', 3, ['10.1.0.1/24'], { mac: MAC(9) })];
    expect(choose(DEFAULT, replaced, routes, { home })).toBe('eth1 10.1.0.1');
    // Two interfaces that the kernel names the other way round after a boot.
    const exchanged = [nic('eth1', 2, ['10.0.0.1/24']), nic('eth0', 3, ['10.1.0.1/24'])];
    expect(choose(DEFAULT, exchanged, routes, { home })).toBe('eth0 10.1.0.1');
  });

  it('a bridge, bond or VLAN has the hardware address of what is below it, and is told from that by its name', () => {
    const below = nic('eth1', 3, [], { mac: MAC(3) });
    const vlan = nic('eth1.7', 5, ['10.1.0.1/24'], { mac: MAC(3), kind: 'vlan' });
    const past = { home: { name: 'eth1.7', mac: MAC(3) } };
    expect(choose(DEFAULT, [eth0, below, vlan], [via(2), via(5)], past)).toBe('eth1.7 10.1.0.1');
    const late = { ...vlan, addresses: [] };
    expect(choose(DEFAULT, [eth0, below, late], [via(2)], past)).toBe('eth0 10.0.0.1, without eth1.7');
    // Renamed: any of them is at home.
    expect(choose(DEFAULT, [eth0, below, { ...vlan, name: 'lan7' }], [via(2), via(5)], past)).toBe(
      'lan7 10.1.0.1',
    );
  });

  it('one without a hardware address is known by its name', () => {
    const wg = nic('wg0', 7, ['10.2.0.1/24'], { mac: undefined, kind: 'wireguard' });
    const past = { home: { name: 'wg0', mac: undefined } };
    expect(choose(DEFAULT, [eth0, wg], [via(2), via(7)], past)).toBe('wg0 10.2.0.1');
    const unnamed = { home: { name: 'ppp0', mac: undefined } };
    expect(choose(DEFAULT, [eth0, wg], [via(2), via(7)], unnamed)).toBe('eth0 10.0.0.1');
  });
});

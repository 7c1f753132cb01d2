import { ownHostOf, reservedSubnets, type OwnHostInputs } from '../../src/core/own-host';
import { readNetwork } from '../../src/core/network';
import { ipAddress, printSubnet, subnet, type IpAddress, type Subnet } from '../../src/model/address';
import type { Self } from '../../src/core/peers';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from '../../src/model/network-interface';
import { NETWORK_CONFIG } from '../support/agent-on-fakes';
import { exampleLease, exampleOverlay, exampleRange, exampleSelf, ON_DEMAND } from '../support/examples';
import { FAKE_UNDERLAY } from '../support/fake-kernel';

const via = (...gateways: (string | undefined)[]): ResolvedRoute[] =>
  gateways.map((gateway) => ({
    interfaceIndex: 2,
    source: undefined,
    gateway: gateway === undefined ? undefined : ipAddress(gateway),
  }));

/** The example host as it is, but for what differs. */
function inputs(changes: Partial<OwnHostInputs> = {}): OwnHostInputs {
  return {
    settings: {
      resolve: { kind: 'preload' },
      hasBlackholeRoute: false,
      ipMasq: false,
      etcdAddresses: [],
    },
    network: readNetwork(NETWORK_CONFIG),
    lease: exampleLease(1),
    underlay: exampleOverlay().underlay,
    hostNetwork: { interfaces: [FAKE_UNDERLAY], defaultRoutes: [] },
    ...changes,
  };
}
const withSettings = (changes: Partial<OwnHostInputs['settings']>) =>
  inputs({ settings: { ...inputs().settings, ...changes } });
const underlayAt = (address: string, publicIp = address) => ({
  ...exampleOverlay().underlay,
  address: ipAddress(address),
  publicIp: ipAddress(publicIp),
});

describe('the network route', () => {
  const nic = (name: string, text: string): NetworkInterface => {
    const [own, prefixLength] = text.split('/');
    const addresses = [
      {
        address: ipAddress(own!),
        prefixLength: Number(prefixLength),
        scope: 'global' as const,
        permanent: true,
        temporary: false,
        deprecated: false,
      },
    ];
    return { ...FAKE_UNDERLAY, name, index: 7, addresses };
  };
  const route = (changes: Partial<NetworkRoute> = {}): NetworkRoute => ({
    destination: subnet('10.5.0.0/16'),
    interfaceIndex: 7,
    gateway: undefined,
    protocol: 2,
    metric: 0,
    ...changes,
  });
  const derived = (
    interfaces: readonly NetworkInterface[],
    networkRoutes: readonly NetworkRoute[] = [],
    changes: Partial<OwnHostInputs> = {},
  ) => {
    const hostNetwork = { interfaces: [FAKE_UNDERLAY, ...interfaces], defaultRoutes: [], networkRoutes };
    return ownHostOf({ ...withSettings({ resolve: ON_DEMAND }), hostNetwork, ...changes });
  };

  it.each([
    [
      'of a second interface',
      [nic('eth1', '10.99.0.5/24')],
      [route()],
      'another program has the route 10.5.0.0/16 dev eth1',
    ],
    [
      'of whatever metric, and by a gateway',
      [nic('eth1', '10.99.0.5/24')],
      [route({ metric: 100, gateway: ipAddress('10.99.0.1'), protocol: 4 })],
      'another program has the route 10.5.0.0/16 via 10.99.0.1 dev eth1 metric 100',
    ],
    [
      'that leads nowhere',
      [],
      [route({ interfaceIndex: undefined, protocol: 3 })],
      'another program has the route 10.5.0.0/16',
    ],
    [
      'that is a black hole',
      [],
      [route({ interfaceIndex: undefined, protocol: 3, metric: 9_999, type: 'blackhole' })],
      'another program has the route blackhole 10.5.0.0/16 metric 9999',
    ],
    [
      'over several links',
      [nic('eth1', '10.99.0.5/24')],
      [
        route({
          interfaceIndex: undefined,
          hops: [
            { interfaceIndex: 7, gateway: ipAddress('10.99.0.1') },
            { interfaceIndex: FAKE_UNDERLAY.index, gateway: ipAddress('192.168.0.254') },
          ],
        }),
      ],
      'another program has the route 10.5.0.0/16 nexthop via 10.99.0.1 dev eth1 nexthop via 192.168.0.254 dev eth0',
    ],
  ])('is left out where there is one of exactly the network, %s', (_, interfaces, routes, reason) => {
    const { overlay, self, advice, unrouted } = derived(interfaces, routes);
    expect(overlay).toMatchObject({ hasNetworkRoute: false, resolve: { kind: 'preload' } });
    expect(self.isNetworkRouted).toBe(false);
    expect(unrouted).toBe(reason);
    expect(advice).toMatchObject([
      { message: "another program's route has the network: only peers are routed, all at once" },
    ]);
  });

  it('has parts that other interfaces have, but for our containers, overlay devices, and who has all of it', () => {
    const others = [
      nic('docker0', '10.5.1.1/24'),
      nic('flannel.9', '10.5.4.0/24'),
      nic('eth2', '10.5.0.9/8'),
    ];
    expect(derived(others).self).not.toHaveProperty('attached');
    expect(derived([...others, nic('eth1', '10.5.200.5/20')]).self.attached).toEqual([
      { name: 'eth1', subnet: subnet('10.5.192.0/20') },
    ]);
  });

  it('is left out where another interface has an address in the network', () => {
    const { overlay, advice, unrouted } = derived([nic('eth1', '10.5.200.5/24')]);
    expect(overlay.hasNetworkRoute).toBe(false);
    expect(unrouted).toBe('the network holds 10.5.200.5 of eth1');
    expect(advice).toEqual([
      {
        message: 'the network holds an address of another interface: only peers are routed, all at once',
        fields: { network: '10.5.0.0/16', address: '10.5.200.5', interface: 'eth1' },
      },
    ]);
  });

  it.each([
    ['a bridge with an address of our subnet', [nic('docker0', '10.5.1.1/24')], []],
    ['an address elsewhere', [nic('eth1', '10.6.200.5/24')], []],
    ['what an overlay device has, ours or one from before', [nic('flannel.1', '10.5.3.0/16')], [route()]],
    ['our own route', [nic('eth1', '10.6.200.5/24')], [route({ protocol: 84 })]],
    ['a longer route, which wins by itself', [], [route({ destination: subnet('10.5.128.0/17') })]],
  ])('is there beside %s', (_, interfaces, routes) => {
    const { overlay, advice } = derived(interfaces, routes);
    expect(overlay).toMatchObject({ hasNetworkRoute: true, resolve: ON_DEMAND });
    expect(advice).toEqual([]);
  });

  it('is there beside a bridge that still has a subnet of ours from before', () => {
    const bridge = [nic('docker0', '10.5.9.1/24')];
    expect(derived(bridge).overlay.hasNetworkRoute).toBe(false);
    const formerSubnets = [subnet('10.5.9.0/24')];
    expect(derived(bridge, [], { formerSubnets }).overlay.hasNetworkRoute).toBe(true);
  });
});

describe('what follows for this host', () => {
  it('is its place in the overlay: by lease, configuration and underlay', () => {
    expect(ownHostOf(inputs())).toEqual({
      overlay: exampleOverlay(),
      self: exampleSelf({ occupied: expect.any(Object) as Self['occupied'] }),
      range: exampleRange(),
      subnetEnv: {
        ipv4: { network: subnet('10.5.0.0/16'), subnet: subnet('10.5.1.0/24') },
        ipv6: undefined,
        mtu: 1450,
        ipMasq: false,
      },
      advice: [],
    });
  });

  it('takes over what the user wants', () => {
    const wanted = withSettings({ resolve: ON_DEMAND, hasBlackholeRoute: true, ipMasq: true });
    expect(ownHostOf(wanted)).toMatchObject({
      overlay: { resolve: ON_DEMAND, hasBlackholeRoute: true },
      subnetEnv: { ipMasq: true },
    });
  });

  it('tells peers from us by the PublicIP, which is not always the address of the interface', () => {
    const underlay = underlayAt('192.168.0.1', '203.0.113.7');
    expect(ownHostOf(inputs({ underlay })).self).toMatchObject({
      publicIp: '203.0.113.7',
      guarded: ['192.168.0.1', '203.0.113.7'],
    });
  });

  it('guards our own addresses, the gateways and etcd, each once', () => {
    const { settings } = withSettings({ etcdAddresses: ['192.168.0.254', '172.16.0.1'] as IpAddress[] });
    const hostNetwork = { interfaces: [], defaultRoutes: via('192.168.0.254', undefined, '192.168.0.253') };
    expect(ownHostOf(inputs({ settings, hostNetwork })).self.guarded).toEqual([
      '192.168.0.1',
      '192.168.0.254',
      '192.168.0.253',
      '172.16.0.1',
    ]);
  });

  it('knows what other addresses are: its own, and those by which a network is meant', () => {
    const [first] = FAKE_UNDERLAY.addresses;
    const at = (text: string, prefixLength: number, changes = {}) => ({
      ...first!,
      ...{ address: ipAddress(text), prefixLength, ...changes },
    });
    const addresses = [
      at('10.9.8.7', 16),
      at('10.8.0.1', 31),
      at('10.7.0.1', 32, { peer: ipAddress('10.7.0.2') }),
      at('10.6.0.1', 24, { peer: ipAddress('10.6.0.2') }),
      at('10.5.1.1', 24),
      at('fd00::7', 64),
    ];
    const { settings } = withSettings({ etcdAddresses: [ipAddress('172.16.0.1')] });
    const interfaces = [{ ...FAKE_UNDERLAY, name: 'eth1', addresses }];
    const hostNetwork = { interfaces, defaultRoutes: via('10.9.0.1') };
    const { occupied } = ownHostOf(inputs({ settings, hostNetwork })).self;
    const own = { by: 'an address of this host (eth1)', mayBePeer: false };
    expect(occupied).toEqual({
      '192.168.0.1': { by: 'our own address', mayBePeer: true },
      '10.9.0.1': { by: 'a default gateway', mayBePeer: true },
      '172.16.0.1': { by: 'etcd', mayBePeer: true },
      '10.9.0.0': { by: 'the address of the network 10.9.0.0/16', mayBePeer: false },
      '10.9.255.255': { by: 'the broadcast address of 10.9.0.0/16', mayBePeer: false },
      '10.9.8.7': own,
      '10.8.0.1': own,
      '10.7.0.1': own,
      '10.6.0.1': own,
    });
  });

  const CONFLICTS: [string, Partial<OwnHostInputs>, string][] = [
    ['our own address', { underlay: underlayAt('10.5.200.1') }, '10.5.200.1'],
    ['our PublicIP', { underlay: underlayAt('192.168.0.1', '10.5.200.2') }, '10.5.200.2'],
    ['a gateway', { hostNetwork: { interfaces: [], defaultRoutes: via('10.5.200.3') } }, '10.5.200.3'],
    ['etcd', withSettings({ etcdAddresses: [ipAddress('10.5.200.4')] }), '10.5.200.4'],
  ];

  it.each(CONFLICTS)(
    'routes only peers, all at once, where the network holds %s, and says so',
    (_, changes, address) => {
      const conflicting = inputs(changes);
      const own = ownHostOf({ ...conflicting, settings: { ...conflicting.settings, resolve: ON_DEMAND } });
      expect(own.overlay).toMatchObject({ hasNetworkRoute: false, resolve: { kind: 'preload' } });
      expect(own.self.isNetworkRouted).toBe(false);
      expect(own.advice).toEqual([
        {
          message: 'the network holds an address of the underlay: only peers are routed, all at once',
          fields: { network: '10.5.0.0/16', address },
        },
      ]);
    },
  );
});

describe('what of the network this host does not lease', () => {
  const OWN = [subnet('10.5.7.0/24')];
  const nic = (name: string, ...texts: string[]): NetworkInterface => ({
    ...FAKE_UNDERLAY,
    name,
    addresses: texts.map((text) => {
      const [own, prefixLength] = text.split('/');
      return { ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress(own!), prefixLength: Number(prefixLength) };
    }),
  });
  const reserved = (changes: Partial<OwnHostInputs>, own: Subnet[] = OWN) =>
    reservedSubnets(inputs(changes), own).map((each) => `${printSubnet(each.subnet)}: ${each.what}`);
  const attached = (...interfaces: NetworkInterface[]) =>
    reserved({ hostNetwork: { interfaces, defaultRoutes: [] } });

  it('is nothing where all it reaches is elsewhere', () => {
    expect(attached(FAKE_UNDERLAY)).toEqual([]);
  });

  it('is where its guarded addresses are', () => {
    const { settings } = withSettings({ etcdAddresses: [ipAddress('10.5.1.4'), ipAddress('172.16.0.1')] });
    const hostNetwork = { interfaces: [], defaultRoutes: via('10.5.1.3') };
    expect(reserved({ settings, hostNetwork, underlay: underlayAt('10.5.1.1', '10.5.1.2') })).toEqual([
      '10.5.1.1/32: 10.5.1.1, our own address',
      '10.5.1.2/32: 10.5.1.2, our own PublicIP',
      '10.5.1.3/32: 10.5.1.3, a default gateway',
      '10.5.1.4/32: 10.5.1.4, etcd',
    ]);
  });

  it('is what its other interfaces are in', () => {
    expect(attached(FAKE_UNDERLAY, nic('eth1', '10.5.9.5/24'), nic('br-x', '172.18.0.1/16'))).toEqual([
      '10.5.9.5/32: 10.5.9.5 of eth1',
      '10.5.9.0/24: 10.5.9.0/24 of eth1',
    ]);
    expect(attached(nic('lo', '10.5.3.1/32'))).toEqual(['10.5.3.1/32: 10.5.3.1 of lo']);
  });

  it('is the other end of a point-to-point link', () => {
    const ppp = nic('ppp0', '198.51.100.1/32');
    const addresses = [{ ...ppp.addresses[0]!, peer: ipAddress('10.5.3.1') }];
    expect(attached({ ...ppp, addresses })).toEqual(['10.5.3.1/32: 10.5.3.1/32 of ppp0']);
  });

  it('is no more than the own address where the interface is in a network that holds the whole overlay', () => {
    for (const length of [8, 16])
      expect(attached(nic('eth1', `10.5.9.5/${length}`))).toEqual(['10.5.9.5/32: 10.5.9.5 of eth1']);
    expect(attached(nic('eth1', '10.5.9.5/17'))).toHaveLength(2);
  });

  it('is not what its containers are in, nor what an overlay has', () => {
    expect(attached(nic('docker0', '10.5.7.1/24'), nic('flannel.1', '10.5.8.0/32'))).toEqual([]);
    const hostNetwork = { interfaces: [nic('docker0', '10.5.7.1/24')], defaultRoutes: [] };
    expect(reserved({ hostNetwork }, [])).toHaveLength(2);
  });
});

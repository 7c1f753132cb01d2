import { ownHostOf, type OwnHostInputs } from '../../src/core/own-host';
import { readNetwork } from '../../src/core/network';
import { ipAddress, subnet, type IpAddress } from '../../src/model/address';
import type { ResolvedRoute } from '../../src/model/network-interface';
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

describe('what follows for this host', () => {
  it('is its place in the overlay: by lease, configuration and underlay', () => {
    expect(ownHostOf(inputs())).toEqual({
      overlay: exampleOverlay(),
      self: exampleSelf(),
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
      expect(own.advice).toEqual([
        {
          message: 'the network holds an address of the underlay: only peers are routed, all at once',
          fields: { network: '10.5.0.0/16', address },
        },
      ]);
    },
  );
});

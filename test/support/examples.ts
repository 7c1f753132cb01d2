/** Values that tests begin with. */
import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { Lease } from '../../src/model/lease';
import type { SubnetRange } from '../../src/model/network-config';
import type { Overlay, ResolveMode } from '../../src/model/overlay';
import type { Peer } from '../../src/model/peer';
import type { Claim } from '../../src/core/acquisition';
import type { Self } from '../../src/core/peers';

export const IDLE_MILLISECONDS = 300_000;
export const ON_DEMAND: ResolveMode = { kind: 'on-demand', idleMilliseconds: IDLE_MILLISECONDS };

/** This host: 10.5.1.0/24 of 10.5.0.0/16, at 192.168.0.1. */
export function exampleOverlay(changes: Partial<Overlay> = {}): Overlay {
  return {
    network: subnet('10.5.0.0/16'),
    subnet: subnet('10.5.1.0/24'),
    backend: {
      type: 'vxlan',
      vni: 1,
      port: 8472,
      mtu: undefined,
      gbp: false,
      learning: false,
      directRouting: false,
    },
    underlay: {
      name: 'eth0',
      index: 2,
      mtu: 1500,
      address: ipAddress('192.168.0.1'),
      publicIp: ipAddress('192.168.0.1'),
    },
    vtepMac: macAddress('02:00:00:00:00:01'),
    resolve: { kind: 'preload' },
    hasNetworkRoute: true,
    hasBlackholeRoute: false,
    ...changes,
  };
}

/** Peer number n (2…255) is 10.5.n.0/24 at 192.168.0.n with the VTEP MAC 02:00:00:00:00:n. */
export function examplePeer(n: number, changes: Partial<Peer> = {}): Peer {
  return {
    subnet: subnet(`10.5.${n}.0/24`),
    publicIp: ipAddress(`192.168.0.${n}`),
    vtepMac: macAddress(`02:00:00:00:00:${n.toString(16).padStart(2, '0')}`),
    ...changes,
  };
}

/** The lease of {@link examplePeer} n. */
export function exampleLease(n: number, changes: Partial<Lease> = {}): Lease {
  const { subnet: leased, publicIp, vtepMac } = examplePeer(n);
  return {
    name: `10.5.${n}.0-24`,
    subnet: leased,
    ipv6Subnet: undefined,
    attributes: {
      publicIp,
      publicIpv6: undefined,
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: vtepMac },
      backendV6Data: undefined,
    },
    etcdLeaseId: String(1000 + n),
    modRevision: String(10 + n),
    createRevision: String(10 + n),
    ...changes,
  };
}

/** {@link exampleOverlay}'s host, as it tells itself from its peers. */
export function exampleSelf(changes: Partial<Self> = {}): Self {
  const { network, subnet: own, underlay, vtepMac, backend } = exampleOverlay();
  return {
    leaseName: '10.5.1.0-24',
    publicIp: underlay.publicIp,
    vtepMac,
    vni: backend.vni,
    network,
    subnet: own,
    guarded: [underlay.address],
    isNetworkRouted: true,
    occupied: {},
    ...changes,
  };
}

/** How the subnets of {@link exampleOverlay}'s network are cut. */
/** Host 7, which never had a subnet, asks for one. */
export function exampleClaim(changes: Partial<Claim> = {}): Claim {
  return {
    range: exampleRange(),
    publicIp: ipAddress('192.168.0.7'),
    previous: undefined,
    mayRenumber: true,
    avoid: [],
    random: 0,
    ...changes,
  };
}

export function exampleRange(changes: Partial<SubnetRange> = {}): SubnetRange {
  return {
    network: subnet('10.5.0.0/16'),
    subnetLength: 24,
    subnetMin: ipAddress('10.5.1.0'),
    subnetMax: ipAddress('10.5.255.0'),
    ...changes,
  };
}

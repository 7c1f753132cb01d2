/** What follows for this host from what is known of it: its place in the overlay, and what must stay out of the overlay. */
import {
  bitsOf,
  contains,
  familyOf,
  offsetAddress,
  overlap,
  printSubnet,
  sameSubnet,
  sizeOf,
  subnetOf,
  type IpAddress,
  type Subnet,
} from '../model/address';
import type { Lease } from '../model/lease';
import { vtepMacOf } from '../model/lease-codec';
import type { SubnetRange } from '../model/network-config';
import type { HostNetwork } from '../model/network-interface';
import type { Overlay, ResolveMode, Underlay } from '../model/overlay';
import type { SubnetEnv } from '../model/subnet-env';
import type { ReservedSubnet } from './acquisition';
import type { Network } from './network';
import { networkRouteObstacle, printObstacle } from './network-route';
import type { Attached, Occupied, Self } from './peers';
import { OVERLAY_DEVICE } from './underlay-candidates';
import { mtuRemark, overlayMtu } from './vxlan';

/** What the user wants of this host. It never changes. */
export interface OwnHostSettings {
  readonly resolve: ResolveMode;
  /** `--ip-blackhole-route` */
  readonly hasBlackholeRoute: boolean;
  /** `--ip-masq` */
  readonly ipMasq: boolean;
  readonly etcdAddresses: readonly IpAddress[];
}

/** Everything that the rest is derived from. Each may change at any time, except for the settings. */
export interface OwnHostInputs {
  readonly settings: OwnHostSettings;
  readonly network: Network;
  /** Our own lease: it names our subnet and our VTEP MAC. */
  readonly lease: Lease;
  readonly underlay: Underlay;
  readonly hostNetwork: HostNetwork;
  /** Of the endpoints that are names; those that are addresses are settings. */
  readonly etcdAddresses?: readonly IpAddress[];
  /** The subnets that our containers had before: what still has one is no other's. */
  readonly formerSubnets?: readonly Subnet[];
}

/** A limit that an administrator should know of. It changes nothing by itself. */
export interface Advice {
  /** Constant text. */
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
}

export interface OwnHost {
  readonly overlay: Overlay;
  /** What tells us from our peers. */
  readonly self: Self;
  /** How the network's subnets are cut. */
  readonly range: SubnetRange;
  /** What subnet.env says. */
  readonly subnetEnv: SubnetEnv;
  readonly advice: readonly Advice[];
  /** Why the network has no route; undefined where it has one. */
  readonly unrouted: string | undefined;
}

/** Derives all of it. Equal inputs give equal results. */
export function ownHostOf(inputs: OwnHostInputs): OwnHost {
  const { settings, network, lease, underlay } = inputs;
  const { range, backend } = network;
  const { subnet } = lease;
  const vtepMac = vtepMacOf(lease)!;
  const guarded = guardedAddresses(inputs).map(({ address }) => address);
  const ownSubnets = [subnet, ...(inputs.formerSubnets ?? [])];
  const obstacle = networkRouteObstacle(range.network, ownSubnets, guarded, inputs.hostNetwork);
  const hasNetworkRoute = obstacle === undefined;
  const remark = mtuRemark(backend, underlay);
  const attached = attachedNetworks(inputs, ownSubnets);
  const overlay = {
    network: range.network,
    subnet,
    backend,
    underlay,
    vtepMac,
    hasNetworkRoute,
    hasBlackholeRoute: settings.hasBlackholeRoute,
    // Without that route the kernel does not ask about unknown peers.
    resolve: hasNetworkRoute ? settings.resolve : ({ kind: 'preload' } as const),
  };
  return {
    overlay,
    self: {
      leaseName: lease.name,
      publicIp: underlay.publicIp,
      vtepMac,
      vni: backend.vni,
      network: range.network,
      subnet,
      guarded,
      isNetworkRouted: hasNetworkRoute,
      ...(attached.length > 0 ? { attached } : {}),
      occupied: occupiedAddresses(inputs),
    },
    range,
    subnetEnv: {
      ipv4: { network: range.network, subnet },
      ipv6: undefined,
      mtu: overlayMtu(backend, underlay),
      ipMasq: settings.ipMasq,
    },
    advice: [
      ...(obstacle ? [obstacle] : []),
      ...(remark === undefined
        ? []
        : [{ message: 'the configured MTU is not that of the overlay', fields: { reason: remark } }]),
    ],
    unrouted: obstacle && printObstacle(obstacle),
  };
}

interface NamedAddress {
  readonly address: IpAddress;
  /** `a default gateway` */
  readonly what: string;
}

type Surroundings = Pick<OwnHostInputs, 'settings' | 'underlay' | 'hostNetwork' | 'etcdAddresses'>;

/** Addresses that the underlay must reach, whatever leases say, each once. */
function guardedAddresses(inputs: Surroundings): NamedAddress[] {
  const { settings, underlay, hostNetwork, etcdAddresses = [] } = inputs;
  const gateways = hostNetwork.defaultRoutes.flatMap(({ gateway }) => gateway ?? []);
  const all = [
    { address: underlay.address, what: 'our own address' },
    { address: underlay.publicIp, what: 'our own PublicIP' },
    ...gateways.map((address) => ({ address, what: 'a default gateway' })),
    ...[...settings.etcdAddresses, ...etcdAddresses].map((address) => ({ address, what: 'etcd' })),
  ];
  return all.filter(({ address }, at) => all.findIndex((other) => other.address === address) === at);
}

/**
 * What other addresses than ours are known to be. A gateway, or the machine that etcd runs on, may well be a peer; what is this host's,
 * and the addresses by which a network itself is meant, cannot.
 */
function occupiedAddresses(inputs: Surroundings & Pick<OwnHostInputs, 'lease'>): Self['occupied'] {
  const occupied: Record<IpAddress, Occupied> = {};
  for (const { address, what } of guardedAddresses(inputs)) occupied[address] = { by: what, mayBePeer: true };
  for (const { name, addresses } of inputs.hostNetwork.interfaces) {
    for (const own of addresses) {
      // What is in our own subnet cannot be sent to in any case, and changes with each container.
      if (familyOf(own.address) === 'ipv6' || contains(inputs.lease.subnet, own.address)) continue;
      const whole = own.peer === undefined ? subnetOf(own.address, own.prefixLength) : undefined;
      if (whole && whole.prefixLength < 31) {
        const last = offsetAddress(whole.address, sizeOf('ipv4', whole.prefixLength) - 1n);
        occupied[whole.address] = {
          by: `the address of the network ${printSubnet(whole)}`,
          mayBePeer: false,
        };
        occupied[last] = { by: `the broadcast address of ${printSubnet(whole)}`, mayBePeer: false };
      }
      occupied[own.address] = { by: `an address of this host (${name})`, mayBePeer: false };
    }
  }
  return occupied;
}

/** What of the network other interfaces have, but for those of our containers and one that has all of it. */
function attachedNetworks(inputs: OwnHostInputs, own: readonly Subnet[]): Attached[] {
  const { network } = inputs.network.range;
  return inputs.hostNetwork.interfaces
    .filter(({ name, loopback }) => !OVERLAY_DEVICE.test(name) && !loopback)
    .flatMap(({ name, addresses }) =>
      addresses
        .filter(({ address }) => !own.some((subnet) => contains(subnet, address)))
        .map(({ address, prefixLength, peer }) => ({
          name,
          subnet: subnetOf(peer ?? address, prefixLength),
        })),
    )
    .filter(({ subnet }) => contains(network, subnet) && !sameSubnet(network, subnet));
}

/**
 * What of the network this host cannot lease, because it would not reach any more what is there: guarded addresses, and the addresses
 * and networks of its other interfaces. An interface whose network holds the whole overlay reserves no more than its own address.
 * `own` are our subnets, now and before: what is in them is our containers' side.
 */
export function reservedSubnets(
  inputs: Surroundings & Pick<OwnHostInputs, 'network'>,
  own: readonly Subnet[],
): ReservedSubnet[] {
  const { network } = inputs.network.range;
  const guarded = guardedAddresses(inputs).map(({ address, what }) => ({
    subnet: { address, prefixLength: bitsOf(familyOf(address)) },
    what: `${address}, ${what}`,
  }));
  const attached = inputs.hostNetwork.interfaces
    .filter(({ name }) => !OVERLAY_DEVICE.test(name))
    .flatMap(({ name, addresses }) =>
      addresses.flatMap(({ address, prefixLength, peer }) => {
        if (own.some((subnet) => contains(subnet, address))) return [];
        const itself = { address, prefixLength: bitsOf(familyOf(address)) };
        const whole = subnetOf(peer ?? address, prefixLength);
        return [
          { subnet: itself, what: `${address} of ${name}` },
          ...(contains(whole, network) || sameSubnet(whole, itself)
            ? []
            : [{ subnet: whole, what: `${printSubnet(whole)} of ${name}` }]),
        ];
      }),
    );
  return [...guarded, ...attached].filter(({ subnet }) => overlap(subnet, network));
}

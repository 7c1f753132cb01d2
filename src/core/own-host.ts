/** What follows for this host from what is known of it: its place in the overlay, and what must stay out of the overlay. */
import { contains, printSubnet, type IpAddress } from '../model/address';
import type { Lease } from '../model/lease';
import { vtepMacOf } from '../model/lease-codec';
import type { SubnetRange } from '../model/network-config';
import type { HostNetwork } from '../model/network-interface';
import type { Overlay, ResolveMode, Underlay } from '../model/overlay';
import type { SubnetEnv } from '../model/subnet-env';
import type { Network } from './network';
import type { Self } from './peers';
import { overlayMtu } from './vxlan';

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
}

/** Derives all of it. Equal inputs give equal results. */
export function ownHostOf(inputs: OwnHostInputs): OwnHost {
  const { settings, network, lease, underlay } = inputs;
  const { range, backend } = network;
  const { subnet } = lease;
  const vtepMac = vtepMacOf(lease)!;
  const guarded = guardedAddresses(inputs);
  // A route to the whole network would send it into the overlay.
  const conflict = guarded.find((address) => contains(range.network, address));
  const hasNetworkRoute = conflict === undefined;
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
    },
    range,
    subnetEnv: {
      ipv4: { network: range.network, subnet },
      ipv6: undefined,
      mtu: overlayMtu(backend, underlay),
      ipMasq: settings.ipMasq,
    },
    advice:
      conflict === undefined
        ? []
        : [
            {
              message: 'the network holds an address of the underlay: only peers are routed, all at once',
              fields: { network: printSubnet(range.network), address: conflict },
            },
          ],
  };
}

/** Addresses that the underlay must reach, whatever leases say: our own, the default gateways, etcd. */
function guardedAddresses({ settings, underlay, hostNetwork }: Omit<OwnHostInputs, 'lease' | 'network'>) {
  const gateways = hostNetwork.defaultRoutes.flatMap(({ gateway }) => gateway ?? []);
  return [...new Set([underlay.address, underlay.publicIp, ...gateways, ...settings.etcdAddresses])];
}

/** Which leases are peers we can send to. */
import { contains, overlap, printSubnet, sameSubnet, type IpAddress, type Subnet } from '../model/address';
import { shorten } from '../model/json-fields';
import type { Lease } from '../model/lease';
import { vxlanDataOf, whyNoVtep } from '../model/lease-codec';
import { isUnicast, type MacAddress } from '../model/mac';
import type { Peer } from '../model/peer';
import { whyNoHost } from '../model/special-addresses';

/** What tells us from our peers. */
export interface Self {
  /** The name of our own lease. */
  readonly leaseName: string | undefined;
  readonly publicIp: IpAddress;
  readonly vtepMac: MacAddress;
  readonly vni: number;
  readonly network: Subnet;
  /** Our own subnet. */
  readonly subnet: Subnet;
  /** Addresses that must be reached by the underlay, whatever leases say: our own, the default gateways, etcd. */
  readonly guarded: readonly IpAddress[];
  /** True while the whole network is routed to the VTEP: no outer packet can be sent into it. */
  readonly isNetworkRouted: boolean;
  /** Parts of the network that other interfaces of this host have. */
  readonly attached?: readonly Attached[];
  /** Addresses that are known to be something else than a peer's PublicIP. */
  readonly occupied: Readonly<Record<IpAddress, Occupied>>;
}

export interface Attached {
  readonly subnet: Subnet;
  /** `eth1` */
  readonly name: string;
}

export interface Occupied {
  /** `a default gateway` */
  readonly by: string;
  /** True for another host's: it may be a peer all the same, if an agent of its own has written its lease. */
  readonly mayBePeer: boolean;
}

export type PeerVerdict =
  /** Remark: what is odd about it all the same. */
  | { readonly kind: 'peer'; readonly peer: Peer; readonly remark: string | undefined }
  | { readonly kind: 'self' }
  /** A lease that cannot be sent to, or would do harm; the others are not affected. */
  | { readonly kind: 'unusable'; readonly reason: string };

/** What a lease means to this host: one with a vxlan VTEP that is neither ours nor nonsense is a peer. */
export function judgeLease(lease: Lease, self: Self): PeerVerdict {
  if (lease.name === self.leaseName) return { kind: 'self' };
  const { publicIp, backendType, backendData } = lease.attributes;
  if (backendType !== 'vxlan') return unusable(`its backend is '${shorten(backendType)}', not vxlan`);
  const vtep = vxlanDataOf(backendData);
  if (!vtep) return unusable(whyNoVtep(backendData));
  if (!isUnicast(vtep.vtepMac)) return unusable(`its VtepMAC ${vtep.vtepMac} is not that of one station`);
  if (vtep.vtepMac === self.vtepMac) return unusable(`its VtepMAC ${vtep.vtepMac} is our own`);
  if (publicIp === undefined) return unusable('it has no PublicIP');
  if (publicIp === self.publicIp) return unusable(`its PublicIP ${publicIp} is our own`);
  const oddity = whyNoHost(publicIp) ?? whyElsewhere(lease, publicIp, self);
  if (oddity) return unusable(`its PublicIP ${publicIp} is ${oddity}`);
  const harm = harmOf(lease.subnet, publicIp, self);
  if (harm) return unusable(harm);
  const peer = { subnet: lease.subnet, publicIp, vtepMac: vtep.vtepMac };
  const remark = remarkOnVni(vtep.vni, self.vni) ?? remarkOnAttached(lease.subnet, self);
  return { kind: 'peer', peer, remark };
}

/**
 * No reason not to send: flannel never looks at it. It writes none before 0.14, and from then to 0.23 the lower 16 bits, also
 * where its device has all 24.
 */
function remarkOnVni(theirs: number | undefined, ours: number): string | undefined {
  if (theirs === undefined || theirs === ours || theirs === (ours & 0xffff)) return undefined;
  return `its VNI is ${theirs} and ours is ${ours}: no packet arrives until both have read the same configuration`;
}

/** Of two routes the longer is taken: that of the peer, where it is a part of what an interface has. */
function remarkOnAttached(subnet: Subnet, { attached = [] }: Self): string | undefined {
  const whole = attached.find((each) => contains(each.subnet, subnet) && !sameSubnet(each.subnet, subnet));
  if (!whole) return undefined;
  const { name } = whole;
  return `its subnet is a part of ${printSubnet(whole.subnet)} of ${name}: what this host looks for there goes to the peer, and not by ${name}`;
}

/** What a route to this subnet would take from where it belongs. */
function harmOf(subnet: Subnet, publicIp: IpAddress, self: Self): string | undefined {
  if (!contains(self.network, subnet))
    return `its subnet is outside the network ${printSubnet(self.network)}`;
  if (overlap(subnet, self.subnet)) return `its subnet overlaps ours, ${printSubnet(self.subnet)}`;
  if (contains(subnet, publicIp)) return `its PublicIP ${publicIp} is in its own subnet`;
  if (self.isNetworkRouted && contains(self.network, publicIp))
    return `its PublicIP ${publicIp} is in the network ${printSubnet(self.network)}: what is sent to it would go into the overlay itself`;
  const guarded = self.guarded.find((address) => contains(subnet, address));
  return guarded && `its subnet holds ${guarded}, which the underlay must reach`;
}

/** Why what is sent to this PublicIP does not come to the holder of the lease. */
function whyElsewhere(lease: Lease, publicIp: IpAddress, self: Self): string | undefined {
  const occupied = self.occupied[publicIp];
  if (occupied && !occupied.mayBePeer) return occupied.by;
  if (occupied && isUntouched(lease)) return `${occupied.by}, and no agent has written this lease`;
  return undefined;
}

/** True for a key as somebody made it by hand: an agent keeps an etcd lease, or has written its MAC into a reservation. */
function isUntouched({ etcdLeaseId, createRevision, modRevision }: Lease): boolean {
  return etcdLeaseId === undefined && createRevision === modRevision;
}

/** True if a lease leads to another host by the MAC that is ours: a clone of this host, or this host at an earlier address. */
export function claimsOurMac(lease: Lease, self: Pick<Self, 'leaseName' | 'publicIp' | 'vtepMac'>): boolean {
  const { publicIp, backendData } = lease.attributes;
  if (lease.name === self.leaseName || publicIp === undefined || publicIp === self.publicIp) return false;
  return vxlanDataOf(backendData)?.vtepMac === self.vtepMac;
}

function unusable(reason: string): PeerVerdict {
  return { kind: 'unusable', reason };
}

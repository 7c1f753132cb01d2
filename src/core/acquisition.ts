/** Which subnet this host should lease. */
import { overlap, printSubnet, sameSubnet, type IpAddress, type Subnet } from '../model/address';
import type { Lease } from '../model/lease';
import { vtepMacOf } from '../model/lease-codec';
import type { MacAddress } from '../model/mac';
import type { SubnetRange } from '../model/network-config';
import { freeSubnet, isLeasable } from './subnets';

/** Part of the network that cannot be leased, because this host reaches something else there. */
export interface ReservedSubnet {
  readonly subnet: Subnet;
  /** What is there: `192.168.0.254, a default gateway`. */
  readonly what: string;
}

/** The lease that this host held, by its state file. */
export interface RememberedLease {
  readonly subnet: Subnet;
  readonly publicIp: IpAddress | undefined;
  readonly vtepMac: MacAddress | undefined;
  /** True if this host is the one that held it, by machine and underlay interface: it may follow with another PublicIP. */
  readonly isThisHosts: boolean;
}

export interface Claim {
  readonly range: SubnetRange;
  /** Who we are: flannel knows hosts by their PublicIP. */
  readonly publicIp: IpAddress;
  /** The subnet we had, by what we hold or by subnet.env. */
  readonly previous: Subnet | undefined;
  readonly remembered?: RememberedLease | undefined;
  /** VTEP MACs of this host, now and before. */
  readonly ownMacs?: readonly (MacAddress | undefined)[];
  /** True for an etcd lease that this host got since it was booted. */
  readonly isGrantedToUs?: (etcdLeaseId: string) => boolean;
  /** Names of leases that another host, which lives, has kept against us. */
  readonly conceded?: ReadonlySet<string>;
  /** False: `previous`, if it still is one of this network, or none. */
  readonly mayRenumber: boolean;
  /** Subnets that turned out to be taken although no lease says so. */
  readonly avoid: readonly Subnet[];
  readonly reserved?: readonly ReservedSubnet[];
  /** 0…1, chooses among the free ones. */
  readonly random: number;
}

export type Acquisition =
  /** This lease is ours already: keep it. */
  | { readonly kind: 'reuse'; readonly lease: Lease }
  /** This lease is ours, and names the PublicIP that we had: claim it, and give way if its holder lives. */
  | { readonly kind: 'follow'; readonly lease: Lease }
  /** This lease is ours, but of another network than the one configured now: delete it and decide again. */
  | { readonly kind: 'discard'; readonly lease: Lease }
  | { readonly kind: 'create'; readonly subnet: Subnet }
  /** The previous subnet is another host's, and no other is wanted. */
  | { readonly kind: 'lost'; readonly subnet: Subnet; readonly holder: Lease }
  /** `blocked`: what keeps us from those that nobody leases; `oversized`: leases of the network that are larger than a host's. */
  | {
      readonly kind: 'exhausted';
      readonly blocked?: readonly ReservedSubnet[];
      readonly oversized?: readonly Lease[];
    };

/**
 * Decides as flannel does: the lease with our PublicIP, else our previous subnet if nobody has it, else a random free one.
 * Of several leases with our PublicIP, the one for the previous subnet comes first, and one that fits before one that does not.
 * Unlike flannel, a lease of another host that had our PublicIP is left alone, and the one we held is kept under a new PublicIP.
 */
export function decideAcquisition(claim: Claim, leases: readonly Lease[]): Acquisition {
  const { range, remembered } = claim;
  const own = leases.filter(
    (lease) => lease.attributes.publicIp === claim.publicIp && !isAnothers(lease, claim),
  );
  const fitting = own.filter((lease) => fits(lease, range));
  const last = claim.previous ?? remembered?.subnet;
  const kept = fitting.find((lease) => sameSubnet(lease.subnet, last)) ?? fitting[0];
  if (kept) return { kind: 'reuse', lease: kept };
  const followed = leases.find((lease) => isFollowing(lease, claim));
  if (followed) return { kind: 'follow', lease: followed };
  // A reservation is an administrator's, fitting or not.
  const outdated = own.find((lease) => !isReservation(lease));
  if (outdated) return { kind: 'discard', lease: outdated };

  if (claim.previous && isLeasable(range, claim.previous) && !claim.mayRenumber) {
    const { previous } = claim;
    // Lost races do not count here: the winner's lease does.
    const holder = leases.find((lease) => mayHave(lease, previous, range));
    return holder ? { kind: 'lost', subnet: previous, holder } : { kind: 'create', subnet: previous };
  }
  return createOne(claim, last, leases);
}

function createOne(claim: Claim, last: Subnet | undefined, leases: readonly Lease[]): Acquisition {
  const { range, avoid, reserved = [], random } = claim;
  const leased = [...leases.map((lease) => lease.subnet), ...avoid];
  const taken = [...leased, ...reserved.map(({ subnet }) => subnet)];
  if (last && isLeasable(range, last) && !isTaken(last, claim, leases))
    return { kind: 'create', subnet: last };
  const subnet = freeSubnet(range, taken, random);
  if (subnet) return { kind: 'create', subnet };
  if (!freeSubnet(range, leased, random)) {
    const oversized = leases.filter(
      (lease) => lease.subnet.prefixLength < range.subnetLength && overlap(lease.subnet, range.network),
    );
    return oversized.length > 0 ? { kind: 'exhausted', oversized } : { kind: 'exhausted' };
  }
  const blocked = reserved.filter((each) => overlap(each.subnet, range.network));
  return { kind: 'exhausted', blocked };
}

/** Whether another has the subnet that was ours last, or it turned out to be no good. */
function isTaken(
  last: Subnet,
  { range, previous, avoid, reserved = [] }: Claim,
  leases: readonly Lease[],
): boolean {
  const isHeld = previous !== undefined && sameSubnet(previous, last);
  const isLeased = leases.some((lease) =>
    isHeld ? mayHave(lease, last, range) : overlap(lease.subnet, last),
  );
  return isLeased || [...avoid, ...reserved.map(({ subnet }) => subnet)].some((each) => overlap(each, last));
}

/**
 * True for a lease that goes before ours of this subnet, which our containers have. One that does not fit the network does not: hosts
 * believe a lease that fits before it ({@link Rivals}), and a single key over half of the network would renumber half of them.
 */
function mayHave(lease: Lease, held: Subnet, range: SubnetRange): boolean {
  return isLeasable(range, lease.subnet) && overlap(lease.subnet, held);
}

/** What is odd about the leases with our PublicIP, a sentence for each. */
export function oddLeases(claim: Claim, leases: readonly Lease[]): { lease: Lease; reason: string }[] {
  return leases.flatMap((lease) => {
    if (lease.attributes.publicIp !== claim.publicIp) return [];
    if (isAnothers(lease, claim)) {
      const last = printSubnet((claim.previous ?? claim.remembered?.subnet)!);
      return [
        {
          lease,
          reason: `it is another host's, which had our PublicIP: our subnet is ${last}, and its VTEP MAC is not ours`,
        },
      ];
    }
    if (!isReservation(lease) || fits(lease, claim.range)) return [];
    const { network, subnetLength, subnetMin, subnetMax } = claim.range;
    return [
      {
        lease,
        reason:
          `it is a reservation for our PublicIP that does not fit ${printSubnet(network)} ` +
          `(a /${subnetLength} from ${subnetMin} to ${subnetMax}); it stays as it is, and we take another`,
      },
    ];
  });
}

function fits({ subnet, ipv6Subnet }: Lease, range: SubnetRange): boolean {
  return isLeasable(range, subnet) && ipv6Subnet === undefined;
}

/** What tells the leases of this host from those of others with its PublicIP. */
export interface Marks {
  /** The subnets that this host remembers. */
  readonly subnets: readonly (Subnet | undefined)[];
  /** VTEP MACs of this host, now and before. */
  readonly macs: readonly (MacAddress | undefined)[];
  readonly isGrantedToUs: (etcdLeaseId: string) => boolean;
}

/**
 * True for a lease of another host that had our PublicIP: an address that moves between hosts, or that DHCP gives to one after the
 * other. Without any memory of a subnet, PublicIP alone decides, as in flannel.
 */
export function isOfAnotherHost(lease: Lease, { subnets, macs, isGrantedToUs }: Marks): boolean {
  // An administrator who reserves a subnet for an address vouches for that address.
  if (lease.etcdLeaseId === undefined) return false;
  const known = subnets.filter((subnet) => subnet !== undefined);
  if (known.length === 0 || known.some((subnet) => sameSubnet(subnet, lease.subnet))) return false;
  const vtepMac = vtepMacOf(lease);
  if (vtepMac !== undefined && macs.includes(vtepMac)) return false;
  return !isGrantedToUs(lease.etcdLeaseId);
}

function isAnothers(lease: Lease, claim: Claim): boolean {
  const { range, previous, remembered, ownMacs = [], isGrantedToUs = () => false } = claim;
  // What was ours in another network says nothing of this one.
  const subnets = [previous, remembered?.subnet].filter((subnet) => subnet && isLeasable(range, subnet));
  return isOfAnotherHost(lease, { subnets, macs: ownMacs, isGrantedToUs });
}

/** True for the lease that we held, while it still is as we left it: who wrote another PublicIP or MAC into it is another host. */
function isFollowing(lease: Lease, { range, remembered, conceded }: Claim): boolean {
  if (!remembered?.isThisHosts || conceded?.has(lease.name) || isReservation(lease)) return false;
  const { subnet, publicIp, vtepMac } = remembered;
  if (publicIp === undefined || vtepMac === undefined || !fits(lease, range)) return false;
  return (
    sameSubnet(lease.subnet, subnet) && lease.attributes.publicIp === publicIp && vtepMacOf(lease) === vtepMac
  );
}

/** True for a key that hangs on no etcd lease. */
function isReservation({ etcdLeaseId }: Lease): boolean {
  return etcdLeaseId === undefined;
}

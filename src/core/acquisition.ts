/** Which subnet this host should lease. */
import { overlap, sameSubnet, type IpAddress, type Subnet } from '../model/address';
import type { Lease } from '../model/lease';
import type { SubnetRange } from '../model/network-config';
import { freeSubnet, isLeasable } from './subnets';

export interface Claim {
  readonly range: SubnetRange;
  /** Who we are: flannel knows hosts by their PublicIP. */
  readonly publicIp: IpAddress;
  /** The subnet we had, by what we remember or by subnet.env. */
  readonly previous: Subnet | undefined;
  /** False: `previous`, if it still is one of this network, or none. */
  readonly mayRenumber: boolean;
  /** Subnets that turned out to be taken although no lease says so. */
  readonly avoid: readonly Subnet[];
  /** 0…1, chooses among the free ones. */
  readonly random: number;
}

export type Acquisition =
  /** This lease is ours already: keep it. */
  | { readonly kind: 'reuse'; readonly lease: Lease }
  /** This lease is ours, but of another network than the one configured now: delete it and decide again. */
  | { readonly kind: 'discard'; readonly lease: Lease }
  | { readonly kind: 'create'; readonly subnet: Subnet }
  /** The previous subnet is another host's, and no other is wanted. */
  | { readonly kind: 'lost'; readonly subnet: Subnet; readonly holder: Lease }
  | { readonly kind: 'exhausted' };

/**
 * Decides as flannel does: the lease with our PublicIP, else our previous subnet if nobody has it, else a random free one.
 * Of several leases with our PublicIP, the one for the previous subnet comes first, and one that fits before one that does not.
 */
export function decideAcquisition(claim: Claim, leases: readonly Lease[]): Acquisition {
  const own = leases.filter((lease) => lease.attributes.publicIp === claim.publicIp);
  const fitting = own.filter(
    (lease) => isLeasable(claim.range, lease.subnet) && lease.ipv6Subnet === undefined,
  );
  const kept = fitting.find((lease) => sameSubnet(lease.subnet, claim.previous)) ?? fitting[0];
  if (kept) return { kind: 'reuse', lease: kept };
  if (own[0]) return { kind: 'discard', lease: own[0] };

  const previous = claim.previous && isLeasable(claim.range, claim.previous) ? claim.previous : undefined;
  if (previous && !claim.mayRenumber) {
    // Lost races do not count here: the winner's lease does.
    const holder = leases.find((lease) => overlap(lease.subnet, previous));
    return holder ? { kind: 'lost', subnet: previous, holder } : { kind: 'create', subnet: previous };
  }
  const taken = [...leases.map((lease) => lease.subnet), ...claim.avoid];
  if (previous && !taken.some((subnet) => overlap(subnet, previous))) {
    return { kind: 'create', subnet: previous };
  }
  const subnet = freeSubnet(claim.range, taken, claim.random);
  return subnet ? { kind: 'create', subnet } : { kind: 'exhausted' };
}

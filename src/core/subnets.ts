/** Cutting a network into subnets. */
import {
  addressToInteger,
  bitsOf,
  compareAddresses,
  contains,
  familyOf,
  integerToAddress,
  sizeOf,
  type Subnet,
} from '../model/address';
import type { SubnetRange } from '../model/network-config';

/** True if a host may lease this subnet: right length, between the configured bounds. */
export function isLeasable(range: SubnetRange, subnet: Subnet): boolean {
  if (!contains(range.network, subnet) || subnet.prefixLength !== range.subnetLength) return false;
  const { address } = subnet;
  return compareAddresses(range.subnetMin, address) <= 0 && compareAddresses(address, range.subnetMax) <= 0;
}

/**
 * One of the subnets that overlap nothing taken, each as likely as any other: the one that `random` (0…1) points to.
 * Undefined when there is none. Takes O(taken · log taken), however large the network.
 */
export function freeSubnet(range: SubnetRange, taken: Iterable<Subnet>, random: number): Subnet | undefined {
  const family = familyOf(range.network.address);
  const size = sizeOf(family, range.subnetLength);
  const min = addressToInteger(range.subnetMin);
  const total = (addressToInteger(range.subnetMax) - min) / size + 1n;

  // Index intervals [from, after) that are taken, in order. What begins before the range has a `from` of 0 or less.
  const busy = [...taken]
    .filter((subnet) => familyOf(subnet.address) === family)
    .map((subnet) => {
      const first = addressToInteger(subnet.address) - min;
      const after = first + sizeOf(family, subnet.prefixLength);
      return { from: first / size, after: (after + size - 1n) / size };
    })
    .filter(({ from }) => from < total)
    .sort((a, b) => Number(a.from - b.from));
  // What remains between them is free.
  const gaps: { from: bigint; count: bigint }[] = [];
  let next = 0n;
  for (const { from, after } of [...busy, { from: total, after: total }]) {
    if (from > next) gaps.push({ from: next, count: from - next });
    if (after > next) next = after;
  }

  const free = gaps.reduce((sum, gap) => sum + gap.count, 0n);
  let pick = (free * BigInt(Math.floor(random * 2 ** 32))) >> 32n;
  for (const gap of gaps) {
    if (pick < gap.count) {
      const address = integerToAddress(family, min + (gap.from + pick) * size);
      return { address, prefixLength: range.subnetLength };
    }
    pick -= gap.count;
  }
  return undefined;
}

/**
 * The metric of a peer's route: the subnet's place in the network, from 1 on. A metric of its own for each keeps the kernel
 * from comparing every new route with all others (fib_info's hash covers the metric but not the gateway: inserting N routes
 * is O(N²) without it).
 */
export function routeMetric(network: Subnet, subnet: Subnet): number {
  const offset = addressToInteger(subnet.address) - addressToInteger(network.address);
  const place = offset >> BigInt(bitsOf(familyOf(subnet.address)) - subnet.prefixLength);
  // The largest metric belongs to `unreachable` routes; an IPv6 network may hold more subnets than there are metrics.
  return Number(BigInt.asUintN(31, place)) + 1;
}

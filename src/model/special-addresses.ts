/** Addresses with a meaning of their own (RFC 6890): which of them are no host's, and which can be no overlay's. */
import { contains, overlap, printSubnet, subnet, type IpAddress, type Subnet } from './address';

interface SpecialRange {
  readonly range: Subnet;
  /** What an address of it is. */
  readonly what: string;
  /** Whether another host can be reached at one. */
  readonly isReachable: boolean;
}

const special = (range: string, what: string, isReachable = false): SpecialRange => ({
  range: subnet(range),
  what,
  isReachable,
});

const SPECIAL_RANGES: readonly SpecialRange[] = [
  special('0.0.0.0/8', 'no address of a host'),
  special('127.0.0.0/8', 'a loopback address'),
  special('169.254.0.0/16', 'a link-local address', true),
  special('224.0.0.0/4', 'a multicast address'),
  special('255.255.255.255/32', 'the broadcast address'),
  special('240.0.0.0/4', 'a reserved address', true),
  special('::/128', 'no address of a host'),
  special('::1/128', 'a loopback address'),
  special('fe80::/10', 'a link-local address', true),
  special('ff00::/8', 'a multicast address'),
];

/** Why packets cannot be sent to an address as to one other host; undefined where they can. */
export function whyNoHost(address: IpAddress): string | undefined {
  // Thousands of leases are judged by it, and hardly one of them is special.
  const first = parseInt(address, 10);
  if (first > 0 && first < 224 && first !== 127 && !address.includes(':')) return undefined;
  return SPECIAL_RANGES.find(({ range, isReachable }) => !isReachable && contains(range, address))?.what;
}

/** Why a network cannot be that of an overlay; undefined where it can. */
export function whyNoOverlay(network: Subnet): string | undefined {
  const found = SPECIAL_RANGES.find(({ range }) => overlap(range, network));
  if (!found) return undefined;
  const { range, what } = found;
  return `${printSubnet(network)} cannot be an overlay: an address in ${printSubnet(range)} is ${what}; use a private network, like 10.5.0.0/16`;
}

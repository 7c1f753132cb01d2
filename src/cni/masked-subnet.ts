/**
 * Subnets as text, for the CNI plugin alone. The rest of vtepd has model/address, whose IPv6 comes from a package that takes
 * 7 ms to load: a quarter of what starting Node takes, for every container.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** The subnet in its canonical spelling, host bits masked away (`10.5.72.1/24` is `10.5.72.0/24`), or undefined. */
export function maskedSubnet(text: string): string | undefined {
  const match = /^([^/%]+)\/(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  const address = match[1]!;
  const prefixLength = Number(match[2]);
  if (isIPv4(address) && prefixLength <= 32) {
    const bytes = address.split('.').map(Number);
    return `${masked(bytes, 8, prefixLength).join('.')}/${prefixLength}`;
  }
  if (isIPv6(address) && prefixLength <= 128) {
    const groups = masked(groupsOf(canonicalIpv6(address)), 16, prefixLength);
    return `${canonicalIpv6(groups.map((group) => group.toString(16)).join(':'))}/${prefixLength}`;
  }
  return undefined;
}

/** The address's words of that many bits each, with all but the first `prefixLength` bits zero. */
function masked(words: readonly number[], bits: number, prefixLength: number): number[] {
  return words.map((word, index) => {
    const kept = Math.min(Math.max(prefixLength - index * bits, 0), bits);
    return word & ~((1 << (bits - kept)) - 1);
  });
}

/** RFC 5952, by the one parser of Node that prints it. */
function canonicalIpv6(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

function groupsOf(canonical: string): number[] {
  const [head, tail] = canonical
    .split('::')
    .map((half) => (half === '' ? [] : half.split(':').map((group) => parseInt(group, 16))));
  if (tail === undefined) return head!;
  return [...head!, ...Array<number>(8 - head!.length - tail.length).fill(0), ...tail];
}

/** IP addresses and subnets of either family, as values that compare and print like text. */
import { Address6 } from 'ip-address';

const DOT = '.'.charCodeAt(0);
const ZERO = '0'.charCodeAt(0);

/** Eight groups, the last two of them in dotted decimals. */
const LONGEST_ADDRESS = 'ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255'.length;

export type Family = 'ipv4' | 'ipv6';

/**
 * An IP address in its one canonical spelling: dotted decimal, or RFC 5952 for IPv6 (Go's `net.IP.String()` form, which
 * flannel uses in etcd keys). Two addresses are equal exactly if their texts are.
 */
export type IpAddress = string & { readonly brand: 'IpAddress' };

/** An address range: `address` is its first address, host bits zero; `prefixLength` in bits. */
export interface Subnet {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** The canonical address that `text` spells, or undefined when it spells none. No leading zeros, no zone, no prefix. */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (text.length > LONGEST_ADDRESS) return undefined;
  try {
    if (text.includes(':')) {
      if (/[%/]/.test(text)) return undefined;
      return integerToAddress('ipv6', new Address6(text).bigInt());
    }
    return parseIpv4(text);
  } catch {
    return undefined;
  }
}

/** By hand: thousands of leases are read at every start, and a regular expression is twenty times as fast as Address4. */
function parseIpv4(text: string): IpAddress | undefined {
  const match = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text);
  if (!match || +match[1]! > 255 || +match[2]! > 255 || +match[3]! > 255 || +match[4]! > 255)
    return undefined;
  return text as IpAddress;
}

/** Like {@link parseIpAddress} for text that is known to be good; throws a RangeError otherwise. */
export function ipAddress(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new RangeError(`not an IP address: '${text}'`);
  return address;
}

/** The subnet that `text` (`10.5.0.0/16`) names, host bits masked away as flannel does, or undefined. */
export function parseSubnet(text: string): Subnet | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  const address = parseIpAddress(match[1]!);
  const prefixLength = Number(match[2]);
  if (address === undefined || prefixLength > bitsOf(familyOf(address))) return undefined;
  return subnetOf(address, prefixLength);
}

/** Like {@link parseSubnet} for text that is known to be good; throws a RangeError otherwise. */
export function subnet(text: string): Subnet {
  const parsed = parseSubnet(text);
  if (parsed === undefined) throw new RangeError(`not a subnet: '${text}'`);
  return parsed;
}

/** `10.5.1.0/24` */
export function printSubnet(of: Subnet): string {
  return `${of.address}/${of.prefixLength}`;
}

export function familyOf(address: IpAddress): Family {
  return address.includes(':') ? 'ipv6' : 'ipv4';
}

/** 32 or 128. */
export function bitsOf(family: Family): number {
  return family === 'ipv4' ? 32 : 128;
}

/** How many addresses a subnet of this prefix length holds. */
export function sizeOf(family: Family, prefixLength: number): bigint {
  return 1n << BigInt(bitsOf(family) - prefixLength);
}

/** The subnet of the given prefix length that holds `address`. */
export function subnetOf(address: IpAddress, prefixLength: number): Subnet {
  const family = familyOf(address);
  if (prefixLength === bitsOf(family)) return { address, prefixLength };
  if (family === 'ipv4') {
    return { address: printIpv4((ipv4ToNumber(address) & maskOf(prefixLength)) >>> 0), prefixLength };
  }
  const shift = BigInt(bitsOf(family) - prefixLength);
  return {
    address: integerToAddress(family, (addressToInteger(address) >> shift) << shift),
    prefixLength,
  };
}

/** The first so many bits of an IPv4 address. */
function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
}

/** True if `inner` (an address, or a whole subnet) lies in `outer`. Families never contain each other. */
export function contains(outer: Subnet, inner: IpAddress | Subnet): boolean {
  const address = typeof inner === 'string' ? inner : inner.address;
  const family = familyOf(outer.address);
  if (family !== familyOf(address)) return false;
  if (typeof inner !== 'string' && inner.prefixLength < outer.prefixLength) return false;
  if (family === 'ipv4') {
    const difference = ipv4ToNumber(outer.address) ^ ipv4ToNumber(address);
    return (difference & maskOf(outer.prefixLength)) === 0;
  }
  return subnetOf(address, outer.prefixLength).address === outer.address;
}

/** True if the two subnets share an address. */
export function overlap(a: Subnet, b: Subnet): boolean {
  return contains(a, b) || contains(b, a);
}

export function sameSubnet(a: Subnet | undefined, b: Subnet | undefined): boolean {
  return a?.address === b?.address && a?.prefixLength === b?.prefixLength;
}

/** The address `offset` places after `address`. */
export function offsetAddress(address: IpAddress, offset: bigint): IpAddress {
  return integerToAddress(familyOf(address), addressToInteger(address) + offset);
}

/** Negative, 0 or positive: how two addresses of one family are in order. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (familyOf(a) === 'ipv4') return ipv4ToNumber(a) - ipv4ToNumber(b);
  const [left, right] = [addressToInteger(a), addressToInteger(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The address as an unsigned integer. */
export function addressToInteger(address: IpAddress): bigint {
  if (familyOf(address) === 'ipv6') return new Address6(address).bigInt();
  return BigInt(ipv4ToNumber(address));
}

/** Digit by digit: the peer table and every plan ask for thousands of these. */
function ipv4ToNumber(address: IpAddress): number {
  let value = 0;
  let octet = 0;
  for (let at = 0; at < address.length; at++) {
    const code = address.charCodeAt(at);
    if (code === DOT) {
      value = value * 256 + octet;
      octet = 0;
    } else octet = octet * 10 + code - ZERO;
  }
  return value * 256 + octet;
}

/** The inverse of {@link addressToInteger}; throws a RangeError for a value that does not fit the family. */
export function integerToAddress(family: Family, value: bigint): IpAddress {
  // What is left of a negative number is -1.
  if (value >> BigInt(bitsOf(family)) !== 0n) throw new RangeError(`not an ${family} address: ${value}`);
  if (family === 'ipv6') return Address6.fromBigInt(value).correctForm() as IpAddress;
  return printIpv4(Number(value));
}

function printIpv4(value: number): IpAddress {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as IpAddress;
}

/** The address in network byte order: 4 or 16 bytes. */
export function addressToBytes(address: IpAddress): Uint8Array {
  if (familyOf(address) === 'ipv6') return Uint8Array.from(new Address6(address).toUnsignedByteArray());
  return Uint8Array.from(address.split('.'), Number);
}

/** The inverse of {@link addressToBytes}; throws a RangeError unless there are 4 or 16 bytes. */
export function bytesToAddress(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as IpAddress;
  if (bytes.length !== 16) throw new RangeError(`not an IP address: ${bytes.length} bytes`);
  return integerToAddress('ipv6', BigInt('0x' + Buffer.from(bytes).toString('hex')));
}

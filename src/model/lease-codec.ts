/**
 * Leases as text: the last part of an etcd key, and flannel's JSON value. Written byte for byte as flannel (Go) writes them;
 * read as tolerantly as flannel reads them.
 */
import { familyOf, parseIpAddress, subnetOf, type IpAddress, type Subnet } from './address';
import type { Lease, LeaseAttributes, LeaseSubnets, MalformedLease } from './lease';
import { isDeeperThan, isJsonObject, printBriefly } from './json-fields';
import { parseSpelledMacAddress, type MacAddress } from './mac';

/** A key below `<prefix>/subnets/` as it is stored. */
export interface StoredLease {
  readonly name: string;
  readonly value: string;
  readonly etcdLeaseId: string | undefined;
  readonly modRevision: string;
  readonly createRevision: string;
}

export type ParsedLease =
  | { readonly kind: 'lease'; readonly lease: Lease }
  | { readonly kind: 'malformed'; readonly malformed: MalformedLease };

/** The longest name of a lease that is read; those of both families have at most 67 characters. */
const LONGEST_NAME = 255;
/** The longest value of a lease that is read, in bytes; flannel's have 100 to 300. */
export const LONGEST_VALUE = 16_384;
/** How deep a value may be nested; flannel's are two deep. */
const DEEPEST_VALUE = 16;

type Parsed<T> = { readonly value: T } | { readonly reason: string };

/** What a key and its value mean; the parsed lease keeps the name as it is spelled, for that spelling is its key. */
export function parseLease(stored: StoredLease): ParsedLease {
  const { name, etcdLeaseId, modRevision, createRevision } = stored;
  const subnets = parseLeaseName(name);
  if (!subnets) return malformed(stored, 'key names no subnet');
  const attributes = parseLeaseAttributes(stored.value);
  if ('reason' in attributes) return malformed(stored, attributes.reason);
  return {
    kind: 'lease',
    lease: { name, ...subnets, attributes: attributes.value, etcdLeaseId, modRevision, createRevision },
  };
}

function malformed({ name, etcdLeaseId, modRevision }: StoredLease, reason: string): ParsedLease {
  return { kind: 'malformed', malformed: { name, reason, etcdLeaseId, modRevision } };
}

/**
 * The subnets that a key's last part names, or undefined when it names none. As in flannel, anything may stand before
 * the IPv4 address, its prefix length is at most 31, and host bits do not make it wrong (they are masked away here).
 */
export function parseLeaseName(name: string): LeaseSubnets | undefined {
  // The pattern may begin anywhere: on a long text it takes time that grows with the square of its length.
  if (name.length > LONGEST_NAME) return undefined;
  const match = /(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/.exec(name);
  if (!match) return undefined;
  const subnet = parseSubnetPart(match[1]!, match[2]!, 31);
  if (!subnet) return undefined;
  if (match[3] === undefined) return { subnet, ipv6Subnet: undefined };
  const ipv6Subnet = parseSubnetPart(match[3], match[4]!, 127);
  return ipv6Subnet && { subnet, ipv6Subnet };
}

function parseSubnetPart(text: string, length: string, longest: number): Subnet | undefined {
  const address = parseIpAddress(text);
  const prefixLength = Number(length);
  return address === undefined || prefixLength > longest ? undefined : subnetOf(address, prefixLength);
}

/** The last part of the key for these subnets: `10.5.52.0-24`, `10.5.52.0-24&fd00:5::-64`. */
export function printLeaseName({ subnet, ipv6Subnet }: LeaseSubnets): string {
  const ipv4 = `${subnet.address}-${subnet.prefixLength}`;
  return ipv6Subnet ? `${ipv4}&${ipv6Subnet.address}-${ipv6Subnet.prefixLength}` : ipv4;
}

/**
 * Reads a value as Go's decoder does: keys in any case, unknown keys ignored, of several spellings the last one wins.
 * Everything may be missing; what is there must have the right type.
 */
export function parseLeaseAttributes(text: string): Parsed<LeaseAttributes> {
  if (text.length > LONGEST_VALUE) return { reason: `value is longer than ${LONGEST_VALUE} characters` };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { reason: 'value is not JSON' };
  }
  if (!isJsonObject(json)) return { reason: 'value is not a JSON object' };
  if (isDeeperThan(json, DEEPEST_VALUE)) return { reason: `value is nested more than ${DEEPEST_VALUE} deep` };
  const publicIp = parsePublicIp(fieldOf(json, 'PublicIP'));
  if ('reason' in publicIp) return publicIp;
  const publicIpv6 = parsePublicIpv6(fieldOf(json, 'PublicIPv6'));
  if ('reason' in publicIpv6) return publicIpv6;
  const backendType = fieldOf(json, 'BackendType') ?? '';
  if (typeof backendType !== 'string') return { reason: 'BackendType is not a string' };
  return {
    value: {
      publicIp: publicIp.value,
      publicIpv6: publicIpv6.value,
      backendType,
      backendData: fieldOf(json, 'BackendData'),
      backendV6Data: fieldOf(json, 'BackendV6Data'),
    },
  };
}

function parsePublicIp(field: unknown): Parsed<IpAddress | undefined> {
  if (field === undefined) return { value: undefined };
  // Go takes an IPv4 address in IPv6 clothing (::ffff:192.0.2.1) for what it is.
  const text = typeof field === 'string' ? field.replace(/^::ffff:(?=\d+\.)/i, '') : '';
  const address = parseIpAddress(text);
  if (address === undefined || familyOf(address) !== 'ipv4')
    return { reason: 'PublicIP is not an IPv4 address' };
  return { value: address === '0.0.0.0' ? undefined : address };
}

function parsePublicIpv6(field: unknown): Parsed<IpAddress | undefined> {
  if (field === undefined || field === null) return { value: undefined };
  const address = typeof field === 'string' ? parseIpAddress(field) : undefined;
  if (address === undefined || familyOf(address) !== 'ipv6')
    return { reason: 'PublicIPv6 is not an IPv6 address' };
  return { value: address === '::' ? undefined : address };
}

/**
 * The value as Go's encoder writes flannel's LeaseAttrs: this field order, no white space, `PublicIP` and `PublicIPv6`
 * always there, the others only when there is something to say.
 */
export function printLeaseAttributes(attributes: LeaseAttributes): string {
  const json = JSON.stringify({
    PublicIP: attributes.publicIp ?? '0.0.0.0',
    PublicIPv6: attributes.publicIpv6 ?? null,
    BackendType: attributes.backendType || undefined,
    BackendData: attributes.backendData,
    BackendV6Data: attributes.backendV6Data,
  });
  // Go escapes these so that JSON can stand in HTML and JavaScript.
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What the vxlan backend keeps in `BackendData`; `vni` is undefined where flannel before 0.14 wrote the value. */
export interface VxlanData {
  readonly vni: number | undefined;
  readonly vtepMac: MacAddress;
}

/** The vxlan backend's part of a lease, or undefined when it names no VTEP. */
export function vxlanDataOf(data: unknown): VxlanData | undefined {
  if (!isJsonObject(data)) return undefined;
  const mac = fieldOf(data, 'VtepMAC');
  const vtepMac = typeof mac === 'string' ? parseSpelledMacAddress(mac) : undefined;
  if (vtepMac === undefined) return undefined;
  const vni = fieldOf(data, 'VNI');
  return { vni: typeof vni === 'number' ? vni : undefined, vtepMac };
}

/** Why {@link vxlanDataOf} finds no VTEP: `it has no VtepMAC`. */
export function whyNoVtep(data: unknown): string {
  const mac = isJsonObject(data) ? fieldOf(data, 'VtepMAC') : undefined;
  return mac === undefined || mac === null
    ? 'it has no VtepMAC'
    : `its VtepMAC ${printBriefly(mac)} is no MAC address`;
}

/** The MAC of the VTEP that a lease leads to; undefined when it names none. */
export function vtepMacOf({ attributes }: Lease): MacAddress | undefined {
  return vxlanDataOf(attributes.backendData)?.vtepMac;
}

/** `BackendData` as the vxlan backend writes it. */
export function vxlanData(vni: number, vtepMac: MacAddress): object {
  return { VNI: vni, VtepMAC: vtepMac };
}

/**
 * A member of a JSON object: Go matches keys without regard to case, and of several spellings the last one wins. Without a map of
 * all members, because a start asks this of thousands of leases, again and again.
 */
function fieldOf(json: object, name: string): unknown {
  let value: unknown;
  for (const key of Object.keys(json)) {
    const isIt = key === name || (key.length === name.length && key.toLowerCase() === name.toLowerCase());
    if (isIt) value = (json as Record<string, unknown>)[key];
  }
  return value;
}

/** What there is to say about a network configuration that flannel would take. */
import { JsonFields, isJsonObject, shorten } from '../model/json-fields';
import { jsonOddities } from '../model/json-syntax';
import type { Lease } from '../model/lease';
import type { NetworkConfig, SubnetRange } from '../model/network-config';
import { printNetworkConfig, subnetCount } from '../model/network-config-codec';
import { whyNoOverlay } from '../model/special-addresses';
import {
  compareAddresses,
  contains,
  parseSubnet,
  printSubnet,
  type IpAddress,
  type Subnet,
} from '../model/address';
import { nearest } from './nearest';

/** Why an agent could not carry it out, each a sentence; empty when it can. */
export function objectionsTo({ ipv4, ipv6, backend }: NetworkConfig): string[] {
  const objections: string[] = [];
  if (backend.type === 'other') {
    const asked =
      backend.name === ''
        ? 'its Backend has no Type'
        : backend.name === 'udp'
          ? "its backend is udp (flannel's choice where there is no Backend)"
          : `its backend is ${shorten(backend.name)}`;
    objections.push(`${asked}; vtepd knows vxlan: {"Backend": {"Type": "vxlan"}}`);
  }
  if (!ipv4 && !ipv6) objections.push('EnableIPv4 and EnableIPv6 are both false');
  else if (!ipv4) objections.push('it disables IPv4, and an overlay of IPv6 alone is not supported yet');
  for (const range of [ipv4, ipv6]) {
    const special = range && whyNoOverlay(range.network);
    if (special !== undefined) objections.push(special);
    if (range && subnetCount(range) === 0n)
      objections.push(
        `no host can get a subnet: SubnetMin ${range.subnetMin} lies above SubnetMax ${range.subnetMax}`,
      );
  }
  return objections;
}

/** What an administrator may not expect, each a sentence. */
export function remarksOn({ ipv6, backend }: NetworkConfig): string[] {
  const remarks: string[] = [];
  if (ipv6) remarks.push('EnableIPv6 is not effective yet: the overlay carries IPv4');
  if (backend.type === 'vxlan' && backend.directRouting)
    remarks.push(
      'Backend.DirectRouting is ignored: we send everything by VXLAN, and take what flannel sends around it',
    );
  return remarks;
}

/** What its text says that nobody reads as it was meant, each a sentence. */
export function remarksOnText(text: string): string[] {
  const { repeatedKeys, unusualNumbers } = jsonOddities(text);
  const root = objectOf(JSON.parse(text));
  const backend = objectOf(new JsonFields(root).raw('Backend'));
  const isVxlan = Object.values(backend).some((value) => String(value).toLowerCase() === 'vxlan');
  // Each is put into words only if it is shown.
  const remarks = [
    ...maskedNetwork(root),
    ...unknownIn(root, FIELDS, ''),
    ...(isVxlan ? unknownIn(backend, BACKEND_FIELDS, 'Backend.') : []),
    ...repeatedKeys.map((key) => () => `${shorten(key)} stands there more than once; the last one counts`),
    ...unusualNumbers
      .filter((number) => Number.isSafeInteger(Number(number)))
      .map(
        (number) => () => `flannel reads no ${shorten(number)} as a whole number: write ${Number(number)}`,
      ),
  ];
  const shown = remarks.slice(0, MOST_REMARKS).map((remark) => remark());
  return remarks.length > shown.length
    ? [...shown, `… (${remarks.length} remarks of this kind in all)`]
    : shown;
}

/** Of flannel's Config and of its vxlan backend, those of Windows as well. */
const FIELDS = [
  ...['EnableIPv4', 'EnableIPv6', 'EnableNFTables', 'Network', 'IPv6Network', 'SubnetLen', 'IPv6SubnetLen'],
  ...['SubnetMin', 'SubnetMax', 'IPv6SubnetMin', 'IPv6SubnetMax', 'Backend'],
];
const BACKEND_FIELDS = [
  ...['Type', 'VNI', 'Port', 'MTU', 'GBP', 'Learning', 'DirectRouting', 'MacPrefix', 'Name'],
];
const MOST_REMARKS = 10;

/** `10.5.1.0/16`: it may be a mistake in the length. */
function maskedNetwork(root: object): (() => string)[] {
  const written = new JsonFields(root).raw('Network');
  const network = typeof written === 'string' ? parseSubnet(written) : undefined;
  if (!network || printSubnet(network) === written) return [];
  return [() => `Network ${shorten(written as string)} is read as ${printSubnet(network)}`];
}

function unknownIn(object: object, known: readonly string[], where: string): (() => string)[] {
  return Object.keys(object)
    .filter((key) => !known.some((each) => each.toLowerCase() === key.toLowerCase()))
    .map((key) => () => {
      const meant = nearest(key, known);
      return `${where}${shorten(key)} has no meaning${meant === undefined ? '' : `; did you mean ${where}${meant}?`}`;
    });
}

function objectOf(value: unknown): object {
  return isJsonObject(value) ? value : {};
}

/** An address that this host needs by its underlay, and what for: `its name server`. */
export interface NeededAddress {
  readonly address: IpAddress;
  readonly what: string;
}

/** What of this host the network's route would hide, each a sentence. It speaks of this host alone. */
export function hiddenAddresses({ ipv4 }: NetworkConfig, needed: readonly NeededAddress[]): string[] {
  return needed
    .filter(({ address }) => ipv4 && contains(ipv4.network, address))
    .map(
      ({ address, what }) =>
        `${address}, ${what}, lies in the network ${printSubnet(ipv4!.network)}: this host would look for it in the overlay`,
    );
}

/** What a change costs between hosts that have restarted with it and hosts that have not, each a sentence. */
export function costsOf(before: NetworkConfig, after: NetworkConfig, leases: readonly Lease[]): string[] {
  const [old, now] = [before.backend, after.backend];
  const costs: string[] = [];
  const hosts = leases.length === 1 ? 'the one host' : `each of the ${leases.length} hosts`;
  if (old.type === 'vxlan' && now.type === 'vxlan' && (old.vni !== now.vni || old.port !== now.port)) {
    const what = old.vni === now.vni ? `UDP port ${old.port} → ${now.port}` : `VNI ${old.vni} → ${now.vni}`;
    costs.push(
      `${what}: until ${hosts} has been restarted, hosts with the new one and hosts with the old one do not reach each other`,
    );
  }
  if (old.type === 'other' && now.type === 'vxlan' && leases.length > 0) {
    const was = old.name === '' ? 'none' : shorten(old.name);
    costs.push(
      `backend ${was} → vxlan: until ${hosts} has been restarted, hosts with the new one and hosts with the old one do not reach each other`,
    );
  }
  const moved = leases.filter(({ subnet }) => after.ipv4 && !isLeasable(after.ipv4, subnet));
  if (moved.length > 0) {
    costs.push(
      `${moved.length} of ${leases.length} leases are not of this configuration: their hosts get other subnets when they are restarted, and their containers other addresses`,
    );
  }
  return costs;
}

/** As the agents choose: of the configured length, and in the range. */
function isLeasable(
  { subnetLength, subnetMin, subnetMax }: SubnetRange,
  { address, prefixLength }: Subnet,
): boolean {
  return (
    prefixLength === subnetLength &&
    compareAddresses(address, subnetMin) >= 0 &&
    compareAddresses(address, subnetMax) <= 0
  );
}

/** `10.5.0.0/16, a /24 for each of up to 255 hosts, vxlan with VNI 1 on UDP port 8472` */
export function describeConfig({ ipv4, ipv6, backend }: NetworkConfig): string {
  const ranges = [ipv4, ipv6].flatMap((range) => (range ? [describeRange(range)] : []));
  const carrier =
    backend.type === 'vxlan' ? `vxlan with VNI ${backend.vni} on UDP port ${backend.port}` : backend.name;
  return [...ranges, carrier].join(', ');
}

function describeRange(range: SubnetRange): string {
  const count = subnetCount(range);
  const shown = count > 1_000_000n ? 'more than a million' : `up to ${count}`;
  return `${printSubnet(range.network)}, a /${range.subnetLength} for each of ${shown} hosts`;
}

/** `SubnetLen: 24 → 26`, one for each effective value that differs. */
export function describeChanges(before: NetworkConfig, after: NetworkConfig): string[] {
  const [old, now] = [flatten(before), flatten(after)];
  const keys = [...new Set([...now.keys(), ...old.keys()])];
  return keys
    .filter((key) => old.get(key) !== now.get(key))
    .map((key) => `${key}: ${old.get(key) ?? '(not set)'} → ${now.get(key) ?? '(not set)'}`);
}

function flatten(config: NetworkConfig): Map<string, string> {
  const { Backend, ...rest } = JSON.parse(printNetworkConfig(config)) as { Backend: Record<string, unknown> };
  const backend = Object.entries(Backend).map(([key, value]) => [`Backend.${key}`, value] as const);
  const written = [...Object.entries(rest), ...backend].filter(([, value]) => value !== null);
  return new Map(written.map(([key, value]) => [key, String(value)]));
}

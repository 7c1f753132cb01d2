/** The network configuration as text: read, validated and completed as flannel does it, with flannel's messages. */
import {
  addressToInteger,
  bitsOf,
  contains,
  familyOf,
  integerToAddress,
  offsetAddress,
  parseIpAddress,
  parseSubnet,
  printSubnet,
  sizeOf,
  subnetOf,
  type Family,
  type IpAddress,
  type Subnet,
} from './address';
import { parseBackend, printableBackend } from './backend-codec';
import { ConfigError } from './errors';
import { JsonFields, isJsonObject, printBriefly, shorten } from './json-fields';
import { parseJson } from './json-syntax';
import type { NetworkConfig, SubnetRange } from './network-config';

/** What differs between the families: the prefix of the keys, and the numbers of flannel's rules. */
const RULES = {
  ipv4: {
    prefix: '',
    longestSubnetLength: 30,
    defaultLength: 24,
    tooSmall: 'network is too small. Minimum useful network prefix is /28',
  },
  ipv6: {
    prefix: 'IPv6',
    longestSubnetLength: 126,
    defaultLength: 64,
    tooSmall: 'IPv6Network is too small. Minimum useful network prefix is /124',
  },
} as const;

/** The device of the other family is flannel-v6.<VNI>: Linux leaves four digits for the number. */
const LARGEST_VNI_WITH_IPV6 = 9_999;

/**
 * The configuration that `text` is, every default filled in. Throws a {@link ConfigError} with flannel's message where flannel
 * has one. As in flannel, a subnetMin above subnetMax, and both families disabled, are not errors here.
 */
export function parseNetworkConfig(text: string): NetworkConfig {
  const json = parseJson(text);
  if (json !== null && !isJsonObject(json)) {
    throw new ConfigError(
      `it must be an object like {"Network": "10.5.0.0/16", …}, not ${printBriefly(json)}`,
    );
  }
  const fields = new JsonFields(json ?? {});
  const enableIpv4 = fields.boolean('EnableIPv4', true);
  const enableIpv6 = fields.boolean('EnableIPv6', false);
  const enableNfTables = fields.boolean('EnableNFTables', undefined);
  // Flannel reads the values of a disabled family too, and says if they are malformed, but it does not check them.
  const ipv4 = parseRange(fields, 'ipv4');
  const ipv6 = parseRange(fields, 'ipv6');
  const backend = parseBackend(fields.raw('Backend'));
  if (enableIpv6 && backend.type === 'vxlan' && backend.vni > LARGEST_VNI_WITH_IPV6) {
    throw new ConfigError(
      `error decoding VXLAN backend config: VNI must be from 0 to ${LARGEST_VNI_WITH_IPV6} together with EnableIPv6, ` +
        `not ${backend.vni}: the name of a device has at most 15 characters`,
    );
  }
  return {
    ipv4: enableIpv4 ? completeRange(ipv4, 'ipv4') : undefined,
    ipv6: enableIpv6 ? completeRange(ipv6, 'ipv6') : undefined,
    enableNfTables,
    backend,
  };
}

/** A family's values as written; 0 and undefined where they are left to their defaults. */
interface WrittenRange {
  readonly network: Subnet | undefined;
  readonly subnetLength: number;
  readonly subnetMin: IpAddress | undefined;
  readonly subnetMax: IpAddress | undefined;
}

function parseRange(fields: JsonFields, family: Family): WrittenRange {
  const { prefix } = RULES[family];
  return {
    network: parseNetwork(fields.raw(`${prefix}Network`), `${prefix}Network`, family),
    subnetLength: fields.integer(`${prefix}SubnetLen`, 0),
    subnetMin: parseBound(fields.raw(`${prefix}SubnetMin`), `${prefix}SubnetMin`, family),
    subnetMax: parseBound(fields.raw(`${prefix}SubnetMax`), `${prefix}SubnetMax`, family),
  };
}

/** Null is malformed here, unlike elsewhere: Go hands it to flannel's own decoder. */
function parseNetwork(value: unknown, key: string, family: Family): Subnet | undefined {
  if (value === undefined) return undefined;
  const text = typeof value === 'string' ? value : printBriefly(value);
  const network = parseSubnet(text);
  if (!network) throw new ConfigError(`${key}: invalid CIDR address: ${shorten(text)}`);
  if (familyOf(network.address) !== family) {
    throw new ConfigError(
      `${key}: invalid ${family === 'ipv4' ? 'IPv4' : 'IPv6'} CIDR format: ${shorten(text)}`,
    );
  }
  // Its address is 0.0.0.0 or ::, for its host bits are masked away: to flannel, no network.
  return network.prefixLength === 0 ? undefined : network;
}

function parseBound(value: unknown, key: string, family: Family): IpAddress | undefined {
  // Flannel keeps the IPv6 bounds as pointers, to which Go assigns null without asking.
  if (value === undefined || (value === null && family === 'ipv6')) return undefined;
  const text = typeof value === 'string' ? value : printBriefly(value);
  const address = parseIpAddress(text);
  if (address === undefined || familyOf(address) !== family)
    throw new ConfigError(`${key}: invalid IP address format: ${shorten(text)}`);
  return addressToInteger(address) === 0n ? undefined : address;
}

/** The range with its defaults, checked in flannel's order. */
function completeRange(written: WrittenRange, family: Family): SubnetRange {
  const { prefix } = RULES[family];
  const { network } = written;
  if (!network)
    throw new ConfigError(`please define a correct ${prefix}Network parameter in the flannel config`);
  const subnetLength = completeLength(written.subnetLength, network, family);
  const size = sizeOf(family, subnetLength);
  const afterNetwork = addressToInteger(network.address) + sizeOf(family, network.prefixLength);
  const bound = (name: string, given: IpAddress | undefined, fallback: () => IpAddress) => {
    if (given !== undefined && !contains(network, given))
      throw new ConfigError(`${prefix}${name} is not in the range of the ${prefix}Network`);
    return given ?? fallback();
  };
  // The first subnet is left out: its first address is the network's own.
  const subnetMin = bound('SubnetMin', written.subnetMin, () => offsetAddress(network.address, size));
  const subnetMax = bound('SubnetMax', written.subnetMax, () =>
    integerToAddress(family, afterNetwork - size),
  );
  for (const [name, address] of Object.entries({ SubnetMin: subnetMin, SubnetMax: subnetMax })) {
    if (subnetOf(address, subnetLength).address !== address)
      throw new ConfigError(`${prefix}${name} is not on a SubnetLen boundary: ${address}`);
  }
  return { network, subnetLength, subnetMin, subnetMax };
}

function completeLength(given: number, network: Subnet, family: Family): number {
  const { longestSubnetLength: longest, defaultLength, tooSmall } = RULES[family];
  if (given > 0) {
    if (given > longest) throw new ConfigError(`SubnetLen must be less than /${longest + 1}`);
    if (given < network.prefixLength + 2)
      throw new ConfigError('network must be able to accommodate at least four subnets');
    return given;
  }
  if (network.prefixLength + 2 > longest) throw new ConfigError(tooSmall);
  return Math.max(defaultLength, network.prefixLength + 2);
}

/** The configuration as JSON for a person, with every default filled in; {@link parseNetworkConfig} reads it back unchanged. */
export function printNetworkConfig(config: NetworkConfig): string {
  const json = {
    EnableIPv4: config.ipv4 !== undefined,
    ...printableRange(config.ipv4, 'ipv4'),
    EnableIPv6: config.ipv6 !== undefined,
    ...printableRange(config.ipv6, 'ipv6'),
    // Null is Go's way to say nothing: what each host uses by itself.
    EnableNFTables: config.enableNfTables ?? null,
    Backend: printableBackend(config.backend),
  };
  return `${JSON.stringify(json, undefined, 2)}\n`;
}

function printableRange(range: SubnetRange | undefined, family: Family): object {
  if (!range) return {};
  const { prefix } = RULES[family];
  return {
    [`${prefix}Network`]: printSubnet(range.network),
    [`${prefix}SubnetLen`]: range.subnetLength,
    [`${prefix}SubnetMin`]: range.subnetMin,
    [`${prefix}SubnetMax`]: range.subnetMax,
  };
}

/** The text of a first configuration: this network, carried by vxlan. */
export function printFirstConfig(network: Subnet): string {
  return `{"Network": "${printSubnet(network)}", "Backend": {"Type": "vxlan"}}\n`;
}

/** How many hosts can have a subnet; 0 when subnetMin lies above subnetMax. */
export function subnetCount({ network, subnetLength, subnetMin, subnetMax }: SubnetRange): bigint {
  const shift = BigInt(bitsOf(familyOf(network.address)) - subnetLength);
  const count = ((addressToInteger(subnetMax) - addressToInteger(subnetMin)) >> shift) + 1n;
  return count > 0n ? count : 0n;
}

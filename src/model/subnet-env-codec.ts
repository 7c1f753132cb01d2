/** subnet.env as text: written byte for byte as flannel writes it, read as leniently as flannel reads it. */
import {
  contains,
  familyOf,
  offsetAddress,
  parseSubnet,
  printSubnet,
  type Family,
  type Subnet,
} from './address';
import { parseDotenv } from './dotenv';
import { ConfigError } from './errors';
import type { PreviousSubnets, SubnetEnv } from './subnet-env';

const KEYS = {
  ipv4: { network: 'FLANNEL_NETWORK', subnet: 'FLANNEL_SUBNET' },
  ipv6: { network: 'FLANNEL_IPV6_NETWORK', subnet: 'FLANNEL_IPV6_SUBNET' },
} as const;

/** The file's text. The subnets are written as their first host address, which becomes the bridge's: `10.5.72.1/24`. */
export function printSubnetEnv(env: SubnetEnv): string {
  const lines: string[] = [];
  for (const family of ['ipv4', 'ipv6'] as const) {
    const pair = env[family];
    if (!pair) continue;
    const { address, prefixLength } = pair.subnet;
    lines.push(`${KEYS[family].network}=${printSubnet(pair.network)}`);
    lines.push(`${KEYS[family].subnet}=${offsetAddress(address, 1n)}/${prefixLength}`);
  }
  lines.push(`FLANNEL_MTU=${env.mtu}`, `FLANNEL_IPMASQ=${env.ipMasq}`);
  return `${lines.join('\n')}\n`;
}

/** Every key that flannel writes, with either family. */
const OUR_KEYS = new Set<string>([
  ...Object.values(KEYS).flatMap(({ network, subnet }) => [network, subnet]),
  'FLANNEL_MTU',
  'FLANNEL_IPMASQ',
]);
/** Of a larger file nothing is kept. */
const LARGEST_KEPT = 65_536;

/**
 * The text that a file should have which others write to, as well: our lines where they stood, or at the end, each key once; and
 * the lines of others (the options of Docker, by flannel's mk-docker-opts.sh) as they are. `ours` undefined: without ours.
 */
export function mergeSubnetEnv(existing: string | undefined, ours: string | undefined): string {
  if (existing === undefined || existing.length > LARGEST_KEPT || existing.includes('\0')) return ours ?? '';
  const left = new Map(
    (ours ?? '').split('\n').flatMap((line) => (line === '' ? [] : [[keyIn(line)!, line] as const])),
  );
  const own = new Set([...OUR_KEYS, ...left.keys()]);
  const lines = existing.split('\n').flatMap((line) => {
    const key = keyIn(line);
    if (key === undefined || !own.has(key)) return [line];
    const wanted = left.get(key);
    left.delete(key);
    return wanted === undefined ? [] : [wanted];
  });
  while (lines.at(-1) === '') lines.pop();
  lines.push(...left.values());
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function keyIn(line: string): string | undefined {
  return /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=/.exec(line)?.[1];
}

/** What an older file says of our subnets, and why it says no more: one line for a person for each thing that could not be used. */
export interface ReadPreviousSubnets extends PreviousSubnets {
  readonly problems: readonly string[];
}

/**
 * The subnets we had before. Never throws: what cannot be read is skipped and named. A value may be a comma list, and of
 * more than one subnet none is taken. Host bits are masked away, so `10.5.72.1/24` is 10.5.72.0/24.
 */
export function parsePreviousSubnets(text: string): ReadPreviousSubnets {
  const { values, unreadable } = parseDotenv(text);
  const problems = unreadable.map((line) => `not KEY=value: ${line}`);
  const only = (family: Family): Subnet | undefined => {
    const key = KEYS[family].subnet;
    const { subnets, wrong } = parseList(values.get(key) ?? '', family);
    problems.push(...wrong.map((item) => `${key} is not an ${nameOf(family)} subnet: ${item}`));
    if (subnets.length > 1) problems.push(`${key} names more than one subnet: ${values.get(key)!}`);
    return subnets.length === 1 ? subnets[0] : undefined;
  };
  return { ipv4: only('ipv4'), ipv6: only('ipv6'), problems };
}

/** What the file says, for those who need all of it. Throws a {@link ConfigError} that names what is missing or wrong. */
export function parseSubnetEnv(text: string): SubnetEnv {
  const { values } = parseDotenv(text);
  const pair = (family: Family) => parsePair(values, family);
  const ipv4 = pair('ipv4');
  const ipv6 = pair('ipv6');
  if (!ipv4 && !ipv6) throw new ConfigError('FLANNEL_NETWORK and FLANNEL_SUBNET are missing');
  const value = (key: string, pattern: RegExp, what: string): string => {
    const found = values.get(key);
    if (found === undefined) throw new ConfigError(`${key} is missing`);
    if (!pattern.test(found)) throw new ConfigError(`${key} must be ${what}, not '${found}'`);
    return found;
  };
  return {
    ipv4,
    ipv6,
    mtu: Number(value('FLANNEL_MTU', /^\d{1,9}$/, 'a number')),
    ipMasq: value('FLANNEL_IPMASQ', /^(true|false)$/, 'true or false') === 'true',
  };
}

function parsePair(values: ReadonlyMap<string, string>, family: Family) {
  const keys = KEYS[family];
  const listed = (key: string): Subnet[] => {
    const { subnets, wrong } = parseList(values.get(key) ?? '', family);
    if (wrong.length > 0)
      throw new ConfigError(`${key} is not an ${nameOf(family)} subnet: ${wrong.join(', ')}`);
    return subnets;
  };
  const networks = listed(keys.network);
  const [subnet, ...others] = listed(keys.subnet);
  if (others.length > 0) throw new ConfigError(`${keys.subnet} names more than one subnet`);
  if (!subnet && networks.length === 0) return undefined;
  if (!subnet) throw new ConfigError(`${keys.subnet} is missing`);
  // Flannel on Kubernetes may list several networks; ours is the one that holds our subnet.
  const network = networks.find((candidate) => contains(candidate, subnet)) ?? networks[0];
  if (!network) throw new ConfigError(`${keys.network} is missing`);
  return { network, subnet };
}

function parseList(text: string, family: Family) {
  const subnets: Subnet[] = [];
  const wrong: string[] = [];
  for (const item of text.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const subnet = parseSubnet(item);
    if (subnet && familyOf(subnet.address) === family) subnets.push(subnet);
    else wrong.push(item);
  }
  return { subnets, wrong };
}

function nameOf(family: Family): string {
  return family === 'ipv4' ? 'IPv4' : 'IPv6';
}

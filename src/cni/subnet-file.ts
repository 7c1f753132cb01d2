/** What subnet.env says, as far as a delegate must know it. */
import { parseDotenv } from '../model/dotenv';
import { readRegularFile } from '../regular-file';
import { CNI_CODES, CniError } from './cni-error';
import { maskedSubnet } from './masked-subnet';

export interface HostSubnets {
  /** This host's subnets, IPv4 first; one or two. */
  readonly subnets: readonly string[];
  /** The networks they are part of, IPv4 first, each once; flannel on Kubernetes may list several of a family. */
  readonly networks: readonly string[];
  readonly mtu: number;
  /** Whether the agent masquerades what leaves the network; if not, the delegate should. */
  readonly ipMasq: boolean;
}

/** Reads the file; undefined when there is none. Throws code 6 when it lacks something or makes no sense. */
export function readSubnetFile(path: string): HostSubnets | undefined {
  let text: string;
  try {
    text = readRegularFile(path).content.toString();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CniError(CNI_CODES.io, `cannot read ${path}: ${(error as Error).message}`, '', {
      cause: error,
    });
  }
  return parseSubnetFile(text, path);
}

/** The meaning of the file's text; `path` is for the message. */
export function parseSubnetFile(text: string, path: string): HostSubnets {
  const { values } = parseDotenv(text);
  const fail = (what: string) => new CniError(CNI_CODES.undecodable, `${path} ${what}`);
  const subnet = (key: string, item: string): string => {
    const read = maskedSubnet(item);
    if (read === undefined) throw fail(`has no subnet as ${key}: ${item}`);
    return read;
  };
  const single = (key: string) => (values.get(key) ? [subnet(key, values.get(key)!)] : []);
  const list = (key: string) =>
    (values.get(key) ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
      .map((item) => subnet(key, item));

  const networks = [...new Set([...list('FLANNEL_NETWORK'), ...list('FLANNEL_IPV6_NETWORK')])];
  const subnets = [...single('FLANNEL_SUBNET'), ...single('FLANNEL_IPV6_SUBNET')];
  const mtu = values.get('FLANNEL_MTU');
  const ipMasq = values.get('FLANNEL_IPMASQ');
  const missing = [
    ...(networks.length === 0 ? ['FLANNEL_NETWORK', 'FLANNEL_IPV6_NETWORK'] : []),
    ...(subnets.length === 0 ? ['FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET'] : []),
    ...(mtu === undefined ? ['FLANNEL_MTU'] : []),
    ...(ipMasq === undefined ? ['FLANNEL_IPMASQ'] : []),
  ];
  if (missing.length > 0) throw fail(`is missing ${missing.join(', ')}`);
  if (!/^\d{1,9}$/.test(mtu!)) throw fail(`has no number as FLANNEL_MTU: ${mtu}`);
  return { networks, subnets, mtu: Number(mtu), ipMasq: ipMasq === 'true' };
}

/** Options about etcd. */
import { posix } from 'node:path';
import { familyOf, parseIpAddress, parseSubnet, type IpAddress, type Subnet } from '../../model/address';
import { ConfigError, UsageError } from '../../model/errors';
import { parseNetworkConfig, printFirstConfig } from '../../model/network-config-codec';
import { readEndpoints, withSchemes } from './endpoints';
import type { ExplicitKeys, Topic, ValuesOf } from './option';
import { BadValue, readBoolean, readText } from './values';

export const etcd = {
  title: 'Where the leases are kept',
  options: {
    etcdEndpoints: {
      name: 'etcd-endpoints',
      placeholder: 'URL,…',
      fallback: 'http://127.0.0.1:4001,http://127.0.0.1:2379',
      read: readEndpoints,
      since: '0.2.0',
      help: 'The etcd servers, tried in turn.',
    },
    /** Without a trailing slash, unless it is nothing else. */
    etcdPrefix: {
      name: 'etcd-prefix',
      placeholder: 'KEY',
      fallback: '/coreos.com/network',
      read: readPrefix,
      since: '0.1.0',
      help: 'The configuration is at KEY/config, the leases are below KEY/subnets.',
    },
    etcdCafile: {
      name: 'etcd-cafile',
      placeholder: 'FILE',
      read: readText,
      since: '0.2.0',
      help: "Certificates (PEM) of who may vouch for an https endpoint; else the system's.",
    },
    etcdCertfile: {
      name: 'etcd-certfile',
      placeholder: 'FILE',
      read: readText,
      needs: 'etcd-keyfile',
      since: '0.2.0',
      help: 'Our own certificate (PEM), where etcd asks for one; needs `--etcd-keyfile`.',
    },
    etcdKeyfile: {
      name: 'etcd-keyfile',
      placeholder: 'FILE',
      read: readText,
      needs: 'etcd-certfile',
      since: '0.2.0',
      help: 'The private key (PEM) of `--etcd-certfile`.',
    },
    etcdUsername: {
      name: 'etcd-username',
      placeholder: 'NAME',
      read: readText,
      needs: 'etcd-password',
      since: '0.5.6',
      help: 'Who we are to an etcd with authentication.',
    },
    etcdPassword: {
      name: 'etcd-password',
      placeholder: 'TEXT',
      read: readText,
      needs: 'etcd-username',
      secret: true,
      since: '0.5.6',
      help: 'The password. Every user of this host can see command lines: better set `FLANNELD_ETCD_PASSWORD`.',
    },
    embeddedEtcd: {
      name: 'embedded-etcd',
      fallback: 'false',
      read: readBoolean,
      help:
        "Run an etcd of this host's own (Debian's etcd-server), for a first host: it says what to run on the next. Its data is " +
        'in `etcd`, beside `--state-file`.',
    },
    /** For a configuration that the embedded etcd lacks. */
    network: {
      name: 'network',
      placeholder: 'CIDR',
      fallback: '10.5.0.0/16',
      read: readNetwork,
      help: 'With `--embedded-etcd`: the network that is configured, if none is.',
    },
  },
} satisfies Topic;

export type EtcdValues = ValuesOf<typeof etcd.options>;

/** How etcd is reached. */
export function registrySettings(values: EtcdValues) {
  return {
    endpoints: values.etcdEndpoints,
    prefix: values.etcdPrefix,
    caFile: values.etcdCafile,
    certFile: values.etcdCertfile,
    keyFile: values.etcdKeyfile,
    username: values.etcdUsername,
    password: values.etcdPassword,
  };
}

/** The addresses and the host names of the endpoints, which no lease may lead into the overlay. */
export function etcdHosts({ etcdEndpoints }: EtcdValues): {
  readonly etcdAddresses: readonly IpAddress[];
  readonly etcdNames: readonly string[];
} {
  const hosts = etcdEndpoints.map(hostOf);
  return {
    etcdAddresses: hosts.flatMap((host) => parseIpAddress(host) ?? []),
    etcdNames: [...new Set(hosts)].filter((host) => !parseIpAddress(host)),
  };
}

/** The host of a URL; an IPv6 address without its brackets. */
function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}

/** Where the agent reaches the etcd of its own host. */
const EMBEDDED_ENDPOINT = 'http://127.0.0.1:2379';

/** What is about an etcd that somebody else runs. */
const ELSEWHERE = [
  'etcdEndpoints',
  'etcdCafile',
  'etcdCertfile',
  'etcdKeyfile',
  'etcdUsername',
  'etcdPassword',
] as const;

/** The endpoints that all these values together mean. Throws a {@link UsageError} where they contradict each other. */
export function effectiveEndpoints(values: EtcdValues, explicit: ExplicitKeys): readonly string[] {
  if (!values.embeddedEtcd) {
    const usesTls = values.etcdCafile !== undefined || values.etcdCertfile !== undefined;
    return withSchemes(values.etcdEndpoints, usesTls);
  }
  const other = ELSEWHERE.find((key) => explicit.has(key));
  if (other)
    throw new UsageError(
      `--embedded-etcd is an etcd of this host's own, without TLS and users: leave out --${etcd.options[other].name}, or say --embedded-etcd=false`,
    );
  return [EMBEDDED_ENDPOINT];
}

/** A sentence for each option that has no effect with the others as they are. */
export function ineffectiveEtcdOptions(values: EtcdValues, explicit: ExplicitKeys): string[] {
  const notices: string[] = [];
  const isTlsUsed = values.etcdEndpoints.some((url) => /^https:/i.test(url));
  for (const key of ['etcdCafile', 'etcdCertfile'] as const) {
    if (values[key] !== undefined && !isTlsUsed)
      notices.push(`--${etcd.options[key].name} has no effect: no etcd endpoint begins with https://`);
  }
  if (explicit.has('network') && !values.embeddedEtcd)
    notices.push(
      "--network has no effect without --embedded-etcd; elsewhere 'vtepd config set' stores the network",
    );
  return notices;
}

/** A sentence for a variable that Node heeds in all that a process does by TLS. */
export function unsafeVariables({ etcdEndpoints }: EtcdValues, env: NodeJS.ProcessEnv): string[] {
  const isTlsUsed = etcdEndpoints.some((url) => /^https:/i.test(url));
  if (!isTlsUsed || env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return [];
  return [
    "the variable NODE_TLS_REJECT_UNAUTHORIZED=0 makes anybody pass for etcd; unset it, and name who signed etcd's certificate: --etcd-cafile",
  ];
}

/** A key prefix, joined as a path as flannel does: double and trailing slashes collapse. */
function readPrefix(text: string): string {
  if (text === '') throw new BadValue('must be a key like /coreos.com/network');
  const path = posix.normalize(text);
  return path === '/' ? path : path.replace(/\/$/, '');
}

/** An IPv4 network that has room for hosts' subnets, as the network configuration wants it. */
function readNetwork(text: string): Subnet {
  const network = parseSubnet(text);
  if (network === undefined || familyOf(network.address) !== 'ipv4')
    throw new BadValue('must be an IPv4 network like 10.5.0.0/16');
  try {
    parseNetworkConfig(printFirstConfig(network));
    return network;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new BadValue(`must be an IPv4 network like 10.5.0.0/16; ${error.message}`);
  }
}

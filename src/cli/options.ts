/** Every option there is: one table, from which the command line, the environment, the help and the README are made. */
import type { IpAddress, Subnet } from '../model/address';
import {
  readAddress,
  readBoolean,
  readEndpoints,
  readInteger,
  readInterface,
  readNetwork,
  readOptionalPath,
  readPrefix,
  readRegex,
  readText,
  readWord,
  type ReadValue,
} from './option-values';
import { RENAMED } from './renamed-options';

/** What the options say, each checked; a list or undefined where nothing is the default. */
export interface OptionValues {
  readonly etcdEndpoints: readonly string[];
  /** Without a trailing slash, unless it is nothing else. */
  readonly etcdPrefix: string;
  readonly etcdCafile: string | undefined;
  readonly etcdCertfile: string | undefined;
  readonly etcdKeyfile: string | undefined;
  readonly etcdUsername: string | undefined;
  readonly etcdPassword: string | undefined;
  readonly embeddedEtcd: boolean;
  /** For a configuration that the embedded etcd lacks. */
  readonly network: Subnet;

  /** Names or addresses, in order of preference. */
  readonly iface: readonly string[];
  /** Sources of JavaScript regular expressions, in order of preference. */
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: IpAddress | undefined;
  readonly publicIp: IpAddress | undefined;
  readonly publicIpv6: IpAddress | undefined;

  /** Undefined: no file is read. */
  readonly configFile: string | undefined;
  readonly subnetFile: string | undefined;
  readonly renewMarginMinutes: number;
  readonly subnetLost: 'renumber' | 'stop';
  /** Undefined: nothing is remembered for a start without etcd. */
  readonly stateFile: string | undefined;

  readonly resolve: 'preload' | 'on-demand';
  readonly idleTimeoutSeconds: number;
  /** 0: a peer goes with its lease. */
  readonly peerGraceSeconds: number;

  readonly ipMasq: boolean;
  readonly ipMasqFullyRandomDisable: boolean;
  readonly iptablesForwardRules: boolean;
  readonly iptablesResyncSeconds: number;
  readonly ipBlackholeRoute: boolean;
  readonly vxlanAdmission: 'off' | 'on';

  readonly healthzIp: IpAddress;
  /** 0: no health server. */
  readonly healthzPort: number;

  readonly verbosity: number;
  readonly logFormat: 'text' | 'json';
  readonly vmodule: string | undefined;
  readonly logBacktraceAt: string | undefined;
}

export type OptionKey = keyof OptionValues;

export const GROUPS = {
  etcd: 'Where the leases are kept',
  underlay: 'Which interface carries the overlay',
  host: 'This host',
  peers: 'How peers get into the kernel',
  firewall: 'Masquerade and forwarding',
  health: 'Health checks',
  log: 'Log',
} as const;

/** One option. Its variable is FLANNELD_ and the name in capitals, `-` and `.` as `_`. */
export interface OptionSpec<Value> {
  readonly name: string;
  readonly group: keyof typeof GROUPS;
  /** What stands for the value in the help. A boolean option has none, and needs no value. */
  readonly placeholder: string | undefined;
  /** As text; undefined: the option is not set. */
  readonly fallback: string | undefined;
  /** How one text is read. The value of a repeatable option is the list of what was read. */
  readonly read: ReadValue<Value extends readonly (infer Item)[] ? Value | Item : Value>;
  readonly repeatable?: boolean;
  /** All values there are, where they are few. */
  readonly words?: readonly string[];
  /** Never shown. */
  readonly secret?: boolean;
  /** The first flannel that has it; undefined: it is vtepd's own. */
  readonly since: string | undefined;
  /** Sentences; what is in `backquotes` is code. */
  readonly help: string;
  /** Set by a user who wants something of it, it is not effective yet: a sentence, for this value. */
  readonly notEffective?: (value: Value) => string | undefined;
}

export const OPTIONS: { readonly [Key in OptionKey]: OptionSpec<OptionValues[Key]> } = {
  etcdEndpoints: {
    name: 'etcd-endpoints',
    group: 'etcd',
    placeholder: 'URL,…',
    fallback: 'http://127.0.0.1:4001,http://127.0.0.1:2379',
    read: readEndpoints,
    since: '0.2.0',
    help: 'The etcd servers, tried in turn.',
  },
  etcdPrefix: {
    name: 'etcd-prefix',
    group: 'etcd',
    placeholder: 'KEY',
    fallback: '/coreos.com/network',
    read: readPrefix,
    since: '0.1.0',
    help: 'The configuration is at KEY/config, the leases are below KEY/subnets.',
  },
  etcdCafile: {
    name: 'etcd-cafile',
    group: 'etcd',
    placeholder: 'FILE',
    fallback: undefined,
    read: readText,
    since: '0.2.0',
    help: "Certificates (PEM) of who may vouch for an https endpoint; else the system's.",
  },
  etcdCertfile: {
    name: 'etcd-certfile',
    group: 'etcd',
    placeholder: 'FILE',
    fallback: undefined,
    read: readText,
    since: '0.2.0',
    help: 'Our own certificate (PEM), where etcd asks for one; needs `--etcd-keyfile`.',
  },
  etcdKeyfile: {
    name: 'etcd-keyfile',
    group: 'etcd',
    placeholder: 'FILE',
    fallback: undefined,
    read: readText,
    since: '0.2.0',
    help: 'The private key (PEM) of `--etcd-certfile`.',
  },
  etcdUsername: {
    name: 'etcd-username',
    group: 'etcd',
    placeholder: 'NAME',
    fallback: undefined,
    read: readText,
    since: '0.5.6',
    help: 'Who we are to an etcd with authentication.',
  },
  etcdPassword: {
    name: 'etcd-password',
    group: 'etcd',
    placeholder: 'TEXT',
    fallback: undefined,
    read: readText,
    secret: true,
    since: '0.5.6',
    help: 'The password. Every user of this host can see command lines: better set `FLANNELD_ETCD_PASSWORD`.',
  },
  embeddedEtcd: {
    name: 'embedded-etcd',
    group: 'etcd',
    placeholder: undefined,
    fallback: 'false',
    read: readBoolean,
    since: undefined,
    help:
      "Run an etcd of this host's own (Debian's etcd-server), for a first host: it says what to run on the next. Its data is " +
      'in `etcd`, beside `--state-file`.',
  },
  network: {
    name: 'network',
    group: 'etcd',
    placeholder: 'CIDR',
    fallback: '10.5.0.0/16',
    read: readNetwork,
    since: undefined,
    help: 'With `--embedded-etcd`: the network that is configured, if none is.',
  },

  iface: {
    name: 'iface',
    group: 'underlay',
    placeholder: 'NAME|IP',
    fallback: undefined,
    read: readInterface,
    repeatable: true,
    since: '0.1.0',
    help: 'The interface, by name or address. May be repeated: the first that is there wins.',
  },
  ifaceRegex: {
    name: 'iface-regex',
    group: 'underlay',
    placeholder: 'REGEX',
    fallback: undefined,
    read: readRegex,
    repeatable: true,
    since: '0.8.0',
    help: 'The first interface with an address, or else a name, that matches; tried after every `--iface`. May be repeated.',
  },
  ifaceCanReach: {
    name: 'iface-can-reach',
    group: 'underlay',
    placeholder: 'IP',
    fallback: undefined,
    read: readAddress('any', 'destination'),
    since: '0.18.0',
    help: 'The interface that the kernel would take to this address; tried last. With none of the three: by `--public-ip`, else the one of the default route.',
  },
  publicIp: {
    name: 'public-ip',
    group: 'underlay',
    placeholder: 'IP',
    fallback: undefined,
    read: readAddress('ipv4', 'advertise'),
    since: '0.5.2',
    help: "The address that other hosts send to; else the interface's own.",
  },
  publicIpv6: {
    name: 'public-ipv6',
    group: 'underlay',
    placeholder: 'IP',
    fallback: undefined,
    read: readAddress('ipv6', 'advertise'),
    since: '0.15.0',
    help: 'The same for IPv6. Not effective yet.',
    notEffective: () => '--public-ipv6 is not effective yet: the overlay carries IPv4',
  },

  configFile: {
    name: 'config-file',
    group: 'host',
    placeholder: 'FILE',
    fallback: '/etc/vtepd/vtepd.conf',
    read: readText,
    since: undefined,
    help:
      'These options in a file, one `name=value` a line; variables and the command line win over it. Empty: no file is ' +
      'read. Only one that is named here must be there.',
  },
  subnetFile: {
    name: 'subnet-file',
    group: 'host',
    placeholder: 'FILE',
    fallback: '/run/flannel/subnet.env',
    read: readOptionalPath,
    since: '0.1.0',
    help:
      'Where Docker and others learn of our subnet; at start, where we learn which one we had. Lines of others in it stay. Empty: ' +
      'no such file.',
  },
  renewMarginMinutes: {
    name: 'subnet-lease-renew-margin',
    group: 'host',
    placeholder: 'MINUTES',
    fallback: '60',
    read: readInteger(1, 1439, 'minutes'),
    since: '0.7.0',
    help: 'So long before our lease of 24 hours ends it has been renewed.',
  },
  subnetLost: {
    name: 'subnet-lost',
    group: 'host',
    placeholder: 'WHAT',
    fallback: 'renumber',
    read: readWord('renumber', 'stop'),
    words: ['renumber', 'stop'],
    since: undefined,
    help: 'If another host leased our subnet while we were cut off from etcd: take another one (`renumber`), or end with exit code 3 and leave everything as it is (`stop`).',
  },
  stateFile: {
    name: 'state-file',
    group: 'host',
    placeholder: 'FILE',
    fallback: '/var/lib/vtepd/state.json',
    read: readText,
    since: undefined,
    help:
      'What was last seen in etcd, for a start while etcd is away: after a reboot the overlay is there without it. Empty: ' +
      'nothing is remembered, and a start waits for etcd. By default, another `--etcd-prefix` has a file of its own beside it.',
  },

  resolve: {
    name: 'resolve',
    group: 'peers',
    placeholder: 'MODE',
    fallback: 'preload',
    read: readWord('preload', 'on-demand'),
    words: ['preload', 'on-demand'],
    since: undefined,
    help: '`preload`: all peers at once, and no packet waits. `on-demand`: each when the kernel asks for it.',
  },
  idleTimeoutSeconds: {
    name: 'idle-timeout',
    group: 'peers',
    placeholder: 'SECONDS',
    fallback: '300',
    read: readInteger(1, 86_400, 'seconds'),
    since: undefined,
    help: 'With `--resolve=on-demand`: a peer that was not used for so long is dropped again.',
  },
  peerGraceSeconds: {
    name: 'peer-grace',
    group: 'peers',
    placeholder: 'SECONDS',
    fallback: '3600',
    read: readInteger(0, 604_800, 'seconds'),
    since: undefined,
    help:
      'A peer whose lease expired stays reachable for so long, unless somebody else leases its subnet: it may be cut off ' +
      'from etcd, but not from us. After a restart the agent knows such a peer from its state file, and the time begins again. ' +
      'One whose key was deleted goes after two seconds, as do all with 0.',
  },

  ipMasq: {
    name: 'ip-masq',
    group: 'firewall',
    placeholder: undefined,
    fallback: 'false',
    read: readBoolean,
    since: '0.1.0',
    help: 'Masquerade what leaves the overlay. `FLANNEL_IPMASQ=true` in the subnet file tells Docker and CNI to leave it to us.',
  },
  ipMasqFullyRandomDisable: {
    name: 'ip-masq-fully-random-disable',
    group: 'firewall',
    placeholder: undefined,
    fallback: 'false',
    read: readBoolean,
    since: '0.27.4',
    help: 'Masquerade without fully random source ports.',
  },
  iptablesForwardRules: {
    name: 'iptables-forward-rules',
    group: 'firewall',
    placeholder: undefined,
    fallback: 'true',
    read: readBoolean,
    since: '0.11.0',
    help: 'Let packets of the overlay pass where another firewall (Docker’s, for one) would drop what is forwarded.',
  },
  iptablesResyncSeconds: {
    name: 'iptables-resync',
    group: 'firewall',
    placeholder: 'SECONDS',
    fallback: '5',
    read: readInteger(1, 86_400, 'seconds'),
    since: '0.11.0',
    help: 'How often the firewall rules are looked at, besides when the kernel tells that they changed.',
  },
  ipBlackholeRoute: {
    name: 'ip-blackhole-route',
    group: 'firewall',
    placeholder: undefined,
    fallback: 'false',
    read: readBoolean,
    since: '0.27.1',
    help:
      'Drop what is for our own subnet while no bridge has it, by a `blackhole` route behind that of the bridge: else such a ' +
      'packet leaves by another route, and may come back.',
  },

  vxlanAdmission: {
    name: 'vxlan-admission',
    group: 'firewall',
    placeholder: 'MODE',
    fallback: 'off',
    read: readWord('off', 'on'),
    words: ['off', 'on'],
    since: undefined,
    help:
      '`on`: only peers may send to our VXLAN port, each by its PublicIP and with inner sources of its own subnet. `off`: ' +
      'anybody, as with flannel. Not for hosts whose packets arrive from another address than their PublicIP.',
  },

  healthzIp: {
    name: 'healthz-ip',
    group: 'health',
    placeholder: 'IP',
    fallback: '0.0.0.0',
    read: readListenAddress,
    since: '0.8.0',
    help: 'Where the health server listens.',
  },
  healthzPort: {
    name: 'healthz-port',
    group: 'health',
    placeholder: 'PORT',
    fallback: '0',
    read: readInteger(0, 65_535),
    since: '0.8.0',
    help: 'Its TCP port, with `/healthz` and `/readyz` (and `?verbose`). 0: there is none.',
  },

  verbosity: {
    name: 'v',
    group: 'log',
    placeholder: 'N',
    fallback: '0',
    read: readInteger(0, Number.MAX_SAFE_INTEGER),
    since: '0.1.0',
    help: '0: what changes. 1 and more: every step of it.',
  },
  logFormat: {
    name: 'log-format',
    group: 'log',
    placeholder: 'FORM',
    fallback: 'text',
    read: readWord('text', 'json'),
    words: ['text', 'json'],
    since: undefined,
    help: '`text` (under systemd with priorities for its journal) or `json`, one object a line.',
  },
  vmodule: {
    name: 'vmodule',
    group: 'log',
    placeholder: 'TEXT',
    fallback: undefined,
    read: readText,
    since: '0.1.0',
    help: 'Taken and ignored: verbosity by source file makes no sense here.',
    notEffective: () => '--vmodule is ignored: use -v',
  },
  logBacktraceAt: {
    name: 'log_backtrace_at',
    group: 'log',
    placeholder: 'TEXT',
    fallback: undefined,
    read: readText,
    since: '0.1.0',
    help: 'Taken and ignored.',
    notEffective: () => '--log_backtrace_at is ignored',
  },
};

export const OPTION_KEYS = Object.keys(OPTIONS) as OptionKey[];

/** `FLANNELD_ETCD_ENDPOINTS` for `etcd-endpoints`. */
export function variableOf(name: string): string {
  return `FLANNELD_${name.toUpperCase().replace(/[-.]/g, '_')}`;
}

/** `--iface`, `-v` */
export function dashed(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

/** The key of the option with that name, or that former name, without dashes. */
export function keyOfOption(name: string): OptionKey | undefined {
  return (
    OPTION_KEYS.find((key) => OPTIONS[key].name === name) ??
    (Object.hasOwn(RENAMED, name) ? RENAMED[name] : undefined)
  );
}

/** The name of an option, and then its former ones. */
export function namesOf(key: OptionKey): readonly string[] {
  return [OPTIONS[key].name, ...Object.keys(RENAMED).filter((former) => RENAMED[former] === key)];
}

export function isBoolean(key: OptionKey): boolean {
  return OPTIONS[key].placeholder === undefined;
}

function readListenAddress(text: string): IpAddress {
  return readAddress('any', 'listen')(text) ?? ('0.0.0.0' as IpAddress);
}

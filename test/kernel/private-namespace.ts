/** The network namespace these tests run in: `unshare --net`, with nothing in it but what a test makes. */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync } from 'node:fs';
import { ipAddress, familyOf, printSubnet, type IpAddress, type Subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { KernelObject } from '../../src/model/kernel-state';
import type { Operation } from '../../src/model/operation';
import type { RouteEntry, RoutingRule } from '../../src/model/routing';

let isPrivate = false;

/** Throws unless this process has a network of its own, with nothing in it: tests must not touch the machine's. */
export function requirePrivateNamespace(): void {
  if (isPrivate) return;
  // These limits are shown in the initial namespace only.
  const isInitial = existsSync('/proc/sys/net/ipv4/neigh/default/gc_thresh1');
  const links = json<{ ifname: string }>('ip', 'link show').map(({ ifname }) => ifname);
  if (isInitial || links.some((name) => name !== 'lo'))
    throw new Error(
      `run the kernel tests in an empty network namespace: unshare --net … (here: ${links.join(', ')})`,
    );
  isPrivate = true;
}

/** `ip ARGS` or `bridge ARGS`, as one line; throws with what it said when it fails. */
export function sh(line: string, input?: string): string {
  const [command, ...args] = line.split(' ');
  return execFileSync(command!, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
}

/** `ip -d -j ARGS` or `bridge -j ARGS`, parsed. */
export function json<T = Record<string, unknown>>(command: 'ip' | 'bridge', args: string): T[] {
  const text = sh(`${command} ${command === 'ip' ? '-d -j' : '-j'} ${args}`);
  return JSON.parse(text || '[]') as T[];
}

/** Makes `eth0` (and its other end `vk-peer`), up, with 192.168.0.1/24 and a default route. Returns it as the kernel has it. */
export function makeUnderlay(): NetworkInterface {
  requirePrivateNamespace();
  sh('ip link add eth0 address 02:ee:00:00:00:01 type veth peer name vk-peer');
  for (const name of ['eth0', 'vk-peer']) {
    sh(`ip link set ${name} addrgenmode none`);
    sh(`ip link set ${name} up`);
  }
  sh('ip addr add 192.168.0.1/24 dev eth0');
  sh('ip route add default via 192.168.0.254 dev eth0');
  const [link] = json<{ ifindex: number }>('ip', 'link show eth0');
  return {
    name: 'eth0',
    index: link!.ifindex,
    mtu: 1500,
    up: true,
    carrier: true,
    loopback: false,
    mac: macAddress('02:ee:00:00:00:01'),
    kind: 'veth',
    addresses: [
      {
        address: ipAddress('192.168.0.1'),
        prefixLength: 24,
        scope: 'global',
        permanent: true,
        temporary: false,
        deprecated: false,
      },
    ],
  };
}

/** Removes every link but lo, and every route of the main table. */
export function clearNamespace(): void {
  requirePrivateNamespace();
  for (const { ifname } of json<{ ifname: string }>('ip', 'link show')) {
    if (ifname === 'lo') continue;
    try {
      sh(`ip link del ${ifname}`);
    } catch (error) {
      // The other end of a pair that went already.
      if (!String(error).includes('Cannot find device')) throw error;
    }
  }
  // What is left hangs on no link. A table that nobody ever wrote to does not exist, and cannot be flushed.
  for (const family of ['-4', '-6']) {
    const lines = sh(`ip ${family} route show table all`).split('\n');
    const tables = lines
      .filter((line) => /^(unreachable|blackhole|prohibit|throw)/.test(line))
      .map((line) => /table (\S+)/.exec(line)?.[1] ?? 'main');
    for (const table of new Set(tables)) sh(`ip ${family} route flush table ${table}`);
    for (const { priority } of json<{ priority: number }>('ip', `${family} rule show`))
      if (![0, 32_766, 32_767].includes(priority)) sh(`ip ${family} rule del pref ${priority}`);
  }
}

/** What an administrator would type to add a route or a rule, or to remove it. */
export function reroutingCommandOf(verb: 'add' | 'del', what: RouteEntry | RoutingRule): string {
  const family = (prefix: Subnet | undefined) =>
    prefix && familyOf(prefix.address) === 'ipv6' ? 'ip -6' : 'ip';
  if ('priority' in what) {
    const { priority, source, destination, input, isInverted, action, table, target } = what;
    return [
      `${family(destination ?? source)} rule ${verb}`,
      isInverted ? 'not' : '',
      `from ${source ? printSubnet(source) : 'all'}`,
      destination ? `to ${printSubnet(destination)}` : '',
      input === undefined ? '' : `iif ${input}`,
      `pref ${priority}`,
      action === 'lookup' ? `lookup ${table}` : action === 'goto' ? `goto ${target}` : `type ${action}`,
    ]
      .filter((word) => word !== '')
      .join(' ');
  }
  const { destination, type, table, protocol, metric, hops } = what;
  const [first, ...rest] = hops.map(({ link, gateway }) => `${gateway ? `via ${gateway} ` : ''}dev ${link}`);
  return [
    `${family(destination)} route ${verb}`,
    type === 'unicast' ? '' : type,
    `${printSubnet(destination)} table ${table} proto ${protocol} metric ${metric}`,
    rest.length > 0 ? [first, ...rest].map((hop) => `nexthop ${hop}`).join(' ') : (first ?? ''),
  ]
    .filter((word) => word !== '')
    .join(' ');
}

/** What an administrator would type for this operation. */
export function commandOf({ verb, object }: Operation): string {
  const [put, remove] = [verb === 'put' ? 'replace' : 'del', verb === 'put' ? 'add' : 'del'];
  switch (object.kind) {
    case 'link':
      return verb === 'remove'
        ? `ip link del ${object.name}`
        : `ip link set ${object.name} address ${object.mac} mtu ${object.mtu} ${object.up ? 'up' : 'down'}`;
    case 'neighbor-parameters':
      throw new TypeError('ip(8) cannot set both of them');
    case 'address':
      return `ip addr ${remove} ${object.address}/${object.prefixLength} dev ${object.link}`;
    case 'fdb-entry':
      return `bridge fdb ${put} ${object.mac} dev ${object.link}${verb === 'put' ? ` dst ${object.destination}` : ''} self permanent`;
    case 'neighbor':
      return `ip neigh ${put} ${object.address} dev ${object.link}${verb === 'put' ? neighborWords(object) : ''}`;
    case 'route':
      return `ip ${familyOf(object.destination.address) === 'ipv6' ? '-6 ' : ''}route ${put} ${routeWords(object)}`;
  }
}

function neighborWords({ mac, state }: KernelObject & { kind: 'neighbor' }): string {
  const words = {
    permanent: 'nud permanent',
    learned: 'nud reachable extern_learn',
    failed: 'nud failed',
    noarp: 'nud noarp',
  };
  return `${mac ? ` lladdr ${mac}` : ''} ${words[state]}`;
}

function routeWords(route: KernelObject & { kind: 'route' }): string {
  const { type, destination, gateway, link, source, metric, protocol } = route;
  return [
    type === 'unicast' ? '' : `${type} `,
    printSubnet(destination),
    gateway ? ` via ${gateway}` : '',
    link ? ` dev ${link}` : '',
    ` proto ${protocol}`,
    source ? ` src ${source}` : '',
    ` metric ${metric}`,
    gateway ? ' onlink' : '',
  ].join('');
}

/** Sends a UDP packet from this host. Resolves when the kernel has taken it. */
export function sendPacket(address: IpAddress, payload = 'x'): Promise<void> {
  const socket = createSocket(familyOf(address) === 'ipv6' ? 'udp6' : 'udp4');
  return new Promise((resolve, reject) => {
    socket.send(payload, 9, address, (error) => {
      socket.close();
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Everything that an agent may have changed on a host, as text: what two versions of it can be compared by. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Host } from './host';
import { until } from './until';

/** By part: `routes`, `nftables`, …; sorted lines, without what changes by itself (counters, states that the kernel draws). */
export type HostState = Readonly<Record<string, string>>;

const RUN_DIRECTORY = '/run/vtepd';
/** Of each device of ours; what cannot be read is no setting. */
const SETTINGS = 'cd /proc/sys/net; grep -rs . ipv[46]/conf/flannel.* ipv[46]/neigh/flannel.* || true';

export async function stateOf(host: Host): Promise<HostState> {
  const { namespace } = host;
  const sh = async (script: string) => lines(await namespace.run('sh', ['-c', script]));
  const [link, addresses, routes, rules, neighbors, fdb, settings, nftables, iptables] = await Promise.all([
    sh('ip -d -o link show type vxlan'),
    sh('ip -o address show'),
    sh('ip -o -4 route show table all; ip -o -6 route show table all'),
    sh('ip rule; ip -6 rule'),
    sh('ip -o neigh show nud all | grep "dev flannel" || true'),
    sh('bridge fdb show | grep "dev flannel" || true'),
    sh(SETTINGS),
    namespace.run('nft', ['--stateless', 'list', 'ruleset']),
    sh('iptables-save; ip6tables-save'),
  ]);
  return {
    link,
    addresses: ofInterest(addresses),
    routes: ofInterest(routes),
    rules,
    // Those without ARP are the kernel's own, for multicast.
    neighbors: lines(neighbors.replace(/^.* NOARP $/gm, '')).replace(
      / (REACHABLE|STALE|DELAY|PROBE)\b/g,
      ' LEARNED',
    ),
    fdb,
    settings,
    nftables: sortedRuleset(nftables),
    iptables: iptables.replace(/^#.*\n?/gm, '').replace(/ \[\d+:\d+\]/g, ''),
    files: filesOf(host),
  };
}

/** Without what every device has of its own: what two hosts, or two lives of one, have in common. */
export async function impersonal(host: Host, state: HostState): Promise<HostState> {
  const mac = await host.vtepMac();
  const entries = Object.entries(state).map(([part, text]) => [
    part,
    (mac === undefined ? text : text.replaceAll(mac, 'MAC')).replace(/^\d+: flannel/gm, 'N: flannel'),
  ]);
  return Object.fromEntries(entries) as HostState;
}

/** Looks until the state is that; returns what it is then, or when the time is up. */
export async function settled(look: () => Promise<HostState>, expected: HostState): Promise<HostState> {
  let found: HostState = {};
  const isThere = async () => {
    found = await look();
    return Object.keys({ ...found, ...expected }).every((part) => found[part] === expected[part]);
  };
  await until('the host holds what it should', isThere).catch(() => undefined);
  return found;
}

/** The container's bridge gets its addresses from a Docker, in a lab from us; those that are link-local come and go by themselves. */
function ofInterest(text: string): string {
  return text.replace(/^.*(\bdocker0\b|\bport0\b|\bfe80::).*\n?/gm, '').trimEnd();
}

/** Tables by name, and in each what it is made of: their order is that of their making, and says nothing. */
function sortedRuleset(ruleset: string): string {
  const tables = ruleset
    .replace(/elements = \{([^}]*)\}/g, (_, elements: string) => sortedElements(elements))
    .replace(/^(\}|)\n/gm, '')
    .split(/^(?=table )/m)
    .map((table) => {
      const [head, ...parts] = table.split(/^(?=\t(?:chain|set|map) )/m);
      return [head, ...parts.sort()].join('');
    });
  return tables.sort().join('');
}

function sortedElements(elements: string): string {
  const sorted = elements
    .split(',')
    .map((element) => element.trim().replace(/ (timeout|expires) \S+/g, ''))
    .sort();
  return `elements = { ${sorted.join(', ')} }`;
}

/** What the agent keeps beside its log, what is in subnet.env, and what it has in /run for this host. */
function filesOf({ agent, namespace }: Host): string {
  const directory = dirname(agent.subnetFile);
  const own = readdirSync(directory).filter((name) => name !== 'agent.log');
  const { ino } = statSync(namespace.path, { bigint: true });
  const inRun = readdirSync(RUN_DIRECTORY)
    .filter((name) => name.startsWith(`${ino}-`))
    .map(
      (name) => `${RUN_DIRECTORY}/${name.replace(`${ino}`, 'NAMESPACE').replace(/-\d+\.sock$/, '-PID.sock')}`,
    );
  const subnet = own.includes('subnet.env') ? readFileSync(join(directory, 'subnet.env'), 'utf8') : '';
  return lines([...own, ...inRun, subnet].join('\n'));
}

/** Sorted: the kernel lists some things in the order of their making. */
function lines(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .sort()
    .join('\n');
}

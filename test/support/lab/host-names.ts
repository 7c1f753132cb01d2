/** The names that an agent gives to what it makes, and the words that scripts know it by: what must not change from version to version. */
import { PREFIX, type Lab } from './lab';
import type { Host } from './host';
import { stateOf, type HostState } from './host-state';

/** Sorted, by kind. */
export type HostNames = Readonly<Record<string, readonly string[]>>;

export async function namesOf(lab: Lab, host: Host): Promise<HostNames> {
  const state = await stateOf(host);
  const stored = await lab.etcd.list(PREFIX);
  const key = `/subnets/${host.subnet.replace('/', '-')}`;
  const names: Record<string, string[]> = {
    devices: all(state['link'], /^\d+: (\S+):/gm),
    'routing protocols': all(state['routes'], /\bproto (\d+)/g),
    'nftables, tables and chains': chainsOfNft(state),
    'iptables, chains': all(state['iptables'], /^:((?:VTEPD|vtepd)\S*)/gm),
    'iptables, comments': all(state['iptables'], /--comment "?(vtepd [^"]*)"/g),
    files: all(state['files'], /^([^=\s]+)$/gm),
    'subnet.env': all(state['files'], /^(\w+)=/gm),
    etcd: [...stored.keys()].flatMap((name) =>
      name === key ? [`${PREFIX}/subnets/SUBNET`] : name.startsWith('/subnets/') ? [] : [`${PREFIX}${name}`],
    ),
    'a lease': fieldsOf(JSON.parse(stored.get(key) ?? 'null')),
  };
  return Object.fromEntries(Object.entries(names).map(([kind, found]) => [kind, [...new Set(found)].sort()]));
}

/** Every field of a JSON value: `lease.publicIp`, `checks[].name`. Of a check, its name too: `checks[etcd]`. */
export function fieldsOf(json: unknown, path = ''): string[] {
  if (Array.isArray(json)) {
    const items = (json as unknown[]).flatMap((item) => fieldsOf(item, `${path}[]`));
    const named = (json as { name?: string }[]).flatMap((item) =>
      item?.name ? [`${path}[${item.name}]`] : [],
    );
    return [...new Set([...items, ...(path === 'checks' ? named : [])])].sort();
  }
  if (typeof json !== 'object' || json === null) return [path];
  const fields = Object.entries(json).flatMap(([name, value]) =>
    fieldsOf(value, path ? `${path}.${name}` : name),
  );
  return [...new Set(fields)].sort();
}

function all(text: string | undefined, pattern: RegExp): string[] {
  return Array.from(text?.matchAll(pattern) ?? [], ([, name]) => name!);
}

/** But for those that iptables writes by way of nftables. */
function chainsOfNft(state: HostState): string[] {
  return (state['nftables'] ?? '').split(/^(?=table )/m).flatMap((text) => {
    const table = /^table (\S+ \S+) \{/.exec(text)?.[1];
    if (table === undefined || /^ip6? (nat|filter|raw|mangle|security)$/.test(table)) return [];
    return [table, ...all(text, /^\tchain (\S+) \{/gm).map((chain) => `${table} ${chain}`)];
  });
}

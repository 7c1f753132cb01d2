/** How Linux finds the way of a packet, in memory: rules in their order, and the longest prefix of each table. */
import { contains, familyOf, overlap, type Subnet } from '../../src/model/address';
import {
  DEFAULT_TABLE,
  LOCAL_TABLE,
  MAIN_TABLE,
  type RouteAnswer,
  type RouteEntry,
  type RoutingRule,
} from '../../src/model/routing';

/** A packet, with the name of the link by which it came; `lo` for one of this host. */
export interface Packet {
  readonly destination: Subnet['address'];
  readonly source: Subnet['address'] | undefined;
  readonly input: string;
}

const ANY = {
  source: undefined,
  destination: undefined,
  input: undefined,
  output: undefined,
  isNarrow: false,
  isForVrfs: false,
  isInverted: false,
} as const;

/** A rule that leads all packets to a table, but for these differences. */
export function ruleOf(priority: number, table: number, changes: Partial<RoutingRule> = {}): RoutingRule {
  return { ...ANY, priority, action: 'lookup', table, ...changes };
}

/** What every host has. */
export const USUAL_RULES: readonly RoutingRule[] = [
  ruleOf(0, LOCAL_TABLE),
  ruleOf(32_766, MAIN_TABLE),
  ruleOf(32_767, DEFAULT_TABLE),
];

const REFUSALS: Partial<Record<RouteEntry['type'] | RoutingRule['action'], string>> = {
  blackhole: 'EINVAL',
  unreachable: 'EHOSTUNREACH',
  prohibit: 'EACCES',
};
/** The kernel's own words for a rule that says unreachable. */
const RULE_REFUSALS = { ...REFUSALS, unreachable: 'ENETUNREACH' };

export function resolve(
  rules: readonly RoutingRule[],
  routes: readonly RouteEntry[],
  packet: Packet,
): RouteAnswer {
  const ordered = [...rules].sort((a, b) => a.priority - b.priority);
  let next = -Infinity;
  for (const rule of ordered) {
    if (rule.priority < next || !takes(rule, packet)) continue;
    if (rule.action === 'goto' && ordered.some(({ priority }) => priority === rule.target))
      next = rule.target!;
    const refusal = RULE_REFUSALS[rule.action];
    if (refusal !== undefined) return { kind: 'refused', code: refusal };
    if (rule.action !== 'lookup') continue;
    const route = routes
      .filter(({ table, destination }) => table === rule.table && contains(destination, packet.destination))
      .sort((a, b) => b.destination.prefixLength - a.destination.prefixLength || a.metric - b.metric)[0];
    if (!route || route.type === 'throw') continue;
    if (route.destination.prefixLength <= (rule.suppressedLength ?? -1)) continue;
    const code = REFUSALS[route.type];
    return code === undefined ? { kind: 'route', route } : { kind: 'refused', code };
  }
  return { kind: 'refused', code: 'ENETUNREACH' };
}

function takes(rule: RoutingRule, { destination, source, input }: Packet): boolean {
  const takesAll =
    !rule.isNarrow &&
    !rule.isForVrfs &&
    rule.output === undefined &&
    (rule.input === undefined || rule.input === input) &&
    (!rule.destination || contains(rule.destination, destination)) &&
    (!rule.source || (source !== undefined && contains(rule.source, source)));
  return rule.isInverted ? !takesAll : takesAll;
}

/** Those of {@link RouteEntry} that the port tells of. */
export function isNear({ destination, table }: RouteEntry, networks: readonly Subnet[]): boolean {
  return networks.some((network) =>
    table === MAIN_TABLE ? contains(network, destination) : overlap(network, destination),
  );
}

/** True where both speak of one family. */
export function isOfFamily({ destination, source }: RoutingRule, families: ReadonlySet<string>): boolean {
  const prefix = destination ?? source;
  return !prefix || families.has(familyOf(prefix.address));
}

/** Chains of others that arriving or forwarded packets pass, and our rules in them. */
import type { Family } from '../../model/address';
import type { FilterReading } from './filter-reading';
import {
  ANY_LINK,
  dropPosition,
  isInPlace,
  type Filter,
  type FilterRule,
  type Outside,
} from './forward-path';
import { isBridgeGuard, readNftFilterRule, readNftRule, type NftChain, type NftRule } from './nft-syntax';
import { FLANNEL_TABLES, linkOfComment, linkOfTable } from './owner-marks';

/** A chain of somebody else's that forwarded packets pass, with its table. */
export interface ForeignFilter {
  readonly base: NftChain;
  readonly rules: readonly NftRule[];
  readonly outside: Outside;
}

/** What arriving or forwarded packets pass, and that is neither ours nor flannel's (whose filter drops nothing). */
export function isForeignFilter(chain: NftChain, skipped: ReadonlySet<Family>): boolean {
  if (roleOf(chain) === undefined || chain.type !== 'filter') return false;
  // iptables-nft's, which nobody else writes.
  if (chain.table === 'raw' && chain.family !== 'inet') return false;
  if (linkOfTable(chain.table) || Object.values(FLANNEL_TABLES).includes(chain.table)) return false;
  if (chain.table !== 'filter') return ['ip', 'ip6', 'inet'].includes(chain.family);
  if (chain.family === 'ip') return !skipped.has('ipv4');
  if (chain.family === 'ip6') return !skipped.has('ipv6');
  return chain.family === 'inet';
}

function roleOf({ hook }: NftChain): 'forward' | 'arrival' | undefined {
  if (hook === 'prerouting') return 'arrival';
  return hook === 'forward' ? hook : undefined;
}

export function readForeignFilter(filter: ForeignFilter, family: Family, into: FilterReading): void {
  const { base, rules } = filter;
  const chain = `${base.family} ${base.table} ${base.name}`;
  const role = roleOf(base)!;
  const place = { tool: 'nftables', family, role, chain } as const;
  const ours = rules.filter((rule) => rule.chain === base.name && familyOfRule(rule) === family);
  const owners = new Set(ours.flatMap((rule) => linkOfComment(rule.comment) ?? []));
  for (const owner of owners) {
    const own = ours.filter((rule) => linkOfComment(rule.comment) === owner);
    const inEffect = own.every((rule) => isRuleInPlace(filter, rule, owner));
    into.blocks.push({ place, owner, rules: own.map(readNftRule), inEffect });
  }
  const others = withoutOurs(filter);
  const drops =
    role === 'arrival'
      ? inBase(others).some(isBridgeGuard)
      : dropPosition(filterOf(others), ANY_LINK) !== undefined;
  // Most chains there have nothing to do with containers.
  if (role === 'forward' || drops || owners.size > 0) into.gates.push({ place, drops });
}

function isRuleInPlace(filter: ForeignFilter, rule: NftRule, owner: string): boolean {
  const others = withoutOurs(filter);
  const before = new Set(filter.rules.slice(0, filter.rules.indexOf(rule)));
  const at = inBase(others).filter((other) => before.has(other)).length;
  return isInPlace(inBase(others).map(readNftFilterRule), latestPosition(others, owner), at);
}

/** How many rules of the base chain go before the first that drops the overlay's packets; all of them if none does. */
export function latestPosition(others: ForeignFilter, owner: string): number {
  if (roleOf(others.base) === 'forward')
    return dropPosition(filterOf(others), owner) ?? inBase(others).length;
  const guard = inBase(others).findIndex(isBridgeGuard);
  return guard < 0 ? inBase(others).length : guard;
}

export function withoutOurs(filter: ForeignFilter): ForeignFilter {
  return { ...filter, rules: filter.rules.filter((rule) => !linkOfComment(rule.comment)) };
}

export function inBase({ base, rules }: ForeignFilter): NftRule[] {
  return rules.filter((rule) => rule.chain === base.name);
}

function filterOf({ base, rules, outside }: ForeignFilter): Filter {
  const chains = new Map<string, FilterRule[]>();
  for (const rule of rules) {
    const chain = chains.get(rule.chain) ?? [];
    chain.push(readNftFilterRule(rule));
    chains.set(rule.chain, chain);
  }
  return { chains, base: base.name, dropsByPolicy: base.policy === 'drop', outside };
}

/** Which family's addresses the rule looks at. */
export function familyOfRule({ expr = [] }: NftRule): Family | undefined {
  const text = JSON.stringify(expr);
  if (text.includes('"protocol":"ip6"')) return 'ipv6';
  return text.includes('"protocol":"ip"') ? 'ipv4' : undefined;
}

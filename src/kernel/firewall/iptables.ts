/** Our rules in iptables: chains of our own, and one jump to each. */
import type { Family } from '../../model/address';
import { HostError } from '../../model/errors';
import {
  FLANNELD,
  type FailedFirewallOperation,
  type FilterTool,
  type FirewallOperation,
  type FirewallRole,
} from '../../model/firewall';
import type { Execute } from './execute';
import { flannelRulesIn, removalOfFlannels } from './flannel-rules';
import {
  ANY_LINK,
  dropPosition,
  isInPlace,
  type Filter,
  type FilterRule,
  type Outside,
} from './forward-path';
import {
  isBridgeGuard,
  optionOf,
  parseSaved,
  printIptablesRule,
  readIptablesFilterRule,
  readIptablesRule,
  type SavedRule,
  type SavedTable,
} from './iptables-syntax';
import type { FilterReading } from './nftables';
import { CHAIN_PREFIX, FLANNEL_CHAINS, commentOf, linkOfChain } from './owner-marks';

/** The built-in chain that the jump stands in, by table. */
const HOMES = {
  masquerade: { table: 'nat', chain: 'POSTROUTING' },
  forward: { table: 'filter', chain: 'FORWARD' },
  arrival: { table: 'raw', chain: 'PREROUTING' },
} as const;
const ROLES = ['masquerade', 'forward', 'arrival'] as const;
/** How long to wait for another iptables to finish (legacy only; the other one needs no lock). */
const LOCK_SECONDS = 5;

export interface IptablesVariant {
  readonly tool: Exclude<FilterTool, 'nftables'>;
  /** `iptables`, or `iptables-nft`: `-save` and `-restore` follow the name, and IPv6's begins with `ip6`. */
  readonly command: string;
  /** `iptables-restore -w`: since 1.6.2. */
  readonly canWait: boolean;
}

export interface IptablesReading extends FilterReading {
  /** Somebody else has rules, or another policy than ACCEPT. */
  readonly isInUse: boolean;
}

export class Iptables {
  constructor(
    private readonly execute: Execute,
    readonly variant: IptablesVariant,
    private readonly outside: () => Outside,
  ) {}

  /** iptables-save(8), without `-t`: to ask for a table would make it. */
  async read(families: readonly Family[], signal: AbortSignal): Promise<IptablesReading> {
    const reading: FilterReading = { blocks: [], gates: [] };
    let isInUse = false;
    for (const family of families) {
      const tables = await this.#saved(family, signal);
      for (const role of ROLES) {
        const table = tables.get(HOMES[role].table);
        if (table) this.#readBlocks(table, role, family, reading);
      }
      isInUse ||= [...tables.values()].some(isUsedByOthers);
    }
    return { ...reading, isInUse };
  }

  /** iptables-restore(8) `--noflush`: one transaction for each table of each family. */
  async apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<FailedFirewallOperation[]> {
    const failed: FailedFirewallOperation[] = [];
    for (const family of ['ipv4', 'ipv6'] as const) {
      for (const role of ROLES) {
        const group = operations.filter(
          ({ block }) => block.place.family === family && block.place.role === role,
        );
        if (group.length === 0) continue;
        try {
          const table = (await this.#saved(family, signal)).get(HOMES[role].table);
          const lines = group.flatMap((operation) => linesOf(operation, table, this.outside()));
          if (lines.length > 0) await this.#restore(family, HOMES[role].table, lines, signal);
        } catch (error) {
          signal.throwIfAborted();
          failed.push(...group.map((operation) => ({ operation, error: error as Error })));
        }
      }
    }
    return failed;
  }

  async #saved(family: Family, signal: AbortSignal): Promise<Map<string, SavedTable>> {
    try {
      return parseSaved(await this.execute(`${this.#command(family)}-save`, [], undefined, signal));
    } catch (error) {
      // A host may well have iptables without ip6tables: there is nothing in it, then.
      if (family === 'ipv6' && error instanceof HostError && error.code === 'ENOENT') return new Map();
      throw error;
    }
  }

  async #restore(family: Family, table: string, lines: string[], signal: AbortSignal): Promise<void> {
    const wait = this.variant.canWait ? ['-w', String(LOCK_SECONDS)] : [];
    const text = [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
    await this.execute(`${this.#command(family)}-restore`, ['--noflush', ...wait], text, signal);
  }

  #command(family: Family): string {
    return family === 'ipv4' ? this.variant.command : this.variant.command.replace(/^ip/, 'ip6');
  }

  #readBlocks(table: SavedTable, role: FirewallRole, family: Family, into: FilterReading): void {
    const place = { tool: this.variant.tool, family, role } as const;
    for (const chain of table.policies.keys()) {
      const owner = chain.startsWith(CHAIN_PREFIX[role]) ? linkOfChain(chain) : undefined;
      if (!owner) continue;
      const rules = table.rules.filter((rule) => rule.chain === chain).map(readIptablesRule);
      into.blocks.push({ place, owner, rules, inEffect: isJumpInEffect(table, role, owner, this.outside()) });
    }
    const { marked, chains, plain, networks } = flannelRulesIn(table, role, HOMES[role].chain);
    if (marked.length + chains.length + plain.length > 0)
      into.blocks.push({ place, owner: FLANNELD, rules: [], inEffect: true, networks });
    if (role === 'masquerade') return;
    const others = withoutOurs(table);
    const drops =
      role === 'arrival' ? guardPosition(others) : dropPosition(filterOf(others, this.outside()), ANY_LINK);
    into.gates.push({ place, drops: drops !== undefined });
  }
}

/** The one jump is there, it is as we write it, and it stands where it belongs among the rules of others. */
function isJumpInEffect(table: SavedTable, role: FirewallRole, owner: string, outside: Outside): boolean {
  const [jump, ...more] = jumpsTo(chainOf(role, owner), table, role);
  if (!jump || more.length > 0 || !isPlainJump(jump)) return false;
  if (role === 'masquerade') return true;
  const others = othersIn(table, role);
  const before = new Set(table.rules.slice(0, table.rules.indexOf(jump)));
  const at = others.filter((rule) => before.has(rule)).length;
  return isInPlace(others.map(readIptablesFilterRule), latestPosition(table, role, owner, outside), at);
}

function linesOf(
  { verb, block }: FirewallOperation,
  table: SavedTable | undefined,
  outside: Outside,
): string[] {
  const { role } = block.place;
  const home = HOMES[role].chain;
  if (block.owner === FLANNELD)
    return table ? removalOfFlannels(flannelRulesIn(table, role, home), home, block.networks) : [];
  const chain = chainOf(role, block.owner);
  const jumps = table ? jumpsTo(chain, table, role) : [];
  const withoutJumps = jumps.map(({ text }) => `-D ${home} ${text}`);
  if (verb === 'remove') {
    const isThere = table?.policies.has(chain) ?? false;
    return [...withoutJumps, ...(isThere ? [`-F ${chain}`, `-X ${chain}`] : [])];
  }
  // To name the chain makes it, or empties it.
  const lines = [`:${chain} - [0:0]`, ...block.rules.map((rule) => `-A ${chain} ${printIptablesRule(rule)}`)];
  if (table && isJumpInEffect(table, role, block.owner, outside)) return lines;
  const jump = `-m comment --comment "${commentOf(block.owner)}" -j ${chain}`;
  const position = positionOf(table, role, chain, outside);
  const where = position === undefined ? `-A ${home}` : `-I ${home} ${position + 1}`;
  return [...lines, ...withoutJumps, `${where} ${jump}`];
}

/** The place in the built-in chain, counted from 0 and without jumps to this chain, that the jump must have. Undefined: the end. */
function positionOf(
  table: SavedTable | undefined,
  role: FirewallRole,
  chain: string,
  outside: Outside,
): number | undefined {
  // Nothing forces masquerade rules to the front: they come last, and stay where they are.
  if (!table || role === 'masquerade') return undefined;
  const next = othersIn(table, role)[latestPosition(table, role, linkOfChain(chain)!, outside)];
  const own = jumpsTo(chain, table, role);
  const inChain = table.rules.filter((rule) => rule.chain === HOMES[role].chain && !own.includes(rule));
  return next && inChain.indexOf(next);
}

/** How many rules of others in the built-in chain go before the first that drops the overlay's packets; all of them if none does. */
function latestPosition(
  table: SavedTable,
  role: Exclude<FirewallRole, 'masquerade'>,
  link: string,
  outside: Outside,
): number {
  const others = withoutOurs(table);
  const position = role === 'arrival' ? guardPosition(others) : dropPosition(filterOf(others, outside), link);
  return position ?? othersIn(table, role).length;
}

/** The place of the first rule that guards a bridge. */
function guardPosition({ rules }: SavedTable): number | undefined {
  const position = rules.filter((rule) => rule.chain === HOMES.arrival.chain).findIndex(isBridgeGuard);
  return position < 0 ? undefined : position;
}

function filterOf({ policies, rules }: SavedTable, outside: Outside): Filter {
  const chains = new Map<string, FilterRule[]>();
  for (const rule of rules) {
    const chain = chains.get(rule.chain) ?? [];
    chain.push(readIptablesFilterRule(rule));
    chains.set(rule.chain, chain);
  }
  const { chain } = HOMES.forward;
  return { chains, base: chain, dropsByPolicy: policies.get(chain) === 'DROP', outside };
}

function chainOf(role: FirewallRole, link: string): string {
  return `${CHAIN_PREFIX[role]}${link}`;
}

function jumpsTo(chain: string, table: SavedTable, role: FirewallRole): SavedRule[] {
  return table.rules.filter(
    (rule) =>
      rule.chain === HOMES[role].chain && [optionOf(rule, '-j'), optionOf(rule, '-g')].includes(chain),
  );
}

function isPlainJump(rule: SavedRule): boolean {
  const link = linkOfChain(optionOf(rule, '-j') ?? '');
  const [module, name, option, comment, ...rest] = rule.words;
  return (
    link !== undefined &&
    [module, name, option].join(' ') === '-m comment --comment' &&
    comment === commentOf(link) &&
    rest.length === 2
  );
}

/** Without the jumps of any link's agent, which stand side by side and decide about packets of their own alone. */
function withoutOurs(table: SavedTable): SavedTable {
  const isOurs = (rule: SavedRule) =>
    [optionOf(rule, '-j'), optionOf(rule, '-g')].some((target) => linkOfChain(target ?? '') !== undefined);
  return { ...table, rules: table.rules.filter((rule) => !isOurs(rule)) };
}

/** What others have in the built-in chain. */
function othersIn(table: SavedTable, role: FirewallRole): SavedRule[] {
  return withoutOurs(table).rules.filter((rule) => rule.chain === HOMES[role].chain);
}

function isUsedByOthers({ policies, rules }: SavedTable): boolean {
  const isOurs = (name: string) =>
    linkOfChain(name) !== undefined || Object.values(FLANNEL_CHAINS).flat().includes(name);
  return (
    [...policies.values()].some((policy) => policy === 'DROP') ||
    rules.some(({ chain, words }) => ![chain, ...words].some(isOurs))
  );
}

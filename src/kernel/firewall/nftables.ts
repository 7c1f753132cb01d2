/** Our rules in nftables: a table of our own, and what we put into filters of others. */
import { parseSubnet, type Family, type Subnet } from '../../model/address';
import { HostError } from '../../model/errors';
import {
  FLANNELD,
  type FailedFirewallOperation,
  type FirewallBlock,
  type FirewallOperation,
  type ForwardGate,
  type InstalledBlock,
} from '../../model/firewall';
import type { Execute } from './execute';
import {
  ANY_LINK,
  dropPosition,
  isInPlace,
  type Filter,
  type FilterRule,
  type Outside,
} from './forward-path';
import {
  NFT_FAMILY,
  isBridgeGuard,
  printNftRule,
  readNftFilterRule,
  readNftRule,
  type NftChain,
  type NftRule,
} from './nft-syntax';
import { FLANNEL_TABLES, commentOf, linkOfComment, linkOfTable, tableNameOf } from './owner-marks';

/** Where iptables masquerades, too. By number: nft learned the name `srcnat` late. */
const SOURCE_NAT_PRIORITY = 100;
const OUR_CHAIN = 'postrouting';

export interface FilterReading {
  readonly blocks: InstalledBlock[];
  readonly gates: ForwardGate[];
}

/** A chain of somebody else's that forwarded packets pass, with its table. */
interface ForeignFilter {
  readonly base: NftChain;
  readonly rules: readonly NftRule[];
  readonly outside: Outside;
}

interface NftListed {
  readonly table?: { readonly family: string; readonly name: string };
  readonly chain?: NftChain;
  readonly rule?: NftRule;
}

export class Nftables {
  constructor(
    private readonly execute: Execute,
    private readonly outside: () => Outside,
  ) {}

  /** nft(8): `nft -j list chains` and `list table` of those that concern us. `skipped`: families whose table `filter` is iptables-nft's. */
  async read(
    families: readonly Family[],
    skipped: ReadonlySet<Family>,
    signal: AbortSignal,
  ): Promise<FilterReading> {
    const chains = await this.#chains(signal);
    const reading: FilterReading = { blocks: [], gates: [] };
    for (const family of ['ipv4', 'ipv6'] as const) {
      const own = chains.filter((chain) => chain.family === NFT_FAMILY[family]);
      for (const table of new Set(own.map((chain) => chain.table))) {
        const place = { tool: 'nftables', family, role: 'masquerade' } as const;
        const owner = linkOfTable(table);
        if (owner) reading.blocks.push(await this.#ownBlock(family, owner, signal));
        if (table !== FLANNEL_TABLES[family]) continue;
        const networks = (await this.#rules(NFT_FAMILY[family], table, signal)).flatMap(prefixesIn);
        reading.blocks.push({ place, owner: FLANNELD, rules: [], inEffect: true, networks });
      }
    }
    reading.blocks.push(...(await this.#emptyFlannelTables(families, chains, signal)));
    for (const base of chains.filter((chain) => isForeignFilter(chain, skipped))) {
      const rules = await this.#rules(base.family, base.table, signal);
      for (const family of families) {
        if (base.family !== 'inet' && base.family !== NFT_FAMILY[family]) continue;
        readForeignFilter({ base, rules, outside: this.outside() }, family, reading);
      }
    }
    return reading;
  }

  /** nft(8): one transaction for tables of our own, one for each chain of others. */
  async apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<FailedFirewallOperation[]> {
    const own = operations.filter(({ block }) => block.place.chain === undefined);
    const failed = await this.#transact(own, () => Promise.resolve(own.flatMap(scriptOf)), signal);
    for (const operation of operations.filter(({ block }) => block.place.chain !== undefined)) {
      failed.push(
        ...(await this.#transact([operation], () => this.#foreignScript(operation, signal), signal)),
      );
    }
    return failed;
  }

  async #transact(
    operations: readonly FirewallOperation[],
    script: () => Promise<string[]>,
    signal: AbortSignal,
  ): Promise<FailedFirewallOperation[]> {
    if (operations.length === 0) return [];
    try {
      const lines = await script();
      if (lines.length > 0) await this.execute('nft', ['-f', '-'], lines.join('\n') + '\n', signal);
      return [];
    } catch (error) {
      signal.throwIfAborted();
      return operations.map((operation) => ({ operation, error: explain(error as Error, operation) }));
    }
  }

  async #ownBlock(family: Family, owner: string, signal: AbortSignal): Promise<InstalledBlock> {
    const objects = await this.#list(`table ${NFT_FAMILY[family]} ${tableNameOf(owner)}`, signal);
    const chains = objects.flatMap(({ chain }) => (chain ? [chain] : []));
    const rules = objects.flatMap(({ rule }) => (rule ? [rule] : []));
    const [chain] = chains;
    const inEffect =
      chains.length === 1 &&
      chain!.type === 'nat' &&
      chain!.hook === 'postrouting' &&
      chain!.prio === SOURCE_NAT_PRIORITY;
    const place = { tool: 'nftables', family, role: 'masquerade' } as const;
    return { place, owner, rules: rules.map(readNftRule), inEffect };
  }

  /** Deletes what is ours in a chain of somebody else, and puts it where the overlay's packets pass it before they are dropped. */
  async #foreignScript(operation: FirewallOperation, signal: AbortSignal): Promise<string[]> {
    const { place, owner } = operation.block;
    const [family, table, name] = place.chain!.split(' ') as [string, string, string];
    const chain = (await this.#chains(signal)).find(
      (candidate) => candidate.family === family && candidate.table === table && candidate.name === name,
    );
    if (!chain) {
      if (operation.verb === 'remove') return [];
      throw new HostError('ENOENT', `the chain ${place.chain} is gone`);
    }
    const rules = await this.#rules(family, table, signal);
    const isOurs = (rule: NftRule) =>
      rule.chain === name && linkOfComment(rule.comment) === owner && familyOfRule(rule) === place.family;
    const lines = rules.filter(isOurs).map((rule) => `delete rule ${place.chain} handle ${rule.handle}`);
    if (operation.verb === 'remove') return lines;
    const filter = withoutOurs({ base: chain, rules, outside: this.outside() });
    const before = inBase(filter)[latestPosition(filter, owner)];
    for (const rule of operation.block.rules) {
      const where = before ? `insert rule ${place.chain} handle ${before.handle}` : `add rule ${place.chain}`;
      lines.push(`${where} ${printNftRule(rule, place.family)} comment "${commentOf(owner)}"`);
    }
    return lines;
  }

  async #chains(signal: AbortSignal): Promise<NftChain[]> {
    return (await this.#list('chains', signal)).flatMap(({ chain }) => (chain ? [chain] : []));
  }

  /** Flannel makes a table for IPv6, too, and puts nothing into it where it carries IPv4 alone: no chain tells of it. */
  async #emptyFlannelTables(
    families: readonly Family[],
    chains: readonly NftChain[],
    signal: AbortSignal,
  ): Promise<InstalledBlock[]> {
    // Both families are asked for once, at the start, and for a cleanup.
    if (families.length < 2) return [];
    const tables = (await this.#list('tables', signal)).flatMap(({ table }) => table ?? []);
    return families.flatMap((family) => {
      const isFlannels = ({ family: of, name }: { family: string; name: string }) =>
        of === NFT_FAMILY[family] && name === FLANNEL_TABLES[family];
      const isEmpty = !chains.some((chain) => isFlannels({ family: chain.family, name: chain.table }));
      const place = { tool: 'nftables', family, role: 'masquerade' } as const;
      return isEmpty && tables.some(isFlannels)
        ? [{ place, owner: FLANNELD, rules: [], inEffect: true }]
        : [];
    });
  }

  async #rules(family: string, table: string, signal: AbortSignal): Promise<NftRule[]> {
    const objects = await this.#list(`table ${family} ${table}`, signal);
    return objects.flatMap(({ rule }) => (rule ? [rule] : []));
  }

  /** Terse: the elements of others' sets are none of our business, and may be many. */
  async #list(what: string, signal: AbortSignal) {
    const text = await this.execute('nft', ['-j', '-t', '-a', 'list', ...what.split(' ')], undefined, signal);
    try {
      return (JSON.parse(text) as { nftables: NftListed[] }).nftables;
    } catch (cause) {
      throw new HostError('FAILED', `cannot read the answer of 'nft -j list ${what}'`, { cause });
    }
  }
}

/**
 * A table can belong to the process that made it (`flags owner`; firewalld's does since 2.1, unless NftablesTableOwner=no):
 * nobody else may write to it then.
 */
function explain(error: Error, { block: { place } }: FirewallOperation): Error {
  if (!place.chain || !error.message.includes('Operation not permitted')) return error;
  const advice = place.chain.startsWith('inet firewalld ')
    ? '; let the overlay pass with firewall-cmd --permanent --zone=trusted --add-source=NETWORK, and firewall-cmd --reload'
    : '';
  const message = `the program that made ${place.chain} lets nobody else write to it${advice}`;
  return new HostError('EPERM', message, { cause: error });
}

function scriptOf(operation: FirewallOperation): string[] {
  const { place, owner } = operation.block;
  const family = NFT_FAMILY[place.family];
  const table = owner === FLANNELD ? FLANNEL_TABLES[place.family] : tableNameOf(owner);
  // To add it first makes the deletion succeed when it is not there.
  const lines = [`add table ${family} ${table}`, `delete table ${family} ${table}`];
  if (operation.verb === 'put') lines.push(...tableText(operation.block, family, table));
  return lines;
}

function tableText({ place, rules }: FirewallBlock, family: string, table: string): string[] {
  return [
    `table ${family} ${table} {`,
    `  chain ${OUR_CHAIN} {`,
    `    type nat hook postrouting priority ${SOURCE_NAT_PRIORITY}; policy accept;`,
    ...rules.map((rule) => `    ${printNftRule(rule, place.family)}`),
    '  }',
    '}',
  ];
}

/** What arriving or forwarded packets pass, and that is neither ours nor flannel's (whose filter drops nothing). */
function isForeignFilter(chain: NftChain, skipped: ReadonlySet<Family>): boolean {
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

function readForeignFilter(filter: ForeignFilter, family: Family, into: FilterReading): void {
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
function latestPosition(others: ForeignFilter, owner: string): number {
  if (roleOf(others.base) === 'forward')
    return dropPosition(filterOf(others), owner) ?? inBase(others).length;
  const guard = inBase(others).findIndex(isBridgeGuard);
  return guard < 0 ? inBase(others).length : guard;
}

function withoutOurs(filter: ForeignFilter): ForeignFilter {
  return { ...filter, rules: filter.rules.filter((rule) => !linkOfComment(rule.comment)) };
}

function inBase({ base, rules }: ForeignFilter): NftRule[] {
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

/** All prefixes that a rule names. */
function prefixesIn({ expr = [] }: NftRule): Subnet[] {
  const found = JSON.stringify(expr).matchAll(/\{"addr":"([^"]+)","len":(\d+)\}/g);
  return Array.from(found, ([, address, length]) => parseSubnet(`${address}/${length}`)).filter(
    (subnet) => subnet !== undefined,
  );
}

/** Which family's addresses the rule looks at. */
function familyOfRule({ expr = [] }: NftRule): Family | undefined {
  const text = JSON.stringify(expr);
  if (text.includes('"protocol":"ip6"')) return 'ipv6';
  return text.includes('"protocol":"ip"') ? 'ipv4' : undefined;
}

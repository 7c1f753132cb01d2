/** Our rules in nftables: a table of our own, and what we put into filters of others. */
import { parseSubnet, type Family, type Subnet } from '../../model/address';
import { HostError, KernelError } from '../../model/errors';
import {
  FLANNELD,
  type FailedFirewallOperation,
  type FirewallOperation,
  type InstalledBlock,
} from '../../model/firewall';
import { NftMessage, type TableFamily } from '../nftables/messages';
import type { Nfnetlink, Put } from '../nftables/nfnetlink';
import { putRuleHandle } from '../nftables/rules';
import type { Execute } from './execute';
import type { FilterReading } from './filter-reading';
import {
  familyOfRule,
  inBase,
  isForeignFilter,
  latestPosition,
  readForeignFilter,
  withoutOurs,
} from './foreign-filters';
import type { Outside } from './forward-path';
import { NftListing } from './nft-listing';
import { NFT_FAMILY, type NftChain, type NftRule } from './nft-syntax';
import { readOwnTables, writeOwnTable, writeRule } from './own-tables';
import { FLANNEL_TABLES, linkOfComment, linkOfTable } from './owner-marks';

export class Nftables {
  readonly #listing: NftListing;
  #netlink: Nfnetlink | undefined;

  /** nft(8) is asked what there is; what is ours is written by netlink. */
  constructor(
    execute: Execute,
    private readonly connect: () => Nfnetlink,
    private readonly outside: () => Outside,
  ) {
    this.#listing = new NftListing(execute);
  }

  /** nft(8): `nft -j list chains` and `list table` of those of others that concern us; ours by netlink. `skipped`: families whose table `filter` is iptables-nft's. */
  async read(
    families: readonly Family[],
    skipped: ReadonlySet<Family>,
    signal: AbortSignal,
  ): Promise<FilterReading> {
    const chains = await this.#listing.chains(signal);
    const reading: FilterReading = { blocks: [], gates: [] };
    for (const family of ['ipv4', 'ipv6'] as const) {
      const ofFamily = chains.filter((chain) => chain.family === NFT_FAMILY[family]);
      if (ofFamily.some(({ table }) => linkOfTable(table)))
        reading.blocks.push(...readOwnTables(this.#open(), family));
      for (const table of new Set(ofFamily.map((chain) => chain.table))) {
        const place = { tool: 'nftables', family, role: 'masquerade' } as const;
        if (table !== FLANNEL_TABLES[family]) continue;
        const networks = (await this.#listing.rules(NFT_FAMILY[family], table, signal)).flatMap(prefixesIn);
        reading.blocks.push({ place, owner: FLANNELD, rules: [], inEffect: true, networks });
      }
    }
    reading.blocks.push(...(await this.#emptyFlannelTables(families, chains, signal)));
    for (const base of chains.filter((chain) => isForeignFilter(chain, skipped))) {
      const rules = await this.#listing.rules(base.family, base.table, signal);
      for (const family of families) {
        if (base.family !== 'inet' && base.family !== NFT_FAMILY[family]) continue;
        readForeignFilter({ base, rules, outside: this.outside() }, family, reading);
      }
    }
    return reading;
  }

  /** One transaction for tables of our own, one for each chain of others. */
  async apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<FailedFirewallOperation[]> {
    signal.throwIfAborted();
    const own = operations.filter(({ block }) => block.place.chain === undefined);
    const failed: FailedFirewallOperation[] = [];
    const attempt = async (some: readonly FirewallOperation[], write: () => void | Promise<void>) => {
      try {
        await write();
      } catch (error) {
        signal.throwIfAborted();
        failed.push(...some.map((operation) => ({ operation, error: explain(error as Error, operation) })));
      }
    };
    if (own.length > 0)
      await attempt(own, () =>
        this.#transact((put) => {
          for (const operation of own) writeOwnTable(put, operation);
        }),
      );
    for (const operation of operations.filter(({ block }) => block.place.chain !== undefined))
      await attempt([operation], () => this.#applyInForeign(operation, signal));
    return failed;
  }

  #transact(write: (put: Put) => void): void {
    this.#open().transact('cannot write the rules of nftables', write);
  }

  /** It stays open: to close it the kernel waits until what was deleted is no longer in use, 10 ms and more. */
  #open(): Nfnetlink {
    return (this.#netlink ??= this.connect());
  }

  /** Deletes what is ours in a chain of others, and puts it where the overlay's packets pass it before they are dropped. */
  async #applyInForeign(operation: FirewallOperation, signal: AbortSignal): Promise<void> {
    const { place, owner } = operation.block;
    const [family, table, name] = place.chain!.split(' ') as [TableFamily, string, string];
    const chain = (await this.#listing.chains(signal)).find(
      (candidate) => candidate.family === family && candidate.table === table && candidate.name === name,
    );
    if (!chain && operation.verb === 'remove') return;
    if (!chain) throw new HostError('ENOENT', `the chain ${place.chain} is gone`);
    const rules = await this.#listing.rules(family, table, signal);
    const filter = withoutOurs({ base: chain, rules, outside: this.outside() });
    const before = inBase(filter)[latestPosition(filter, owner)]?.handle;
    const old = rules.filter(
      (rule) =>
        rule.chain === name && linkOfComment(rule.comment) === owner && familyOfRule(rule) === place.family,
    );
    const wanted = operation.verb === 'put' ? operation.block.rules : [];
    if (old.length + wanted.length === 0) return;
    this.#transact((put) => {
      for (const { handle } of old)
        put(NftMessage.DELRULE, 0, (writer) => putRuleHandle(writer, table, name, handle), family);
      for (const rule of wanted)
        writeRule(put, rule, place.family, family, { table, chain: name, before }, owner);
    });
  }

  /** Flannel makes a table for IPv6, too, and puts nothing into it where it carries IPv4 alone: no chain tells of it. */
  async #emptyFlannelTables(
    families: readonly Family[],
    chains: readonly NftChain[],
    signal: AbortSignal,
  ): Promise<InstalledBlock[]> {
    // Both families are asked for once, at the start, and for a cleanup.
    if (families.length < 2) return [];
    const tables = (await this.#listing.list('tables', signal)).flatMap(({ table }) => table ?? []);
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
}

/**
 * A table can belong to the process that made it (`flags owner`; firewalld's does since 2.1, unless NftablesTableOwner=no):
 * nobody else may write to it then.
 */
function explain(error: Error, { block: { place } }: FirewallOperation): Error {
  if (!place.chain || !(error instanceof KernelError && error.code === 'EPERM')) return error;
  const advice = place.chain.startsWith('inet firewalld ')
    ? '; let the overlay pass with firewall-cmd --permanent --zone=trusted --add-source=NETWORK, and firewall-cmd --reload'
    : '';
  const message = `the program that made ${place.chain} lets nobody else write to it${advice}`;
  return new HostError('EPERM', message, { cause: error });
}

/** All prefixes that a rule names. */
function prefixesIn({ expr = [] }: NftRule): Subnet[] {
  const found = JSON.stringify(expr).matchAll(/\{"addr":"([^"]+)","len":(\d+)\}/g);
  return Array.from(found, ([, address, length]) => parseSubnet(`${address}/${length}`)).filter(
    (subnet) => subnet !== undefined,
  );
}

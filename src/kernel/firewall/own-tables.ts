/** The tables of our own in nftables, written and read by netlink. */
import type { Family } from '../../model/address';
import {
  FLANNELD,
  type FirewallOperation,
  type FirewallRule,
  type InstalledBlock,
} from '../../model/firewall';
import type { MessageWriter } from '../message-writer';
import { Hook, putChain, type ChainEntry } from '../nftables/chains';
import type { RuleWriter } from '../nftables/expressions';
import {
  CREATE,
  CREATE_LAST,
  NFGENMSG_BYTES,
  NftMessage,
  putQuestion,
  putTable,
  type TableFamily,
} from '../nftables/messages';
import type { Nfnetlink, Put } from '../nftables/nfnetlink';
import { readChain, readStatements } from '../nftables/rule-reader';
import { putRule, type RulePlace } from '../nftables/rules';
import { readFirewallRule, writeFirewallRule } from './nft-rules';
import { NFT_FAMILY } from './nft-syntax';
import { FLANNEL_TABLES, commentOf, linkOfTable, tableNameOf } from './owner-marks';

const CHAIN = 'postrouting';
/** Where iptables masquerades, too. */
const ENTRY: ChainEntry = { type: 'nat', hook: 'postrouting', priority: 100 };
const READING = 'cannot read our rules in nftables';

/** The tables of that family that are ours, of whatever link. */
export function readOwnTables(netlink: Nfnetlink, family: Family): InstalledBlock[] {
  const place = { tool: 'nftables', family, role: 'masquerade' } as const;
  const chains = netlink
    .dump(READING, NftMessage.GETCHAIN, () => undefined, NFT_FAMILY[family])
    .map(({ buffer, start, end }) => readChain(buffer, start + NFGENMSG_BYTES, end));
  return [...new Set(chains.map(({ table }) => table))].flatMap((table) => {
    const owner = linkOfTable(table);
    if (owner === undefined) return [];
    const [chain, ...others] = chains.filter((each) => each.table === table);
    const isOurs =
      chain!.type === ENTRY.type && chain!.hook === Hook[ENTRY.hook] && chain!.priority === ENTRY.priority;
    const rules = netlink
      .dump(READING, NftMessage.GETRULE, (writer) => putQuestion(writer, table), NFT_FAMILY[family])
      .map(({ buffer, start, end }) =>
        readFirewallRule(readStatements(buffer, start + NFGENMSG_BYTES, end), family),
      );
    return [{ place, owner, rules, inEffect: isOurs && others.length === 0 }];
  });
}

/** A table of ours that is there anew, or not any more; or one of flannel's that goes. */
export function writeOwnTable(put: Put, operation: FirewallOperation): void {
  const { place, owner } = operation.block;
  const family = NFT_FAMILY[place.family];
  const table = owner === FLANNELD ? FLANNEL_TABLES[place.family] : tableNameOf(owner);
  const name = (writer: MessageWriter) => putTable(writer, table);
  // To make it first makes the deletion succeed when it is not there.
  put(NftMessage.NEWTABLE, CREATE, name, family);
  put(NftMessage.DELTABLE, 0, name, family);
  if (operation.verb === 'remove') return;
  put(NftMessage.NEWTABLE, CREATE, name, family);
  put(NftMessage.NEWCHAIN, CREATE, (writer) => putChain(writer, table, CHAIN, ENTRY), family);
  for (const rule of operation.block.rules)
    writeRule(put, rule, place.family, family, { table, chain: CHAIN });
}

/** `owner`: whose it is, where it stands in a chain of others. */
export function writeRule(
  put: Put,
  rule: FirewallRule,
  family: Family,
  tableFamily: TableFamily,
  place: RulePlace,
  owner?: string,
): void {
  const flags = place.before === undefined ? CREATE_LAST : CREATE;
  const comment = owner === undefined ? undefined : commentOf(owner);
  const write = (to: RuleWriter) => writeFirewallRule(rule, family, tableFamily, to);
  put(NftMessage.NEWRULE, flags, (writer) => putRule(writer, place, comment, write), tableFamily);
}

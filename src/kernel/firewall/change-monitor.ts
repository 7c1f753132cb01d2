/** Hears of changes to nftables' rules. */
import type { openMonitor } from '../../../native';
import { KernelError, describeError } from '../../model/errors';
import { eachMessage } from '../message';
import { readTable } from './nft-messages';

/** linux/netlink.h, linux/netfilter/nfnetlink.h */
const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
/** linux/netfilter/nf_tables.h: NFT_MSG_NEWTABLE … DELRULE, with the GETs between them. Elements of sets do not concern us. */
const LAST_RULE_MESSAGE = 8;
const HEADER_BYTES = 16;
/** struct nfgenmsg */
const NFGENMSG_BYTES = 4;
/** A Docker start makes some hundred changes at once. What does not fit counts as a change. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

/** Calls back after each transaction that touched a table, a chain or a rule, until the signal aborts. */
export function listenToChanges(open: typeof openMonitor, onChange: () => void, signal: AbortSignal): void {
  listen(open, hasRuleChange, onChange, signal);
}

/** Calls back after each transaction by which anybody but the socket `ours` touched that table or what is in it. */
export function listenToTable(
  open: typeof openMonitor,
  { table, ours }: { readonly table: string; readonly ours: number },
  onChange: () => void,
  signal: AbortSignal,
): void {
  const concernsTable = (messages: Buffer) => {
    let isConcerned = false;
    const isReadable = eachMessage(messages, ({ buffer, start, end, type, portId }) => {
      if (type >> 8 !== NFNL_SUBSYS_NFTABLES || portId === ours) return;
      isConcerned ||= readTable(buffer, start + NFGENMSG_BYTES, end) === table;
    });
    return isConcerned || !isReadable;
  };
  listen(open, concernsTable, onChange, signal);
}

function listen(
  open: typeof openMonitor,
  isNews: (messages: Buffer) => boolean,
  onChange: () => void,
  signal: AbortSignal,
): void {
  signal.throwIfAborted();
  try {
    const monitor = open(
      { protocol: NETLINK_NETFILTER, groups: [NFNLGRP_NFTABLES], receiveBufferBytes: RECEIVE_BUFFER_BYTES },
      (messages, overrun) => {
        if (overrun || !messages || isNews(messages)) onChange();
      },
    );
    signal.addEventListener('abort', () => monitor.close(), { once: true });
  } catch (error) {
    const { code = 'FAILED' } = error as { code?: string };
    throw new KernelError(code, `cannot listen to changes of nftables: ${describeError(error)}`, undefined, {
      cause: error,
    });
  }
}

/** True if one of these netlink messages is about a table, a chain or a rule. */
export function hasRuleChange(messages: Buffer): boolean {
  for (let at = 0; at + HEADER_BYTES <= messages.length;) {
    const length = messages.readUInt32LE(at);
    const type = messages.readUInt16LE(at + 4);
    if (type >> 8 === NFNL_SUBSYS_NFTABLES && (type & 0xff) <= LAST_RULE_MESSAGE) return true;
    if (length < HEADER_BYTES) return true;
    at += (length + 3) & ~3;
  }
  return false;
}

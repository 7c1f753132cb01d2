/** nf_tables' messages about tables, and what all its messages have in common. Numbers and names: linux/netfilter/nf_tables.h. */
import type { MessageWriter } from '../message-writer';
import { eachAttribute, readText } from '../wire';

/** The families of tables: of one family of packets, or of both. NFPROTO_* */
export const TableFamily = { ip: 2, ip6: 10, inet: 1 } as const;
export type TableFamily = keyof typeof TableFamily;

/** struct nfgenmsg, which begins each message. */
export const NFGENMSG_BYTES = 4;

/** NFT_MSG_* */
export const NftMessage = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  NEWRULE: 6,
  GETRULE: 7,
  DELRULE: 8,
  NEWSET: 9,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
} as const;

/** NLM_F_CREATE; with NLM_F_APPEND for a rule that goes to the end of its chain. */
export const CREATE = 0x400;
export const CREATE_LAST = 0xc00;

const TABLE = 1;
const TABLE_FLAGS = 2;
const DORMANT = 1;

/** What a list holds is of this type. */
export const LIST_ITEM = 1;
/** NFTA_DATA_* */
export const DATA = { VALUE: 1, VERDICT: 2 } as const;
/** NF_DROP, NF_ACCEPT, NFT_RETURN. */
export const Verdict = { drop: 0, accept: 1, return: -5 } as const;
/** What a question about a table asks for: the elements of a set, or the rules of a chain. */
const WITHIN = 2;

/** The table that the message is about: in every message about a table, or what is in one, its name is attribute 1. */
export function putTable(writer: MessageWriter, table: string): void {
  writer.string(TABLE, table);
}

/** Asks for the elements of a set, or the rules of a chain. */
export function putQuestion(writer: MessageWriter, table: string, inside?: string): void {
  writer.string(TABLE, table);
  if (inside !== undefined) writer.string(WITHIN, inside);
}

/** The name of the table that a message is about; undefined when it makes no sense. */
export function readTable(buffer: Buffer, start: number, end: number): string | undefined {
  let name: string | undefined;
  within(buffer, start, end, TABLE, (from, to) => (name = readText(buffer, from, to)));
  return name;
}

/** True for a table whose chains are not entered: `flags dormant`. */
export function isDormant(buffer: Buffer, start: number, end: number): boolean {
  let flags = 0;
  within(buffer, start, end, TABLE_FLAGS, (from) => (flags = buffer.readUInt32BE(from)));
  return (flags & DORMANT) !== 0;
}

/** Calls back for each attribute of that type. */
export function within(
  buffer: Buffer,
  start: number,
  end: number,
  wanted: number,
  visit: (start: number, end: number) => void,
): void {
  eachAttribute(buffer, start, end, (type, from, to) => {
    if (type === wanted) visit(from, to);
  });
}

/** Eight bytes, as netfilter has its times and handles. */
export function bigEndian64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Rules of nf_tables. Numbers and names: linux/netfilter/nf_tables.h. */
import type { MessageWriter } from '../message-writer';
import { readText } from '../wire';
import { RuleWriter } from './expressions';
import { bigEndian64, putTable, within } from './messages';

export const RULE = { CHAIN: 2, HANDLE: 3, EXPRESSIONS: 4, POSITION: 6, USERDATA: 7 } as const;
const RULE_COMMENT = 0;

/** What nft(8) shows as a rule's comment. */
export function readComment(buffer: Buffer, start: number, end: number): string {
  let comment = '';
  within(buffer, start, end, RULE.USERDATA, (from, to) => {
    for (let at = from; at + 2 <= to; at += 2 + buffer[at + 1]!) {
      if (buffer[at] === RULE_COMMENT) comment = readText(buffer, at + 2, to);
    }
  });
  return comment;
}

/** Where a rule goes: before the one with that handle, or, by the flags of its message, to the end of the chain. */
export interface RulePlace {
  readonly table: string;
  readonly chain: string;
  readonly before?: number | undefined;
}

/** A rule; `write` writes its expressions. */
export function putRule(
  writer: MessageWriter,
  { table, chain, before }: RulePlace,
  comment: string | undefined,
  write: (rule: RuleWriter) => void,
): void {
  putTable(writer, table);
  writer.string(RULE.CHAIN, chain);
  writer.nest(RULE.EXPRESSIONS, () => write(new RuleWriter(writer)));
  if (before !== undefined) writer.bytes(RULE.POSITION, bigEndian64(before));
  if (comment === undefined) return;
  const text = Buffer.from(`${comment}\0`);
  writer.bytes(RULE.USERDATA, Buffer.concat([Buffer.from([RULE_COMMENT, text.length]), text]));
}

/** Names a rule that is to be deleted. */
export function putRuleHandle(writer: MessageWriter, table: string, chain: string, handle: number): void {
  putTable(writer, table);
  writer.string(RULE.CHAIN, chain);
  writer.bytes(RULE.HANDLE, bigEndian64(handle));
}

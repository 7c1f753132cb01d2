/** Rules of nf_tables. Numbers and names: linux/netfilter/nf_tables.h. */
import type { MessageWriter } from '../message-writer';
import { readText } from '../wire';
import { RuleWriter } from './expressions';
import { putTable, within } from './messages';

const RULE = { CHAIN: 2, EXPRESSIONS: 4, USERDATA: 7 } as const;
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

/** Begins a rule; `write` writes its expressions. */
export function putRule(
  writer: MessageWriter,
  table: string,
  chain: string,
  comment: string,
  write: (rule: RuleWriter) => void,
): void {
  putTable(writer, table);
  writer.string(RULE.CHAIN, chain);
  writer.nest(RULE.EXPRESSIONS, () => write(new RuleWriter(writer)));
  const text = Buffer.from(`${comment}\0`);
  writer.bytes(RULE.USERDATA, Buffer.concat([Buffer.from([RULE_COMMENT, text.length]), text]));
}

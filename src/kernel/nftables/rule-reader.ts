/** Chains and rules as nf_tables tells of them, as far as we write them. Numbers and names: linux/netfilter/nf_tables.h. */
import { eachAttribute, readText } from '../wire';
import { CHAIN, HOOK } from './chains';
import { EXPRESSION, META } from './expressions';
import { DATA, LIST_ITEM, readTable, within } from './messages';
import { RULE } from './rules';

/** A chain; without type, hook and priority it is only jumped to. */
export interface FoundChain {
  readonly table: string;
  readonly type: string | undefined;
  readonly hook: number | undefined;
  readonly priority: number | undefined;
}

/** One expression of a rule. */
export type Statement =
  | { readonly kind: 'meta'; readonly key: keyof typeof META }
  | { readonly kind: 'payload'; readonly base: number; readonly offset: number; readonly length: number }
  | { readonly kind: 'mask'; readonly mask: Buffer }
  | { readonly kind: 'compare'; readonly isEqual: boolean; readonly value: Buffer }
  | { readonly kind: 'verdict'; readonly code: number }
  | { readonly kind: 'masquerade'; readonly flags: number }
  /** What we do not write. */
  | { readonly kind: 'other'; readonly name: string };

export function readChain(buffer: Buffer, start: number, end: number): FoundChain {
  let type: string | undefined;
  let hook: number | undefined;
  let priority: number | undefined;
  within(buffer, start, end, CHAIN.TYPE, (from, to) => (type = readText(buffer, from, to)));
  within(buffer, start, end, CHAIN.HOOK, (from, to) => {
    within(buffer, from, to, HOOK.NUMBER, (at) => (hook = buffer.readUInt32BE(at)));
    within(buffer, from, to, HOOK.PRIORITY, (at) => (priority = buffer.readInt32BE(at)));
  });
  return { table: readTable(buffer, start, end) ?? '', type, hook, priority };
}

/** What a rule does, in its order. */
export function readStatements(buffer: Buffer, start: number, end: number): Statement[] {
  const statements: Statement[] = [];
  within(buffer, start, end, RULE.EXPRESSIONS, (listStart, listEnd) =>
    within(buffer, listStart, listEnd, LIST_ITEM, (itemStart, itemEnd) => {
      const data = new Map<number, Buffer>();
      let name = '';
      eachAttribute(buffer, itemStart, itemEnd, (type, from, to) => {
        if (type === EXPRESSION.NAME) name = readText(buffer, from, to);
        if (type === EXPRESSION.DATA)
          eachAttribute(buffer, from, to, (key, at, until) => data.set(key, buffer.subarray(at, until)));
      });
      statements.push(statementOf(name, data) ?? { kind: 'other', name });
    }),
  );
  return statements;
}

/** Undefined for one that is not as we write it. */
function statementOf(name: string, data: ReadonlyMap<number, Buffer>): Statement | undefined {
  const number = (type: number) => data.get(type)?.readUInt32BE() ?? 0;
  switch (name) {
    case 'meta': {
      const key = Object.entries(META).find(([, value]) => value === number(2))?.[0];
      return key === undefined ? undefined : { kind: 'meta', key: key as keyof typeof META };
    }
    case 'payload':
      return { kind: 'payload', base: number(2), offset: number(3), length: number(4) };
    case 'bitwise': {
      const mask = valueOf(data.get(4));
      const isPlain = number(6) === 0 && valueOf(data.get(5))?.every((byte) => byte === 0);
      return mask && isPlain ? { kind: 'mask', mask } : undefined;
    }
    case 'cmp': {
      const value = valueOf(data.get(3));
      return value && number(2) <= 1 ? { kind: 'compare', isEqual: number(2) === 0, value } : undefined;
    }
    case 'immediate':
      return verdictOf(data.get(2));
    case 'masq':
      return data.has(2) || data.has(3) ? undefined : { kind: 'masquerade', flags: number(1) };
    default:
      return undefined;
  }
}

function valueOf(data: Buffer | undefined): Buffer | undefined {
  let value: Buffer | undefined;
  if (data) within(data, 0, data.length, DATA.VALUE, (from, to) => (value = data.subarray(from, to)));
  return value;
}

function verdictOf(data: Buffer | undefined): Statement | undefined {
  let code: number | undefined;
  if (data)
    within(data, 0, data.length, DATA.VERDICT, (from, to) =>
      within(data, from, to, 1, (at) => (code = data.readInt32BE(at))),
    );
  return code === undefined ? undefined : { kind: 'verdict', code };
}

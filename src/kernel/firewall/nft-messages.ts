/** nf_tables' objects as netlink messages, as far as we write them. Numbers and names: linux/netfilter/nf_tables.h. */
import { bitsOf, type Family, type IpAddress } from '../../model/address';
import type { MessageWriter } from '../message-writer';
import { eachAttribute, readText } from '../wire';

/** NFT_MSG_* */
export const NftMessage = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  NEWRULE: 6,
  GETRULE: 7,
  NEWSET: 9,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
} as const;

/** NLM_F_CREATE; with NLM_F_APPEND for a rule. */
export const CREATE = 0x400;
export const CREATE_LAST = 0xc00;

/** In every message about a table, or what is in one, its name is attribute 1. */
const TABLE = 1;
const TABLE_FLAGS = 2;
const DORMANT = 1;
const CHAIN = { NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
const NF_INET_LOCAL_IN = 1;
const NF_INET_FORWARD = 2;
const RULE = { CHAIN: 2, EXPRESSIONS: 4, USERDATA: 7 } as const;
const RULE_COMMENT = 0;
const SET = {
  NAME: 2,
  FLAGS: 3,
  KEY_TYPE: 4,
  KEY_LENGTH: 5,
  DESCRIPTION: 9,
  ID: 10,
  TIMEOUT: 11,
  USERDATA: 13,
} as const;
const SET_SIZE = 1;
const SET_KEY_BYTE_ORDER = 0;
const SET_KEY_TYPE_OF = 3;
const ELEMENTS = { SET: 2, LIST: 3 } as const;
const ELEMENT_KEY = 1;
const LIST_ITEM = 1;
const DATA = { VALUE: 1, VERDICT: 2 } as const;
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
/** NFT_REG_VERDICT; registers of four bytes are numbered from 8 on. */
const VERDICT_REGISTER = 0;
const FIRST_REGISTER = 8;
/** A register of four bytes, from 0. An IPv6 address takes four of them. */
export type Register = number;

export const Verdict = { drop: 0, accept: 1 } as const;
const JUMP = -3;
/** Where a header begins: NFT_PAYLOAD_*. */
export const Base = { network: 1, transport: 2 } as const;

export function putTable(writer: MessageWriter, table: string): void {
  writer.string(TABLE, table);
}

/** Where the kernel enters a chain: with packets for this host, or with those that it forwards. */
export const Hook = { input: NF_INET_LOCAL_IN, forward: NF_INET_FORWARD } as const;

/** `entry` undefined: a chain that is only jumped to. */
export function putChain(
  writer: MessageWriter,
  table: string,
  name: string,
  entry?: { readonly hook: number; readonly priority: number },
): void {
  writer.string(TABLE, table);
  writer.string(CHAIN.NAME, name);
  if (entry === undefined) return;
  writer.nest(CHAIN.HOOK, () => {
    writer.u32be(HOOK.NUMBER, entry.hook);
    writer.u32be(HOOK.PRIORITY, entry.priority);
  });
  writer.u32be(CHAIN.POLICY, Verdict.accept);
  writer.string(CHAIN.TYPE, 'filter');
}

/** The types of keys by which nft(8) prints and reads them. */
const KEY_TYPES = { ipv4: 7, ipv6: 8, integer: 4 } as const;
const BITS_PER_TYPE = 6;
/** NFT_SET_TIMEOUT and NFT_SET_EVAL: rules may add elements, which go again. */
const FLAGS_LEARNING = 0x30;

/** Bytes of a packet from the transport header on. */
export interface Part {
  readonly offset: number;
  readonly length: number;
}

export interface SetSpec {
  readonly name: string;
  /** The key: the source address of a packet of that family, then some bytes of it. */
  readonly source: Family;
  readonly part?: Part;
  /** Filled by rules: at most so many elements, each for so long after it was last seen. */
  readonly learned?: { readonly size: number; readonly milliseconds: number };
}

export function putSet(writer: MessageWriter, table: string, spec: SetSpec, id: number): void {
  const { name, source, part, learned } = spec;
  writer.string(TABLE, table);
  writer.string(SET.NAME, name);
  if (learned) writer.u32be(SET.FLAGS, FLAGS_LEARNING);
  const type = KEY_TYPES[source];
  writer.u32be(SET.KEY_TYPE, part ? (type << BITS_PER_TYPE) | KEY_TYPES.integer : type);
  writer.u32be(SET.KEY_LENGTH, bitsOf(source) / 8 + (part?.length ?? 0));
  writer.u32be(SET.ID, id);
  if (part) writer.bytes(SET.USERDATA, printedAs(source, part));
  if (!learned) return;
  writer.bytes(SET.TIMEOUT, bigEndian64(learned.milliseconds));
  writer.nest(SET.DESCRIPTION, () => writer.u32be(SET_SIZE, learned.size));
}

/**
 * For nft(8), which else could not read again what it lists: `typeof ip saddr . @th,336,32`. The kernel only keeps it. Numbers:
 * nftables 1.0, src/expression.c and payload.c; what nft itself stores is compared by a test.
 */
function printedAs(source: Family, { offset, length }: Part): Buffer {
  const [TYPE, FIELDS] = [0, 1];
  const EXPRESSION_TYPES = { payload: 7, concatenation: 13 };
  const HEADER_FIELDS = { ipv4: [12, 11], ipv6: [13, 8] } as const;
  const TRANSPORT = 3;
  const [protocol, field] = HEADER_FIELDS[source];
  const payload = (...numbers: number[]) => [
    ...numberItem(TYPE, EXPRESSION_TYPES.payload),
    ...item(
      FIELDS,
      numbers.flatMap((number, type) => numberItem(type, number)),
    ),
  ];
  const parts = [payload(protocol, field), payload(0, 0, TRANSPORT, offset * 8, length * 8)];
  return Buffer.from([
    ...numberItem(SET_KEY_BYTE_ORDER, 0),
    ...item(SET_KEY_TYPE_OF, [
      ...numberItem(TYPE, EXPRESSION_TYPES.concatenation),
      ...item(
        FIELDS,
        parts.flatMap((part, index) => item(index, part)),
      ),
    ]),
  ]);
}

function item(type: number, bytes: readonly number[]): number[] {
  return [type, bytes.length, ...bytes];
}

function numberItem(type: number, value: number): number[] {
  return item(type, [value & 0xff, (value >> 8) & 0xff, 0, 0]);
}

/** Of one message: more would not fit into it. */
export const ELEMENTS_PER_MESSAGE = 64;

/** A source address, and the address of an inner packet's sender where the set's key has such a part. */
export interface Key {
  readonly source: IpAddress;
  readonly inner?: IpAddress;
}

export function putElements(
  writer: MessageWriter,
  table: string,
  set: string,
  keys: readonly Key[],
  from: number,
  to: number,
): void {
  writer.string(TABLE, table);
  writer.string(ELEMENTS.SET, set);
  const list = writer.open(ELEMENTS.LIST);
  for (let index = from; index < to; index++) {
    const { source, inner } = keys[index]!;
    const item = writer.open(LIST_ITEM);
    const key = writer.open(ELEMENT_KEY);
    if (inner === undefined) writer.address(DATA.VALUE, source);
    else writer.addresses(DATA.VALUE, source, inner);
    writer.close(key);
    writer.close(item);
  }
  writer.close(list);
}

/** The keys in an answer about a set's elements, each as the part of `buffer` that `take` gets. */
export function eachKey(
  buffer: Buffer,
  start: number,
  end: number,
  take: (start: number, end: number) => void,
): void {
  const inKey = (type: number, from: number, to: number) => type === DATA.VALUE && take(from, to);
  const inItem = (type: number, from: number, to: number) =>
    type === ELEMENT_KEY && eachAttribute(buffer, from, to, inKey);
  const inList = (type: number, from: number, to: number) =>
    type === LIST_ITEM && eachAttribute(buffer, from, to, inItem);
  within(buffer, start, end, ELEMENTS.LIST, (from, to) => eachAttribute(buffer, from, to, inList));
}

/** Asks for the elements of a set, or the rules of a chain. */
export function putQuestion(writer: MessageWriter, table: string, within?: string): void {
  writer.string(TABLE, table);
  if (within !== undefined) writer.string(ELEMENTS.SET, within);
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
  writer.string(TABLE, table);
  writer.string(RULE.CHAIN, chain);
  writer.nest(RULE.EXPRESSIONS, () => write(new RuleWriter(writer)));
  const text = Buffer.from(`${comment}\0`);
  writer.bytes(RULE.USERDATA, Buffer.concat([Buffer.from([RULE_COMMENT, text.length]), text]));
}

/** NFT_CMP_EQ, NFT_CMP_NEQ */
const CMP_EQ = 0;
const CMP_NEQ = 1;

/** The expressions of a rule, one after the other; a packet that one does not match leaves the rule. */
/** NFT_FIB_RESULT_OIF, NFTA_FIB_F_* */
const FIB_RESULT_OIF = 1;
const FIB_SADDR = 1;
const FIB_IIF = 8;

export class RuleWriter {
  constructor(private readonly writer: MessageWriter) {}

  /** `meta nfproto`, `meta l4proto` into a register. */
  meta(key: 'nfproto' | 'l4proto', to: Register): this {
    return this.#expression('meta', () => {
      this.writer.u32be(1, FIRST_REGISTER + to);
      this.writer.u32be(2, key === 'nfproto' ? 15 : 16);
    });
  }

  /** Bytes of the packet into a register. */
  load(base: keyof typeof Base, offset: number, length: number, to: Register): this {
    return this.#expression('payload', () => {
      this.writer.u32be(1, FIRST_REGISTER + to);
      this.writer.u32be(2, Base[base]);
      this.writer.u32be(3, offset);
      this.writer.u32be(4, length);
    });
  }

  /** `fib saddr . iif oif`: the interface it came by, if the source is reached by that; else 0. */
  returnInterface(to: Register): this {
    return this.#expression('fib', () => {
      this.writer.u32be(1, FIRST_REGISTER + to);
      this.writer.u32be(2, FIB_RESULT_OIF);
      this.writer.u32be(3, FIB_SADDR | FIB_IIF);
    });
  }

  mask(register: Register, mask: Uint8Array): this {
    return this.#expression('bitwise', () => {
      this.writer.u32be(1, FIRST_REGISTER + register);
      this.writer.u32be(2, FIRST_REGISTER + register);
      this.writer.u32be(3, mask.length);
      this.#data(4, mask);
      this.#data(5, new Uint8Array(mask.length));
    });
  }

  is(register: Register, value: Uint8Array): this {
    return this.#compare(register, CMP_EQ, value);
  }

  isNot(register: Register, value: Uint8Array): this {
    return this.#compare(register, CMP_NEQ, value);
  }

  #compare(register: Register, operation: number, value: Uint8Array): this {
    return this.#expression('cmp', () => {
      this.writer.u32be(1, FIRST_REGISTER + register);
      this.writer.u32be(2, operation);
      this.#data(3, value);
    });
  }

  isIn(register: Register, set: string): this {
    return this.#lookUp(register, set, false);
  }

  isNotIn(register: Register, set: string): this {
    return this.#lookUp(register, set, true);
  }

  /** Remembers the register in a set that rules fill; while that is full, the packet leaves the rule. */
  remember(register: Register, set: string, milliseconds: number): this {
    return this.#expression('dynset', () => {
      this.writer.string(1, set);
      this.writer.u32be(3, 1);
      this.writer.u32be(4, FIRST_REGISTER + register);
      this.writer.bytes(6, bigEndian64(milliseconds));
    });
  }

  count(): this {
    return this.#expression('counter', () => undefined);
  }

  verdict(verdict: keyof typeof Verdict): this {
    return this.#verdict(Verdict[verdict]);
  }

  jump(chain: string): this {
    return this.#verdict(JUMP, chain);
  }

  #verdict(code: number, chain?: string): this {
    return this.#expression('immediate', () => {
      this.writer.u32be(1, VERDICT_REGISTER);
      this.writer.nest(2, () => {
        this.writer.nest(DATA.VERDICT, () => {
          this.writer.u32be(1, code);
          if (chain) this.writer.string(2, chain);
        });
      });
    });
  }

  #lookUp(register: Register, set: string, isInverted: boolean): this {
    return this.#expression('lookup', () => {
      this.writer.string(1, set);
      this.writer.u32be(2, FIRST_REGISTER + register);
      if (isInverted) this.writer.u32be(5, 1);
    });
  }

  #expression(name: string, write: () => void): this {
    this.writer.nest(LIST_ITEM, () => {
      this.writer.string(EXPRESSION.NAME, name);
      this.writer.nest(EXPRESSION.DATA, write);
    });
    return this;
  }

  #data(type: number, value: Uint8Array): void {
    this.writer.nest(type, () => this.writer.bytes(DATA.VALUE, value));
  }
}

function bigEndian64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function within(
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

/** Sets of nf_tables and their elements. Numbers and names: linux/netfilter/nf_tables.h. */
import { bitsOf, type Family, type IpAddress } from '../../model/address';
import type { MessageWriter } from '../message-writer';
import { eachAttribute } from '../wire';
import { DATA, LIST_ITEM, bigEndian64, putTable, within } from './messages';

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
  putTable(writer, table);
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
  putTable(writer, table);
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

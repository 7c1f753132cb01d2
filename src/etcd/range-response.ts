/** etcd's answer to a range read, by hand. */

/** A key and what is stored there: parts of the message, which must not be kept. Numbers of 64 bits are decimals. */
export interface StoredEntry {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The etcd lease it is attached to; `0` for none. */
  readonly lease: string;
  readonly modRevision: string;
  readonly createRevision: string;
}

export interface RangeAnswer {
  /** The store's revision at the time of the read. */
  readonly revision: string;
  /** Which cluster answered, as a signed number. */
  readonly clusterId: string;
  readonly kvs: readonly StoredEntry[];
}

/** Wire types: protobuf.dev/programming-guides/encoding. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const EMPTY = Buffer.alloc(0);

/**
 * Reads an etcdserverpb.RangeResponse (field numbers: etcd3's rpc.proto and kv.proto). A start reads thousands of leases, and
 * etcd3's codec makes three objects and two buffers of each, of which we need few: this takes a fifth of its time. Unknown
 * fields are passed over; throws a RangeError for what is no such message.
 */
export function readRangeAnswer(bytes: Buffer): RangeAnswer {
  const reader = new Reader(bytes);
  let header: Omit<RangeAnswer, 'kvs'> | undefined;
  const kvs: StoredEntry[] = [];
  while (!reader.isAtEnd(bytes.length)) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | BYTES)) header = readHeader(reader, reader.end());
    else if (tag === ((2 << 3) | BYTES)) kvs.push(readKeyValue(reader, reader.end()));
    else reader.skip(tag);
  }
  if (!header) throw new RangeError('parsing error: a range response without a header');
  return { ...header, kvs };
}

/** etcdserverpb.ResponseHeader. */
function readHeader(reader: Reader, end: number): Omit<RangeAnswer, 'kvs'> {
  let revision = '0';
  let clusterId = '0';
  while (!reader.isAtEnd(end)) {
    const tag = reader.tag();
    if (tag === ((3 << 3) | VARINT)) revision = reader.int64();
    else if (tag === ((1 << 3) | VARINT)) clusterId = reader.int64();
    else reader.skip(tag);
  }
  return { revision, clusterId };
}

/** mvccpb.KeyValue */
function readKeyValue(reader: Reader, end: number): StoredEntry {
  let key: Buffer = EMPTY;
  let value: Buffer = EMPTY;
  let lease = '0';
  let modRevision = '0';
  let createRevision = '0';
  while (!reader.isAtEnd(end)) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | BYTES)) key = reader.bytes();
    else if (tag === ((2 << 3) | VARINT)) createRevision = reader.int64();
    else if (tag === ((3 << 3) | VARINT)) modRevision = reader.int64();
    else if (tag === ((5 << 3) | BYTES)) value = reader.bytes();
    else if (tag === ((6 << 3) | VARINT)) lease = reader.int64();
    else reader.skip(tag);
  }
  return { key, value, lease, modRevision, createRevision };
}

/** Reads protobuf's primitives one after the other. */
class Reader {
  #at = 0;
  /** Where the innermost message ends: nothing in it may reach beyond. */
  #limit: number;

  constructor(private readonly message: Buffer) {
    this.#limit = message.length;
  }

  /** Whether a message that ends at `end` has been read. */
  isAtEnd(end: number): boolean {
    this.#limit = end;
    return this.#at >= end;
  }

  tag(): number {
    return this.#varint() >>> 0;
  }

  /** Where the bytes that follow their length end. */
  end(): number {
    const end = this.#varint() + this.#at;
    if (end > this.#limit) throw outOfRange();
    return end;
  }

  bytes(): Buffer {
    const end = this.end();
    const part = this.message.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  /** A signed number, in decimals. */
  int64(): string {
    const start = this.#at;
    const value = this.#varint();
    return Number.isSafeInteger(value) ? String(value) : this.#exactly(start);
  }

  skip(tag: number): void {
    switch (tag & 7) {
      case VARINT:
        this.#varint();
        return;
      case FIXED64:
        return this.#pass(8);
      case BYTES:
        this.#at = this.end();
        return;
      case FIXED32:
        return this.#pass(4);
      default:
        throw new RangeError(`parsing error: no wire type ${tag & 7}`);
    }
  }

  #pass(count: number): void {
    this.#at += count;
    if (this.#at > this.#limit) throw outOfRange();
  }

  /** Not exact above 2^53. */
  #varint(): number {
    let value = 0;
    for (let factor = 1, length = 0; length < 10; length++, factor *= 128) {
      if (this.#at >= this.#limit) throw outOfRange();
      const byte = this.message[this.#at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new RangeError('parsing error: a number of more than 64 bits');
  }

  #exactly(start: number): string {
    let value = 0n;
    for (let at = start; at < this.#at; at++)
      value |= BigInt(this.message[at]! & 0x7f) << BigInt(7 * (at - start));
    return BigInt.asIntN(64, value).toString();
  }
}

function outOfRange(): RangeError {
  return new RangeError('parsing error: the message ends too early');
}

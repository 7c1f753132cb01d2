/** The bytes of rtnetlink: attributes, addresses, and the few numbers that the netlink package does not name. */
import { AttrStream, readU16, readU32, type StreamData } from 'netlink/dist/structs';
import { addressToBytes, bytesToAddress, familyOf, type Family, type IpAddress } from '../model/address';
import type { MacAddress } from '../model/mac';

/** struct nlmsghdr */
export const HEADER_BYTES = 16;
/** The family of FDB entries. linux/socket.h */
export const AF_BRIDGE = 7;
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];
/** AF_INET and AF_INET6. */
export const FAMILY_NUMBERS: Readonly<Record<Family, number>> = { ipv4: 2, ipv6: 10 };

/** NUD_*: linux/neighbour.h */
export const StateBit = {
  INCOMPLETE: 0x01,
  REACHABLE: 0x02,
  STALE: 0x04,
  DELAY: 0x08,
  PROBE: 0x10,
  FAILED: 0x20,
  NOARP: 0x40,
  PERMANENT: 0x80,
} as const;

/** NTF_*: linux/neighbour.h */
export const FlagBit = { SELF: 0x02, EXT_LEARNED: 0x10 } as const;

export function familyNumberOf(address: IpAddress): number {
  return FAMILY_NUMBERS[familyOf(address)];
}

/** Calls back with type (without its two flag bits), start and end of each attribute; stops where they make no sense. */
export function eachAttribute(
  buffer: Buffer,
  start: number,
  end: number,
  visit: (type: number, start: number, end: number) => void,
): void {
  for (let at = start; at + 4 <= end;) {
    const length = readU16.call(buffer, at);
    if (length < 4 || at + length > end) return;
    visit(readU16.call(buffer, at + 2) & 0x3fff, at + 4, at + length);
    at += (length + 3) & ~3;
  }
}

/** Where each attribute of a message is, by type: made once and filled again and again, because thousands are read. */
export class AttributeIndex {
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  #buffer: Buffer = Buffer.alloc(0);

  /** Knows the types up to `maxType`. */
  constructor(maxType: number) {
    this.#starts = new Uint32Array(maxType + 1);
    this.#ends = new Uint32Array(maxType + 1);
  }

  /** Reads the attributes from `start` to `end`; forgets what it knew. */
  read(buffer: Buffer, start: number, end: number): void {
    this.#buffer = buffer;
    this.#starts.fill(0);
    for (let at = start; at + 4 <= end;) {
      const length = readU16.call(buffer, at);
      if (length < 4 || at + length > end) return;
      const type = readU16.call(buffer, at + 2) & 0x3fff;
      if (type < this.#starts.length) {
        this.#starts[type] = at + 4;
        this.#ends[type] = at + length;
      }
      at += (length + 3) & ~3;
    }
  }

  /** A host-order u32 at `offset` of the attribute; undefined where there is none. */
  u32(type: number, offset = 0): number | undefined {
    const at = this.#starts[type]!;
    if (at === 0 || at + offset + 4 > this.#ends[type]!) return undefined;
    return readU32.call(this.#buffer, at + offset);
  }

  /** An IP address of 4 or 16 bytes; undefined where there is none. */
  address(type: number): IpAddress | undefined {
    const at = this.#starts[type]!;
    if (at === 0) return undefined;
    const buffer = this.#buffer;
    const length = this.#ends[type]! - at;
    if (length === 4)
      return `${buffer[at]}.${buffer[at + 1]}.${buffer[at + 2]}.${buffer[at + 3]}` as IpAddress;
    return length === 16 ? bytesToAddress(buffer.subarray(at, at + 16)) : undefined;
  }

  /** A MAC address of 6 bytes; undefined where there is none. */
  mac(type: number): MacAddress | undefined {
    const at = this.#starts[type]!;
    if (at === 0 || this.#ends[type]! - at !== 6) return undefined;
    const hex = (offset: number) => HEX[this.#buffer[at + offset]!]!;
    return `${hex(0)}:${hex(1)}:${hex(2)}:${hex(3)}:${hex(4)}:${hex(5)}` as MacAddress;
  }

  /** A text without its terminating zero; undefined where there is none. */
  text(type: number): string | undefined {
    const at = this.#starts[type]!;
    return at === 0 ? undefined : readText(this.#buffer, at, this.#ends[type]!);
  }

  /** The bytes, not copied; undefined where there are none. */
  bytes(type: number): Buffer | undefined {
    const at = this.#starts[type]!;
    return at === 0 ? undefined : this.#buffer.subarray(at, this.#ends[type]);
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Writes its four or sixteen bytes. IPv4 by hand: thousands of them are written, at every start. */
export function encodeAddress(buffer: Uint8Array, at: number, address: IpAddress): void {
  if (familyOf(address) === 'ipv6') return buffer.set(addressToBytes(address), at);
  let octet = 0;
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index);
    if (code === 0x2e) {
      buffer[at++] = octet;
      octet = 0;
    } else octet = octet * 10 + code - 0x30;
  }
  buffer[at] = octet;
}

/** Writes its six bytes. */
export function encodeMac(buffer: Uint8Array, at: number, mac: MacAddress): void {
  for (let octet = 0; octet < 6; octet++)
    buffer[at + octet] = (hexDigit(mac, octet * 3) << 4) | hexDigit(mac, octet * 3 + 1);
}

function hexDigit(mac: MacAddress, index: number): number {
  const code = mac.charCodeAt(index);
  return code >= 0x61 ? code - 0x57 : code - 0x30;
}

/** A text without its terminating zero. */
export function readText(buffer: Buffer, start: number, end: number): string {
  const zero = buffer.indexOf(0, start);
  return buffer.toString('utf8', start, zero >= 0 && zero < end ? zero : end);
}

/** What a codec of the netlink package wrote, as bytes aligned to 4. */
export function streamToBytes(data: StreamData): Uint8Array {
  const stream = new AttrStream();
  stream.emit(data);
  const bytes = Buffer.concat(stream.bufs);
  return bytes.length % 4 === 0 ? bytes : Buffer.concat([bytes], (bytes.length + 3) & ~3);
}

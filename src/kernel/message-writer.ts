/** Writes netlink requests one after the other into one buffer: a batch that one system call sends. */
import { readU16, writeU16, writeU32 } from 'netlink/dist/structs';
import { familyOf, type IpAddress } from '../model/address';
import type { MacAddress } from '../model/mac';
import { HEADER_BYTES, encodeAddress, encodeMac } from './wire';

/** More than any message of ours needs. */
const ROOM_BYTES = 4096;
const INITIAL_BYTES = 1 << 16;
const FLAG_REQUEST = 1;
const FLAG_ACK = 4;
/** NLA_F_NESTED */
const FLAG_NESTED = 0x8000;

export class MessageWriter {
  #buffer = Buffer.alloc(INITIAL_BYTES);
  #end = 0;
  #start = 0;
  #firstSequence = 1;
  #sequence = 1;

  /** How many messages have been written. */
  get count(): number {
    return (this.#sequence - this.#firstSequence) >>> 0;
  }

  /** The sequence number of the first message; the others follow it. */
  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** The messages, as they will be sent. */
  get messages(): Buffer {
    return this.#buffer.subarray(0, this.#end);
  }

  /** Forgets all messages, but not their numbers: an answer that comes late is recognised. */
  clear(): void {
    this.#end = 0;
    this.#firstSequence = this.#sequence;
  }

  /** Begins a message, with a header of `headerBytes` zeros after the netlink one. {@link end} completes it. */
  begin(type: number, flags: number, headerBytes: number): void {
    if (this.#end + ROOM_BYTES > this.#buffer.length) {
      this.#buffer = Buffer.concat([this.#buffer], this.#buffer.length * 2);
    }
    this.#start = this.#end;
    this.#end += HEADER_BYTES + headerBytes;
    this.#buffer.fill(0, this.#start, this.#end);
    writeU16.call(this.#buffer, type, this.#start + 4);
    writeU16.call(this.#buffer, flags | FLAG_REQUEST, this.#start + 6);
    writeU32.call(this.#buffer, this.#sequence, this.#start + 8);
    this.#sequence = (this.#sequence + 1) >>> 0;
  }

  /** Sets a byte of the header that follows the netlink header. */
  headerU8(offset: number, value: number): void {
    this.#buffer[this.#start + HEADER_BYTES + offset] = value;
  }

  headerU16(offset: number, value: number): void {
    writeU16.call(this.#buffer, value, this.#start + HEADER_BYTES + offset);
  }

  headerU32(offset: number, value: number): void {
    writeU32.call(this.#buffer, value, this.#start + HEADER_BYTES + offset);
  }

  u32(type: number, value: number): void {
    const at = this.#attribute(type, 4);
    writeU32.call(this.#buffer, value, at);
  }

  /** In network byte order, as netfilter has its numbers. */
  u32be(type: number, value: number): void {
    this.#buffer.writeUInt32BE(value >>> 0, this.#attribute(type, 4));
  }

  /** An attribute that holds what `write` writes. */
  nest(type: number, write: () => void): void {
    const at = this.open(type);
    write();
    this.close(at);
  }

  /** Like {@link nest}, without a closure: what is written until {@link close} gets what this returns. */
  open(type: number): number {
    return this.#attribute(type | FLAG_NESTED, 0) - 4;
  }

  close(at: number): void {
    writeU16.call(this.#buffer, this.#end - at, at);
  }

  bytes(type: number, value: Uint8Array): void {
    this.#buffer.set(value, this.#attribute(type, value.length));
  }

  /** A string with its terminating zero. */
  string(type: number, value: string): void {
    this.bytes(type, Buffer.from(`${value}\0`));
  }

  /** Four or sixteen bytes. */
  address(type: number, address: IpAddress): void {
    encodeAddress(this.#buffer, this.#attribute(type, bytesOf(address)), address);
  }

  /** Two addresses, one behind the other, as one value. */
  addresses(type: number, first: IpAddress, second: IpAddress): void {
    const at = this.#attribute(type, bytesOf(first) + bytesOf(second));
    encodeAddress(this.#buffer, at, first);
    encodeAddress(this.#buffer, at + bytesOf(first), second);
  }

  mac(type: number, mac: MacAddress): void {
    encodeMac(this.#buffer, this.#attribute(type, 6), mac);
  }

  /** Attributes that a codec of the netlink package made, or anything else that is aligned already. */
  raw(payload: Uint8Array): void {
    if (this.#end + payload.length > this.#buffer.length)
      throw new RangeError('this netlink message is too long');
    this.#buffer.set(payload, this.#end);
    this.#end += payload.length;
  }

  /** Completes the message. */
  end(): void {
    writeU32.call(this.#buffer, this.#end - this.#start, this.#start);
  }

  /**
   * The messages as a batch. Only the last one asks to be acknowledged: the kernel works them off in order, so that answer says that
   * all are done, and it reports those that failed in any case.
   */
  finish(): Buffer {
    this.acknowledge();
    return this.messages;
  }

  /** Asks for an answer to the message written last, whatever becomes of it. */
  acknowledge(): void {
    writeU16.call(this.#buffer, readU16.call(this.#buffer, this.#start + 6) | FLAG_ACK, this.#start + 6);
  }

  /** Makes room for an attribute; returns where its value goes. */
  #attribute(type: number, length: number): number {
    const at = this.#end;
    writeU16.call(this.#buffer, length + 4, at);
    writeU16.call(this.#buffer, type, at + 2);
    this.#end = at + 4 + ((length + 3) & ~3);
    for (let padding = at + 4 + length; padding < this.#end; padding++) this.#buffer[padding] = 0;
    return at + 4;
  }
}

function bytesOf(address: IpAddress): number {
  return familyOf(address) === 'ipv6' ? 16 : 4;
}

/** Reading netlink messages: headers, and what the kernel says about a request. */
import { readS32, readU16, readU32 } from 'netlink/dist/structs';
import type { Refusal } from './refusal';
import { HEADER_BYTES, eachAttribute, readText } from './wire';

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
/** NLM_F_CAPPED and NLM_F_ACK_TLVS of an answer. */
const FLAG_CAPPED = 0x100;
const FLAG_ATTRIBUTES = 0x200;
const NLMSGERR_ATTR_MSG = 1;

/** A message in a buffer of several: its payload is `buffer` from `start` to `end`. */
export interface Message {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Who caused it; 0 is the kernel itself. */
  readonly portId: number;
}

/** Calls back for each message of a buffer. Returns false if it ends in bytes that make no sense. */
export function eachMessage(buffer: Buffer, visit: (message: Message) => void): boolean {
  let at = 0;
  while (at + HEADER_BYTES <= buffer.length) {
    const length = readU32.call(buffer, at);
    if (length < HEADER_BYTES || at + length > buffer.length) return false;
    visit({
      buffer,
      start: at + HEADER_BYTES,
      end: at + length,
      type: readU16.call(buffer, at + 4),
      flags: readU16.call(buffer, at + 6),
      sequence: readU32.call(buffer, at + 8),
      portId: readU32.call(buffer, at + 12),
    });
    at += (length + 3) & ~3;
  }
  return at >= buffer.length;
}

/** What an NLMSG_ERROR or NLMSG_DONE refuses; undefined when it says that all is well. */
export function parseRefusal({ buffer, start, end, type, flags }: Message): Refusal | undefined {
  if (end - start < 4) return undefined;
  const errno = -readS32.call(buffer, start);
  if (errno === 0) return undefined;
  let detail: string | undefined;
  if (flags & FLAG_ATTRIBUTES) {
    let at = start + 4;
    // An error repeats the request, or only its header; the end of a dump does not.
    if (type === NLMSG_ERROR && at + HEADER_BYTES <= end) {
      at += flags & FLAG_CAPPED ? HEADER_BYTES : (readU32.call(buffer, at) + 3) & ~3;
    }
    eachAttribute(buffer, at, end, (attribute, from, to) => {
      if (attribute === NLMSGERR_ATTR_MSG) detail = readText(buffer, from, to);
    });
  }
  return { errno, detail };
}

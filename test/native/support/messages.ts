/** Just enough of netlink(7) to ask the kernel something and to read what it says. */

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWNEIGH = 28;
export const RTM_GETNEIGH = 30;
export const RTNLGRP_LINK = 1;
export const RTNLGRP_NEIGH = 3;
export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_ACK_TLVS = 0x200;
const NLM_F_REPLACE = 0x100;
const NLM_F_CREATE = 0x400;
const HEADER_BYTES = 16;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  readonly payload: Buffer;
}

export function message(type: number, flags: number, sequence: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + payload.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, payload, Buffer.alloc(-payload.length & 3)]);
}

export function attribute(type: number, value: Uint8Array): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, value, Buffer.alloc(-value.length & 3)]);
}

/** Reads messages strictly: throws on anything that is not whole and aligned. */
export function messagesOf(buffer: Buffer): Message[] {
  const messages: Message[] = [];
  for (let offset = 0; offset < buffer.length;) {
    const length = buffer.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > buffer.length)
      throw new Error(`message of ${length} bytes at ${offset}`);
    messages.push({
      type: buffer.readUInt16LE(offset + 4),
      flags: buffer.readUInt16LE(offset + 6),
      sequence: buffer.readUInt32LE(offset + 8),
      portId: buffer.readUInt32LE(offset + 12),
      payload: buffer.subarray(offset + HEADER_BYTES, offset + length),
    });
    offset += (length + 3) & ~3;
  }
  return messages;
}

/** The errno in an acknowledgement or at the end of a dump; 0 when it went well. */
export function errorOf(answer: Message | undefined): number {
  if (answer?.type !== NLMSG_ERROR && answer?.type !== NLMSG_DONE)
    throw new Error('not the end of an answer');
  return Math.abs(answer.payload.readInt32LE(0));
}

/** ip(8): `ip link show` of all links, or of the one with that index. */
export function getLink(sequence: number, flags: number, index = 0): Buffer {
  const payload = Buffer.alloc(16);
  payload.writeInt32LE(index, 4);
  return message(RTM_GETLINK, NLM_F_REQUEST | flags, sequence, payload);
}

/** ip(8): `ip neigh show`, of that link if given. */
export function getNeighbors(sequence: number, index = 0): Buffer {
  const payload = Buffer.alloc(12);
  const filter = Buffer.alloc(4);
  filter.writeUInt32LE(index);
  const attributes = index === 0 ? Buffer.alloc(0) : attribute(8, filter);
  return message(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, sequence, Buffer.concat([payload, attributes]));
}

/**
 * ip(8): `ip neigh replace 10.0.0.0+number lladdr 02:…+generation dev … nud permanent`. The kernel notifies when the generation
 * differs from the last one.
 */
export function putNeighbor(
  index: number,
  number: number,
  generation: number,
  sequence = 0,
  acknowledge = false,
): Buffer {
  const payload = Buffer.alloc(12);
  payload[0] = 2;
  payload.writeInt32LE(index, 4);
  payload.writeUInt16LE(0x80, 8);
  const address = Buffer.alloc(4);
  address.writeUInt32BE(0x0a000000 + number);
  const mac = Buffer.alloc(6);
  mac[0] = 2;
  mac.writeUInt32BE(generation, 2);
  const flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | (acknowledge ? NLM_F_ACK : 0);
  return message(
    RTM_NEWNEIGH,
    flags,
    sequence,
    Buffer.concat([payload, attribute(1, address), attribute(2, mac)]),
  );
}

/** Where the generation stands in what {@link putNeighbor} returns, for those who send millions. */
export const GENERATION_OFFSET = HEADER_BYTES + 12 + 8 + 4 + 2;

/** The generation in a notification about a neighbor. */
export function generationOf({ payload }: Message): number {
  for (let offset = 12; offset + 4 <= payload.length; offset += (payload.readUInt16LE(offset) + 3) & ~3)
    if (payload.readUInt16LE(offset + 2) === 2) return payload.readUInt32BE(offset + 6);
  throw new Error('a neighbor without link-layer address');
}

export function interfaceIndexOf({ payload }: Message): number {
  return payload.readInt32LE(4);
}

/** Neighbors and FDB entries: ip-neighbour(8), bridge(8). One message format; an FDB entry has the family AF_BRIDGE. */
import { readU16, readU32 } from 'netlink/dist/structs';
import type { Family, IpAddress } from '../model/address';
import { DETOUR, type FdbEntry, type Neighbor, type NeighborState } from '../model/kernel-state';
import type { MacAddress } from '../model/mac';
import { FlagsNew, MessageType } from './constants';
import type { Message } from './message';
import type { MessageWriter } from './message-writer';
import type { RequestWriter } from './rtnetlink';
import { AF_BRIDGE, AttributeIndex, FAMILY_NUMBERS, FlagBit, StateBit, familyNumberOf } from './wire';

/** struct ndmsg */
const HEADER = 12;
const NDA = { DST: 1, LLADDR: 2, CACHEINFO: 3, PORT: 6, VNI: 7, IFINDEX: 8, NH_ID: 13 } as const;
/** By these an FDB entry does not send by the port, VNI and link of its device: none that we would put has one. */
const DETOURS = [NDA.PORT, NDA.VNI, NDA.IFINDEX, NDA.NH_ID];
/** struct nda_cacheinfo: since when confirmed, used, updated (in USER_HZ, a hundredth of a second everywhere), reference count. */
const UPDATED_OFFSET = 8;
const TICK_MILLISECONDS = 10;

/** A neighbor or FDB entry as the kernel describes it. */
export interface NeighborRecord {
  readonly family: number;
  readonly index: number;
  /** {@link StateBit} */
  readonly state: number;
  /** {@link FlagBit} */
  readonly flags: number;
  /** The neighbor's address, or where an FDB entry sends to. */
  readonly address: IpAddress | undefined;
  readonly mac: MacAddress | undefined;
  /** For how long it has been in this state. */
  readonly milliseconds: number;
}

const attributes = new AttributeIndex(NDA.NH_ID);

/** The link index in a neighbor message, read before anything else: most are about other links. */
export function neighborIndexOf({ buffer, start, end }: Message): number {
  return end - start < HEADER ? 0 : readU32.call(buffer, start + 4);
}

/** What an RTM_NEWNEIGH, RTM_DELNEIGH or RTM_GETNEIGH tells of; undefined when it makes no sense. */
export function parseNeighbor({ buffer, start, end }: Message): NeighborRecord | undefined {
  if (end - start < HEADER) return undefined;
  attributes.read(buffer, start + HEADER, end);
  const family = buffer[start]!;
  const isDetour = family === AF_BRIDGE && DETOURS.some((type) => attributes.bytes(type) !== undefined);
  return {
    family,
    index: readU32.call(buffer, start + 4),
    state: readU16.call(buffer, start + 8),
    flags: buffer[start + 10]!,
    address: isDetour ? DETOUR : attributes.address(NDA.DST),
    mac: attributes.mac(NDA.LLADDR),
    milliseconds: (attributes.u32(NDA.CACHEINFO, UPDATED_OFFSET) ?? 0) * TICK_MILLISECONDS,
  };
}

/** Asks (by a dump) for the neighbors of a family on one link. */
export function getNeighbors(family: Family, index: number): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETNEIGH, flags, HEADER);
    writer.headerU8(0, FAMILY_NUMBERS[family]);
    writer.u32(NDA.IFINDEX, index);
    writer.end();
  };
}

/** Asks (by a dump) for the FDB entries of one link. */
export function getFdbEntries(index: number): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETNEIGH, flags, HEADER);
    writer.headerU8(0, AF_BRIDGE);
    writer.headerU32(4, index);
    writer.end();
  };
}

/** ip(8): `ip neighbor get ADDRESS dev INDEX`. Since Linux 5.0. */
export function getNeighbor(address: IpAddress, index: number): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETNEIGH, flags, HEADER);
    writer.headerU8(0, familyNumberOf(address));
    writer.headerU32(4, index);
    writer.address(NDA.DST, address);
    writer.end();
  };
}

/** bridge(8): `bridge fdb get MAC dev INDEX self`. Since Linux 5.0. */
export function getFdbEntry(mac: MacAddress, index: number): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETNEIGH, flags, HEADER);
    writer.headerU8(0, AF_BRIDGE);
    writer.headerU32(4, index);
    writer.headerU8(10, FlagBit.SELF);
    writer.mac(NDA.LLADDR, mac);
    writer.end();
  };
}

const STATES: Readonly<Record<NeighborState, number>> = {
  permanent: StateBit.PERMANENT,
  learned: StateBit.REACHABLE,
  failed: StateBit.FAILED,
  noarp: StateBit.NOARP,
};

/** ip(8): `ip neighbor replace ADDRESS [lladdr MAC] dev INDEX nud permanent | reachable extern_learn | failed`. */
export function writeNeighbor(writer: MessageWriter, object: Neighbor, index: number): void {
  const { address, mac, state } = object;
  const flags = state === 'learned' ? FlagBit.EXT_LEARNED : 0;
  begin(writer, MessageType.NEWNEIGH, familyNumberOf(address), index, STATES[state], flags);
  writer.address(NDA.DST, address);
  if (mac !== undefined) writer.mac(NDA.LLADDR, mac);
  writer.end();
}

/** ip(8): `ip neighbor del ADDRESS dev INDEX`. */
export function writeNeighborRemoval(writer: MessageWriter, { address }: Neighbor, index: number): void {
  begin(writer, MessageType.DELNEIGH, familyNumberOf(address), index, 0, 0);
  writer.address(NDA.DST, address);
  writer.end();
}

/** bridge(8): `bridge fdb replace MAC dev INDEX dst ADDRESS self permanent`. */
export function writeFdbEntry(writer: MessageWriter, object: FdbEntry, index: number): void {
  begin(writer, MessageType.NEWNEIGH, AF_BRIDGE, index, StateBit.PERMANENT, FlagBit.SELF);
  writer.address(NDA.DST, object.destination);
  writer.mac(NDA.LLADDR, object.mac);
  writer.end();
}

/** bridge(8): `bridge fdb del MAC dev INDEX self`, with all its destinations. */
export function writeFdbRemoval(writer: MessageWriter, { mac }: FdbEntry, index: number): void {
  begin(writer, MessageType.DELNEIGH, AF_BRIDGE, index, 0, FlagBit.SELF);
  writer.mac(NDA.LLADDR, mac);
  writer.end();
}

function begin(
  writer: MessageWriter,
  type: number,
  family: number,
  index: number,
  state: number,
  flags: number,
): void {
  writer.begin(type, type === MessageType.NEWNEIGH ? FlagsNew.CREATE | FlagsNew.REPLACE : 0, HEADER);
  writer.headerU8(0, family);
  writer.headerU32(4, index);
  writer.headerU16(8, state);
  writer.headerU8(10, flags);
}

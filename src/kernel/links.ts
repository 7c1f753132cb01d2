/** Links: ip-link(8). */
import { readU16, readU32, readU16be, writeU16be, type StreamData } from 'netlink/dist/structs';
import {
  formatInfo,
  formatLinkAttrs,
  formatVxlan,
  parseInfo,
  parseVxlan,
  type Vxlan,
} from 'netlink/dist/rt/ifla';
import { formatLink } from 'netlink/dist/rt/gen_structs';
import { addressToBytes, bytesToAddress, familyOf } from '../model/address';
import type { Link, VxlanParameters } from '../model/kernel-state';
import { macToBytes, type MacAddress } from '../model/mac';
import { FlagsNew, MessageType } from './constants';
import type { Message } from './message';
import type { MessageWriter } from './message-writer';
import type { RequestWriter } from './rtnetlink';
import { AttributeIndex, streamToBytes } from './wire';

/** struct ifinfomsg */
const INFO_BYTES = 16;
/** IFF_*: linux/if.h */
const IFF = { UP: 0x1, LOOPBACK: 0x8, NOARP: 0x80, LOWER_UP: 0x10000 } as const;
const ALL_FLAGS = 0xffffffff;
const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  MASTER: 10,
  LINKINFO: 18,
  EXT_MASK: 29,
  PROTO_DOWN: 39,
  PROTO_DOWN_REASON: 55,
} as const;
/** IFLA_PROTO_DOWN_REASON_* */
const REASON = { MASK: 1, VALUE: 2 } as const;
/** Counters of a link are most of what there is to tell about it, and nobody here asks for them. */
const RTEXT_FILTER_SKIP_STATS = 8;
const AF_UNSPEC = 0;
/** ARPHRD_ETHER */
const ETHERNET = 1;

/** A link as the kernel describes it. */
export interface LinkRecord {
  readonly index: number;
  readonly name: string;
  /** undefined for what is no Ethernet device. */
  readonly mac: MacAddress | undefined;
  readonly mtu: number;
  readonly up: boolean;
  readonly loopback: boolean;
  readonly carrier: boolean;
  /** Interface index of the bridge or bond it is a port of. */
  readonly master: number | undefined;
  readonly protodown: boolean;
  readonly noarp: boolean;
  /** A notification that it was taken up or down. */
  readonly isSwitched?: true;
  /** `bridge`, `vxlan`, `veth`; undefined for hardware. */
  readonly kind: string | undefined;
  readonly vxlan: VxlanParameters | undefined;
}

const attributes = new AttributeIndex(IFLA.PROTO_DOWN);

/** The link that an RTM_NEWLINK or RTM_DELLINK tells of; undefined when it makes no sense. */
export function parseLink({ buffer, start, end }: Message): LinkRecord | undefined {
  // A bridge tells of its ports in messages of its own family; "removed" there means: from the bridge.
  if (end - start < INFO_BYTES || buffer[start] !== AF_UNSPEC) return undefined;
  attributes.read(buffer, start + INFO_BYTES, end);
  const name = attributes.text(IFLA.IFNAME);
  if (name === undefined) return undefined;
  const flags = readU32.call(buffer, start + 8);
  const info = attributes.bytes(IFLA.LINKINFO);
  const changed = readU32.call(buffer, start + 12);
  // Of a new link all is said to have changed.
  const isSwitched = changed !== ALL_FLAGS && (changed & IFF.UP) !== 0;
  return {
    index: readU32.call(buffer, start + 4),
    name,
    mac: readU16.call(buffer, start + 2) === ETHERNET ? attributes.mac(IFLA.ADDRESS) : undefined,
    mtu: attributes.u32(IFLA.MTU) ?? 0,
    up: (flags & IFF.UP) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    carrier: (flags & IFF.LOWER_UP) !== 0,
    master: attributes.u32(IFLA.MASTER),
    protodown: attributes.bytes(IFLA.PROTO_DOWN)?.[0] === 1,
    noarp: (flags & IFF.NOARP) !== 0,
    ...(isSwitched ? { isSwitched } : {}),
    ...parseKind(info),
  };
}

/** The package's codec throws on what it does not expect; a device that we cannot read is none of ours. */
function parseKind(info: Buffer | undefined): Pick<LinkRecord, 'kind' | 'vxlan'> {
  if (!info) return { kind: undefined, vxlan: undefined };
  try {
    const { kind, data } = parseInfo(info);
    return {
      kind,
      vxlan: kind === 'vxlan' && data !== undefined ? parametersOf(parseVxlan(data)) : undefined,
    };
  } catch {
    return { kind: undefined, vxlan: undefined };
  }
}

function parametersOf(vxlan: Vxlan): VxlanParameters {
  const local = vxlan.local ?? vxlan.local6;
  return {
    vni: vxlan.id ?? 0,
    local: local && bytesToAddress(local),
    underlayIndex: vxlan.link ?? 0,
    port: vxlan.port ? readU16be.call(vxlan.port, 0) : 0,
    learning: vxlan.learning === 1,
    gbp: vxlan.gbp === true,
    l2miss: vxlan.l2miss === 1,
    ...(vxlan.ttl ? { ttl: vxlan.ttl } : {}),
    ...(vxlan.df?.[0] ? { dontFragment: vxlan.df[0] } : {}),
    ...(vxlan.remcsumTx || vxlan.remcsumRx ? { remoteChecksum: true } : {}),
    ...(vxlan.limit ? { mostFdbEntries: vxlan.limit } : {}),
    ...(vxlan.ttlInherit?.[0] ? { ttlInherited: true } : {}),
  };
}

/** The record as an object of the model. */
export function linkOf({ name, mac, mtu, up, master, protodown, noarp, vxlan }: LinkRecord): Link {
  return {
    ...{ kind: 'link', name, mac: mac ?? ('00:00:00:00:00:00' as MacAddress), mtu, up, vxlan },
    ...(master === undefined ? {} : { master }),
    ...(protodown ? { protodown } : {}),
    ...(noarp ? { noarp } : {}),
  };
}

/** All of a link that we would put back, as text to compare: not its counters, nor what follows from its surroundings. */
export function printLinkState(record: LinkRecord): string {
  const { index, name, mac, mtu, up, master, protodown, noarp, vxlan } = record;
  const { vni, local, underlayIndex, port, learning, gbp, ttl, dontFragment } = vxlan ?? {};
  return [
    ...[index, name, mac, mtu, up, master, protodown, noarp],
    ...[vni, local, underlayIndex, port, learning, gbp, ttl, dontFragment],
  ].join(' ');
}

/** Asks for one link, or (by a dump) for all. */
export function getLink(link: string | number | undefined): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETLINK, flags, INFO_BYTES);
    if (typeof link === 'number') writer.headerU32(4, link);
    if (typeof link === 'string') writer.string(IFLA.IFNAME, link);
    writer.u32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    writer.end();
  };
}

/** ip(8): `ip link add NAME address … mtu … txqueuelen 0 type vxlan …`. Down, as every new link. */
export function writeNewLink(writer: MessageWriter, link: Link, vxlan: VxlanParameters): void {
  const { vni, local, underlayIndex, port, learning, gbp, l2miss } = vxlan;
  write(
    writer,
    { flags: FlagsNew.CREATE | FlagsNew.EXCL },
    {
      ifname: link.name,
      address: Buffer.from(macToBytes(link.mac)),
      mtu: link.mtu,
      txqlen: 0,
      linkinfo: vxlanInfo({
        id: vni,
        ...(underlayIndex === 0 ? {} : { link: underlayIndex }),
        ...localAttribute(local),
        learning: Number(learning),
        l2miss: Number(l2miss),
        port: portBytes(port),
        ...(gbp ? { gbp } : {}),
      }),
    },
  );
}

/** ip(8): `ip link set INDEX up`, or down. */
export function writeLinkUp(writer: MessageWriter, index: number, up: boolean): void {
  write(writer, { index, up }, {});
}

/** ip(8): `ip link set INDEX address MAC`. All neighbors on the link are lost by it, permanent ones too (6.18). */
export function writeLinkMac(writer: MessageWriter, index: number, mac: MacAddress): void {
  write(writer, { index }, { address: Buffer.from(macToBytes(mac)) });
}

/** ip(8): `ip link set INDEX nomaster`. */
export function writeLinkFree(writer: MessageWriter, index: number): void {
  write(writer, { index }, { master: 0 });
}

/** ip(8): `ip link set INDEX protodown off`, after `protodown_reason … off` for each: with a reason left, the kernel refuses. */
export function writeLinkProtodownOff(writer: MessageWriter, index: number): void {
  writer.begin(MessageType.NEWLINK, 0, INFO_BYTES);
  writer.headerU32(4, index);
  writer.nest(IFLA.PROTO_DOWN_REASON, () => {
    writer.u32(REASON.MASK, 0xffffffff);
    writer.u32(REASON.VALUE, 0);
  });
  writer.bytes(IFLA.PROTO_DOWN, Buffer.from([0]));
  writer.end();
}

/** ip(8): `ip link set INDEX arp on`. All neighbors on the link are lost by it, permanent ones too (6.18). */
export function writeLinkArpOn(writer: MessageWriter, index: number): void {
  writer.begin(MessageType.NEWLINK, 0, INFO_BYTES);
  writer.headerU32(4, index);
  writer.headerU32(12, IFF.NOARP);
  writer.end();
}

/** ip(8): `ip link set INDEX name NAME`. */
export function writeLinkName(writer: MessageWriter, index: number, name: string): void {
  write(writer, { index }, { ifname: name });
}

/** ip(8): `ip link set INDEX mtu MTU`. */
export function writeLinkMtu(writer: MessageWriter, index: number, mtu: number): void {
  write(writer, { index }, { mtu });
}

/**
 * ip(8): `ip link set INDEX type vxlan local … dev … [no]learning ttl … df …`, with those of them that differ. The kernel refuses
 * (6.18) any message that names VNI, port, GBP or L2 misses, even with the value they have, or an MTU beside them.
 */
export function writeLinkVxlan(
  writer: MessageWriter,
  index: number,
  from: VxlanParameters,
  to: VxlanParameters,
): void {
  const linkinfo = vxlanInfo({
    ...(from.local === to.local ? {} : localAttribute(to.local)),
    ...(from.underlayIndex === to.underlayIndex ? {} : { link: to.underlayIndex }),
    ...(from.learning === to.learning ? {} : { learning: Number(to.learning) }),
    ...(from.ttl === to.ttl ? {} : { ttl: to.ttl ?? 0 }),
    ...(from.dontFragment === to.dontFragment ? {} : { df: Buffer.from([to.dontFragment ?? 0]) }),
  });
  write(writer, { index }, { linkinfo });
}

/** ip(8): `ip link del INDEX`. */
export function writeLinkRemoval(writer: MessageWriter, index: number): void {
  writer.begin(MessageType.DELLINK, 0, INFO_BYTES);
  writer.headerU32(4, index);
  writer.end();
}

interface Header {
  readonly index?: number;
  readonly up?: boolean;
  readonly flags?: number;
}

function write(writer: MessageWriter, header: Header, attrs: Parameters<typeof formatLinkAttrs>[0]): void {
  const { index = 0, up, flags = 0 } = header;
  writer.begin(MessageType.NEWLINK, flags, 0);
  writer.raw(
    formatLink({ index, ...(up === undefined ? {} : { flags: up ? { up } : {}, change: { up: true } }) }),
  );
  writer.raw(streamToBytes(formatLinkAttrs(attrs)));
  writer.end();
}

function vxlanInfo(vxlan: Vxlan): Buffer {
  const data: StreamData = formatVxlan(vxlan);
  return Buffer.from(streamToBytes(formatInfo({ kind: 'vxlan', data: Buffer.from(streamToBytes(data)) })));
}

function localAttribute(local: VxlanParameters['local']): Vxlan {
  if (local === undefined) return {};
  const bytes = Buffer.from(addressToBytes(local));
  return familyOf(local) === 'ipv4' ? { local: bytes } : { local6: bytes };
}

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  writeU16be.call(bytes, port, 0);
  return bytes;
}

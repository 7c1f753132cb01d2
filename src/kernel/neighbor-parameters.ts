/** How the kernel resolves neighbors on a link: ip-ntable(8). By netlink, because /proc/sys may be read-only. */
import {
  formatNeighborTable,
  formatNeighborTableAttrs,
  parseNeighborTableAttrs,
} from 'netlink/dist/rt/gen_structs';
import type { Family } from '../model/address';
import type { NeighborParameters } from '../model/kernel-state';
import { MessageType } from './constants';
import type { Message } from './message';
import type { MessageWriter } from './message-writer';
import type { RequestWriter } from './rtnetlink';
import { FAMILY_NUMBERS, streamToBytes } from './wire';

/** struct ndtmsg */
const HEADER = 4;
/** The kernel's names of its tables. */
const TABLES: Readonly<Record<Family, string>> = { ipv4: 'arp_cache', ipv6: 'ndisc_cache' };

/** The parameters of one link that an RTM_NEWNEIGHTBL tells of; undefined when it tells of no link, or makes no sense. */
export function parseNeighborParameters({ buffer, start, end }: Message, family: Family) {
  if (end - start < HEADER || buffer[start] !== FAMILY_NUMBERS[family]) return undefined;
  const { parms } = parseNeighborTableAttrs(buffer.subarray(start + HEADER, end));
  if (parms?.ifindex === undefined || parms.appProbes === undefined || parms.queueLenbytes === undefined)
    return undefined;
  return { index: parms.ifindex, appSolicit: parms.appProbes, queueBytes: parms.queueLenbytes };
}

/** Asks (by a dump) for the parameters of a family: of all links, because the kernel knows no filter here. */
export function getNeighborParameters(family: Family): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETNEIGHTBL, flags, 0);
    writer.raw(formatNeighborTable({ family: FAMILY_NUMBERS[family] }));
    writer.end();
  };
}

/** ip(8): `ip ntable change name arp_cache dev INDEX app_probes …`, and `sysctl net.ipv4.neigh.LINK.unres_qlen_bytes=…`. */
export function writeNeighborParameters(
  writer: MessageWriter,
  { family, appSolicit, queueBytes }: NeighborParameters,
  index: number,
): void {
  writer.begin(MessageType.SETNEIGHTBL, 0, 0);
  writer.raw(formatNeighborTable({ family: FAMILY_NUMBERS[family] }));
  const parms = { ifindex: index, appProbes: appSolicit, queueLenbytes: queueBytes };
  writer.raw(streamToBytes(formatNeighborTableAttrs({ name: TABLES[family], parms })));
  writer.end();
}

/** Addresses of links: ip-address(8). */
import { readU32 } from 'netlink/dist/structs';
import { familyOf, type Family, type IpAddress } from '../model/address';
import type { LinkAddress } from '../model/kernel-state';
import type { InterfaceAddress } from '../model/network-interface';
import { FlagsNew, MessageType } from './constants';
import type { Message } from './message';
import type { MessageWriter } from './message-writer';
import type { RequestWriter } from './rtnetlink';
import { AttributeIndex, FAMILY_NUMBERS, familyNumberOf } from './wire';

/** struct ifaddrmsg */
const HEADER = 8;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
/** IFA_F_*: linux/if_addr.h. One bit means "secondary" for IPv4 and "temporary" for IPv6. */
const FLAG = {
  SECONDARY: 0x01,
  TEMPORARY: 0x01,
  NODAD: 0x02,
  DADFAILED: 0x08,
  DEPRECATED: 0x20,
  TENTATIVE: 0x40,
  PERMANENT: 0x80,
};
const SCOPE_LINK = 253;
const SCOPE_HOST = 254;

/** An address as the kernel describes it. */
export interface AddressRecord extends InterfaceAddress {
  readonly index: number;
  /** False while its uniqueness is not proved (IPv6 only). */
  readonly usable: boolean;
}

const attributes = new AttributeIndex(IFA.FLAGS);

/** The address that an RTM_NEWADDR or RTM_DELADDR tells of; undefined when it makes no sense. */
export function parseAddress({ buffer, start, end }: Message): AddressRecord | undefined {
  if (end - start < HEADER) return undefined;
  attributes.read(buffer, start + HEADER, end);
  // Of a point-to-point link, IFA_ADDRESS is the other end's; of any other, our own.
  const other = attributes.address(IFA.ADDRESS);
  const address: IpAddress | undefined = attributes.address(IFA.LOCAL) ?? other;
  if (address === undefined) return undefined;
  const flags = attributes.u32(IFA.FLAGS) ?? buffer[start + 2]!;
  const scope = buffer[start + 3]!;
  const isIpv6 = familyOf(address) === 'ipv6';
  return {
    index: readU32.call(buffer, start + 4),
    address,
    prefixLength: buffer[start + 1]!,
    scope: scope === SCOPE_LINK ? 'link' : scope === SCOPE_HOST ? 'host' : 'global',
    permanent: (flags & FLAG.PERMANENT) !== 0,
    temporary: isIpv6 && (flags & FLAG.TEMPORARY) !== 0,
    deprecated: (flags & FLAG.DEPRECATED) !== 0,
    usable: !isIpv6 || (flags & (FLAG.TENTATIVE | FLAG.DADFAILED)) === 0,
    ...(!isIpv6 && (flags & FLAG.SECONDARY) !== 0 ? { secondary: true } : {}),
    ...(other !== undefined && other !== address ? { peer: other } : {}),
  };
}

/** Asks for the addresses of a family on one link, or (0) on all. */
export function getAddresses(family: Family, index: number): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETADDR, flags, HEADER);
    writer.headerU8(0, FAMILY_NUMBERS[family]);
    writer.headerU32(4, index);
    writer.end();
  };
}

/**
 * ip(8): `ip address replace ADDRESS/LENGTH dev INDEX nodad`. IPv6 would otherwise wait a second for nobody's objection before
 * routes can name it as their source; IPv4 does not know the flag.
 */
export function writeAddress(writer: MessageWriter, object: LinkAddress, index: number): void {
  write(writer, MessageType.NEWADDR, FlagsNew.CREATE | FlagsNew.REPLACE, object, index);
  if (familyOf(object.address) === 'ipv6') writer.u32(IFA.FLAGS, FLAG.NODAD);
  writer.end();
}

/** ip(8): `ip address del ADDRESS/LENGTH dev INDEX`. */
export function writeAddressRemoval(writer: MessageWriter, object: LinkAddress, index: number): void {
  write(writer, MessageType.DELADDR, 0, object, index);
  writer.end();
}

function write(writer: MessageWriter, type: number, flags: number, object: LinkAddress, index: number): void {
  const { address, prefixLength } = object;
  writer.begin(type, flags, HEADER);
  writer.headerU8(0, familyNumberOf(address));
  writer.headerU8(1, prefixLength);
  writer.headerU32(4, index);
  writer.address(IFA.LOCAL, address);
  writer.address(IFA.ADDRESS, address);
}

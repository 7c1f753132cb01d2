/** Rules: ip-rule(8). */
import { readU32 } from 'netlink/dist/structs';
import type { Family, IpAddress, Subnet } from '../model/address';
import type { RoutingRule } from '../model/routing';
import { MessageType } from './constants';
import type { Message } from './message';
import type { RequestWriter } from './rtnetlink';
import { AttributeIndex, FAMILIES, FAMILY_NUMBERS } from './wire';

/** struct fib_rule_hdr: as long as struct rtmsg. */
const HEADER = 12;
/** FRA_*: linux/fib_rules.h */
const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  GOTO: 4,
  PRIORITY: 6,
  FWMARK: 10,
  TUN_ID: 12,
  SUPPRESS_IFGROUP: 13,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  OIFNAME: 17,
  L3MDEV: 19,
  UID_RANGE: 20,
  IP_PROTO: 22,
  SPORT_RANGE: 23,
  DPORT_RANGE: 24,
  DSCP: 25,
} as const;
/** FIB_RULE_INVERT */
const INVERTED = 0x02;
const ACTIONS: Readonly<Record<number, RoutingRule['action']>> = {
  1: 'lookup',
  2: 'goto',
  3: 'nop',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
};
const NARROWING = [FRA.FWMARK, FRA.TUN_ID, FRA.IP_PROTO, FRA.SPORT_RANGE, FRA.DPORT_RANGE, FRA.DSCP];
const EVERY_UID = 0xffffffff;
/** The kernel tells so of a rule that suppresses nothing. */
const NO_LENGTH = 0xffffffff;

const attributes = new AttributeIndex(FRA.DSCP);

/** Asks (by a dump) for the rules. */
export function getRules(family: Family): RequestWriter {
  return (writer, flags) => {
    writer.begin(MessageType.GETRULE, flags, HEADER);
    writer.headerU8(0, FAMILY_NUMBERS[family]);
    writer.end();
  };
}

/** The rule that an RTM_NEWRULE or RTM_DELRULE tells of; undefined when it makes no sense or is neither IPv4 nor IPv6. */
export function parseRule({ buffer, start, end }: Message): RoutingRule | undefined {
  if (end - start < HEADER) return undefined;
  if (!FAMILIES.some((family) => FAMILY_NUMBERS[family] === buffer[start])) return undefined;
  attributes.read(buffer, start + HEADER, end);
  const isForVrfs = (attributes.bytes(FRA.L3MDEV)?.[0] ?? 0) !== 0;
  const uids = [attributes.u32(FRA.UID_RANGE), attributes.u32(FRA.UID_RANGE, 4)];
  const target = attributes.u32(FRA.GOTO);
  const suppressedLength = attributes.u32(FRA.SUPPRESS_PREFIXLEN) ?? NO_LENGTH;
  const suppressesGroup = attributes.bytes(FRA.SUPPRESS_IFGROUP) !== undefined;
  const isForSomeUsers = uids[0] !== undefined && !(uids[0] === 0 && uids[1] === EVERY_UID);
  return {
    priority: attributes.u32(FRA.PRIORITY) ?? 0,
    source: prefixOf(attributes.address(FRA.SRC), buffer[start + 2]!),
    destination: prefixOf(attributes.address(FRA.DST), buffer[start + 1]!),
    input: attributes.text(FRA.IIFNAME),
    output: attributes.text(FRA.OIFNAME),
    isNarrow:
      buffer[start + 3] !== 0 ||
      isForSomeUsers ||
      NARROWING.some((type) => attributes.bytes(type) !== undefined),
    isForVrfs,
    isInverted: (readU32.call(buffer, start + 8) & INVERTED) !== 0,
    action: ACTIONS[buffer[start + 7]!] ?? 'other',
    table: attributes.u32(FRA.TABLE) ?? buffer[start + 4]!,
    ...(target === undefined ? {} : { target }),
    ...(suppressedLength === NO_LENGTH ? {} : { suppressedLength }),
    ...(suppressesGroup ? { suppressesGroup } : {}),
  };
}

function prefixOf(address: IpAddress | undefined, prefixLength: number): Subnet | undefined {
  return address === undefined || prefixLength === 0 ? undefined : { address, prefixLength };
}

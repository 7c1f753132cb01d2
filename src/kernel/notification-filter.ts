/** Which notifications the kernel need not even copy to us: a classic BPF program. */
import { writeU16, writeU32 } from 'netlink/dist/structs';
import { addressToBytes, familyOf, type Family, type Subnet } from '../model/address';
import { ROUTE_PROTOCOL } from '../model/kernel-state';
import { MessageType, RoutingTable } from './constants';
import { AF_BRIDGE, FAMILIES, FAMILY_NUMBERS, FlagBit, StateBit } from './wire';

/** One instruction: linux/filter.h. A false condition goes on with the next. */
export type Instruction = readonly [code: number, jt: number, jf: number, k: number];

type Step =
  | readonly ['load', size: 1 | 2 | 4, offset: number]
  /** Where in the message the attribute of that type is; 0 where it is not. Of a route or a rule. */
  | readonly ['find attribute', type: number]
  /** Four bytes of what was found, in the network's byte order. */
  | readonly ['load found', offset: number]
  /** Takes what was found for the place that `load found` counts from. */
  | readonly ['take found']
  | readonly ['and', mask: number]
  | readonly ['if', condition: '=' | '>=' | '&', value: number, then: string]
  | readonly ['return', verdict: 'accept' | 'reject']
  | readonly ['label', name: string];

const LOAD_CODES = { 1: 0x30, 2: 0x28, 4: 0x20 } as const;
const IF_CODES = { '=': 0x15, '>=': 0x35, '&': 0x45 } as const;
const RETURN_CODE = 0x06;
const WHOLE_MESSAGE = 0xffffffff;
/** BPF_LDX | BPF_IMM, BPF_LD | BPF_IMM, BPF_MISC | BPF_TAX, BPF_LD | BPF_W | BPF_IND, BPF_ALU | BPF_AND. */
const [SET_INDEX, SET, MOVE_TO_INDEX, LOAD_INDEXED, AND] = [0x01, 0x00, 0x07, 0x40, 0x54];
/** SKF_AD_OFF + SKF_AD_NLATTR: from where the accumulator says, the kernel looks for the attribute that the index register names. */
const FIND_ATTRIBUTE = 0xfffff00c;

/** In struct nlmsghdr. */
const TYPE = 4;
const PORT_ID = 12;
/** In what follows it: struct ifinfomsg and all others; ndmsg; ifaddrmsg; rtmsg and fib_rule_hdr. */
const FAMILY = 16;
const NEIGHBOR_STATE = 24;
const NEIGHBOR_FLAGS = 26;
const ADDRESS_SCOPE = 19;
const DESTINATION_LENGTH = 17;
const SOURCE_LENGTH = 18;
const ROUTE_TABLE = 20;
const ROUTE_PROTOCOL_OFFSET = 21;
/** The attributes of routes and rules begin here. */
const ATTRIBUTES = 28;
/** RTA_DST and FRA_DST; FRA_SRC. */
const [DESTINATION, SOURCE] = [1, 2];

const SCOPE_LINK = 253;

/**
 * Lets pass all links, settings and questions, and of addresses, routes, rules, neighbors and FDB entries those that may concern us and were
 * not changed by the socket with this port ID. Routes and rules may concern us which overlap one of the networks: of the main table only
 * those which are no shorter than it, because a longer prefix goes before a shorter one. What passes may still be about other links.
 */
export function notificationFilter(ownPortId: number, networks: readonly Subnet[]): Instruction[] {
  const own = swapped(ownPortId, 4);
  const isType = (type: number, then: string) => ['if', '=', swapped(type, 2), then] as const;
  const isPermanent = ['if', '&', swapped(StateBit.PERMANENT, 2), 'accept'] as const;
  return assemble([
    ['load', 2, TYPE],
    isType(MessageType.GETNEIGH, 'accept'),
    isType(MessageType.NEWNEIGH, 'neighbor there'),
    isType(MessageType.DELNEIGH, 'neighbor gone'),
    isType(MessageType.NEWROUTE, 'route'),
    isType(MessageType.DELROUTE, 'route'),
    isType(MessageType.NEWRULE, 'rule'),
    isType(MessageType.DELRULE, 'rule'),
    isType(MessageType.NEWLINK, 'link'),
    isType(MessageType.DELLINK, 'link'),
    isType(MessageType.NEWADDR, 'address'),
    isType(MessageType.DELADDR, 'address'),
    isType(MessageType.NEWNETCONF, 'accept'),
    ['return', 'reject'],

    // With a family, it is about a bridge's port.
    ['label', 'link'],
    ['load', 1, FAMILY],
    ['if', '=', 0, 'accept'],
    ['return', 'reject'],

    ['label', 'address'],
    ['load', 4, PORT_ID],
    ['if', '=', own, 'reject'],
    ['load', 1, ADDRESS_SCOPE],
    ['if', '>=', SCOPE_LINK, 'reject'],
    ['return', 'accept'],

    ['label', 'route'],
    ['load', 4, PORT_ID],
    ['if', '=', own, 'reject'],
    // A default route, whoever made it: the gateway of one of the main table must be reached by the underlay; rules may lead to any other.
    ['load', 1, DESTINATION_LENGTH],
    ['if', '=', 0, 'accept'],
    ['load', 1, ROUTE_TABLE],
    ['if', '=', RoutingTable.MAIN, 'route of the main table'],
    ['if', '>=', 0, 'route of whatever table'],
    ['label', 'route of the main table'],
    ['load', 1, ROUTE_PROTOCOL_OFFSET],
    ['if', '=', ROUTE_PROTOCOL, 'accept'],
    ['label', 'route of whatever table'],
    ...overlapping('route', networks, DESTINATION_LENGTH, DESTINATION, 'accept', 'shorter route'),
    ['return', 'reject'],
    ['label', 'shorter route'],
    ['load', 1, ROUTE_TABLE],
    ['if', '=', RoutingTable.MAIN, 'reject'],
    ['return', 'accept'],

    ['label', 'rule'],
    ['load', 4, PORT_ID],
    ['if', '=', own, 'reject'],
    ...overlapping(
      'rule by destination',
      networks,
      DESTINATION_LENGTH,
      DESTINATION,
      'rule by source',
      'rule by source',
    ),
    ['return', 'reject'],
    ['label', 'rule by source'],
    ...overlapping('rule by source', networks, SOURCE_LENGTH, SOURCE, 'accept', 'accept'),
    ['return', 'reject'],

    // What the kernel does by itself (port ID 0) to a neighbor that is there is its way from state to state.
    ['label', 'neighbor there'],
    ['load', 1, FAMILY],
    ['if', '=', AF_BRIDGE, 'FDB entry'],
    ['load', 4, PORT_ID],
    ['if', '=', own, 'reject'],
    ['if', '=', 0, 'reject'],
    ['return', 'accept'],

    // When a link goes down, or gets another MAC, the kernel itself removes what should stay.
    ['label', 'neighbor gone'],
    ['load', 1, FAMILY],
    ['if', '=', AF_BRIDGE, 'FDB entry'],
    ['load', 4, PORT_ID],
    ['if', '=', own, 'reject'],
    ['load', 2, NEIGHBOR_STATE],
    isPermanent,
    ['load', 1, NEIGHBOR_FLAGS],
    ['if', '&', FlagBit.EXT_LEARNED, 'accept'],
    ['return', 'reject'],

    // The author of these is never named. One that is not permanent may have taken the place of one that was.
    ['label', 'FDB entry'],
    ['load', 1, NEIGHBOR_FLAGS],
    ['if', '&', FlagBit.SELF, 'accept'],
    ['return', 'reject'],

    ['label', 'accept'],
    ['return', 'accept'],
    ['label', 'reject'],
    ['return', 'reject'],
  ]);
}

/**
 * Goes to `inside` where the prefix of a route or rule lies in one of the networks, to `around` where it is shorter than one; goes on
 * where it is outside of all.
 */
function overlapping(
  name: string,
  networks: readonly Subnet[],
  lengthAt: number,
  attribute: number,
  inside: string,
  around: string,
): Step[] {
  const labelOf = (family: Family) => `${name}: ${family}`;
  const end = `${name}: outside`;
  const steps = FAMILIES.flatMap((family): Step[] => [
    ['label', labelOf(family)],
    ...networks
      .filter(({ address }) => familyOf(address) === family)
      .flatMap((network, at): Step[] => {
        const [long, next] = [`${labelOf(family)} ${at} is long`, `${labelOf(family)} ${at} is not it`];
        return [
          ['load', 1, lengthAt],
          ['if', '>=', network.prefixLength, long],
          ['if', '>=', 0, around],
          ['label', long],
          ['find attribute', attribute],
          ['if', '=', 0, inside],
          ['take found'],
          ...wordsOf(network).flatMap(({ value, mask }, word): Step[] => {
            const same = `${long} and has word ${word}`;
            return [
              // After struct nlattr.
              ['load found', 4 + 4 * word],
              ['and', mask],
              ['if', '=', value, same],
              ['if', '>=', 0, next],
              ['label', same],
            ];
          }),
          ['if', '>=', 0, inside],
          ['label', next],
        ];
      }),
    ['if', '>=', 0, end],
  ]);
  const dispatch = FAMILIES.map((family): Step => ['if', '=', FAMILY_NUMBERS[family], labelOf(family)]);
  return [['load', 1, FAMILY], ...dispatch, ['if', '>=', 0, end], ...steps, ['label', end]];
}

/** The first bits of a network, as words in the network's byte order. */
function wordsOf({ address, prefixLength }: Subnet): { value: number; mask: number }[] {
  const bytes = Buffer.from(addressToBytes(address));
  return Array.from({ length: Math.ceil(prefixLength / 32) }, (_, word) => {
    const bits = Math.min(32, prefixLength - 32 * word);
    return { value: bytes.readUInt32BE(4 * word), mask: (-1 << (32 - bits)) >>> 0 };
  });
}

/** Labels become distances; there is no way back in such a program, so each must come after those who jump to it. */
function assemble(steps: readonly Step[]): Instruction[] {
  const positions = new Map<string, number>();
  let position = 0;
  for (const step of steps) {
    if (step[0] === 'label') positions.set(step[1], position);
    else position += step[0] === 'find attribute' ? 3 : 1;
  }
  const program: Instruction[] = [];
  for (const step of steps) {
    switch (step[0]) {
      case 'load':
        program.push([LOAD_CODES[step[1]], 0, 0, step[2]]);
        break;
      case 'find attribute':
        program.push(
          [SET_INDEX, 0, 0, step[1]],
          [SET, 0, 0, ATTRIBUTES],
          [LOAD_CODES[4], 0, 0, FIND_ATTRIBUTE],
        );
        break;
      case 'take found':
        program.push([MOVE_TO_INDEX, 0, 0, 0]);
        break;
      case 'load found':
        program.push([LOAD_INDEXED, 0, 0, step[1]]);
        break;
      case 'and':
        program.push([AND, 0, 0, step[1]]);
        break;
      case 'if':
        program.push([IF_CODES[step[1]], positions.get(step[3])! - program.length - 1, 0, step[2]]);
        break;
      case 'return':
        program.push([RETURN_CODE, 0, 0, step[1] === 'accept' ? WHOLE_MESSAGE : 0]);
        break;
      case 'label':
        break;
    }
  }
  return program;
}

/** The program loads in the network's byte order what the kernel has in the machine's. */
function swapped(value: number, bytes: 2 | 4): number {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 2) writeU16.call(buffer, value, 0);
  else writeU32.call(buffer, value, 0);
  return buffer.readUIntBE(0, bytes);
}

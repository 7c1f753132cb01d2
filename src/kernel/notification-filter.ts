/** Which notifications the kernel need not even copy to us: a classic BPF program. */
import { writeU16, writeU32 } from 'netlink/dist/structs';
import { ROUTE_PROTOCOL } from '../model/kernel-state';
import { MessageType, RouteProtocol, RoutingTable } from './constants';
import { AF_BRIDGE, FlagBit, StateBit } from './wire';

/** One instruction: linux/filter.h. A false condition goes on with the next. */
export type Instruction = readonly [code: number, jt: number, jf: number, k: number];

type Step =
  | readonly ['load', size: 1 | 2 | 4, offset: number]
  | readonly ['if', condition: '=' | '>=' | '&', value: number, then: string]
  | readonly ['return', verdict: 'accept' | 'reject']
  | readonly ['label', name: string];

const LOAD_CODES = { 1: 0x30, 2: 0x28, 4: 0x20 } as const;
const IF_CODES = { '=': 0x15, '>=': 0x35, '&': 0x45 } as const;
const RETURN_CODE = 0x06;
const WHOLE_MESSAGE = 0xffffffff;

/** In struct nlmsghdr. */
const TYPE = 4;
const PORT_ID = 12;
/** In what follows it: struct ifinfomsg and all others; ndmsg; ifaddrmsg; rtmsg. */
const FAMILY = 16;
const NEIGHBOR_STATE = 24;
const NEIGHBOR_FLAGS = 26;
const ADDRESS_SCOPE = 19;
const ROUTE_PREFIX_LENGTH = 17;
const ROUTE_TABLE = 20;
const ROUTE_PROTOCOL_OFFSET = 21;

const SCOPE_LINK = 253;
/** What a person, or a program that cares for no protocol, marks a route with that may have taken the place of ours. */
const OTHER_PROTOCOLS = [0, RouteProtocol.BOOT, RouteProtocol.STATIC];

/**
 * Lets pass all links, settings and questions, and of addresses, routes, neighbors and FDB entries those that may concern us and were not
 * changed by the socket with this port ID. What passes may still be about other links.
 */
export function notificationFilter(ownPortId: number): Instruction[] {
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
    ['load', 1, ROUTE_TABLE],
    ['if', '=', RoutingTable.MAIN, 'route of the main table'],
    ['return', 'reject'],
    ['label', 'route of the main table'],
    // A default route, whoever made it: its gateway must be reached by the underlay.
    ['load', 1, ROUTE_PREFIX_LENGTH],
    ['if', '=', 0, 'accept'],
    ['load', 1, ROUTE_PROTOCOL_OFFSET],
    ['if', '=', ROUTE_PROTOCOL, 'accept'],
    ...OTHER_PROTOCOLS.map((protocol) => ['if', '=', protocol, 'accept'] as const),
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

    // The author of these is never named.
    ['label', 'FDB entry'],
    ['load', 1, NEIGHBOR_FLAGS],
    ['if', '&', FlagBit.SELF, 'FDB entry of the device itself'],
    ['return', 'reject'],
    ['label', 'FDB entry of the device itself'],
    ['load', 2, NEIGHBOR_STATE],
    isPermanent,
    ['return', 'reject'],

    ['label', 'accept'],
    ['return', 'accept'],
    ['label', 'reject'],
    ['return', 'reject'],
  ]);
}

/** Labels become distances; there is no way back in such a program, so each must come after those who jump to it. */
function assemble(steps: readonly Step[]): Instruction[] {
  const positions = new Map<string, number>();
  let position = 0;
  for (const step of steps) {
    if (step[0] === 'label') positions.set(step[1], position);
    else position++;
  }
  const program: Instruction[] = [];
  for (const step of steps) {
    switch (step[0]) {
      case 'load':
        program.push([LOAD_CODES[step[1]], 0, 0, step[2]]);
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

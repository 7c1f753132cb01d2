import fc from 'fast-check';
import { FlagsNew, MessageType, RouteProtocol } from '../../src/kernel/constants';
import type { LinkRecord } from '../../src/kernel/links';
import { writeLinkMtu, writeNewLink } from '../../src/kernel/links';
import { MessageWriter } from '../../src/kernel/message-writer';
import { writeFdbEntry, writeNeighbor } from '../../src/kernel/neighbors';
import { NoticeReader } from '../../src/kernel/notices';
import { notificationFilter, type Instruction } from '../../src/kernel/notification-filter';
import { writeRoute, writeRouteRemoval } from '../../src/kernel/routes';
import { AF_BRIDGE, FlagBit, StateBit } from '../../src/kernel/wire';
import {
  addressToInteger,
  contains,
  integerToAddress,
  ipAddress,
  overlap,
  subnet,
  subnetOf,
  type IpAddress,
} from '../../src/model/address';
import type { Route } from '../../src/model/kernel-state';
import { macAddress, type MacAddress } from '../../src/model/mac';
import type { KernelNotice } from '../../src/ports';

const INDEX = 7;
const OWN = 4_321;
const OTHER = 999;
const MAC = macAddress('02:00:00:00:00:02');
const PEER = ipAddress('10.5.2.0');

const LINK: LinkRecord = {
  index: INDEX,
  name: 'flannel.1',
  mac: macAddress('02:00:00:00:00:01'),
  mtu: 1450,
  up: true,
  loopback: false,
  carrier: true,
  master: undefined,
  protodown: false,
  noarp: false,
  kind: 'vxlan',
  vxlan: {
    vni: 1,
    local: ipAddress('192.168.0.1'),
    underlayIndex: 2,
    port: 8472,
    learning: false,
    gbp: false,
    l2miss: true,
  },
};
const UNDERLAY: LinkRecord = { ...LINK, index: 2, name: 'eth0', mtu: 1500, vxlan: undefined };

const ROUTE: Route = {
  kind: 'route',
  type: 'unicast',
  destination: subnet('10.5.2.0/24'),
  link: 'flannel.1',
  gateway: PEER,
  source: undefined,
  metric: 3,
  protocol: 84,
};

interface Neighbor {
  type?: number;
  family?: number;
  index?: number;
  state: number;
  flags?: number;
  address?: IpAddress;
  mac?: MacAddress;
  portId?: number;
}

/** A neighbor message as the kernel sends it. */
function neighborMessage(neighbor: Neighbor): Buffer {
  const { type = MessageType.GETNEIGH, family = 2, index = INDEX, state, flags = 0, address, mac } = neighbor;
  return message((writer) => {
    writer.begin(type, 0, 12);
    writer.headerU8(0, family);
    writer.headerU32(4, index);
    writer.headerU16(8, state);
    writer.headerU8(10, flags);
    if (address) writer.address(1, address);
    if (mac) writer.mac(2, mac);
    // NDA_VNI, and a cache info that is garbage, as with L2 misses.
    writer.u32(7, 0);
    writer.bytes(3, Buffer.alloc(16, 0xff));
    writer.end();
  }, neighbor.portId);
}

/** A request is written like the notification that it causes, but for the author. */
function message(write: (writer: MessageWriter) => void, portId = 0): Buffer {
  const writer = new MessageWriter();
  write(writer);
  const bytes = Buffer.from(writer.messages);
  bytes.writeUInt32LE(portId, 12);
  return bytes;
}

function readerOf(links: LinkRecord[] = [LINK, UNDERLAY]): NoticeReader {
  return new NoticeReader('flannel.1', (link) =>
    links.find(({ name, index }) => name === link || index === link),
  );
}

const changes = (notices: readonly KernelNotice[]) =>
  notices.map((notice) => (notice.kind === 'changed' ? notice.what : notice.kind));

describe('a notification about a neighbor', () => {
  test('asks for the MAC of an address: an L3 miss', () => {
    const asked = neighborMessage({ state: StateBit.INCOMPLETE, address: PEER });
    expect(readerOf().read(asked)).toEqual([{ kind: 'miss', miss: { layer: 'l3', address: PEER } }]);
  });

  test('asks for an IPv6 address likewise', () => {
    const address = ipAddress('fd05:0:0:2::');
    const asked = neighborMessage({ family: 10, state: StateBit.INCOMPLETE, address });
    expect(readerOf().read(asked)).toEqual([{ kind: 'miss', miss: { layer: 'l3', address } }]);
  });

  test('asks for the host behind a MAC: an L2 miss', () => {
    const asked = neighborMessage({ state: StateBit.STALE, mac: MAC });
    expect(readerOf().read(asked)).toEqual([{ kind: 'miss', miss: { layer: 'l2', mac: MAC } }]);
  });

  test('tells that a neighbor does not answer', () => {
    const probed = neighborMessage({ state: StateBit.PROBE, address: PEER, mac: MAC });
    expect(readerOf().read(probed)).toEqual([{ kind: 'unanswered', address: PEER, mac: MAC }]);
  });

  test('is no question when it is neither of these', () => {
    const stale = neighborMessage({ state: StateBit.STALE, address: PEER, mac: MAC });
    expect(readerOf().read(stale)).toEqual([]);
  });

  test('is nothing to us on another link, or without ours', () => {
    const elsewhere = neighborMessage({ index: 8, state: StateBit.INCOMPLETE, address: PEER });
    expect(readerOf().read(elsewhere)).toEqual([]);
    expect(readerOf([]).read(neighborMessage({ state: StateBit.INCOMPLETE, address: PEER }))).toEqual([]);
  });

  test('tells of a change, but for link-local and multicast addresses', () => {
    const type = MessageType.NEWNEIGH;
    const state = StateBit.PERMANENT;
    expect(changes(readerOf().read(neighborMessage({ type, state, address: PEER, mac: MAC })))).toEqual([
      'neighbor 10.5.2.0 changed',
    ]);
    for (const address of ['fe80::1', 'ff02::1', '224.0.0.1'].map(ipAddress)) {
      expect(readerOf().read(neighborMessage({ type, state, address, mac: MAC }))).toEqual([]);
    }
  });
});

describe('our own changes', () => {
  const FDB = {
    kind: 'fdb-entry',
    link: 'flannel.1',
    mac: MAC,
    destination: ipAddress('192.168.0.2'),
  } as const;
  const put = message((writer) => writeFdbEntry(writer, FDB, INDEX));
  const removal = neighborMessage({
    type: MessageType.DELNEIGH,
    family: AF_BRIDGE,
    state: StateBit.PERMANENT,
    flags: FlagBit.SELF,
    mac: MAC,
    address: FDB.destination,
  });

  test('of FDB entries are known again, until the kernel has had nothing to tell for two turns', () => {
    const reader = readerOf();
    reader.ownChanges.expectFdbEntry(MAC, FDB.destination);
    reader.ownChanges.expectFdbEntry(MAC, undefined);
    reader.ownChanges.age();
    expect(reader.read(Buffer.concat([put, removal]))).toEqual([]);
    reader.ownChanges.age();
    expect(reader.ownChanges.isEmpty).toBe(true);
    expect(changes(reader.read(removal))).toEqual([`fdb-entry ${MAC} removed`]);
  });

  test('of FDB entries leave a doubt where the last word is not ours: it is told once the kernel is quiet', () => {
    const reader = readerOf();
    reader.ownChanges.expectFdbEntry(MAC, undefined);
    reader.ownChanges.expectFdbEntry(MAC, FDB.destination);
    // We removed it and put it again. Another program removed it after that, or before.
    expect(reader.read(Buffer.concat([removal, put, removal]))).toEqual([]);
    expect(reader.settle()).toMatchObject([
      { what: `fdb-entry ${MAC} may have changed`, name: { mac: MAC } },
    ]);
    expect(reader.read(Buffer.concat([removal, put]))).toEqual([]);
    expect(reader.settle()).toEqual([]);
  });

  test('of FDB entries written in two turns leave no doubt when the last is told last', () => {
    const reader = readerOf();
    reader.ownChanges.expectFdbEntry(MAC, FDB.destination);
    reader.settle();
    reader.ownChanges.expectFdbEntry(MAC, undefined);
    expect(reader.read(put)).toEqual([]);
    expect(reader.read(removal)).toEqual([]);
    expect(reader.settle()).toEqual([]);
  });

  test('of links are known again once, in their order', () => {
    const reader = readerOf();
    const states = [1400, 1300, 1200].map((mtu) => ({ ...LINK, mtu }));
    for (const state of states) reader.ownChanges.expectLink(state);
    expect(states.slice(1).map((state) => reader.ownChanges.takeLink(state))).toEqual([true, true]);
    expect(reader.ownChanges.takeLink(states[0]!)).toBe(false);
    expect(reader.ownChanges.isEmpty).toBe(true);
  });

  test('are not confused with others of the same MAC', () => {
    const reader = readerOf();
    reader.ownChanges.expectFdbEntry(MAC, ipAddress('192.168.0.99'));
    expect(changes(reader.read(put))).toEqual([`fdb-entry ${MAC} now leads to 192.168.0.2`]);
  });

  test('of a removed link leave nothing to be heard of it', () => {
    const reader = readerOf();
    reader.forgetLink(INDEX);
    expect(reader.read(removal)).toEqual([]);
  });
});

describe('a notification about a route', () => {
  const removed = (route: Route, index: number | undefined) =>
    message((writer) => writeRouteRemoval(writer, route, index));

  test('matters if the route is ours, on whatever link', () => {
    const reader = readerOf();
    reader.networks = [subnet('10.5.0.0/16')];
    expect(changes(reader.read(removed(ROUTE, INDEX)))).toEqual(['route 10.5.2.0/24 removed']);
    // Somebody turned it; until it is looked at, it may as well be another's.
    expect(changes(reader.read(removed(ROUTE, 99)))).toEqual(['route 10.5.2.0/24 removed', 'routing']);
  });

  test('does not matter if it is that of another overlay: one on another link, outside of our networks', () => {
    const reader = readerOf();
    reader.networks = [subnet('10.6.0.0/16')];
    expect(reader.read(removed(ROUTE, 99))).toEqual([]);
    expect(reader.read(removed({ ...ROUTE, type: 'unreachable' }, undefined))).toEqual([]);
  });

  const asReplaced = (added: Buffer) => {
    const replaced = Buffer.from(added);
    replaced.writeUInt16LE(added.readUInt16LE(6) | FlagsNew.REPLACE, 6);
    return replaced;
  };
  const named = (notices: readonly KernelNotice[]) =>
    notices.map((notice) => (notice.kind === 'changed' ? notice.name : notice));

  test('names it, but for one that leads nowhere, and one that may stand beside others of its name', () => {
    const name = { kind: 'route', destination: ROUTE.destination, metric: ROUTE.metric };
    expect(named(readerOf().read(removed(ROUTE, INDEX)))).toEqual([name]);
    const added = message((writer) => writeRoute(writer, ROUTE, INDEX, 'alone'));
    expect(named(readerOf().read(asReplaced(added)))).toEqual([name]);
    expect(named(readerOf().read(added))).toEqual([undefined]);
    const nowhere: Route = { ...ROUTE, type: 'unreachable', gateway: undefined, link: undefined };
    expect(named(readerOf().read(removed(nowhere, undefined)))).toEqual([undefined]);
  });

  test('of another program matters on our link only', () => {
    const foreign = { ...ROUTE, protocol: 4 };
    expect(readerOf().read(removed(foreign, 99))).toEqual([]);
    expect(readerOf().read(removed(foreign, INDEX))).toHaveLength(1);
  });

  test('matters if it took the place of one in our networks', () => {
    const reader = readerOf();
    reader.networks = [subnet('10.5.0.0/16')];
    const foreign: Route = { ...ROUTE, protocol: 3, gateway: undefined };
    const added = message((writer) => writeRoute(writer, foreign, 99, 'alone'));
    expect(changes(reader.read(asReplaced(added)))).toEqual(['route 10.5.2.0/24 changed', 'routing']);
    expect(reader.read(added)).toEqual([{ kind: 'routing' }]);
  });
});

describe('a notification about settings', () => {
  const settings = (...types: number[]) =>
    message((writer) => {
      writer.begin(MessageType.NEWNETCONF, 0, 4);
      for (const type of types) writer.u32(type, 1);
      writer.end();
    });

  test('tells of forwarding that was switched, and not of all that a new interface has', () => {
    expect(readerOf().read(settings(1, 2))).toEqual([{ kind: 'interfaces' }]);
    expect(readerOf().read(settings(1, 2, 3))).toEqual([]);
    expect(readerOf().read(settings(1, 3))).toEqual([]);
  });
});

describe('a flood', () => {
  test('of changes is summed up', () => {
    const one = message((writer) => writeRouteRemoval(writer, ROUTE, INDEX));
    const notices = readerOf().read(Buffer.concat(Array.from({ length: 1000 }, () => one)));
    expect(notices).toHaveLength(129);
    expect(notices.at(-1)).toEqual({ kind: 'changed', what: 'and 872 more changes', name: undefined });
  });

  test('of misses is not', () => {
    const one = neighborMessage({ state: StateBit.INCOMPLETE, address: PEER });
    expect(readerOf().read(Buffer.concat(Array.from({ length: 1000 }, () => one)))).toHaveLength(1000);
  });
});

describe('what makes no sense', () => {
  test('is counted, and harms nothing that follows', () => {
    const reader = readerOf();
    const truncated = message((writer) => {
      writer.begin(MessageType.NEWROUTE, 0, 4);
      writer.end();
    });
    const miss = neighborMessage({ state: StateBit.INCOMPLETE, address: PEER });
    expect(reader.read(Buffer.concat([truncated, miss]))).toHaveLength(1);
    expect(reader.malformed).toBe(1);
    expect(reader.read(miss.subarray(0, miss.length - 4))).toEqual([]);
    expect(reader.malformed).toBe(2);
  });

  test('never throws, whatever it is', () => {
    const valid = [
      neighborMessage({ state: StateBit.INCOMPLETE, address: PEER }),
      neighborMessage({ type: MessageType.NEWNEIGH, family: AF_BRIDGE, flags: 2, state: 0x80, mac: MAC }),
      message((writer) => writeRoute(writer, ROUTE, INDEX, 'alone')),
      message((writer) =>
        writeNewLink(
          writer,
          { kind: 'link', name: 'flannel.1', mac: MAC, mtu: 1450, up: true, vxlan: LINK.vxlan },
          LINK.vxlan!,
        ),
      ),
      message((writer) => writeLinkMtu(writer, INDEX, 1400)),
    ];
    const damaged = fc
      .tuple(
        fc.constantFrom(...valid),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
      )
      .map(([bytes, damages]) => {
        const copy = Buffer.from(bytes);
        for (const [at, value] of damages) copy[at % copy.length] = value;
        return copy;
      });
    const anything = fc.oneof(
      fc.array(damaged, { maxLength: 5 }).map((messages) => Buffer.concat(messages)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    );
    const reader = readerOf();
    fc.assert(
      fc.property(anything, (bytes) => {
        expect(Array.isArray(reader.read(bytes))).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('the filter in the kernel', () => {
  const program = notificationFilter(OWN, [subnet('10.5.0.0/16'), subnet('fd05::/48')]);
  const passes = (bytes: Buffer) => runFilter(program, bytes) !== 0;
  const neighbor = (changes: Partial<Neighbor>) =>
    passes(
      neighborMessage({ type: MessageType.NEWNEIGH, state: StateBit.PERMANENT, address: PEER, ...changes }),
    );
  const gone = (changes: Partial<Neighbor>) => neighbor({ type: MessageType.DELNEIGH, ...changes });

  test('jumps forward only, and ends in every case', () => {
    program.forEach(([code, jt, jf], at) => {
      expect(jt).toBeGreaterThanOrEqual(0);
      expect(jt).toBeLessThan(256);
      if (code === 0x06) return;
      expect(at + 1 + Math.max(jt, jf)).toBeLessThan(program.length);
    });
    expect(program.at(-1)![0]).toBe(0x06);
  });

  test('lets every question pass', () => {
    expect(neighbor({ type: MessageType.GETNEIGH, state: StateBit.INCOMPLETE })).toBe(true);
    expect(neighbor({ type: MessageType.GETNEIGH, state: StateBit.STALE, mac: MAC })).toBe(true);
  });

  test('leaves out what we changed ourselves', () => {
    expect(neighbor({ portId: OWN })).toBe(false);
    expect(gone({ portId: OWN })).toBe(false);
    const route = (portId: number) =>
      passes(message((writer) => writeRoute(writer, ROUTE, INDEX, 'alone'), portId));
    expect([route(OWN), route(OTHER), route(0)]).toEqual([false, true, true]);
  });

  test("leaves out the kernel's own way with a neighbor that is there", () => {
    expect(neighbor({ portId: 0, state: StateBit.REACHABLE })).toBe(false);
    expect(neighbor({ portId: OTHER, state: StateBit.REACHABLE })).toBe(true);
  });

  test('lets pass that a permanent or learned neighbor is gone, whoever did it', () => {
    expect(gone({ portId: 0 })).toBe(true);
    expect(gone({ portId: 0, state: StateBit.STALE, flags: FlagBit.EXT_LEARNED })).toBe(true);
    expect(gone({ portId: 0, state: StateBit.FAILED })).toBe(false);
  });

  test('of FDB entries lets pass those of the device itself, permanent or not', () => {
    expect(neighbor({ family: AF_BRIDGE, flags: FlagBit.SELF, mac: MAC })).toBe(true);
    expect(gone({ family: AF_BRIDGE, flags: FlagBit.SELF, mac: MAC })).toBe(true);
    expect(neighbor({ family: AF_BRIDGE, flags: 0x04, mac: MAC })).toBe(false);
    expect(neighbor({ family: AF_BRIDGE, flags: FlagBit.SELF, state: StateBit.REACHABLE, mac: MAC })).toBe(
      true,
    );
  });

  const route = (destination: string, { protocol = 4, table = 254, portId = OTHER } = {}) => {
    const named = { ...ROUTE, protocol, destination: subnet(destination) };
    const gateway = destination.includes(':') ? ipAddress('fe80::1') : PEER;
    const bytes = message((writer) => writeRoute(writer, { ...named, gateway }, INDEX, 'alone'), portId);
    bytes[20] = table;
    return passes(bytes);
  };

  test('of routes lets pass ours of the main table, wherever they lead', () => {
    expect(['10.5.2.0/24', '10.6.2.0/24', '10.0.0.0/8'].map((text) => route(text, { protocol: 84 }))).toEqual(
      [true, true, true],
    );
    expect(route('10.6.2.0/24', { protocol: 84, table: 255 })).toBe(false);
  });

  test.each([2, 3, 4, 9, 12, 186, 0])(
    'of routes of protocol %d lets pass those in the network',
    (protocol) => {
      const all = ['10.5.2.0/24', '10.5.2.9/32', '10.5.0.0/16', '10.4.255.0/24', '10.6.0.0/16', '10.0.0.0/8'];
      expect(all.map((text) => route(text, { protocol }))).toEqual([true, true, true, false, false, false]);
      expect(all.map((text) => route(text, { protocol, table: 77 }))).toEqual([
        ...[true, true, true, false, false],
        true,
      ]);
      expect(all.map((text) => route(text, { protocol, portId: OWN }))).toEqual(all.map(() => false));
    },
  );

  test('of IPv6 routes lets pass those in the network', () => {
    const all = ['fd05:0:0:2::/64', 'fd05::7/128', 'fd05::/48', 'fd05:0:1::/64', 'fd06::/48', 'fd00::/8'];
    expect(all.map((text) => route(text))).toEqual([true, true, true, false, false, false]);
  });

  test('says of each prefix whether it lies in the network', () => {
    const networks = ['10.5.0.0/16', '10.32.0.0/11', '172.16.0.0/12', '10.5.4.0/22', '192.168.7.128/25'];
    const prefix = fc.record({
      address: fc.integer({ min: 0, max: 0xffffffff }),
      prefixLength: fc.integer({ min: 1, max: 32 }),
      inside: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.constantFrom(...networks), prefix, (text, { address, prefixLength, inside }) => {
        const network = subnet(text);
        const base = inside
          ? Number(addressToInteger(network.address)) ^ (address >>> network.prefixLength)
          : address;
        const destination = subnetOf(integerToAddress('ipv4', BigInt(base >>> 0)), prefixLength);
        const bytes = message(
          (writer) => writeRoute(writer, { ...ROUTE, protocol: 4, destination }, INDEX, 'alone'),
          OTHER,
        );
        expect(runFilter(notificationFilter(OWN, [network]), bytes) !== 0).toBe(
          contains(network, destination),
        );
        bytes[20] = 77;
        expect(runFilter(notificationFilter(OWN, [network]), bytes) !== 0).toBe(
          prefixLength < network.prefixLength || overlap(network, destination),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  test('lets pass each default route, whoever made it', () => {
    const of = (table: number, portId = OTHER) =>
      route('0.0.0.0/0', { protocol: RouteProtocol.DHCP, table, portId });
    expect([of(254), of(77), of(254, OWN)]).toEqual([true, true, false]);
  });

  test('of rules lets pass those that may lead packets of the network', () => {
    const rule = (from: string | undefined, to: string | undefined, portId = OTHER) =>
      passes(
        message((writer) => {
          writer.begin(MessageType.NEWRULE, 0, 12);
          writer.headerU8(0, 2);
          for (const [at, text] of [to, from].entries()) {
            if (text === undefined) continue;
            writer.headerU8(1 + at, subnet(text).prefixLength);
            writer.address(1 + at, subnet(text).address);
          }
          writer.u32(6, 1000);
          writer.end();
        }, portId),
      );
    const [inside, around, outside] = ['10.5.1.0/24', '10.0.0.0/8', '10.6.0.0/16'];
    for (const [from, to] of [
      [undefined, undefined],
      [inside, undefined],
      [undefined, inside],
      [around, inside],
      [inside, around],
    ])
      expect([from, to, rule(from, to)]).toEqual([from, to, true]);
    for (const [from, to] of [
      [outside, undefined],
      [undefined, outside],
      [outside, inside],
      [inside, outside],
    ])
      expect([from, to, rule(from, to)]).toEqual([from, to, false]);
    expect(rule(undefined, undefined, OWN)).toBe(false);
  });

  test('of links leaves out what is about a bridge', () => {
    const link = message((writer) => writeLinkMtu(writer, INDEX, 1400));
    expect(passes(link)).toBe(true);
    link[16] = AF_BRIDGE;
    expect(passes(link)).toBe(false);
  });

  test('lets pass that settings were changed', () => {
    const settings = message((writer) => {
      writer.begin(MessageType.NEWNETCONF, 0, 4);
      writer.end();
    });
    expect(passes(settings)).toBe(true);
  });

  test('leaves out everything else', () => {
    const failed = message((writer) =>
      writeNeighbor(
        writer,
        { kind: 'neighbor', link: 'flannel.1', address: PEER, mac: undefined, state: 'failed' },
        INDEX,
      ),
    );
    expect(passes(failed)).toBe(false);
  });
});

/** What the kernel does with a classic BPF program: linux/net/core/filter.c, as far as ours goes. */
function runFilter(program: readonly Instruction[], bytes: Buffer): number {
  let accumulator = 0;
  let index = 0;
  for (let at = 0; ; at++) {
    const [code, jt, jf, k] = program[at]!;
    switch (code) {
      case 0x20:
        accumulator = k === 0xfffff00c ? findAttribute(bytes, accumulator, index) : bytes.readUInt32BE(k);
        break;
      case 0x00:
        accumulator = k;
        break;
      case 0x01:
        index = k;
        break;
      case 0x07:
        index = accumulator;
        break;
      case 0x40:
        accumulator = bytes.readUInt32BE(index + k);
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x28:
        accumulator = bytes.readUInt16BE(k);
        break;
      case 0x30:
        accumulator = bytes[k]!;
        break;
      case 0x15:
        at += accumulator === k ? jt : jf;
        break;
      case 0x35:
        at += accumulator >= k ? jt : jf;
        break;
      case 0x45:
        at += (accumulator & k) !== 0 ? jt : jf;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`unknown instruction ${code}`);
    }
  }
}

/** SKF_AD_NLATTR: nla_find in linux/lib/nlattr.c. */
function findAttribute(bytes: Buffer, from: number, type: number): number {
  for (let at = from; at + 4 <= bytes.length; at += (bytes.readUInt16LE(at) + 3) & ~3)
    if ((bytes.readUInt16LE(at + 2) & 0x3fff) === type) return at;
  return 0;
}

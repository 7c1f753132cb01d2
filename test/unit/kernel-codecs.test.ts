import fc from 'fast-check';
import * as structs from 'netlink/dist/structs';
import * as rt from 'netlink/dist/rt/structs';
import { ipAddress, addressToBytes, familyOf, type IpAddress } from '../../src/model/address';
import { UNREACHABLE_METRIC } from '../../src/model/kernel-state';
import { macToBytes, type MacAddress } from '../../src/model/mac';
import { parseAddress, writeAddress, writeAddressRemoval } from '../../src/kernel/addresses';
import { MessageWriter } from '../../src/kernel/message-writer';
import { eachMessage, type Message } from '../../src/kernel/message';
import {
  parseNeighbor,
  writeFdbEntry,
  writeFdbRemoval,
  writeNeighbor,
  writeNeighborRemoval,
} from '../../src/kernel/neighbors';
import { parseRoute, writeRoute, writeRouteRemoval } from '../../src/kernel/routes';
import * as arbitrary from '../support/kernel-arbitraries';

const INDEX = 7;
const REQUEST = 1;
const ACK = 4;
const PUT = REQUEST | ACK | 0x100 | 0x400;
/** NLM_F_EXCL: beside no other. */
const ADD = REQUEST | ACK | 0x200 | 0x400;
const REMOVE = REQUEST | ACK;
const ONLINK = 4;

const bytesOf = (address: IpAddress) => Buffer.from(addressToBytes(address));
const macBytes = (mac: MacAddress) => Buffer.from(macToBytes(mac));
const familyNumber = (address: IpAddress) => (familyOf(address) === 'ipv4' ? 2 : 10);

/** What we send for one message. */
function written(write: (writer: MessageWriter) => void): string {
  const writer = new MessageWriter();
  write(writer);
  return writer.finish().toString('hex');
}

/** The same message by the package's codec; its first sequence number is 1. */
function formatted(type: rt.MessageType, flags: number, emit: (out: structs.AttrStream) => void): string {
  return bytesOfMessage(type, flags, emit).toString('hex');
}

function bytesOfMessage(
  type: rt.MessageType,
  flags: number,
  emit: (out: structs.AttrStream) => void,
): Buffer {
  const out = new structs.AttrStream();
  emit(out);
  const data = Buffer.concat(structs.pad(out.bufs));
  return Buffer.concat(structs.formatMessage({ type, flags, seq: 1, port: 0, data }));
}

/** The message as our parsers take it. */
function messageOf(bytes: Buffer): Message {
  const messages: Message[] = [];
  expect(eachMessage(bytes, (message) => messages.push(message))).toBe(true);
  expect(messages).toHaveLength(1);
  return messages[0]!;
}

describe('what we write is, byte for byte, what the netlink package writes:', () => {
  test('neighbors', () => {
    const states = {
      permanent: { state: { permanent: true }, flags: {} },
      learned: { state: { reachable: true }, flags: { extLearned: true } },
      failed: { state: { failed: true }, flags: {} },
      noarp: { state: { noarp: true }, flags: {} },
    } as const;
    fc.assert(
      fc.property(arbitrary.neighbor, (object) => {
        const { address, mac, state } = object;
        const dst = bytesOf(address);
        const header = { family: familyNumber(address), ifindex: INDEX };
        expect(written((writer) => writeNeighbor(writer, object, INDEX))).toBe(
          formatted(rt.MessageType.NEWNEIGH, PUT, (out) =>
            rt.formatNeighborMessage(
              {
                kind: 'neighbor',
                data: { ...header, ...states[state] },
                attrs: { dst, ...(mac ? { lladdr: macBytes(mac) } : {}) },
              },
              out,
            ),
          ),
        );
        expect(written((writer) => writeNeighborRemoval(writer, object, INDEX))).toBe(
          formatted(rt.MessageType.DELNEIGH, REMOVE, (out) =>
            rt.formatNeighborMessage({ kind: 'neighbor', data: header, attrs: { dst } }, out),
          ),
        );
      }),
    );
  });

  test('FDB entries', () => {
    fc.assert(
      fc.property(arbitrary.fdbEntry, (object) => {
        const lladdr = macBytes(object.mac);
        const header = { family: 7, ifindex: INDEX, flags: { self: true } } as const;
        expect(written((writer) => writeFdbEntry(writer, object, INDEX))).toBe(
          formatted(rt.MessageType.NEWNEIGH, PUT, (out) =>
            rt.formatNeighborMessage(
              {
                kind: 'neighbor',
                data: { ...header, state: { permanent: true } },
                attrs: { dst: bytesOf(object.destination), lladdr },
              },
              out,
            ),
          ),
        );
        expect(written((writer) => writeFdbRemoval(writer, object, INDEX))).toBe(
          formatted(rt.MessageType.DELNEIGH, REMOVE, (out) =>
            rt.formatNeighborMessage({ kind: 'neighbor', data: header, attrs: { lladdr } }, out),
          ),
        );
      }),
    );
  });

  test('routes', () => {
    fc.assert(
      fc.property(arbitrary.route('10.5.1.0' as IpAddress), (object) => {
        const { destination, type, gateway, source, metric, protocol } = object;
        const index = object.link === undefined ? undefined : INDEX;
        const header = {
          family: familyNumber(destination.address),
          dstLen: destination.prefixLength,
          table: 254,
          protocol,
          type: rt.RouteType[type.toUpperCase() as 'UNICAST' | 'UNREACHABLE' | 'BLACKHOLE'],
        };
        const identity = {
          dst: bytesOf(destination.address),
          ...(index === undefined ? {} : { oif: index }),
          ...(metric === 0 ? {} : { priority: metric }),
        };
        const isOnLink = type === 'unicast' && !gateway;
        expect(written((writer) => writeRoute(writer, object, index, 'alone'))).toBe(
          formatted(rt.MessageType.NEWROUTE, familyOf(destination.address) === 'ipv4' ? ADD : PUT, (out) =>
            rt.formatRouteMessage(
              {
                kind: 'route',
                data: {
                  ...header,
                  scope: isOnLink ? rt.RouteScope.LINK : rt.RouteScope.UNIVERSE,
                  flags: gateway ? { __unknown: ONLINK } : {},
                },
                attrs: {
                  ...identity,
                  ...(gateway ? { gateway: bytesOf(gateway) } : {}),
                  ...(source ? { prefsrc: bytesOf(source) } : {}),
                },
              },
              out,
            ),
          ),
        );
        expect(written((writer) => writeRouteRemoval(writer, object, index))).toBe(
          formatted(rt.MessageType.DELROUTE, REMOVE, (out) =>
            rt.formatRouteMessage(
              { kind: 'route', data: { ...header, scope: rt.RouteScope.NOWHERE }, attrs: identity },
              out,
            ),
          ),
        );
      }),
    );
  });

  test('addresses', () => {
    fc.assert(
      fc.property(arbitrary.linkAddress, (object) => {
        const address = bytesOf(object.address);
        const data = { family: familyNumber(object.address), prefixlen: object.prefixLength, index: INDEX };
        const flags = familyOf(object.address) === 'ipv6' ? { flags: { nodad: true } as const } : {};
        expect(written((writer) => writeAddress(writer, object, INDEX))).toBe(
          formatted(rt.MessageType.NEWADDR, PUT, (out) =>
            rt.formatAddressMessage(
              { kind: 'address', data, attrs: { local: address, address, ...flags } },
              out,
            ),
          ),
        );
        expect(written((writer) => writeAddressRemoval(writer, object, INDEX))).toBe(
          formatted(rt.MessageType.DELADDR, REMOVE, (out) =>
            rt.formatAddressMessage({ kind: 'address', data, attrs: { local: address, address } }, out),
          ),
        );
      }),
    );
  });

  test('batches, each message with its number, the last alone to be acknowledged', () => {
    fc.assert(
      fc.property(fc.array(arbitrary.neighbor, { minLength: 1, maxLength: 300 }), (objects) => {
        const writer = new MessageWriter();
        for (const object of objects) writeNeighbor(writer, object, INDEX);
        expect(writer.count).toBe(objects.length);
        const headers = structs.parseMessages(writer.finish()).map(({ seq, flags }) => [seq, flags & ACK]);
        expect(headers).toEqual(
          objects.map((_, index) => [index + 1, index === objects.length - 1 ? ACK : 0]),
        );
        writer.clear();
        expect(writer.count).toBe(0);
        expect(writer.firstSequence).toBe(objects.length + 1);
      }),
      { numRuns: 20 },
    );
  });
});

describe('what we read is, value for value, what the netlink package reads:', () => {
  const u8 = fc.integer({ min: 0, max: 255 });
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  /** Attributes that neither of us knows. */
  const foreign = fc.array(
    fc.tuple(
      fc.integer({ min: 40, max: 90 }),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    ),
    { maxLength: 3 },
  );

  test('neighbors and FDB entries', () => {
    const address = fc.option(arbitrary.family.chain(arbitrary.unicastAddress), { nil: undefined });
    const mac = fc.option(arbitrary.mac, { nil: undefined });
    fc.assert(
      fc.property(
        u8,
        fc.nat(),
        u8,
        u8,
        address,
        mac,
        u32,
        foreign,
        (family, ifindex, state, flags, ip, of, updated, more) => {
          const bytes = bytesOfMessage(rt.MessageType.NEWNEIGH, 0, (out) => {
            rt.formatNeighborMessage(
              {
                kind: 'neighbor',
                data: {
                  family,
                  ifindex,
                  state: rt.parseNeighborState(state),
                  flags: rt.parseNeighborFlags(flags),
                },
                attrs: {
                  ...(ip ? { dst: bytesOf(ip) } : {}),
                  ...(of ? { lladdr: macBytes(of) } : {}),
                  cacheInfo: { updated },
                  probes: 3,
                },
              },
              out,
            );
            for (const [type, value] of more) out.push(type, value);
          });
          const { data, attrs } = rt.parseNeighborMessage(bytes.subarray(16));
          expect(parseNeighbor(messageOf(bytes))).toEqual({
            family: data.family,
            index: data.ifindex,
            state: rt.formatNeighborState(data.state!),
            flags: rt.formatNeighborFlags(data.flags!),
            address: ip,
            mac: of,
            milliseconds: attrs.cacheInfo!.updated! * 10,
          });
        },
      ),
    );
  });

  test('routes', () => {
    fc.assert(
      fc.property(
        arbitrary.route('10.5.1.0' as IpAddress),
        fc.option(u32, { nil: undefined }),
        u8,
        foreign,
        (object, table, tos, more) => {
          const { destination, gateway, source, metric, protocol } = object;
          const bytes = bytesOfMessage(rt.MessageType.NEWROUTE, 0, (out) => {
            rt.formatRouteMessage(
              {
                kind: 'route',
                data: {
                  family: familyNumber(destination.address),
                  dstLen: destination.prefixLength,
                  tos,
                  table: 252,
                  protocol,
                  type: rt.RouteType.UNICAST,
                  flags: { __unknown: ONLINK },
                },
                attrs: {
                  ...(table === undefined ? {} : { table }),
                  dst: bytesOf(destination.address),
                  priority: metric,
                  ...(gateway ? { gateway: bytesOf(gateway) } : {}),
                  ...(source ? { prefsrc: bytesOf(source) } : {}),
                  oif: INDEX,
                },
              },
              out,
            );
            for (const [type, value] of more) out.push(type, value);
          });
          const { data, attrs } = rt.parseRouteMessage(bytes.subarray(16));
          expect(parseRoute(messageOf(bytes))).toEqual({
            family: familyOf(destination.address),
            destination,
            tos: data.tos,
            table: attrs.table ?? data.table,
            protocol: data.protocol,
            type: rt.RouteType.UNICAST,
            interfaceIndex: attrs.oif,
            gateway,
            source,
            metric: attrs.priority,
            isOnlink: true,
          });
        },
      ),
    );
  });

  test('addresses', () => {
    fc.assert(
      fc.property(
        arbitrary.linkAddress,
        u8,
        fc.constantFrom(0, 253, 254),
        fc.boolean(),
        (object, flagBits, scope, isPointToPoint) => {
          const flags = rt.parseAddressFlags(flagBits);
          const isIpv6 = familyOf(object.address) === 'ipv6';
          const other = ipAddress(isIpv6 ? 'fd99::1' : '198.51.100.1');
          const bytes = bytesOfMessage(rt.MessageType.NEWADDR, 0, (out) =>
            rt.formatAddressMessage(
              {
                kind: 'address',
                data: {
                  family: familyNumber(object.address),
                  prefixlen: object.prefixLength,
                  index: INDEX,
                  scope,
                },
                attrs: isPointToPoint
                  ? { local: bytesOf(object.address), address: bytesOf(other), flags }
                  : { address: bytesOf(object.address), flags },
              },
              out,
            ),
          );
          expect(parseAddress(messageOf(bytes))).toEqual({
            index: INDEX,
            address: object.address,
            prefixLength: object.prefixLength,
            scope: scope === 253 ? 'link' : scope === 254 ? 'host' : 'global',
            permanent: flags.permanent === true,
            temporary: isIpv6 && flags.secondary === true,
            deprecated: flags.deprecated === true,
            usable: !isIpv6 || (!flags.tentative && !flags.dadfailed),
            ...(!isIpv6 && flags.secondary ? { secondary: true } : {}),
            ...(isPointToPoint && other !== object.address ? { peer: other } : {}),
          });
        },
      ),
    );
  });
});

test('the largest metric survives', () => {
  const writer = new MessageWriter();
  writeRoute(
    writer,
    {
      kind: 'route',
      type: 'unreachable',
      destination: { address: '10.5.9.0' as IpAddress, prefixLength: 24 },
      link: undefined,
      gateway: undefined,
      source: undefined,
      metric: UNREACHABLE_METRIC,
      protocol: 84,
    },
    undefined,
    'alone',
  );
  expect(parseRoute(messageOf(Buffer.from(writer.finish())))?.metric).toBe(4_294_967_295);
});

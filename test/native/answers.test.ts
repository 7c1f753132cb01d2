/** What the thread answers, and what it does not. Its questions come from the kernel. */
import { execFileSync } from 'node:child_process';
import { openAnswerer, openMonitor, type Answerer, type Monitor } from '../../native';
import { Random } from '../simulation/random';
import { until } from '../support/lab/until';
import { seedElse } from '../support/long';
import { sendDatagram } from './support/foreigner';
import {
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
  RTNLGRP_NEIGH,
  attribute,
  interfaceIndexOf,
  message,
  messagesOf,
} from './support/messages';
import { removeLink, requirePrivateNamespace } from './support/namespace';
import {
  addAskingLink,
  answersOn,
  ask,
  fdbOf,
  hold,
  neighborsOn,
  sendArpRequest,
  settled,
  threadsNamed,
} from './support/questions';
import { thrownBy } from './support/thrown-by';

const LINK = 'vn-answers';
/** 10.5.2.0/24, by 02:00:00:00:00:02, at 192.168.0.2. */
const RECORD = [10, 5, 2, 0, 24, 0, 2, 0, 0, 0, 0, 2, 192, 168, 0, 2];
const record = (changes: Record<number, number> = {}) =>
  Uint8Array.from(RECORD, (byte, at) => changes[at] ?? byte);
const MAC = '02:00:00:00:00:02';

const numberOf = (address: string): number =>
  address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
const addressOf = (number: number): string => [24, 16, 8, 0].map((bits) => (number >>> bits) & 255).join('.');
const maskOf = (length: number): number => (length === 0 ? 0 : (-1 << (32 - length)) >>> 0);

/** What the n-th host would say of a subnet: a MAC and an address of its own. */
function recordOf(subnet: number, length: number, n: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(subnet);
  bytes.writeUInt8(length, 4);
  bytes.writeUInt16BE(0x0200, 6);
  bytes.writeUInt32BE(n, 8);
  bytes.writeUInt32BE(0xc0000000 + n, 12);
  return bytes;
}

const macOf = (n: number): string =>
  ['02', '00', ...[24, 16, 8, 0].map((bits) => ((n >>> bits) & 255).toString(16).padStart(2, '0'))].join(':');

test('It has a port of its own', () => {
  const [one, other] = [openAnswerer('flannel.1'), openAnswerer('flannel.1')];
  expect(one.portId).toBeGreaterThan(0);
  expect(other.portId).not.toBe(one.portId);
  for (const answerer of [one, other]) answerer.close();
});

test('After it was closed, closing does nothing and the rest fails as on a closed descriptor', () => {
  const answerer = openAnswerer('flannel.1');
  answerer.close();
  answerer.close();
  for (const call of [() => answerer.put(record()), () => answerer.remove(record())])
    expect(thrownBy(call)).toMatchObject({ code: 'EBADF' });
});

test.each([
  ['no name', [], 'ERR_INVALID_ARG_TYPE'],
  ['an empty name', [''], 'ERR_OUT_OF_RANGE'],
  ['a name with a NUL', ['flannel\0.1'], 'ERR_OUT_OF_RANGE'],
  ['a name that no interface can have', ['flannel.12345678'], 'ERR_OUT_OF_RANGE'],
])('openAnswerer refuses %s', (_what, words, code) => {
  expect(thrownBy(() => (openAnswerer as (...all: unknown[]) => void)(...words))).toMatchObject({ code });
});

test.each([
  ['nothing', undefined, 'ERR_INVALID_ARG_TYPE'],
  ['an array of numbers', RECORD, 'ERR_INVALID_ARG_TYPE'],
  ['an array of another type', new Uint16Array(8), 'ERR_INVALID_ARG_TYPE'],
  ['a record that is not whole', record().subarray(1), 'ERR_OUT_OF_RANGE'],
  ['a prefix that is too long', record({ 4: 33 }), 'ERR_OUT_OF_RANGE'],
  ['a subnet with host bits', record({ 3: 1 }), 'ERR_OUT_OF_RANGE'],
  ['all addresses, with host bits', record({ 4: 0 }), 'ERR_OUT_OF_RANGE'],
])('put and remove refuse %s', (_what, records, code) => {
  const answerer = openAnswerer('flannel.1');
  expect(thrownBy(() => answerer.put(records as Uint8Array))).toMatchObject({ code });
  expect(thrownBy(() => answerer.remove(records as Uint8Array))).toMatchObject({ code });
  answerer.close();
});

describe('asked by the kernel,', () => {
  let answerer: Answerer;
  let monitor: Monitor | undefined;
  let index: number;

  beforeAll(requirePrivateNamespace);
  beforeEach(() => {
    index = addAskingLink(LINK);
    answerer = openAnswerer(LINK);
  });
  afterEach(() => {
    monitor?.close();
    answerer.close();
    removeLink(LINK);
  });

  /** Asks for the addresses, and tells who was answered, when all that will be answered is. */
  async function answersFor(...addresses: string[]): Promise<Map<string, string>> {
    await ask(...addresses);
    await settled(answerer);
    return answersOn(LINK);
  }

  test('it writes the FDB entry, then the neighbor, which has its port and is learned and reachable', async () => {
    const told: string[] = [];
    monitor = openMonitor({ protocol: 0, groups: [RTNLGRP_NEIGH], receiveBufferBytes: 1 << 20 }, (buffer) => {
      // Other test files have links of their own in this namespace.
      for (const each of messagesOf(buffer!))
        if (each.type === RTM_NEWNEIGH && interfaceIndexOf(each) === index)
          told.push(`${each.payload[0] === 2 ? 'neighbor' : 'FDB entry'}, port ${each.portId}`);
    });
    answerer.put(record());
    expect(await answersFor('10.5.2.77')).toEqual(new Map([['10.5.2.77', MAC]]));
    expect(neighborsOn(LINK)).toMatchObject([{ state: ['REACHABLE'], extern_learn: null }]);
    expect(fdbOf(LINK)).toEqual([`${MAC} 192.168.0.2`]);
    await until('both are told', () => told.length >= 2);
    expect(told).toEqual(['FDB entry, port 0', `neighbor, port ${answerer.portId}`]);
  });

  test('it answers by the longest of the subnets that hold the address, and for no other address', async () => {
    answerer.put(recordOf(numberOf('10.0.0.0'), 8, 8));
    answerer.put(recordOf(numberOf('10.5.2.128'), 25, 25));
    answerer.put(recordOf(numberOf('10.5.2.0'), 24, 24));
    answerer.put(recordOf(numberOf('10.5.2.200'), 32, 32));
    answerer.put(recordOf(numberOf('10.5.0.0'), 16, 16));
    const expected = {
      '10.5.2.127': 24,
      '10.5.2.128': 25,
      '10.5.2.200': 32,
      '10.5.2.201': 25,
      '10.5.3.0': 16,
      '10.6.0.0': 8,
    };
    const macs = Object.entries(expected).map(([address, n]) => [address, macOf(n)] as const);
    expect(await answersFor(...Object.keys(expected))).toEqual(new Map(macs));
    answerer.remove(recordOf(numberOf('10.0.0.0'), 8, 8));
    expect([...(await answersFor('10.7.0.1', '10.5.2.126')).keys()].sort()).toEqual(
      [...Object.keys(expected), '10.5.2.126'].sort(),
    );
  });

  test('a subnet may be put twice, and counts once; the last says where it is', async () => {
    answerer.put(record());
    answerer.put(record({ 11: 3, 15: 3 }));
    expect(await answersFor('10.5.2.1')).toEqual(new Map([['10.5.2.1', '02:00:00:00:00:03']]));
    expect(fdbOf(LINK)).toEqual(['02:00:00:00:00:03 192.168.0.3']);
    answerer.remove(record());
    answerer.remove(record());
    answerer.remove(new Uint8Array(0));
    expect((await answersFor('10.5.2.2')).has('10.5.2.2')).toBe(false);
  });

  test('records may stand anywhere in a buffer, 65 536 of them beside those before, and all can be removed', async () => {
    answerer.put(recordOf(numberOf('10.5.2.128'), 25, 25));
    const many = new Uint8Array(16 * 65_536 + 1);
    for (let n = 0; n < 65_536; n++) many.set(recordOf((10 << 24) + n * 256, 24, n), 1 + n * 16);
    answerer.put(many.subarray(1));
    const asked = ['10.0.0.1', '10.5.2.1', '10.127.255.1', '10.255.254.1'];
    const answers = [
      ...asked.map((address) => [address, macOf((numberOf(address) >>> 8) & 0xffff)] as const),
      ['10.5.2.129', macOf(25)] as const,
    ];
    expect(await answersFor(...asked, '10.5.2.129')).toEqual(new Map(answers));
    answerer.remove(many.subarray(1));
    expect(await answersFor('10.0.0.2', '10.5.2.2', '10.127.255.2', '10.255.254.2')).toEqual(
      new Map(answers),
    );
  });

  test('whatever subnets come, move and go, it answers for exactly those that are there', async () => {
    const random = new Random(seedElse(20_261_127, 'native/answers'));
    // Subnets within each other, and as many as its table holds before it grows: they get into each other's way.
    const bases = Array.from({ length: 12 }, () => (10 << 24) + random.below(1 << 24));
    const subnets = bases.flatMap((base) =>
      Array.from({ length: 4 }, () => 9 + random.below(24)).map((length) => {
        return { subnet: (base & maskOf(length)) >>> 0, length };
      }),
    );
    const known = new Map<string, { subnet: number; length: number; n: number }>();
    for (let round = 0, n = 1; round < 12; round++) {
      for (let change = 0; change < 200; change++, n++) {
        const { subnet, length } = random.pick(subnets);
        const key = `${addressOf(subnet)}/${length}`;
        if (known.size >= 31 || random.chance(0.4)) {
          answerer.remove(recordOf(subnet, length, 0));
          known.delete(key);
        } else {
          answerer.put(recordOf(subnet, length, n));
          known.set(key, { subnet, length, n });
        }
      }
      const asked = [
        ...bases,
        ...subnets.map(({ subnet, length }) => subnet + random.below(2 ** (32 - length))),
      ].map((address) => addressOf(Math.min(address, numberOf('10.255.255.254'))));
      const longest = (address: string) =>
        [...known.values()]
          .filter(({ subnet, length }) => (numberOf(address) & maskOf(length)) >>> 0 === subnet)
          .sort((one, other) => other.length - one.length)[0];
      const expected = [...new Set(asked)].flatMap((address) => {
        const found = longest(address);
        return found ? [[address, macOf(found.n)] as const] : [];
      });
      expect(expected.length).toBeGreaterThan(0);
      const byAddress = (answers: Iterable<readonly [string, string]>) => [...answers].sort();
      expect(byAddress(await answersFor(...asked))).toEqual(byAddress(expected));
      // Nothing of this round is asked again in the next.
      removeLink(LINK);
      addAskingLink(LINK);
    }
  });

  test('it leaves alone who is known and only probed: a peer that does not answer is given up', async () => {
    answerer.put(record());
    for (const setting of [
      'base_reachable_time_ms=100',
      'delay_first_probe_time=0',
      'retrans_time_ms=50',
      'app_solicit=3',
    ])
      execFileSync('sysctl', ['-qw', `net/ipv4/neigh/${LINK}/${setting}`]);
    expect(await answersFor('10.5.2.9')).toEqual(new Map([['10.5.2.9', MAC]]));
    await until('given up', async () => {
      // Whoever sends to a stale neighbor makes the kernel probe it.
      await ask('10.5.2.9');
      return !answersOn(LINK).has('10.5.2.9');
    });
  });

  test('what a device with l3miss asks by itself, in the name of a packet that it drops, is not answered', async () => {
    removeLink(LINK);
    addAskingLink(LINK, { flags: ' proxy l3miss' });
    answerer.put(record());
    sendArpRequest(LINK, '10.5.2.3');
    expect(await answersFor('10.6.2.4')).toEqual(new Map());
    expect(fdbOf(LINK)).toEqual([]);
  });

  test('paused, it answers nobody, also not later; resumed, it answers who asks then', async () => {
    removeLink(LINK);
    // Whoever is not answered is not asked for again.
    addAskingLink(LINK, { asks: 1 });
    answerer.put(record());
    answerer.pause();
    answerer.pause();
    expect(await answersFor('10.5.2.3')).toEqual(new Map());
    answerer.resume();
    expect(await answersFor('10.5.2.4')).toEqual(new Map([['10.5.2.4', MAC]]));
    answerer.pause();
    expect((await answersFor('10.5.2.5')).has('10.5.2.5')).toBe(false);
  });

  test('a neighbor that went before the answer is not made again; its FDB entry is written', async () => {
    answerer.put(record());
    const release = await hold(threadsNamed('answerer')[0]!);
    try {
      await ask('10.5.2.3', '10.5.2.4');
      execFileSync('ip', ['neigh', 'del', '10.5.2.3', 'dev', LINK]);
    } finally {
      await release();
    }
    await settled(answerer);
    expect(answersOn(LINK)).toEqual(new Map([['10.5.2.4', MAC]]));
    expect(fdbOf(LINK)).toEqual([`${MAC} 192.168.0.2`]);
  });

  test('it answers for the device that has its name now, and for no other', async () => {
    answerer.put(record());
    execFileSync('ip', ['link', 'set', LINK, 'down']);
    execFileSync('ip', ['link', 'set', LINK, 'name', 'vn-renamed', 'up']);
    execFileSync('ip', ['route', 'add', '10.0.0.0/8', 'dev', 'vn-renamed']);
    await ask('10.5.2.3');
    await settled(answerer);
    expect(answersOn('vn-renamed')).toEqual(new Map());
    removeLink('vn-renamed');
    addAskingLink(LINK);
    expect(await answersFor('10.5.2.4')).toEqual(new Map([['10.5.2.4', MAC]]));
  });

  test('a question that does not come from the kernel is none', async () => {
    answerer.put(record());
    execFileSync('ip', `neigh add 10.5.2.3 lladdr 02:00:00:00:00:99 dev ${LINK} nud permanent`.split(' '));
    const header = Buffer.alloc(12);
    header.writeUInt8(2, 0);
    header.writeInt32LE(index, 4);
    const NUD_INCOMPLETE = 1;
    header.writeUInt16LE(NUD_INCOMPLETE, 8);
    const question = message(
      RTM_GETNEIGH,
      1,
      1,
      Buffer.concat([header, attribute(1, Uint8Array.of(10, 5, 2, 3))]),
    );
    await sendDatagram(1 << (RTNLGRP_NEIGH - 1), question);
    expect(await answersFor('10.5.2.4')).toEqual(
      new Map([
        ['10.5.2.3', '02:00:00:00:00:99'],
        ['10.5.2.4', MAC],
      ]),
    );
  });

  test('closed, its thread has ended and nobody is answered', async () => {
    answerer.put(record());
    expect(threadsNamed('answerer')).toHaveLength(1);
    answerer.close();
    expect(threadsNamed('answerer')).toEqual([]);
    answerer.pause();
    answerer.resume();
    await ask('10.5.2.3');
    // The next answerer knows nobody, and sees the question as well.
    answerer = openAnswerer(LINK);
    await settled(answerer);
    expect(answersOn(LINK)).toEqual(new Map());
  });
});

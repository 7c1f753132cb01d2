/**
 * The file for a start without etcd, from version to version. `state-files/` holds one of each form that any version wrote, named by
 * the first commit that wrote it, or by its release; all of them were written by the code of that time, and say the same.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Lease } from '../../src/model/lease';
import { parseMemory, printMemoryInSteps, type Memory } from '../../src/model/memory-codec';
import { complete } from '../../src/model/steps';
import { vtepMacOf } from '../../src/model/lease-codec';
import { exampleLease } from '../support/examples';

const FILES = join(__dirname, 'state-files');
const RELEASE = textOf('v0.1.0.json');

function textOf(name: string): string {
  return readFileSync(join(FILES, name), 'utf8');
}

/** What {@link RELEASE} is, with these members in place of its own. */
function changed(members: object): string {
  return JSON.stringify({ ...(JSON.parse(RELEASE) as object), ...members });
}

/** What a start needs of it, as a person would write it. */
function summaryOf(memory: Memory | undefined) {
  return (
    memory && {
      config: memory.config,
      ownLease: memory.ownLease,
      expiresAt: memory.expiresAt,
      leases: memory.leases.map(
        (lease) =>
          `${lease.name} ${lease.attributes.publicIp} ${vtepMacOf(lease)} ${lease.etcdLeaseId ?? 'reserved'}`,
      ),
    }
  );
}

const SUMMARY = {
  config: '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}',
  ownLease: '10.5.76.0-24',
  expiresAt: 1785169965123.5,
  leases: [
    '10.5.20.0-24 172.30.0.2 0a:fe:34:5c:9c:01 7587897214513241607',
    '10.5.90.0-24 172.30.0.3 0a:fe:34:5c:9c:02 reserved',
    '10.5.76.0-24 172.30.0.1 0a:fe:34:5c:9c:03 7587897214513241611',
  ],
};

test.each(readdirSync(FILES))('a file of every earlier form is read: %s', (name) => {
  expect(summaryOf(parseMemory(textOf(name)))).toEqual(SUMMARY);
});

test('what a file says only since v0.1.0 is unknown in an earlier one: which network it is of, and who came first', () => {
  const now = parseMemory(RELEASE)!;
  expect(now.place).toBe('/coreos.com/network/config');
  expect(now.leases.map(({ createRevision }) => createRevision)).toEqual(['5', '3', '7']);
  const before = parseMemory(textOf('c3e9b87.json'))!;
  expect(before.place).toBeUndefined();
  expect(before.leases.map(({ createRevision }) => createRevision)).toEqual(['0', '0', '0']);
});

test('v0.1.0 reads what is written now: each of its fields is there, and is the same', () => {
  const written = JSON.parse(complete(printMemoryInSteps(parseMemory(RELEASE)!))) as { leases: unknown[][] };
  const rows = written.leases.map((row) => row.slice(0, 4));
  expect({ ...written, leases: rows }).toMatchObject(JSON.parse(RELEASE) as object);
});

test('a file of a later version is read by the fields that are known', () => {
  const { leases } = JSON.parse(RELEASE) as { leases: unknown[][] };
  const later = changed({
    version: 2,
    hue: { of: ['no', 'meaning'] },
    leases: [
      ...leases.map((row) => [...row, 'more']),
      ['fd00::-64', '{}', null, '9'],
      { name: '10.5.1.0-24' },
    ],
  });
  expect(summaryOf(parseMemory(later))).toEqual(SUMMARY);
});

test.each([
  ['no configuration', { config: undefined }],
  ['no lease of ours', { ownLease: undefined }],
  ['no time until which it is good', { expiresAt: undefined }],
  ['no leases', { leases: undefined }],
  ['a network that is no text', { place: 7 }],
  ['leases by name', { leases: {} }],
])('a file that has %s is of no use', (_, members) => {
  expect(parseMemory(changed(members))).toBeUndefined();
});

const memory: Memory = {
  place: '/coreos.com/network',
  config: '{"Network": "10.5.0.0/16"}',
  ownLease: '10.5.1.0-24',
  expiresAt: 1_700_000_000_000,
  leases: [exampleLease(2), exampleLease(3)],
};

const print = (of: Memory) => complete(printMemoryInSteps(of));

/** A lease out of memory is older than any revision. */
const remembered = (leases: readonly Lease[]) => leases.map((lease) => ({ ...lease, modRevision: '0' }));

describe('what the agent remembers', () => {
  test('is read back as it was, and its leases count as older than all that etcd says', () => {
    expect(parseMemory(print(memory))).toEqual({ ...memory, leases: remembered(memory.leases) });
  });

  test('is JSON of its own version, written lease by lease', () => {
    expect(JSON.parse(print(memory))).toMatchObject({ version: 1, leases: [{ 0: '10.5.2.0-24' }, {}] });
    // One lease a step, so that the agent serves meanwhile.
    expect([...printMemoryInSteps(memory)]).toHaveLength(2);
  });

  test('may hold no lease, a reservation, and one that never ends', () => {
    for (const leases of [[], [exampleLease(2, { etcdLeaseId: undefined })]]) {
      const lasting = { ...memory, expiresAt: Infinity, leases };
      expect(parseMemory(print(lasting))).toEqual({ ...lasting, leases: remembered(leases) });
    }
  });

  test('is read back whatever texts and times it holds', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.string(),
        fc.maxSafeNat(),
        (place, config, ownLease, expiresAt) => {
          const any = { place, config, ownLease, expiresAt, leases: [] };
          expect(parseMemory(print(any))).toEqual(any);
        },
      ),
    );
  });
});

describe('nothing is remembered', () => {
  const whole = JSON.parse(print(memory)) as Record<string, unknown>;

  test.each([
    ['by text that is not JSON', print(memory).slice(0, -1)],
    ['by an empty file', ''],
    ['by null', 'null'],
    ['by a text', '"leases"'],
    ['by a number', '1'],
    ['by a list', '[]'],
    ['where place is of the wrong type', JSON.stringify({ ...whole, place: { 0: 'x' } })],
    ...['config', 'ownLease', 'leases', 'expiresAt'].flatMap((key): [string, string][] => [
      [`without ${key}`, JSON.stringify({ ...whole, [key]: undefined })],
      [`where ${key} is of the wrong type`, JSON.stringify({ ...whole, [key]: { 0: 'x' } })],
    ]),
  ])('%s', (_, text) => {
    expect(parseMemory(text)).toBeUndefined();
  });
});

describe('of the leases that are remembered', () => {
  const value = '{"PublicIP":"192.168.0.2"}';
  const leasesOf = (...rows: unknown[]) =>
    parseMemory(JSON.stringify({ ...(JSON.parse(print(memory)) as object), leases: rows }))!.leases;

  test.each([
    ['no list', { 0: '10.5.2.0-24', 1: value }],
    ['null', null],
    ['an empty list', []],
    ['a name that is none', [7, value, '5', '6']],
    ['a value that is no text', ['10.5.2.0-24', { PublicIP: '192.168.0.2' }, '5', '6']],
    ['a list instead of a name', [['10.5.2.0-24'], value, '5', '6']],
    ['a list instead of a value', ['10.5.2.0-24', [value], '5', '6']],
    ['a name that names no subnet', ['hello', value, '5', '6']],
    ['a value that is no lease', ['10.5.2.0-24', '[]', '5', '6']],
  ])('one that is %s is left out, and the others stay', (_, row) => {
    expect(leasesOf(row, ['10.5.3.0-24', value, '5', '6']).map(({ name }) => name)).toEqual(['10.5.3.0-24']);
  });

  test('the etcd lease is what it was, and none where there is no text', () => {
    expect(leasesOf(['10.5.2.0-24', value, '5', '6'])[0]).toMatchObject({ etcdLeaseId: '5' });
    expect(leasesOf(['10.5.2.0-24', value, 5, '6'])[0]!.etcdLeaseId).toBeUndefined();
  });

  test.each([
    ['16', '16'],
    ['x1', '0'],
    ['1x', '0'],
    ['', '0'],
    [16, '0'],
    [undefined, '0'],
  ])('the create revision %j is %s', (created, expected) => {
    expect(leasesOf(['10.5.2.0-24', value, '5', created])[0]!.createRevision).toBe(expected);
  });
});

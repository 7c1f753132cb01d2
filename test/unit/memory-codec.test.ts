/**
 * The file for a start without etcd, from version to version. `state-files/` holds one of each form that any version wrote, named by
 * the first commit that wrote it, or by its release; all of them were written by the code of that time, and say the same.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseMemory, printMemoryInSteps, type Memory } from '../../src/model/memory-codec';
import { complete } from '../../src/model/steps';
import { vtepMacOf } from '../../src/model/lease-codec';

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

/** What is done with the key of our lease: one row for each thing that etcd may have there. */
import {
  answerToClaim,
  decideConceded,
  decideKeeping,
  deviationOf,
  type DisputeHistory,
  type KeepingFacts,
  type KeepingStep,
  type StoredKey,
} from '../../src/core/lease-keeping';
import { vxlanData } from '../../src/model/lease-codec';
import type { Lease } from '../../src/model/lease';
import { macAddress } from '../../src/model/mac';
import { exampleLease } from '../support/examples';

const OURS = '7';
const ANOTHERS = '8';
const OTHER_MAC = vxlanData(1, macAddress('02:00:00:00:00:99'));
const NOW = 1_000_000;
const NO_DISPUTE: DisputeHistory = {
  claimedAt: -Infinity,
  objectedAt: -Infinity,
  counters: 0,
  objectedTo: undefined,
};
const CLAIMED: DisputeHistory = { ...NO_DISPUTE, claimedAt: NOW - 6_999 };

/** Written by us at revision 50, on an etcd lease of ours. */
const HELD = exampleLease(1, { etcdLeaseId: OURS, modRevision: '50' });
const HELD_RESERVATION: Lease = { ...HELD, etcdLeaseId: undefined };
const GARBAGE = { name: HELD.name, reason: 'value is not JSON', etcdLeaseId: OURS, modRevision: '60' };

const stored = (changes: Partial<Lease>, attributes: Partial<Lease['attributes']> = {}): Lease => ({
  ...HELD,
  ...changes,
  attributes: { ...HELD.attributes, ...attributes },
});
const others = (changes: Partial<Lease>) =>
  stored(changes, { publicIp: exampleLease(2).attributes.publicIp, backendData: OTHER_MAC });

function facts(key: StoredKey, changes: Partial<KeepingFacts> = {}): KeepingFacts {
  return {
    ...{ held: HELD, stored: key, source: 'read', dispute: NO_DISPUTE, now: NOW },
    isOwn: (etcdLeaseId) => etcdLeaseId === OURS,
    ...changes,
  };
}

/** A step in a few words. */
function print(step: KeepingStep): string {
  switch (step.kind) {
    case 'write':
      return `write over ${step.over.modRevision}: ${step.why.kind === 'objection' ? step.why.answer : step.why.kind}`;
    case 'retake':
      return step.from ? 'retake: taken' : 'retake: missing';
    case 'adopt':
      return `adopt ${step.lease.modRevision}`;
    case 'claim':
      return `claim ${step.lease.modRevision}`;
    case 'keep':
    case 'read':
    case 'concede':
      return step.kind;
  }
}

const TOLD = { source: 'told' } as const;
const RESERVED = { held: HELD_RESERVATION };

describe('with our key we do', () => {
  test.each<[string, StoredKey, Partial<KeepingFacts>, string]>([
    // What the watch tells is believed where it is newer than what we hold, and something is there.
    ['no key, by the watch', undefined, TOLD, 'read'],
    ['an older write, by the watch', stored({ modRevision: '49' }), TOLD, 'read'],
    ['older garbage, by the watch', { ...GARBAGE, modRevision: '49' }, TOLD, 'read'],
    ['what we wrote, by the watch', HELD, TOLD, 'keep'],
    ['garbage, by the watch', GARBAGE, TOLD, 'write over 60: garbage'],

    ['no key', undefined, {}, 'retake: missing'],
    ['what we wrote', HELD, {}, 'keep'],
    ['garbage', GARBAGE, {}, 'write over 60: garbage'],
    ['older garbage, in a restored store', { ...GARBAGE, modRevision: '40' }, {}, 'write over 40: garbage'],
    ['the same, written again', stored({ modRevision: '60' }), {}, 'adopt 60'],
    ['the same, older: a restored store', stored({ modRevision: '40' }), {}, 'adopt 40'],
    ['the same without etcd lease', stored({ modRevision: '60', etcdLeaseId: undefined }), {}, 'adopt 60'],

    ['another PublicIP', others({ modRevision: '60' }), {}, 'retake: taken'],
    [
      'another PublicIP and etcd lease',
      others({ modRevision: '60', etcdLeaseId: ANOTHERS }),
      {},
      'retake: taken',
    ],
    [
      'another backend',
      stored({ modRevision: '60' }, { backendType: 'udp', backendData: undefined }),
      {},
      'write over 60: changed',
    ],
    [
      'another MAC, older: a restored store',
      stored({ modRevision: '40' }, { backendData: OTHER_MAC }),
      {},
      'write over 40: changed',
    ],
    [
      'another MAC without etcd lease',
      stored({ modRevision: '60', etcdLeaseId: undefined }, { backendData: OTHER_MAC }),
      {},
      'write over 60: changed',
    ],

    // Claims of another host with our PublicIP.
    [
      'a claim by another etcd lease',
      stored({ modRevision: '60', etcdLeaseId: ANOTHERS }),
      {},
      'write over 60: object',
    ],
    [
      'such a claim, just after ours',
      stored({ modRevision: '60', etcdLeaseId: ANOTHERS }),
      { dispute: CLAIMED },
      'concede',
    ],
    [
      'another MAC on the etcd lease that we share',
      stored({ modRevision: '60' }, { backendData: OTHER_MAC }),
      {},
      'write over 60: object',
    ],
    [
      'a claim that we objected to',
      stored({ modRevision: '60', etcdLeaseId: ANOTHERS }),
      { dispute: { ...CLAIMED, objectedTo: '60' } },
      'write over 60: insist',
    ],
    [
      'another etcd lease, older: a restored store',
      stored({ modRevision: '40', etcdLeaseId: ANOTHERS }),
      {},
      'claim 40',
    ],
    [
      'another etcd lease, held from the state file',
      stored({ modRevision: '50', etcdLeaseId: ANOTHERS }),
      { held: { ...HELD, etcdLeaseId: ANOTHERS } },
      'claim 50',
    ],

    // A reservation hangs on no etcd lease: a twin shows by the MAC that it writes.
    ['our reservation', HELD_RESERVATION, RESERVED, 'keep'],
    [
      'our reservation with another MAC',
      stored({ modRevision: '60', etcdLeaseId: undefined }, { backendData: OTHER_MAC }),
      RESERVED,
      'write over 60: object',
    ],
    [
      'such a reservation, just after our claim',
      stored({ modRevision: '60', etcdLeaseId: undefined }, { backendData: OTHER_MAC }),
      { ...RESERVED, dispute: CLAIMED },
      'concede',
    ],
    [
      'our reservation without a MAC',
      stored({ modRevision: '60', etcdLeaseId: undefined }, { backendData: undefined }),
      RESERVED,
      'write over 60: changed',
    ],
    ['no reservation any more', undefined, RESERVED, 'retake: missing'],
  ])('where etcd has %s', (_, key, changes, step) => {
    expect(print(decideKeeping(facts(key, changes)))).toBe(step);
  });
});

it('writes over garbage what we hold, by the revision and with the etcd lease of the garbage', () => {
  const { modRevision, etcdLeaseId, reason } = { ...GARBAGE, etcdLeaseId: ANOTHERS };
  expect(decideKeeping(facts({ ...GARBAGE, etcdLeaseId }))).toEqual({
    kind: 'write',
    over: { ...HELD, modRevision, etcdLeaseId },
    why: { kind: 'garbage', reason },
  });
});

describe('after we conceded', () => {
  const publicIp = HELD.attributes.publicIp!;
  const twins = stored({ modRevision: '60', etcdLeaseId: ANOTHERS });

  test.each<[string, StoredKey, boolean, string]>([
    ['the other host has it', twins, false, 'wait'],
    ['the other host has it, and a retry is due', twins, true, 'challenge'],
    ['the other host has another PublicIP', others({ etcdLeaseId: ANOTHERS }), true, 'retake'],
    ['the key is gone', undefined, false, 'regain'],
    ['the key is garbage', GARBAGE, false, 'regain'],
    ['the key hangs on our etcd lease', HELD, false, 'regain'],
    ['another MAC is on our etcd lease', stored({}, { backendData: OTHER_MAC }), false, 'wait'],
  ])('and %s', (_, key, isTime, step) => {
    expect(decideConceded(facts(key), publicIp, isTime).kind).toBe(step);
  });

  it('and have another PublicIP ourselves, we acquire a lease', () => {
    const own = exampleLease(9).attributes.publicIp!;
    expect(decideConceded(facts(twins), own, false).kind).toBe('retake');
  });
});

describe('a claim of another host is answered', () => {
  const RECENT = { ...NO_DISPUTE, objectedAt: NOW - 4_999 };

  test.each<[string, DisputeHistory, string]>([
    ['with an objection where there was no dispute', NO_DISPUTE, 'object'],
    ['by conceding within seven seconds of our own claim', CLAIMED, 'concede'],
    ['with an objection seven seconds after it', { ...NO_DISPUTE, claimedAt: NOW - 7_000 }, 'object'],
    ['with a second objection in a row', RECENT, 'object'],
    ['by conceding instead of a third in a row', { ...RECENT, counters: 1 }, 'concede'],
    [
      'with an objection where the last is five seconds old',
      { ...RECENT, counters: 1, objectedAt: NOW - 5_000 },
      'object',
    ],
    ['with the same objection, to the same claim', { ...RECENT, counters: 9, objectedTo: '60' }, 'insist'],
  ])('%s', (_, history, answer) => {
    expect(answerToClaim(history, '60', NOW)).toBe(answer);
  });
});

describe('what other hosts see differs from what we hold', () => {
  test.each<[string, StoredKey, unknown]>([
    ['not at all', HELD, undefined],
    ['not by the etcd lease', stored({ etcdLeaseId: ANOTHERS, modRevision: '60' }), undefined],
    ['where there is no key', undefined, { kind: 'missing' }],
    ['where it is garbage', GARBAGE, { kind: 'spoiled' }],
    ['where it leads to another host', others({}), { kind: 'taken', publicIp: '192.168.0.2' }],
    ['where it has another MAC', stored({}, { backendData: OTHER_MAC }), { kind: 'changed' }],
  ])('%s', (_, key, deviation) => {
    expect(deviationOf(key, HELD)).toEqual(deviation);
  });
});

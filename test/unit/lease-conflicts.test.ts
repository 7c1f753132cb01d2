import fc from 'fast-check';
import { outranks, type Candidate } from '../../src/core/candidate';
import { LeaseConflicts, areInConflict, type Verdict } from '../../src/core/lease-conflicts';
import { ipAddress, subnet, subnetOf } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from '../support/examples';

/** Peer n's lease, created at revision n. */
function candidate(n: number, changes: Partial<Omit<Candidate, 'peer'>> & Partial<Candidate['peer']> = {}) {
  const { subnet: leased, publicIp, vtepMac, ...rest } = changes;
  const peer = {
    ...examplePeer(n),
    ...(leased && { subnet: leased }),
    ...(publicIp && { publicIp }),
    ...(vtepMac && { vtepMac }),
  };
  const name = `${peer.subnet.address}-${peer.subnet.prefixLength}`;
  return { name, peer, isLive: true, isFitting: true, createRevision: String(n), ...rest };
}

/** Puts and removes, and keeps what is told. */
class Audience {
  readonly conflicts = new LeaseConflicts();
  readonly verdicts = new Map<string, Verdict>();

  resolve(most?: number): this {
    for (const [name, verdict] of this.conflicts.resolve(most)) {
      if (verdict) this.verdicts.set(name, verdict);
      else this.verdicts.delete(name);
    }
    return this;
  }

  put(...candidates: Candidate[]): this {
    for (const each of candidates) this.conflicts.put(each);
    return this.resolve();
  }

  remove(name: string): this {
    this.conflicts.remove(name);
    return this.resolve();
  }

  get accepted(): string[] {
    return [...this.verdicts]
      .filter(([, { kind }]) => kind === 'accepted')
      .map(([name]) => name)
      .sort();
  }

  reasonFor(name: string): string | undefined {
    const verdict = this.verdicts.get(name);
    return verdict?.kind === 'ignored' ? verdict.reason : undefined;
  }

  remarkOn(name: string): string | undefined {
    const verdict = this.verdicts.get(name);
    return verdict?.kind === 'accepted' ? verdict.remark : undefined;
  }
}

const HALF = candidate(9, { subnet: subnet('10.5.2.0/25'), isFitting: false, createRevision: '1' });

describe('of two leases whose subnets overlap', () => {
  it('the one that fits the configuration is accepted, however much older the other is', () => {
    const audience = new Audience().put(HALF, candidate(2));
    expect(audience.accepted).toEqual(['10.5.2.0-24']);
    expect(audience.reasonFor('10.5.2.0-25')).toBe('its subnet overlaps that of 10.5.2.0-24');
  });

  it('the older one is accepted, where both fit', () => {
    const younger = candidate(2, { name: 'x10.5.2.0-24', createRevision: '100' });
    expect(new Audience().put(younger, candidate(2, { createRevision: '99' })).accepted).toEqual([
      '10.5.2.0-24',
    ]);
  });

  it('the one that lives is accepted, where the other is only kept for a while', () => {
    const gone = candidate(2, { isLive: false });
    expect(new Audience().put(gone, HALF).accepted).toEqual(['10.5.2.0-25']);
  });

  it('the other is accepted once the first has gone', () => {
    const audience = new Audience().put(HALF, candidate(2)).remove('10.5.2.0-24');
    expect(audience.accepted).toEqual(['10.5.2.0-25']);
  });
});

it('a lease of another length than the configured one is accepted where it overlaps none', () => {
  expect(new Audience().put(HALF, candidate(3)).accepted).toEqual(['10.5.2.0-25', '10.5.3.0-24']);
});

it('a lease that yielded to one that yields itself is accepted', () => {
  const shared = macAddress('02:00:00:00:00:02');
  const middle = candidate(3, { vtepMac: shared });
  const last = candidate(4, { name: 'x10.5.3.0-24', subnet: subnet('10.5.3.0/24') });
  const audience = new Audience().put(middle, last);
  expect(audience.accepted).toEqual(['10.5.3.0-24']);
  audience.put(candidate(2));
  expect(audience.accepted).toEqual(['10.5.2.0-24', 'x10.5.3.0-24']);
});

describe('of two leases with one VtepMAC', () => {
  const vtepMac = macAddress('02:00:00:00:00:02');

  it('the older one is accepted: the other names another place for it', () => {
    const audience = new Audience().put(candidate(3, { vtepMac }), candidate(2));
    expect(audience.accepted).toEqual(['10.5.2.0-24']);
    expect(audience.reasonFor('10.5.3.0-24')).toBe(
      'its VtepMAC 02:00:00:00:00:02 is that of 10.5.2.0-24, at 192.168.0.2',
    );
  });

  it('both are accepted if they name one host', () => {
    const audience = new Audience().put(
      candidate(3, { vtepMac, publicIp: ipAddress('192.168.0.2') }),
      candidate(2),
    );
    expect(audience.accepted).toEqual(['10.5.2.0-24', '10.5.3.0-24']);
    expect(audience.remarkOn('10.5.2.0-24')).toBeUndefined();
  });
});

describe('two leases with one PublicIP', () => {
  it('are both accepted, for they take nothing from each other, and both remarked on until one goes', () => {
    const audience = new Audience().put(candidate(2), candidate(3, { publicIp: ipAddress('192.168.0.2') }));
    expect(audience.accepted).toEqual(['10.5.2.0-24', '10.5.3.0-24']);
    expect(audience.remarkOn('10.5.2.0-24')).toBe(
      'its PublicIP 192.168.0.2 is that of 10.5.3.0-24, too; only one of the two hosts can be reached',
    );
    expect(audience.remarkOn('10.5.3.0-24')).toContain('is that of 10.5.2.0-24, too');
    audience.remove('10.5.3.0-24');
    expect(audience.remarkOn('10.5.2.0-24')).toBeUndefined();
  });
});

describe('whoever comes and goes, in whatever order', () => {
  const arbitrary = fc.record({
    name: fc.constantFrom(...'abcdefghij'),
    isLive: fc.boolean(),
    isFitting: fc.boolean(),
    createRevision: fc.integer({ min: 1, max: 12 }).map(String),
    peer: fc.record({
      subnet: fc
        .constantFrom('10.5.0.0/22', '10.5.1.0/24', '10.5.2.0/24', '10.5.2.0/25', '10.5.2.128/25')
        .map(subnet),
      publicIp: fc.constantFrom('192.168.0.1', '192.168.0.2', '192.168.0.3').map(ipAddress),
      vtepMac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03').map(macAddress),
    }),
  });
  const step = fc.oneof(
    { weight: 3, arbitrary: arbitrary.map((put) => ({ put })) },
    { weight: 1, arbitrary: fc.constantFrom(...'abcdefghij').map((remove) => ({ remove })) },
  );

  /** By the definition: from the highest rank down, each that is in conflict with none accepted before. */
  function acceptedOf(candidates: readonly Candidate[]): string[] {
    const accepted: Candidate[] = [];
    for (const each of [...candidates].sort((a, b) => (outranks(a, b) ? -1 : 1)))
      if (!accepted.some((other) => areInConflict(other.peer, each.peer))) accepted.push(each);
    return accepted.map(({ name }) => name).sort();
  }

  it('who is accepted depends on who there is, and on nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(step, fc.constantFrom(0, 1, 2, Infinity)), { maxLength: 40 }),
        (steps) => {
          const audience = new Audience();
          const present = new Map<string, Candidate>();
          for (const [change, judged] of steps) {
            if ('put' in change) {
              audience.conflicts.put(change.put);
              present.set(change.put.name, change.put);
            } else {
              audience.conflicts.remove(change.remove);
              present.delete(change.remove);
            }
            audience.resolve(judged);
          }
          audience.resolve();
          expect(audience.accepted).toEqual(acceptedOf([...present.values()]));
          expect([...audience.verdicts.keys()].sort()).toEqual([...present.keys()].sort());
          for (const { name, peer } of present.values()) {
            const verdict = audience.verdicts.get(name)!;
            if (verdict.kind === 'accepted') expect(verdict.peer).toEqual(peer);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('the rank of a lease', () => {
  const last = candidate(2, { isLive: false, isFitting: false, createRevision: '101', name: 'b' });

  it.each([
    ['lives, however odd and young it is', { isLive: true, name: 'c' }],
    ['fits, however young it is', { isFitting: true, createRevision: '1000', name: 'c' }],
    ['is older', { createRevision: '99', name: 'c' }],
    ['is older by little', { createRevision: '100', name: 'c' }],
    ['has the smaller name, of two that are equally old', { name: 'a' }],
  ])('is higher if it %s', (_, changes) => {
    const first = candidate(2, { ...last, ...changes });
    expect(outranks(first, last)).toBe(true);
    expect(outranks(last, first)).toBe(false);
  });

  it('is not higher than its own', () => {
    expect(outranks(last, { ...last })).toBe(false);
  });
});

describe('what is told', () => {
  const told = (conflicts: LeaseConflicts) => [...conflicts.resolve().keys()].sort();

  it('is who came, who went, and whose verdict changed by it', () => {
    const { conflicts } = new Audience().put(candidate(2), HALF, candidate(3));
    conflicts.put(candidate(4));
    expect(told(conflicts)).toEqual(['10.5.4.0-24']);
    conflicts.remove('10.5.4.0-24');
    expect(told(conflicts)).toEqual(['10.5.4.0-24']);
    conflicts.remove('10.5.2.0-24');
    expect(told(conflicts)).toEqual(['10.5.2.0-24', '10.5.2.0-25']);
    expect(told(conflicts)).toEqual([]);
  });

  it('is nothing of one that is put again as it was, or removed though it was not there', () => {
    const { conflicts } = new Audience().put(candidate(2));
    conflicts.put(candidate(2));
    conflicts.remove('10.5.3.0-24');
    expect(told(conflicts)).toEqual([]);
  });

  it.each([
    ['its peer', { vtepMac: macAddress('02:00:00:00:00:99') }],
    ['its rank', { isFitting: false }],
  ])('is one that is put again with %s changed', (_, changes) => {
    const { conflicts } = new Audience().put(candidate(2));
    conflicts.put(candidate(2, changes));
    expect(told(conflicts)).toEqual(['10.5.2.0-24']);
  });

  it('is nothing of one that is in conflict with another one now, but yields to the same one', () => {
    const vtepMac = macAddress('02:00:00:00:00:02');
    const last = candidate(9, { subnet: subnet('10.5.3.0/24'), vtepMac, name: 'last', createRevision: '9' });
    const { conflicts, verdicts } = new Audience().put(candidate(2), last);
    expect(verdicts.get('last')).toMatchObject({ reason: expect.stringContaining('VtepMAC') as string });
    conflicts.put(candidate(3));
    expect(told(conflicts)).toEqual(['10.5.3.0-24']);
  });

  it('is those with the same PublicIP as well, up to sixteen of them', () => {
    const publicIp = ipAddress('192.168.0.2');
    const audience = new Audience();
    const names = (count: number) => Array.from({ length: count }, (_, i) => `10.5.${i + 2}.0-24`).sort();
    for (let n = 2; n < 17; n++) audience.put(candidate(n, { publicIp }));
    audience.conflicts.put(candidate(17, { publicIp }));
    expect(told(audience.conflicts)).toEqual(names(16));
    audience.conflicts.put(candidate(18, { publicIp }));
    expect(told(audience.conflicts)).toEqual(['10.5.18.0-24']);
  });
});

describe('judging a part at a time', () => {
  it('tells of those that were judged, the highest rank first, and is settled when none is left', () => {
    const conflicts = new LeaseConflicts();
    for (const n of [4, 3, 2]) conflicts.put(candidate(n));
    expect(conflicts.isResolved).toBe(false);
    expect([...conflicts.resolve(0).keys()]).toEqual([]);
    expect([...conflicts.resolve(1).keys()]).toEqual(['10.5.2.0-24']);
    expect(conflicts.isResolved).toBe(false);
    expect([...conflicts.resolve(2).keys()].sort()).toEqual(['10.5.3.0-24', '10.5.4.0-24']);
    expect(conflicts.isResolved).toBe(true);
  });

  it('tells nothing of one that changed again before its turn, until it had it', () => {
    const conflicts = new LeaseConflicts();
    conflicts.put(candidate(2));
    conflicts.put(candidate(3));
    conflicts.put(candidate(3, { isFitting: false }));
    expect([...conflicts.resolve(1).keys()]).toEqual(['10.5.2.0-24']);
    expect([...conflicts.resolve(1).keys()]).toEqual(['10.5.3.0-24']);
    conflicts.put(candidate(4));
    conflicts.remove('10.5.4.0-24');
    expect(conflicts.isResolved).toBe(true);
    expect([...conflicts.resolve().entries()]).toEqual([['10.5.4.0-24', undefined]]);
  });
});

describe('one that is not here yet', () => {
  const { conflicts } = new Audience().put(candidate(2));

  it('would be accepted if none of higher rank is in conflict with it', () => {
    expect(conflicts.wouldAccept(candidate(3))).toBe(true);
    expect(conflicts.wouldAccept(HALF)).toBe(false);
    expect(conflicts.wouldAccept({ ...HALF, isFitting: true })).toBe(true);
  });

  it('is not here by being asked about', () => {
    conflicts.wouldAccept(candidate(3));
    expect(conflicts.has('10.5.3.0-24')).toBe(false);
    expect(conflicts.has('10.5.2.0-24')).toBe(true);
  });
});

describe('a remark on a shared PublicIP', () => {
  const publicIp = ipAddress('192.168.0.2');

  it('is not made for a lease that is not accepted itself', () => {
    const ignored = candidate(9, { subnet: subnet('10.5.3.0/25'), publicIp, isFitting: false });
    const audience = new Audience().put(candidate(2), candidate(3), ignored);
    expect(audience.reasonFor('10.5.3.0-25')).toBe('its subnet overlaps that of 10.5.3.0-24');
    expect(audience.remarkOn('10.5.2.0-24')).toBeUndefined();
  });
});

describe('ten thousand hostile leases', () => {
  const COUNT = 10_000;
  /** So many looks at a rank for each lease that comes or goes: sorting takes some tens, comparing all with all ten thousand. */
  const MOST_LOOKS = 200 * COUNT;
  let looks = 0;

  /** A candidate that counts how often its rank is looked at. */
  function counted(of: Candidate): Candidate {
    return {
      ...of,
      get isLive() {
        looks++;
        return of.isLive;
      },
    };
  }

  const hex = (n: number) => n.toString(16).padStart(2, '0');
  const macOf = (n: number) => macAddress(`02:00:00:01:${hex(n >> 8)}:${hex(n & 255)}`);
  const addressOf = (n: number) => ipAddress(`172.16.${n >> 8}.${n & 255}`);
  const subnetOfNumber = (n: number) => subnet(`10.${n >> 8}.${n & 255}.0/24`);
  const oneMac = macAddress('02:00:00:00:00:99');

  /** A lease created at revision n. */
  const numbered = (n: number, changes: Parameters<typeof candidate>[1]) =>
    candidate(1, { ...changes, createRevision: String(n) });

  /** Lease n of each kind. */
  const KINDS: Readonly<Record<string, (n: number) => Candidate>> = {
    'of one VtepMAC': (n) =>
      numbered(n, { subnet: subnetOfNumber(n), publicIp: addressOf(n), vtepMac: oneMac }),
    'of one subnet': (n) =>
      numbered(n, {
        name: `x${n}-10.9.0.0-24`,
        subnet: subnet('10.9.0.0/24'),
        publicIp: addressOf(n),
        vtepMac: macOf(n),
      }),
    'of one PublicIP': (n) =>
      numbered(n, { subnet: subnetOfNumber(n), publicIp: ipAddress('172.16.0.1'), vtepMac: macOf(n) }),
    'of subnets within each other': (n) =>
      numbered(n, {
        name: `x${n}`,
        subnet: subnetOf(ipAddress('10.0.0.0'), 8 + (n % 20)),
        publicIp: addressOf(n),
        vtepMac: macOf(n),
      }),
  };
  const numbers = Array.from({ length: COUNT }, (_, n) => n + 1);

  beforeEach(() => (looks = 0));

  test.each(Object.entries(KINDS))('%s cost little when all come, and when all go', (_, kind) => {
    const leases = numbers.map((n) => counted(kind(n)));
    const audience = new Audience().put(...leases);
    expect(looks).toBeLessThan(MOST_LOOKS);
    looks = 0;
    for (const { name } of leases) audience.conflicts.remove(name);
    audience.resolve();
    expect(audience.accepted).toEqual([]);
    expect(looks).toBeLessThan(MOST_LOOKS);
  });

  test.each(Object.entries(KINDS))(
    '%s that go one by one, the accepted one first, cost twice for twice as many',
    (_, kind) => {
      /** How often a rank is looked at while so many go. */
      const looksAt = (count: number) => {
        const leases = numbers.slice(0, count).map((n) => counted(kind(n)));
        const audience = new Audience().put(...leases);
        looks = 0;
        for (const { name } of leases) {
          expect(audience.verdicts.get(name)?.kind).toBe('accepted');
          audience.remove(name);
        }
        return looks;
      };
      expect(looksAt(COUNT)).toBeLessThanOrEqual(2.5 * looksAt(COUNT / 2));
    },
  );

  test('cost little when one of them changes again and again', () => {
    const leases = numbers.map((n) => counted(KINDS['of one VtepMAC']!(n)));
    const audience = new Audience().put(...leases);
    looks = 0;
    for (let turn = 0; turn < COUNT; turn++)
      audience.put(
        counted({ ...KINDS['of one VtepMAC']!(turn % 2 === 0 ? 1 : COUNT), isFitting: turn % 4 < 2 }),
      );
    expect(looks).toBeLessThan(MOST_LOOKS);
    expect(audience.accepted).toHaveLength(1);
  });

  test('are ignored for the one that is accepted now, whatever was told of them', () => {
    const audience = new Audience().put(...numbers.map((n) => KINDS['of one VtepMAC']!(n)));
    for (const n of [1, 2, 3]) audience.remove(KINDS['of one VtepMAC']!(n).name);
    const last = KINDS['of one VtepMAC']!(COUNT).name;
    expect(audience.reasonFor(last)).toContain('is that of 10.0.1.0-24, at 172.16.0.1');
    expect(audience.conflicts.reasonFor(last)).toContain('is that of 10.0.4.0-24, at 172.16.0.4');
    expect(audience.conflicts.reasonFor('10.0.4.0-24')).toBeUndefined();
  });

  test('of one VtepMAC are judged a part at a time, if that is asked, with the same result', () => {
    const conflicts = new LeaseConflicts();
    for (const n of numbers) conflicts.put(KINDS['of one VtepMAC']!(n));
    let parts = 0;
    const accepted = new Set<string>();
    do {
      for (const [name, verdict] of conflicts.resolve(100)) {
        if (verdict?.kind === 'accepted') accepted.add(name);
        else accepted.delete(name);
      }
      parts++;
    } while (!conflicts.isResolved);
    expect(parts).toBe(COUNT / 100);
    expect([...accepted]).toEqual(['10.0.1.0-24']);
  });

  it('leave a lease of the whole network without acceptance, however many there are', () => {
    const audience = new Audience().put(candidate(2, { subnet: subnet('10.0.0.0/8'), isFitting: false }));
    for (const n of numbers) {
      audience.put(
        counted(candidate(3, { subnet: subnetOfNumber(n), publicIp: addressOf(n), vtepMac: macOf(n) })),
      );
    }
    expect(audience.accepted).toHaveLength(COUNT);
    expect(looks).toBeLessThan(MOST_LOOKS);
  });
});

it.each([
  ['beside one of the whole network', true],
  ['alone', false],
])('of thousands of leases %s each is judged without a look at all others', (_, isBesideWhole) => {
  /** How often any lease is looked at, while so many come one by one. */
  const looksAt = (count: number) => {
    let looks = 0;
    const watched = (each: Candidate): Candidate => ({
      ...each,
      get peer() {
        looks++;
        return each.peer;
      },
    });
    const audience = new Audience();
    if (isBesideWhole)
      audience.put(watched(candidate(2, { subnet: subnet('10.0.0.0/8'), isFitting: false })));
    for (let n = 0; n < count; n++) {
      const octets = [n >> 8, n & 255];
      const changes = {
        subnet: { address: ipAddress(`10.${octets.join('.')}.0`), prefixLength: 24 },
        publicIp: ipAddress(`172.16.${octets.join('.')}`),
        vtepMac: macAddress(
          `02:00:00:01:${octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')}`,
        ),
      };
      audience.put(watched(candidate(3, changes)));
    }
    expect(audience.accepted).toHaveLength(count);
    return looks;
  };
  expect(looksAt(4_000)).toBeLessThan(2.1 * looksAt(2_000));
});

import fc from 'fast-check';
import { outranks, type Contender } from '../../src/core/contender';
import { Rivals, areRivals, type Standing } from '../../src/core/rivals';
import { ipAddress, subnet, subnetOf } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from '../support/examples';

/** Peer n's lease, created at revision n. */
function contender(n: number, changes: Partial<Omit<Contender, 'peer'>> & Partial<Contender['peer']> = {}) {
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
  readonly rivals = new Rivals();
  readonly standings = new Map<string, Standing>();

  settle(): this {
    for (const [name, standing] of this.rivals.settle()) {
      if (standing) this.standings.set(name, standing);
      else this.standings.delete(name);
    }
    return this;
  }

  put(...contenders: Contender[]): this {
    for (const each of contenders) this.rivals.put(each);
    return this.settle();
  }

  remove(name: string): this {
    this.rivals.remove(name);
    return this.settle();
  }

  get believed(): string[] {
    return [...this.standings]
      .filter(([, { kind }]) => kind === 'believed')
      .map(([name]) => name)
      .sort();
  }

  reasonFor(name: string): string | undefined {
    const standing = this.standings.get(name);
    return standing?.kind === 'ignored' ? standing.reason : undefined;
  }

  remarkOn(name: string): string | undefined {
    const standing = this.standings.get(name);
    return standing?.kind === 'believed' ? standing.remark : undefined;
  }
}

const HALF = contender(9, { subnet: subnet('10.5.2.0/25'), isFitting: false, createRevision: '1' });

describe('of two leases whose subnets overlap', () => {
  it('the one that fits the configuration is believed, however much older the other is', () => {
    const audience = new Audience().put(HALF, contender(2));
    expect(audience.believed).toEqual(['10.5.2.0-24']);
    expect(audience.reasonFor('10.5.2.0-25')).toBe('its subnet overlaps that of 10.5.2.0-24');
  });

  it('the older one is believed, where both fit', () => {
    const younger = contender(2, { name: 'x10.5.2.0-24', createRevision: '100' });
    expect(new Audience().put(younger, contender(2, { createRevision: '99' })).believed).toEqual([
      '10.5.2.0-24',
    ]);
  });

  it('the one that lives is believed, where the other is only kept for a while', () => {
    const gone = contender(2, { isLive: false });
    expect(new Audience().put(gone, HALF).believed).toEqual(['10.5.2.0-25']);
  });

  it('the other is believed once the first has gone', () => {
    const audience = new Audience().put(HALF, contender(2)).remove('10.5.2.0-24');
    expect(audience.believed).toEqual(['10.5.2.0-25']);
  });
});

it('a lease of another length than the configured one is believed where it overlaps none', () => {
  expect(new Audience().put(HALF, contender(3)).believed).toEqual(['10.5.2.0-25', '10.5.3.0-24']);
});

it('a lease that gave way to one that gives way itself is believed', () => {
  const shared = macAddress('02:00:00:00:00:02');
  const middle = contender(3, { vtepMac: shared });
  const last = contender(4, { name: 'x10.5.3.0-24', subnet: subnet('10.5.3.0/24') });
  const audience = new Audience().put(middle, last);
  expect(audience.believed).toEqual(['10.5.3.0-24']);
  audience.put(contender(2));
  expect(audience.believed).toEqual(['10.5.2.0-24', 'x10.5.3.0-24']);
});

describe('of two leases with one VtepMAC', () => {
  const vtepMac = macAddress('02:00:00:00:00:02');

  it('the older one is believed: the other names another place for it', () => {
    const audience = new Audience().put(contender(3, { vtepMac }), contender(2));
    expect(audience.believed).toEqual(['10.5.2.0-24']);
    expect(audience.reasonFor('10.5.3.0-24')).toBe(
      'its VtepMAC 02:00:00:00:00:02 is that of 10.5.2.0-24, at 192.168.0.2',
    );
  });

  it('both are believed if they name one host', () => {
    const audience = new Audience().put(
      contender(3, { vtepMac, publicIp: ipAddress('192.168.0.2') }),
      contender(2),
    );
    expect(audience.believed).toEqual(['10.5.2.0-24', '10.5.3.0-24']);
    expect(audience.remarkOn('10.5.2.0-24')).toBeUndefined();
  });
});

describe('two leases with one PublicIP', () => {
  it('are both believed, for they take nothing from each other, and both remarked on until one goes', () => {
    const audience = new Audience().put(contender(2), contender(3, { publicIp: ipAddress('192.168.0.2') }));
    expect(audience.believed).toEqual(['10.5.2.0-24', '10.5.3.0-24']);
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

  /** By the definition: from the highest rank down, each that is no rival of one believed before. */
  function believedOf(contenders: readonly Contender[]): string[] {
    const believed: Contender[] = [];
    for (const each of [...contenders].sort((a, b) => (outranks(a, b) ? -1 : 1)))
      if (!believed.some((other) => areRivals(other.peer, each.peer))) believed.push(each);
    return believed.map(({ name }) => name).sort();
  }

  it('who is believed depends on who there is, and on nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 40 }), (steps) => {
        const audience = new Audience();
        const present = new Map<string, Contender>();
        for (const [change, isSettled] of steps) {
          if ('put' in change) {
            audience.rivals.put(change.put);
            present.set(change.put.name, change.put);
          } else {
            audience.rivals.remove(change.remove);
            present.delete(change.remove);
          }
          if (isSettled) audience.settle();
        }
        audience.settle();
        expect(audience.believed).toEqual(believedOf([...present.values()]));
        expect([...audience.standings.keys()].sort()).toEqual([...present.keys()].sort());
        for (const { name, peer } of present.values()) {
          const standing = audience.standings.get(name)!;
          if (standing.kind === 'believed') expect(standing.peer).toEqual(peer);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the rank of a lease', () => {
  const last = contender(2, { isLive: false, isFitting: false, createRevision: '101', name: 'b' });

  it.each([
    ['lives, however odd and young it is', { isLive: true, name: 'c' }],
    ['fits, however young it is', { isFitting: true, createRevision: '1000', name: 'c' }],
    ['is older', { createRevision: '99', name: 'c' }],
    ['is older by little', { createRevision: '100', name: 'c' }],
    ['has the smaller name, of two that are equally old', { name: 'a' }],
  ])('is higher if it %s', (_, changes) => {
    const first = contender(2, { ...last, ...changes });
    expect(outranks(first, last)).toBe(true);
    expect(outranks(last, first)).toBe(false);
  });

  it('is not higher than its own', () => {
    expect(outranks(last, { ...last })).toBe(false);
  });
});

describe('what is told', () => {
  const told = (rivals: Rivals) => [...rivals.settle().keys()].sort();

  it('is who came, who went, and whose standing changed by it', () => {
    const { rivals } = new Audience().put(contender(2), HALF, contender(3));
    rivals.put(contender(4));
    expect(told(rivals)).toEqual(['10.5.4.0-24']);
    rivals.remove('10.5.4.0-24');
    expect(told(rivals)).toEqual(['10.5.4.0-24']);
    rivals.remove('10.5.2.0-24');
    expect(told(rivals)).toEqual(['10.5.2.0-24', '10.5.2.0-25']);
    expect(told(rivals)).toEqual([]);
  });

  it('is nothing of one that is put again as it was, or removed though it was not there', () => {
    const { rivals } = new Audience().put(contender(2));
    rivals.put(contender(2));
    rivals.remove('10.5.3.0-24');
    expect(told(rivals)).toEqual([]);
  });

  it.each([
    ['its peer', { vtepMac: macAddress('02:00:00:00:00:99') }],
    ['its rank', { isFitting: false }],
  ])('is one that is put again with %s changed', (_, changes) => {
    const { rivals } = new Audience().put(contender(2));
    rivals.put(contender(2, changes));
    expect(told(rivals)).toEqual(['10.5.2.0-24']);
  });

  it('is nothing of one that has another rival now, but gives way to the same one', () => {
    const vtepMac = macAddress('02:00:00:00:00:02');
    const last = contender(9, { subnet: subnet('10.5.3.0/24'), vtepMac, name: 'last', createRevision: '9' });
    const { rivals, standings } = new Audience().put(contender(2), last);
    expect(standings.get('last')).toMatchObject({ reason: expect.stringContaining('VtepMAC') as string });
    rivals.put(contender(3));
    expect(told(rivals)).toEqual(['10.5.3.0-24']);
  });

  it('is those with the same PublicIP as well, up to sixteen of them', () => {
    const publicIp = ipAddress('192.168.0.2');
    const audience = new Audience();
    const names = (count: number) => Array.from({ length: count }, (_, i) => `10.5.${i + 2}.0-24`).sort();
    for (let n = 2; n < 17; n++) audience.put(contender(n, { publicIp }));
    audience.rivals.put(contender(17, { publicIp }));
    expect(told(audience.rivals)).toEqual(names(16));
    audience.rivals.put(contender(18, { publicIp }));
    expect(told(audience.rivals)).toEqual(['10.5.18.0-24']);
  });
});

describe('judging a part at a time', () => {
  it('tells of those that were judged, the highest rank first, and is settled when none is left', () => {
    const rivals = new Rivals();
    for (const n of [4, 3, 2]) rivals.put(contender(n));
    expect(rivals.isSettled).toBe(false);
    expect([...rivals.settle(0).keys()]).toEqual([]);
    expect([...rivals.settle(1).keys()]).toEqual(['10.5.2.0-24']);
    expect(rivals.isSettled).toBe(false);
    expect([...rivals.settle(2).keys()].sort()).toEqual(['10.5.3.0-24', '10.5.4.0-24']);
    expect(rivals.isSettled).toBe(true);
  });

  it('tells nothing of one that changed again before its turn, until it had it', () => {
    const rivals = new Rivals();
    rivals.put(contender(2));
    rivals.put(contender(3));
    rivals.put(contender(3, { isFitting: false }));
    expect([...rivals.settle(1).keys()]).toEqual(['10.5.2.0-24']);
    expect([...rivals.settle(1).keys()]).toEqual(['10.5.3.0-24']);
    rivals.put(contender(4));
    rivals.remove('10.5.4.0-24');
    expect(rivals.isSettled).toBe(true);
    expect([...rivals.settle().entries()]).toEqual([['10.5.4.0-24', undefined]]);
  });
});

describe('one that is not here yet', () => {
  const { rivals } = new Audience().put(contender(2));

  it('would be believed if no rival of higher rank is', () => {
    expect(rivals.wouldBelieve(contender(3))).toBe(true);
    expect(rivals.wouldBelieve(HALF)).toBe(false);
    expect(rivals.wouldBelieve({ ...HALF, isFitting: true })).toBe(true);
  });

  it('is not here by being asked about', () => {
    rivals.wouldBelieve(contender(3));
    expect(rivals.has('10.5.3.0-24')).toBe(false);
    expect(rivals.has('10.5.2.0-24')).toBe(true);
  });
});

describe('a remark on a shared PublicIP', () => {
  const publicIp = ipAddress('192.168.0.2');

  it('is not made for a lease that is not believed itself', () => {
    const ignored = contender(9, { subnet: subnet('10.5.3.0/25'), publicIp, isFitting: false });
    const audience = new Audience().put(contender(2), contender(3), ignored);
    expect(audience.reasonFor('10.5.3.0-25')).toBe('its subnet overlaps that of 10.5.3.0-24');
    expect(audience.remarkOn('10.5.2.0-24')).toBeUndefined();
  });
});

describe('ten thousand hostile leases', () => {
  const COUNT = 10_000;
  /** So many looks at a rank for each lease that comes or goes: sorting takes some tens, comparing all with all ten thousand. */
  const MOST_LOOKS = 200 * COUNT;
  let looks = 0;

  /** A contender that counts how often its rank is looked at. */
  function counted(of: Contender): Contender {
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
  const numbered = (n: number, changes: Parameters<typeof contender>[1]) =>
    contender(1, { ...changes, createRevision: String(n) });

  /** Lease n of each kind. */
  const KINDS: Readonly<Record<string, (n: number) => Contender>> = {
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
    for (const { name } of leases) audience.rivals.remove(name);
    audience.settle();
    expect(audience.believed).toEqual([]);
    expect(looks).toBeLessThan(MOST_LOOKS);
  });

  test('of one VtepMAC are judged a part at a time, if that is asked, with the same result', () => {
    const rivals = new Rivals();
    for (const n of numbers) rivals.put(KINDS['of one VtepMAC']!(n));
    let parts = 0;
    const believed = new Set<string>();
    do {
      for (const [name, standing] of rivals.settle(100)) {
        if (standing?.kind === 'believed') believed.add(name);
        else believed.delete(name);
      }
      parts++;
    } while (!rivals.isSettled);
    expect(parts).toBe(COUNT / 100);
    expect([...believed]).toEqual(['10.0.1.0-24']);
  });

  it('leave a lease of the whole network without belief, however many there are', () => {
    const audience = new Audience().put(contender(2, { subnet: subnet('10.0.0.0/8'), isFitting: false }));
    for (const n of numbers) {
      audience.put(
        counted(contender(3, { subnet: subnetOfNumber(n), publicIp: addressOf(n), vtepMac: macOf(n) })),
      );
    }
    expect(audience.believed).toHaveLength(COUNT);
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
    const watched = (each: Contender): Contender => ({
      ...each,
      get peer() {
        looks++;
        return each.peer;
      },
    });
    const audience = new Audience();
    if (isBesideWhole)
      audience.put(watched(contender(2, { subnet: subnet('10.0.0.0/8'), isFitting: false })));
    for (let n = 0; n < count; n++) {
      const octets = [n >> 8, n & 255];
      const changes = {
        subnet: { address: ipAddress(`10.${octets.join('.')}.0`), prefixLength: 24 },
        publicIp: ipAddress(`172.16.${octets.join('.')}`),
        vtepMac: macAddress(
          `02:00:00:01:${octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')}`,
        ),
      };
      audience.put(watched(contender(3, changes)));
    }
    expect(audience.believed).toHaveLength(count);
    return looks;
  };
  expect(looksAt(4_000)).toBeLessThan(2.1 * looksAt(2_000));
});

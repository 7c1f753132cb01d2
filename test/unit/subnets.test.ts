import fc from 'fast-check';
import { freeSubnet, isLeasable, routeMetric } from '../../src/core/subnets';
import { ipAddress, overlap, printSubnet, subnet, type Family, type Subnet } from '../../src/model/address';
import type { SubnetRange } from '../../src/model/network-config';

const range: SubnetRange = {
  network: subnet('10.3.0.0/16'),
  subnetLength: 24,
  subnetMin: ipAddress('10.3.1.0'),
  subnetMax: ipAddress('10.3.255.0'),
};

describe('a free subnet', () => {
  it('is the first, the last or one between, as the random number says', () => {
    expect(printSubnet(freeSubnet(range, [], 0)!)).toBe('10.3.1.0/24');
    expect(printSubnet(freeSubnet(range, [], 0.999999)!)).toBe('10.3.255.0/24');
  });

  it('is none when all are taken', () => {
    const all = Array.from({ length: 255 }, (_, index) => subnet(`10.3.${index + 1}.0/24`));
    expect(freeSubnet(range, all, 0.5)).toBeUndefined();
    expect(printSubnet(freeSubnet(range, all.slice(0, 254), 0.5)!)).toBe('10.3.255.0/24');
  });

  it('is none in an empty range, which flannel accepts', () => {
    expect(
      freeSubnet({ ...range, subnetMin: ipAddress('10.3.9.0'), subnetMax: ipAddress('10.3.5.0') }, [], 0),
    ).toBeUndefined();
  });

  it('is found at once in a network of millions of subnets, IPv6 too', () => {
    const wide: SubnetRange = {
      network: subnet('fd00::/32'),
      subnetLength: 112,
      subnetMin: ipAddress('fd00::1:0'),
      subnetMax: ipAddress('fd00:0:ffff:ffff:ffff:ffff:ffff:0'),
    };
    expect(freeSubnet(wide, [subnet('fd00::1:0/112')], 0)).toEqual(subnet('fd00::2:0/112'));
  });

  it('is none of the other family, whose addresses count for nothing', () => {
    const low: SubnetRange = {
      network: subnet('::/96'),
      subnetLength: 120,
      subnetMin: ipAddress('::1:0'),
      subnetMax: ipAddress('::2:0'),
    };
    expect(printSubnet(freeSubnet(low, [subnet('0.0.0.0/0')], 0)!)).toBe('::1:0/120');
  });

  it.each(['ipv4', 'ipv6'] as const)(
    'is, of those that overlap nothing taken, in order, the one that the random number points to (%s)',
    (family) => {
      fc.assert(
        fc.property(
          anyBounds,
          fc.array(anyTaken, { maxLength: 12 }),
          fc.nat(0xffffffff),
          (bounds, taken, word) => {
            const cut = cutting(family, bounds);
            const busy = taken.map(({ third, length }) => part(family, third, length));
            const free = cut.candidates.filter((one) => !busy.some((other) => overlap(one, other)));
            const found = freeSubnet(cut.range, busy, word / 2 ** 32);
            expect(found).toEqual(free[Math.floor((free.length * word) / 2 ** 32)]);
          },
        ),
      );
    },
  );
});

describe('a host may lease', () => {
  test.each(['ipv4', 'ipv6'] as const)(
    'what its network is cut into between the bounds, no more (%s)',
    (family) => {
      fc.assert(
        fc.property(anyBounds, anyTaken, (bounds, { third, length }) => {
          const { range: cut, candidates } = cutting(family, bounds);
          const one = part(family, third, length);
          const isCandidate = candidates.some((candidate) => printSubnet(candidate) === printSubnet(one));
          expect(isLeasable(cut, one)).toBe(isCandidate);
        }),
      );
    },
  );

  test.each([
    ['the first', '10.3.20.0/24', true],
    ['the last', '10.3.30.0/24', true],
    ['one below the first', '10.3.19.0/24', false],
    ['one above the last', '10.3.31.0/24', false],
    ['half of one', '10.3.25.0/25', false],
    ['two', '10.3.24.0/23', false],
    ['one of another network', '10.4.25.0/24', false],
  ])('%s of 10.3.20.0 to 10.3.30.0: %s', (_, text, expected) => {
    const inner = { ...range, subnetMin: ipAddress('10.3.20.0'), subnetMax: ipAddress('10.3.30.0') };
    expect(isLeasable(inner, subnet(text))).toBe(expected);
  });
});

describe('the metric of a route', () => {
  it("is the subnet's place in the network", () => {
    expect(routeMetric(range.network, subnet('10.3.1.0/24'))).toBe(2);
    expect(routeMetric(subnet('10.0.0.0/8'), subnet('10.255.255.0/24'))).toBe(65536);
  });

  it('differs for any two subnets of a network', () => {
    const metrics = new Set(
      Array.from({ length: 65536 }, (_, i) =>
        routeMetric(subnet('10.0.0.0/8'), subnet(`10.${i >> 8}.${i & 255}.0/24`)),
      ),
    );
    expect(metrics.size).toBe(65536);
  });
});

/** Bounds of a range, as numbers of /24 (IPv4) or /120 (IPv6); the lower may lie above the upper one, which flannel accepts. */
const anyBounds = fc.record({ min: fc.nat(15), max: fc.integer({ min: 10, max: 45 }) });

/** The number of the first one, and the length, of something taken: half of one, or up to 16 of them. */
const anyTaken = fc.record({
  third: fc.nat(50),
  length: fc.constantFrom(20, 22, 23, 24, 24, 24, 24, 25, 28),
});

/** `third` and `length` as in IPv4: 10.3.third.0/length, or the same bits at the end of an IPv6 address. */
function part(family: Family, third: number, length: number): Subnet {
  return family === 'ipv4'
    ? subnet(`10.3.${third}.0/${length}`)
    : subnet(`fd00::${(third << 8).toString(16)}/${length + 96}`);
}

/** A range with these bounds, and what it is cut into, one after the other. */
function cutting(family: Family, { min, max }: { min: number; max: number }) {
  const [first, last] = [part(family, min, 24), part(family, max, 24)];
  const candidates: Subnet[] = [];
  for (let third = min; third <= max; third++) candidates.push(part(family, third, 24));
  const cut: SubnetRange = {
    network: part(family, 0, 16),
    subnetLength: first.prefixLength,
    subnetMin: first.address,
    subnetMax: last.address,
  };
  return { range: cut, candidates };
}

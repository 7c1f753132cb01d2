import fc from 'fast-check';
import { freeSubnet, isLeasable, routeMetric } from '../../src/core/subnets';
import { ipAddress, overlap, printSubnet, subnet, type Subnet } from '../../src/model/address';
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

  it('never overlaps what is taken, of whatever length, and is always leasable', () => {
    const taken = fc.array(fc.record({ third: fc.nat(255), length: fc.constantFrom(18, 20, 23, 24, 28) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(taken, fc.double({ min: 0, max: 0.999999999, noNaN: true }), (list, random) => {
        const others: Subnet[] = list.map(({ third, length }) => subnet(`10.3.${third}.0/${length}`));
        const free = freeSubnet(range, others, random);
        const exists = Array.from({ length: 255 }, (_, index) => subnet(`10.3.${index + 1}.0/24`)).some(
          (candidate) => !others.some((other) => overlap(candidate, other)),
        );
        expect(free !== undefined).toBe(exists);
        if (!free) return;
        expect(isLeasable(range, free)).toBe(true);
        expect(others.filter((other) => overlap(other, free))).toEqual([]);
      }),
    );
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

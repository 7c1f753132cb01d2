import fc from 'fast-check';
import {
  addressToBytes,
  addressToInteger,
  bitsOf,
  bytesToAddress,
  compareAddresses,
  contains,
  integerToAddress,
  ipAddress,
  offsetAddress,
  overlap,
  parseIpAddress,
  parseSubnet,
  printSubnet,
  sameSubnet,
  sizeOf,
  subnet,
  subnetOf,
  type Family,
  type Subnet,
} from '../../src/model/address';

const families = ['ipv4', 'ipv6'] as const;

/** Any value of an address of this family, the smallest and the largest more often than by chance. */
function anyValue(family: Family): fc.Arbitrary<bigint> {
  const max = 2n ** BigInt(bitsOf(family)) - 1n;
  return fc.oneof(fc.bigInt({ min: 0n, max }), fc.constantFrom(0n, 1n, max - 1n, max));
}

/** Subnets that have much in common: of two, one often holds the other. */
function anySubnet(family: Family): fc.Arbitrary<Subnet> {
  const bits = bitsOf(family);
  const end = fc.oneof(anyValue(family), fc.bigInt({ min: 0n, max: 7n }));
  return fc
    .tuple(end, fc.integer({ min: 0, max: bits }), fc.integer({ min: bits - 4, max: bits }), fc.boolean())
    .map(([value, any, long, isLong]) => subnetOf(integerToAddress(family, value), isLong ? long : any));
}

/** First and last address of a subnet, as integers: what all else is compared with. */
function boundsOf({ address, prefixLength }: Subnet): [bigint, bigint] {
  const first = BigInt(addressToInteger(address));
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  return [first, first + 2n ** BigInt(bitsOf(family) - prefixLength) - 1n];
}

describe('an IP address', () => {
  test.each(['0.0.0.0', '10.5.0.1', '255.255.255.255', '192.168.100.249', '::', 'fd00::1'])(
    '%s is one',
    (text) => {
      expect(parseIpAddress(text)).toBe(text);
      expect(ipAddress(text)).toBe(text);
    },
  );

  test.each([
    '256.0.0.1',
    '0.256.0.1',
    '0.0.256.1',
    '0.0.0.256',
    '999.0.0.1',
    '01.2.3.4',
    '1.2.3',
    '1.2.3.4.5',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.x',
    '1.2.3.4/32',
    'fd00::1/64',
    'fe80::1%eth0',
    'fd00:::1',
    '1:2:3',
    'fd00::g',
    '',
    'x',
  ])('%j is none', (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
    expect(() => ipAddress(text)).toThrow(new RangeError(`not an IP address: '${text}'`));
  });

  test.each(families)('is the same after it was an integer, or bytes (%s)', (family) => {
    fc.assert(
      fc.property(anyValue(family), (value) => {
        const address = integerToAddress(family, value);
        expect(parseIpAddress(address)).toBe(address);
        expect(addressToInteger(address)).toBe(value);
        const bytes = addressToBytes(address);
        expect(bytes.length * 8).toBe(bitsOf(family));
        expect(bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)).toBe(value);
        expect(bytesToAddress(bytes)).toBe(address);
      }),
    );
  });

  test.each([
    ['ipv4', -1n],
    ['ipv4', 2n ** 32n],
    ['ipv6', -1n],
    ['ipv6', 2n ** 128n],
  ] as const)('of %s is not made of %s', (family, value) => {
    expect(() => integerToAddress(family, value)).toThrow(
      new RangeError(`not an ${family} address: ${value}`),
    );
  });

  test.each([0, 3, 5, 15, 17])('is not made of %s bytes', (length) => {
    const message = `not an IP address: ${length} bytes`;
    expect(() => bytesToAddress(new Uint8Array(length))).toThrow(new RangeError(message));
  });

  test.each(families)('comes before another as its integer does (%s)', (family) => {
    fc.assert(
      fc.property(anyValue(family), anyValue(family), (a, b) => {
        const order = compareAddresses(integerToAddress(family, a), integerToAddress(family, b));
        expect(Math.sign(order)).toBe(a < b ? -1 : a > b ? 1 : 0);
        expect(compareAddresses(integerToAddress(family, a), integerToAddress(family, a))).toBe(0);
      }),
    );
  });

  test('so many places after another is found across a boundary', () => {
    expect(offsetAddress(ipAddress('10.5.255.255'), 1n)).toBe('10.6.0.0');
    expect(offsetAddress(ipAddress('fd00::ffff'), 1n)).toBe('fd00::1:0');
    expect(() => offsetAddress(ipAddress('255.255.255.255'), 1n)).toThrow(RangeError);
  });
});

describe('a subnet', () => {
  test.each([
    ['10.5.7.9/16', '10.5.0.0/16'],
    ['10.5.7.9/32', '10.5.7.9/32'],
    ['255.255.255.255/0', '0.0.0.0/0'],
    ['200.1.2.3/1', '128.0.0.0/1'],
    ['fd00::1:2:3/64', 'fd00::/64'],
    ['fd00::1/128', 'fd00::1/128'],
    ['ffff::/0', '::/0'],
  ])('%s is %s', (text, canonical) => {
    expect(printSubnet(parseSubnet(text)!)).toBe(canonical);
    expect(printSubnet(subnet(text))).toBe(canonical);
  });

  test.each([
    '10.5.0.0',
    '10.5.0.0/33',
    '10.5.0.0/',
    '10.5.0.0/-1',
    '10.5.0.0/1x',
    '10.5.0.0/0016',
    'x/10.5.0.0/16',
    '10.5.0.0/16/16',
    '10.5.0/16',
    'fd00::/129',
    '/16',
    '',
  ])('%j is none', (text) => {
    expect(parseSubnet(text)).toBeUndefined();
    expect(() => subnet(text)).toThrow(new RangeError(`not a subnet: '${text}'`));
  });

  test.each(families)(
    'of any length holds the address it was made of, and as many as its length says (%s)',
    (family) => {
      fc.assert(
        fc.property(anyValue(family), fc.integer({ min: 0, max: bitsOf(family) }), (value, length) => {
          const made = subnetOf(integerToAddress(family, value), length);
          const [first, last] = boundsOf(made);
          expect(made.prefixLength).toBe(length);
          expect(first <= value && value <= last).toBe(true);
          expect(first % sizeOf(family, length)).toBe(0n);
          expect(last - first + 1n).toBe(sizeOf(family, length));
        }),
      );
    },
  );

  test.each(families)(
    'holds what lies between its bounds, and overlaps what it holds or is held by (%s)',
    (family) => {
      fc.assert(
        fc.property(anySubnet(family), anySubnet(family), (a, b) => {
          const [[firstA, lastA], [firstB, lastB]] = [boundsOf(a), boundsOf(b)];
          expect(contains(a, b)).toBe(firstA <= firstB && lastB <= lastA);
          expect(contains(a, b.address)).toBe(firstA <= firstB && firstB <= lastA);
          expect(overlap(a, b)).toBe(firstA <= lastB && firstB <= lastA);
        }),
        { numRuns: 500 },
      );
    },
  );

  test('holds nothing of the other family', () => {
    expect(contains(subnet('0.0.0.0/0'), ipAddress('::'))).toBe(false);
    expect(contains(subnet('::/0'), ipAddress('0.0.0.0'))).toBe(false);
    expect(contains(subnet('::/0'), subnet('10.0.0.0/8'))).toBe(false);
    expect(overlap(subnet('::/0'), subnet('0.0.0.0/0'))).toBe(false);
  });

  test('is another one if its address or its length differs, or if there is none', () => {
    const one = subnet('10.5.0.0/24');
    expect(sameSubnet(one, subnet('10.5.0.0/24'))).toBe(true);
    expect(sameSubnet(one, subnet('10.5.0.0/25'))).toBe(false);
    expect(sameSubnet(one, subnet('10.5.1.0/24'))).toBe(false);
    expect(sameSubnet(one, undefined)).toBe(false);
    expect(sameSubnet(undefined, one)).toBe(false);
    expect(sameSubnet(undefined, undefined)).toBe(true);
  });
});

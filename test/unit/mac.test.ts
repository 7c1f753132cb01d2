import fc from 'fast-check';
import {
  bytesToMac,
  isUnicast,
  localMacOf,
  macAddress,
  macToBytes,
  parseMacAddress,
  parseSpelledMacAddress,
} from '../../src/model/mac';

const octets = fc.uint8Array({ minLength: 6, maxLength: 6 });

describe('a MAC address', () => {
  test('is written in lower case', () => {
    expect(parseMacAddress('C6:D2:32:6F:8F:44')).toBe('c6:d2:32:6f:8f:44');
    expect(macAddress('C6:D2:32:6F:8F:44')).toBe('c6:d2:32:6f:8f:44');
  });

  test.each([
    'c6:d2:32:6f:8f',
    'c6:d2:32:6f:8f:44:55',
    '00:c6:d2:32:6f:8f:44',
    'xc6:d2:32:6f:8f:44',
    'c6:d2:32:6f:8f:44x',
    'c6-d2-32-6f-8f-44',
    'c6:d2:32:6f:8f:4g',
    '',
  ])('is not %j', (text) => {
    expect(parseMacAddress(text)).toBeUndefined();
    expect(() => macAddress(text)).toThrow(new RangeError(`not a MAC address: '${text}'`));
  });

  test('is the same after it was bytes', () => {
    fc.assert(
      fc.property(octets, (bytes) => {
        const mac = bytesToMac(bytes);
        expect(parseMacAddress(mac)).toBe(mac);
        expect(macToBytes(mac)).toEqual(bytes);
      }),
    );
  });

  test.each([0, 5, 7, 8])('is not made of %s bytes', (length) => {
    const message = `not a MAC address: ${length} bytes`;
    expect(() => bytesToMac(new Uint8Array(length))).toThrow(new RangeError(message));
  });

  test('of our own is local and that of one station, and else as random as it was', () => {
    fc.assert(
      fc.property(octets, (random) => {
        const mac = localMacOf(random);
        expect(isUnicast(mac)).toBe(true);
        const [first, ...others] = macToBytes(mac);
        expect(first! & 0b11).toBe(0b10);
        expect([first! | 0b11, ...others]).toEqual([random[0]! | 0b11, ...random.slice(1)]);
      }),
    );
  });

  test.each([
    ['02:00:00:00:00:01', true],
    ['fe:ff:ff:ff:ff:ff', true],
    ['00:00:00:00:00:01', true],
    ['01:00:5e:00:00:01', false],
    ['03:00:00:00:00:00', false],
    ['ff:ff:ff:ff:ff:ff', false],
    ['00:00:00:00:00:00', false],
  ])('%s is that of one station: %s', (mac, expected) => {
    expect(isUnicast(macAddress(mac))).toBe(expected);
  });
});

test.each([
  ['c6:d2:32:6f:8f:44', 'c6:d2:32:6f:8f:44'],
  ['C6-D2-32-6F-8F-44', 'c6:d2:32:6f:8f:44'],
  ['c6d2.326F.8f44', 'c6:d2:32:6f:8f:44'],
  ['c6-d2:32-6f-8f-44', undefined],
  ['c6d2326f8f44', undefined],
  ['c6d2.326f.8f4', undefined],
  ['c6-d2-32-6f-8f-44-00-11', undefined],
  ['c6-d2-32-6f-8f-4', undefined],
  ['', undefined],
])('what people write as a MAC address is read as Go reads it: %j', (text, mac) => {
  expect(parseSpelledMacAddress(text)).toBe(mac);
});

import fc from 'fast-check';
import { integerToAddress, ipAddress, printSubnet, subnet, subnetOf } from '../../src/model/address';
import { sameAttributes, type LeaseAttributes } from '../../src/model/lease';
import {
  parseLease,
  parseLeaseAttributes,
  parseLeaseName,
  printLeaseAttributes,
  printLeaseName,
  vtepMacOf,
  vxlanData,
  vxlanDataOf,
} from '../../src/model/lease-codec';
import { bytesToMac, macAddress } from '../../src/model/mac';
import { exampleLease } from '../support/examples';

const mac = macAddress('c6:d2:32:6f:8f:44');

function attributes(fields: Partial<LeaseAttributes>): LeaseAttributes {
  return {
    publicIp: undefined,
    publicIpv6: undefined,
    backendType: '',
    backendData: undefined,
    backendV6Data: undefined,
    ...fields,
  };
}

describe('a lease name', () => {
  test.each([
    ['10.12.13.0-24', '10.12.13.0/24', undefined],
    ['/any/prefix/10.12.13.0-24', '10.12.13.0/24', undefined],
    ['prefix10.0.0.0-24', '10.0.0.0/24', undefined],
    ['10.0.0.0-31', '10.0.0.0/31', undefined],
    ['10.0.0.5-24', '10.0.0.0/24', undefined],
    ['10.12.13.0-24&fd00:12:13::-56', '10.12.13.0/24', 'fd00:12:13::/56'],
    ['0.0.0.0-0&fc00::-64', '0.0.0.0/0', 'fc00::/64'],
  ])('%s is read as flannel reads it', (name, ipv4, ipv6) => {
    const subnets = parseLeaseName(name);
    expect(subnets && printSubnet(subnets.subnet)).toBe(ipv4);
    expect(subnets?.ipv6Subnet && printSubnet(subnets.ipv6Subnet)).toBe(ipv6);
  });

  test.each([
    '10.0.0.0-32',
    '10.12.13.0-24&fd00::-128',
    '10.12.13.0-24&FD00::-64',
    '010.0.0.0-24',
    '10',
    '10.12.13.0',
    '10.12.13-24',
    '10.12.13.300-24',
    '10.12.13.0-24hi',
    '&2001::-56',
    '10.12.13.0-24&:12:13:-56',
    '10.12.13.0-24&20011::-56',
    '10.12.13.0-24&2001-56',
    '10.12.13.0-24&10-56',
    '10.12.13.0-24&2001::',
    '10.12.13.0-24&2001::-56hi',
    '10.12.13.0-24\n',
    '10.0.0.0-99999999999999999999',
    '',
  ])('%j names no subnet', (name) => {
    expect(parseLeaseName(name)).toBeUndefined();
  });

  test('is spelled as Go spells it', () => {
    expect(printLeaseName({ subnet: subnet('10.5.52.0/24'), ipv6Subnet: undefined })).toBe('10.5.52.0-24');
    expect(
      printLeaseName({ subnet: subnet('10.12.13.0/24'), ipv6Subnet: subnet('FD00:0012:13:0::/56') }),
    ).toBe('10.12.13.0-24&fd00:12:13::-56');
  });

  test('comes back from what was printed, for any subnets', () => {
    const ipv4 = fc
      .tuple(fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), fc.integer({ min: 0, max: 31 }))
      .map(([value, length]) => subnetOf(integerToAddress('ipv4', value), length));
    // Few bits set: long and competing runs of zeros are what the spelling of IPv6 is difficult about.
    const group = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 0xffffn }));
    const ipv6 = fc
      .tuple(fc.array(group, { minLength: 8, maxLength: 8 }), fc.integer({ min: 0, max: 127 }))
      .map(([groups, length]) =>
        subnetOf(
          integerToAddress(
            'ipv6',
            groups.reduce((sum, each) => (sum << 16n) | each, 0n),
          ),
          length,
        ),
      );
    fc.assert(
      fc.property(ipv4, fc.option(ipv6, { nil: undefined }), (ipv4Subnet, ipv6Subnet) => {
        const subnets = { subnet: ipv4Subnet, ipv6Subnet };
        expect(parseLeaseName(printLeaseName(subnets))).toEqual(subnets);
      }),
    );
  });
});

describe('the spelling of IPv6 addresses', () => {
  /** RFC 5952 as Go's net.IP.String() follows it, written down once more, naively. */
  function goSpelling(groups: readonly number[]): string {
    let best = { start: -1, length: 1 };
    for (let start = 0; start < 8; start++) {
      let length = 0;
      while (start + length < 8 && groups[start + length] === 0) length++;
      if (length > best.length) best = { start, length };
    }
    const hex = groups.map((value) => value.toString(16));
    if (best.start < 0) return hex.join(':');
    return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
  }

  test.each([
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['fc00:0:0:1:0:0:0:0', 'fc00:0:0:1::'],
    ['1:2:3:4:5:6:0:0', '1:2:3:4:5:6::'],
    ['1:2:3:4:5:6:7:0', '1:2:3:4:5:6:7:0'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['FD00::A', 'fd00::a'],
  ])('%s is %s, as in Go', (text, spelling) => {
    expect(ipAddress(text)).toBe(spelling);
  });

  test('is that of Go for every address', () => {
    const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
      minLength: 8,
      maxLength: 8,
    });
    fc.assert(
      fc.property(groups, (each) => {
        const value = each.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
        expect(integerToAddress('ipv6', value)).toBe(goSpelling(each));
      }),
    );
  });
});

describe('a lease value', () => {
  test.each([
    [
      attributes({
        publicIp: ipAddress('1.2.3.4'),
        backendType: 'vxlan',
        backendData: vxlanData(1, mac),
      }),
      '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
    ],
    [
      attributes({ publicIp: ipAddress('1.2.3.4'), backendType: 'host-gw' }),
      '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw"}',
    ],
    [
      attributes({
        publicIp: ipAddress('192.0.2.1'),
        publicIpv6: ipAddress('2001:db8::1'),
        backendType: 'vxlan',
        backendData: vxlanData(1, mac),
        backendV6Data: vxlanData(1, mac),
      }),
      '{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
    ],
    [attributes({ publicIp: ipAddress('1.2.3.4') }), '{"PublicIP":"1.2.3.4","PublicIPv6":null}'],
    [attributes({}), '{"PublicIP":"0.0.0.0","PublicIPv6":null}'],
    [
      attributes({ backendType: 'extension', backendData: '<a&b>' }),
      '{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"extension","BackendData":"\\u003ca\\u0026b\\u003e"}',
    ],
  ])('is written byte for byte as flannel writes it, and read back', (value, text) => {
    expect(printLeaseAttributes(value)).toBe(text);
    expect(parseLeaseAttributes(text)).toEqual({ value });
  });

  test('may lack what older flannels did not write', () => {
    expect(parseLeaseAttributes('{"PublicIP":"1.2.3.4"}')).toEqual({
      value: attributes({ publicIp: ipAddress('1.2.3.4') }),
    });
    expect(parseLeaseAttributes('{}')).toEqual({ value: attributes({}) });
  });

  test('may spell its keys in any case and hold keys we do not know; of several spellings the last wins', () => {
    const text =
      '{"node":"a","publicIP":"1.2.3.4","PUBLICIP":"1.2.3.5","backendtype":"vxlan","BACKENDDATA":{"vtepmac":"C6:D2:32:6F:8F:44"}}';
    const parsed = parseLeaseAttributes(text);
    expect(parsed).toMatchObject({ value: { publicIp: '1.2.3.5', backendType: 'vxlan' } });
    expect('value' in parsed && vxlanDataOf(parsed.value.backendData)).toEqual({
      vni: undefined,
      vtepMac: mac,
    });
  });

  test('has no public address where it says 0.0.0.0', () => {
    expect(parseLeaseAttributes('{"PublicIP":"0.0.0.0","PublicIPv6":null}')).toEqual({
      value: attributes({}),
    });
  });

  test('may wrap an IPv4 address in IPv6, as Go allows', () => {
    expect(parseLeaseAttributes('{"PublicIP":"::ffff:192.0.2.1"}')).toMatchObject({
      value: { publicIp: '192.0.2.1' },
    });
  });

  test('has no public IPv6 address where it says null or ::', () => {
    for (const nothing of [null, '::'])
      expect(parseLeaseAttributes(JSON.stringify({ PublicIPv6: nothing }))).toEqual({
        value: attributes({}),
      });
  });

  test.each([
    ['', 'value is not JSON'],
    ['{"PublicIP":"1.2.3.4 "}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIP":"x::ffff:192.0.2.1"}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIP":["1.2.3.4"]}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIPv6":["fd00::1"]}', 'PublicIPv6 is not an IPv6 address'],
    ['{"PublicIP":', 'value is not JSON'],
    ['null', 'value is not a JSON object'],
    ['[]', 'value is not a JSON object'],
    ['"1.2.3.4"', 'value is not a JSON object'],
    ['{"PublicIP":7}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIP":null}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIP":""}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIP":"fd00::1"}', 'PublicIP is not an IPv4 address'],
    ['{"PublicIPv6":"1.2.3.4"}', 'PublicIPv6 is not an IPv6 address'],
    ['{"PublicIPv6":{}}', 'PublicIPv6 is not an IPv6 address'],
    ['{"BackendType":1}', 'BackendType is not a string'],
  ])('%j is malformed: %s', (text, reason) => {
    expect(parseLeaseAttributes(text)).toEqual({ reason });
  });

  const nested = (depth: number) => `{"BackendData":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;

  test.each([
    ['of 1.5 MB', `{"PublicIP":"${'1'.repeat(1_500_000)}"}`, 'value is longer than 16384 characters'],
    ['nested 200 000 deep', nested(200_000), 'value is longer than 16384 characters'],
    ['nested 17 deep', nested(17), 'value is nested more than 16 deep'],
    [
      'with an address of 16 000 characters',
      `{"PublicIPv6":"${'1:'.repeat(8_000)}"}`,
      'PublicIPv6 is not an IPv6 address',
    ],
  ])('a value %s is malformed', (_, text, reason) => {
    expect(parseLeaseAttributes(text)).toEqual({ reason });
  });

  test('a value nested 16 deep, or 16 384 characters long, is read', () => {
    expect(parseLeaseAttributes(nested(16))).toHaveProperty('value');
    expect(parseLeaseAttributes(`{"x":"${'x'.repeat(16_384 - 8)}"}`)).toHaveProperty('value');
  });

  test('comes back from what was printed, for any attributes', () => {
    const ipv4 = fc.bigInt({ min: 1n, max: 2n ** 32n - 1n }).map((value) => integerToAddress('ipv4', value));
    const ipv6 = fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }).map((value) => integerToAddress('ipv6', value));
    const data = fc.option(fc.jsonValue(), { nil: undefined }).map((json) => withoutNegativeZero(json));
    fc.assert(
      fc.property(
        fc.record({
          publicIp: fc.option(ipv4, { nil: undefined }),
          publicIpv6: fc.option(ipv6, { nil: undefined }),
          backendType: fc.string(),
          backendData: data,
          backendV6Data: data,
        }),
        (value) => {
          expect(parseLeaseAttributes(printLeaseAttributes(value))).toEqual({ value });
        },
      ),
    );
  });

  test('is never fatal, whatever it is', () => {
    fc.assert(
      fc.property(fc.string(), fc.oneof(fc.string(), fc.json()), (name, value) => {
        const parsed = parseLease({
          name,
          value,
          etcdLeaseId: undefined,
          modRevision: '1',
          createRevision: '1',
        });
        expect(['lease', 'malformed']).toContain(parsed.kind);
      }),
    );
  });

  function withoutNegativeZero(json: unknown): unknown {
    return json === undefined ? undefined : (JSON.parse(JSON.stringify(json)) as unknown);
  }
});

describe('vxlan data', () => {
  test('is written with VNI and VtepMAC', () => {
    expect(JSON.stringify(vxlanData(42, mac))).toBe('{"VNI":42,"VtepMAC":"c6:d2:32:6f:8f:44"}');
  });

  test.each([
    [{ VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:44' }, 1],
    [{ VtepMAC: 'c6:d2:32:6f:8f:44' }, undefined],
    [{ vni: 7, VTEPMAC: 'C6:D2:32:6F:8F:44', more: [] }, 7],
    [{ VNI: '1', VtepMAC: 'c6:d2:32:6f:8f:44' }, undefined],
  ])('%j names a VTEP', (data, vni) => {
    expect(vxlanDataOf(data)).toEqual({ vni, vtepMac: mac });
  });

  test.each([
    [undefined],
    [null],
    ['text'],
    [[]],
    [{}],
    [{ VtepMAC: 'c6:d2:32' }],
    [{ VtepMAC: 7 }],
    [{ VtepMAC: ['c6:d2:32:6f:8f:44'] }],
  ])('%j names no VTEP', (data) => {
    expect(vxlanDataOf(data)).toBeUndefined();
  });

  test('comes back from what was printed', () => {
    const bytes = fc.uint8Array({ minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffff }), bytes, (vni, octets) => {
        const vtepMac = bytesToMac(octets);
        expect(vxlanDataOf(JSON.parse(JSON.stringify(vxlanData(vni, vtepMac))))).toEqual({ vni, vtepMac });
      }),
    );
  });
});

describe('the VTEP MAC of a lease', () => {
  test('is what its backend data names, if it names one', () => {
    const lease = exampleLease(2);
    expect(vtepMacOf(lease)).toBe('02:00:00:00:00:02');
    expect(vtepMacOf({ ...lease, attributes: attributes({}) })).toBeUndefined();
  });
});

describe('two leases say the same of their host', () => {
  const one = attributes({
    publicIp: ipAddress('192.0.2.1'),
    publicIpv6: ipAddress('2001:db8::1'),
    backendType: 'vxlan',
    backendData: { VNI: 1, VtepMAC: mac, list: [{ a: 1, b: null }, 'x', 7] },
    backendV6Data: { VNI: 1 },
  });

  test.each([
    ['every field is the same', {}],
    [
      'the order of fields differs',
      { backendData: { list: [{ b: null, a: 1 }, 'x', 7], VtepMAC: mac, VNI: 1 } },
    ],
    ['one is null and one is missing', { backendData: undefined }, { backendData: null }],
    ['both are lists', { backendData: [1, 2] }, { backendData: [1, 2] }],
    ['one was read from JSON', { backendData: JSON.parse(JSON.stringify(one.backendData)) as unknown }],
  ])('if %s', (_, changes, others: object = {}) => {
    expect(sameAttributes({ ...one, ...others }, { ...one, ...changes })).toBe(true);
    expect(sameAttributes({ ...one, ...changes }, { ...one, ...others })).toBe(true);
  });

  test.each([
    ['PublicIP', { publicIp: ipAddress('192.0.2.2') }],
    ['PublicIPv6', { publicIpv6: undefined }],
    ['backend', { backendType: 'host-gw' }],
    ['backend data', { backendData: { VNI: 2, VtepMAC: mac, list: [{ a: 1, b: null }, 'x', 7] } }],
    [
      'list of the backend data',
      { backendData: { VNI: 1, VtepMAC: mac, list: ['x', { a: 1, b: null }, 7] } },
    ],
    [
      'list of the backend data, which is longer',
      { backendData: { VNI: 1, VtepMAC: mac, list: [{ a: 1, b: null }, 'x', 7, 1] } },
    ],
    [
      'field of the backend data',
      { backendData: { vni: 1, VtepMAC: mac, list: [{ a: 1, b: null }, 'x', 7] } },
    ],
    ['backend data, which is none', { backendData: null }],
    ['backend data, which is text', { backendData: '{"VNI":1}' }],
    ['backend data for IPv6', { backendV6Data: { VNI: 2 } }],
  ])('but not if they differ in the %s', (_, changes) => {
    expect(sameAttributes(one, { ...one, ...changes })).toBe(false);
    expect(sameAttributes({ ...one, ...changes }, one)).toBe(false);
  });

  test('and neither lists nor objects are mixed up with each other, nor values with texts', () => {
    const values = [
      [1, 2],
      [12],
      { a: 1, b: 2 },
      { a: { b: 2 } },
      { ab: 12 },
      ['a', 1],
      [],
      {},
      '',
      '[]',
      '1',
      1,
      null,
      true,
    ];
    for (const [i, left] of values.entries())
      for (const [j, right] of values.entries())
        expect(sameAttributes({ ...one, backendData: left }, { ...one, backendData: right })).toBe(i === j);
  });
});

describe('a stored lease', () => {
  const stored = {
    name: '10.5.1.0-24',
    value: '{}',
    etcdLeaseId: '77',
    modRevision: '5',
    createRevision: '4',
  };

  test('keeps the name it is stored under', () => {
    const parsed = parseLease({ ...stored, name: 'x10.5.1.9-24' });
    expect(parsed).toEqual({
      kind: 'lease',
      lease: {
        ...stored,
        name: 'x10.5.1.9-24',
        value: undefined,
        subnet: subnet('10.5.1.0/24'),
        ipv6Subnet: undefined,
        attributes: attributes({}),
      },
    });
  });

  test('whose name is longer than 255 characters is none, whatever it ends with', () => {
    const ending = '10.5.1.0-24';
    const name = (length: number) => 'x'.repeat(length - ending.length) + ending;
    expect(parseLease({ ...stored, name: name(255) }).kind).toBe('lease');
    expect(parseLease({ ...stored, name: name(256) })).toMatchObject({
      malformed: { reason: 'key names no subnet' },
    });
    expect(parseLease({ ...stored, name: '1'.repeat(1_500_000) }).kind).toBe('malformed');
  });

  test('that is malformed says why, and can still be found', () => {
    expect(parseLease({ ...stored, name: 'hello' })).toEqual({
      kind: 'malformed',
      malformed: { name: 'hello', reason: 'key names no subnet', etcdLeaseId: '77', modRevision: '5' },
    });
    expect(parseLease({ ...stored, value: 'x' })).toMatchObject({
      kind: 'malformed',
      malformed: { reason: 'value is not JSON' },
    });
  });
});

import fc from 'fast-check';
import { integerToAddress, printSubnet, subnetOf, type Family } from '../../src/model/address';
import { ConfigError } from '../../src/model/errors';
import type { SubnetRange } from '../../src/model/network-config';
import { parseNetworkConfig, printNetworkConfig, subnetCount } from '../../src/model/network-config-codec';

const parse = (json: unknown) => parseNetworkConfig(JSON.stringify(json));

function printRange(range: SubnetRange | undefined): string {
  if (!range) return 'none';
  return `${range.subnetLength}, ${range.subnetMin}, ${range.subnetMax}`;
}

describe('the IPv4 range is what flannel makes of', () => {
  test.each([
    [{ Network: '10.3.0.0/16' }, '24, 10.3.1.0, 10.3.255.0'],
    [{ Network: '10.0.0.0/8' }, '24, 10.0.1.0, 10.255.255.0'],
    [{ Network: '10.0.0.0/22' }, '24, 10.0.1.0, 10.0.3.0'],
    [{ Network: '10.0.0.0/23' }, '25, 10.0.0.128, 10.0.1.128'],
    [{ Network: '10.0.0.0/24' }, '26, 10.0.0.64, 10.0.0.192'],
    [{ Network: '10.0.0.0/28' }, '30, 10.0.0.4, 10.0.0.12'],
    [
      { Network: '10.0.0.0/8', SubnetLen: 20, SubnetMin: '10.10.0.0', SubnetMax: '10.99.0.0' },
      '20, 10.10.0.0, 10.99.0.0',
    ],
    [{ Network: '10.3.0.0/16', SubnetLen: 18 }, '18, 10.3.64.0, 10.3.192.0'],
    [{ Network: '10.3.0.0/16', SubnetLen: 30 }, '30, 10.3.0.4, 10.3.255.252'],
    [{ Network: '10.3.0.0/16', SubnetMin: '10.3.0.0' }, '24, 10.3.0.0, 10.3.255.0'],
    [{ Network: '10.3.0.0/16', SubnetMin: '10.3.9.0', SubnetMax: '10.3.5.0' }, '24, 10.3.9.0, 10.3.5.0'],
    [{ Network: '10.3.7.9/16' }, '24, 10.3.1.0, 10.3.255.0'],
    [{ Network: '10.3.0.0/16', SubnetLen: 0, SubnetMin: '0.0.0.0' }, '24, 10.3.1.0, 10.3.255.0'],
    [{ Network: '128.0.0.0/1' }, '24, 128.0.1.0, 255.255.255.0'],
    [{ network: '10.3.0.0/16', SUBNETLEN: 26 }, '26, 10.3.0.64, 10.3.255.192'],
    [{ Network: '10.3.0.0/16', SubnetLen: null, Comment: { any: ['thing'] } }, '24, 10.3.1.0, 10.3.255.0'],
  ])('%j', (json, range) => {
    expect(printRange(parse(json).ipv4)).toBe(range);
  });
});

describe('the IPv6 range is what flannel makes of', () => {
  test.each([
    [{ IPv6Network: 'fc00::/48' }, '64, fc00:0:0:1::, fc00:0:0:ffff::'],
    [{ IPv6Network: 'fc00::/62' }, '64, fc00:0:0:1::, fc00:0:0:3::'],
    [{ IPv6Network: 'fc00::/63' }, '65, fc00::8000:0:0:0, fc00:0:0:1:8000::'],
    [{ IPv6Network: 'fc00::/64' }, '66, fc00::4000:0:0:0, fc00::c000:0:0:0'],
    [{ IPv6Network: 'fc00::/124' }, '126, fc00::4, fc00::c'],
    [
      { IPv6Network: 'fc00::/48', IPv6SubnetMin: null, IPv6SubnetMax: '::' },
      '64, fc00:0:0:1::, fc00:0:0:ffff::',
    ],
  ])('%j', (json, range) => {
    const config = parse({ EnableIPv4: false, EnableIPv6: true, ...json });
    expect(printRange(config.ipv6)).toBe(range);
    expect(config.ipv4).toBeUndefined();
  });

  test('both families at once', () => {
    const config = parse({ Network: '10.42.0.0/16', IPv6Network: '2001:cafe:42::/56', enableIPv6: true });
    expect(printRange(config.ipv4)).toBe('24, 10.42.1.0, 10.42.255.0');
    expect(printRange(config.ipv6)).toBe('64, 2001:cafe:42:1::, 2001:cafe:42:ff::');
  });

  test('a family that is not enabled has no range, and its values are not checked', () => {
    expect(parse({ Network: '10.3.0.0/16', IPv6Network: 'fc00::/127' }).ipv6).toBeUndefined();
    expect(parse({ EnableIPv4: false })).toMatchObject({ ipv4: undefined, ipv6: undefined });
  });
});

describe('refused with the message of flannel:', () => {
  test.each([
    ['please define a correct Network parameter in the flannel config', {}],
    ['please define a correct Network parameter in the flannel config', null],
    ['please define a correct Network parameter in the flannel config', { Network: '0.0.0.0/0' }],
    ['network is too small. Minimum useful network prefix is /28', { Network: '10.0.0.0/29' }],
    ['network must be able to accommodate at least four subnets', { Network: '10.3.0.0/16', SubnetLen: 17 }],
    ['SubnetLen must be less than /31', { Network: '10.3.0.0/16', SubnetLen: 31 }],
    ['SubnetLen must be less than /31', { Network: '10.3.0.0/16', SubnetLen: 4_000_000_000 }],
    ['SubnetMin is not in the range of the Network', { Network: '10.3.0.0/16', SubnetMin: '10.4.0.0' }],
    ['SubnetMin is not on a SubnetLen boundary: 10.3.5.1', { Network: '10.3.0.0/16', SubnetMin: '10.3.5.1' }],
    ['SubnetMax is not in the range of the Network', { Network: '10.3.0.0/16', SubnetMax: '10.9.0.0' }],
    ['SubnetMax is not on a SubnetLen boundary: 10.3.5.1', { Network: '10.3.0.0/16', SubnetMax: '10.3.5.1' }],
    [
      'please define a correct IPv6Network parameter in the flannel config',
      { Network: '10.3.0.0/16', EnableIPv6: true },
    ],
    [
      'IPv6Network is too small. Minimum useful network prefix is /124',
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fc00::/125' },
    ],
    [
      'network must be able to accommodate at least four subnets',
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fc00::/48', IPv6SubnetLen: 49 },
    ],
    [
      'SubnetLen must be less than /127',
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fc00::/48', IPv6SubnetLen: 127 },
    ],
    [
      'IPv6SubnetMin is not on a SubnetLen boundary: fc00::1',
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fc00::/48', IPv6SubnetMin: 'fc00::1' },
    ],
    [
      'IPv6SubnetMax is not in the range of the IPv6Network',
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fc00::/48', IPv6SubnetMax: 'fd00::' },
    ],
  ])('%s', (message, json) => {
    expect(() => parse(json)).toThrow(new ConfigError(message));
  });
});

describe('malformed, and told what and why:', () => {
  test.each([
    ['Network: invalid CIDR address: ', { Network: '' }],
    ['Network: invalid CIDR address: null', { Network: null }],
    ['Network: invalid CIDR address: 10.3.0.0', { Network: '10.3.0.0' }],
    ['Network: invalid CIDR address: ["10.3.0.0/16"]', { Network: ['10.3.0.0/16'] }],
    ['SubnetMin: invalid IP address format: ["10.3.0.0"]', { SubnetMin: ['10.3.0.0'] }],
    ['Network: invalid IPv4 CIDR format: fd00::/48', { Network: 'fd00::/48' }],
    ['IPv6Network: invalid IPv6 CIDR format: 10.3.0.0/16', { IPv6Network: '10.3.0.0/16' }],
    ['SubnetMin: invalid IP address format: null', { SubnetMin: null }],
    ['SubnetMin: invalid IP address format: 10.3.0.0/24', { SubnetMin: '10.3.0.0/24' }],
    ['IPv6SubnetMax: invalid IP address format: 10.3.0.0', { IPv6SubnetMax: '10.3.0.0' }],
    ['SubnetLen must be a whole number, not "24"', { SubnetLen: '24' }],
    ['SubnetLen must be a whole number, not 24.5', { SubnetLen: 24.5 }],
    ['SubnetLen must be 0 or more, not -1', { SubnetLen: -1 }],
    ['EnableIPv6 must be true or false, not "yes"', { EnableIPv6: 'yes' }],
    ['EnableNFTables must be true or false, not 1', { EnableNFTables: 1 }],
    ['it must be an object like {"Network": "10.5.0.0/16", …}, not []', []],
    ['it must be an object like {"Network": "10.5.0.0/16", …}, not "10.5.0.0/16"', '10.5.0.0/16'],
  ])('%s', (message, json) => {
    const valid = Array.isArray(json) || typeof json === 'string' ? json : { ...json };
    expect(() => parse(valid)).toThrow(new ConfigError(message));
  });

  test('text that is not JSON is refused with the place', () => {
    expect(() => parseNetworkConfig('{\n  "Network": "10.5.0.0/16",\n}')).toThrow(
      new ConfigError(
        "not valid JSON: line 3, column 1: expected a key in double quotes, found '}' (JSON allows no comma before it)",
      ),
    );
  });
});

describe('the backend', () => {
  const backend = (json: unknown) => parse({ Network: '10.3.0.0/16', Backend: json }).backend;
  const defaults = {
    type: 'vxlan',
    vni: 1,
    port: 8472,
    mtu: undefined,
    gbp: false,
    learning: false,
    directRouting: false,
  };

  test('vxlan, in whatever case, has defaults for all its keys', () => {
    expect(backend({ Type: 'vxlan' })).toEqual(defaults);
    expect(backend({ type: 'VXLAN', VNI: null, Port: 0, MTU: 0, GBP: null })).toEqual(defaults);
  });

  test('vxlan takes what is configured, and ignores keys that only Windows knows', () => {
    expect(
      backend({
        Type: 'vxlan',
        vni: 4096,
        port: 4789,
        mtu: 1400,
        gbp: true,
        learning: true,
        DirectRouting: true,
        MacPrefix: '0E-2A',
      }),
    ).toEqual({
      type: 'vxlan',
      vni: 4096,
      port: 4789,
      mtu: 1400,
      gbp: true,
      learning: true,
      directRouting: true,
    });
  });

  test('without Backend it is udp; without Type it has no name; another one is known by its name', () => {
    expect(parse({ Network: '10.3.0.0/16' }).backend).toEqual({ type: 'other', name: 'udp' });
    expect(backend(null)).toEqual({ type: 'other', name: '' });
    expect(backend({})).toEqual({ type: 'other', name: '' });
    expect(backend({ Type: 'Host-GW', VNI: 'not looked at' })).toEqual({ type: 'other', name: 'host-gw' });
  });

  test.each([
    [
      'error decoding Backend property of config: it must be an object like {"Type": "vxlan"}, not "vxlan"',
      'vxlan',
    ],
    [
      'error decoding Backend property of config: it must be an object like {"Type": "vxlan"}, not ["vxlan"]',
      ['vxlan'],
    ],
    ['error decoding Backend property of config: Type must be text in double quotes, not 5', { Type: 5 }],
    ['error decoding VXLAN backend config: VNI must be a whole number, not "1"', { Type: 'vxlan', VNI: '1' }],
    [
      'error decoding VXLAN backend config: VNI must be from 0 to 9999999, not -1',
      { Type: 'vxlan', VNI: -1 },
    ],
    [
      'error decoding VXLAN backend config: VNI must be from 0 to 9999999, not 10000000',
      { Type: 'vxlan', VNI: 1e7 },
    ],
    [
      'error decoding VXLAN backend config: Port must be from 0 to 65535, not 65536',
      { Type: 'vxlan', Port: 65536 },
    ],
    [
      'error decoding VXLAN backend config: MTU must be from 0 to 65535, not 65536',
      { Type: 'vxlan', MTU: 65536 },
    ],
    [
      "error decoding VXLAN backend config: MTU is that of the outgoing packets and must be from 118 to 65535, or 0 for the interface's own, not 117",
      { Type: 'vxlan', MTU: 117 },
    ],
    [
      'error decoding VXLAN backend config: GBP must be true or false, not "true"',
      { Type: 'vxlan', GBP: 'true' },
    ],
  ])('%s', (message, json) => {
    expect(() => backend(json)).toThrow(new ConfigError(message));
  });

  test('with IPv6, the VNI must leave room in the name of the device flannel-v6.<VNI>', () => {
    const withVni = (VNI: number) =>
      parse({
        Network: '10.3.0.0/16',
        IPv6Network: 'fc00::/48',
        EnableIPv6: true,
        Backend: { Type: 'vxlan', VNI },
      });
    expect(withVni(9999).backend).toMatchObject({ vni: 9999 });
    expect(() => withVni(10_000)).toThrow(/VNI must be from 0 to 9999 together with EnableIPv6, not 10000/);
    expect(backend({ Type: 'vxlan', VNI: 10_000 })).toMatchObject({ vni: 10_000 });
  });
});

test.each([
  [{ EnableNFTables: true }, true],
  [{ EnableNFTables: false }, false],
  [{ enablenftables: false }, false],
  [{ EnableNFTables: null }, undefined],
  [{}, undefined],
])('whether to use nftables is yes, no, or left to each host: %j', (json, enableNfTables) => {
  expect(parse({ Network: '10.3.0.0/16', ...json })).toMatchObject({ enableNfTables });
});

describe('printed with its defaults,', () => {
  test('a configuration shows what was left to them', () => {
    expect(printNetworkConfig(parse({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } }))).toBe(
      `{
  "EnableIPv4": true,
  "Network": "10.5.0.0/16",
  "SubnetLen": 24,
  "SubnetMin": "10.5.1.0",
  "SubnetMax": "10.5.255.0",
  "EnableIPv6": false,
  "EnableNFTables": null,
  "Backend": {
    "Type": "vxlan",
    "VNI": 1,
    "Port": 8472,
    "GBP": false,
    "Learning": false,
    "DirectRouting": false
  }
}
`,
    );
  });

  test('any configuration is read back as the same', () => {
    fc.assert(
      fc.property(anyConfig, (json) => {
        const config = parse(json);
        expect(parseNetworkConfig(printNetworkConfig(config))).toEqual(config);
      }),
    );
  });
});

describe('for any network that is large enough,', () => {
  test.each(['ipv4', 'ipv6'] as const)(
    'the default %s range lies in it, on boundaries, and leaves out its first subnet only',
    (family) => {
      fc.assert(
        fc.property(anyNetwork(family), (network) => {
          const prefix = family === 'ipv4' ? '' : 'IPv6';
          const config = parse({
            EnableIPv4: family === 'ipv4',
            EnableIPv6: family === 'ipv6',
            [`${prefix}Network`]: network,
          });
          const range = config[family]!;
          expect(printSubnet(range.network)).toBe(network);
          for (const bound of [range.subnetMin, range.subnetMax]) {
            expect(subnetOf(bound, range.subnetLength).address).toBe(bound);
            expect(subnetOf(bound, range.network.prefixLength)).toEqual(range.network);
          }
          const all = 1n << BigInt(range.subnetLength - range.network.prefixLength);
          expect(subnetCount(range)).toBe(all - 1n);
          expect(all).toBeGreaterThanOrEqual(4n);
        }),
      );
    },
  );

  test('an empty range holds no subnet', () => {
    const { ipv4 } = parse({ Network: '10.3.0.0/16', SubnetMin: '10.3.9.0', SubnetMax: '10.3.5.0' });
    expect(subnetCount(ipv4!)).toBe(0n);
  });
});

test('whatever the text is, it is a configuration or a ConfigError', () => {
  const keys = [
    'Network',
    'network',
    'SubnetLen',
    'SubnetMin',
    'EnableIPv6',
    'IPv6Network',
    'Backend',
    'EnableIPv4',
  ];
  const values = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('10.0.0.0/8', '10.1.0.0', 'fc00::/48', { Type: 'vxlan', VNI: 'x' }, 24, true),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.dictionary(fc.constantFrom(...keys), values).map((json) => JSON.stringify(json)),
      ),
      (text) => {
        try {
          parseNetworkConfig(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      },
    ),
  );
});

/** Networks in which the default subnet length leaves room for four subnets; not the one that flannel takes for none. */
function anyNetwork(family: Family): fc.Arbitrary<string> {
  const bits = family === 'ipv4' ? 32 : 128;
  return fc
    .tuple(fc.bigInt({ min: 1n, max: (1n << BigInt(bits)) - 1n }), fc.integer({ min: 1, max: bits - 4 }))
    .map(([value, prefixLength]) => printSubnet(subnetOf(integerToAddress(family, value), prefixLength)));
}

const anyConfig = fc.record({
  Network: anyNetwork('ipv4'),
  IPv6Network: anyNetwork('ipv6'),
  EnableIPv4: fc.boolean(),
  EnableIPv6: fc.boolean(),
  EnableNFTables: fc.constantFrom(true, false, null, undefined),
  Backend: fc.oneof(
    fc.record(
      {
        Type: fc.constant('vxlan'),
        VNI: fc.integer({ min: 0, max: 9999 }),
        Port: fc.integer({ min: 0, max: 65535 }),
        MTU: fc.constantFrom(0, 118, 1400, 9000),
        GBP: fc.boolean(),
        Learning: fc.boolean(),
        DirectRouting: fc.boolean(),
      },
      { requiredKeys: ['Type'] },
    ),
    fc.constantFrom(undefined, null, { Type: 'host-gw' }),
  ),
});

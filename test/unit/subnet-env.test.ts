import fc from 'fast-check';
import {
  integerToAddress,
  parseSubnet,
  printSubnet,
  sameSubnet,
  subnet,
  subnetOf,
  type Family,
} from '../../src/model/address';
import { parseDotenv } from '../../src/model/dotenv';
import { ConfigError } from '../../src/model/errors';
import {
  mergeSubnetEnv,
  parsePreviousSubnets,
  parseSubnetEnv,
  printSubnetEnv,
} from '../../src/model/subnet-env-codec';

const ipv4 = { network: subnet('10.42.0.0/16'), subnet: subnet('10.42.7.0/24') };
const ipv6 = { network: subnet('2001:cafe:42::/56'), subnet: subnet('2001:cafe:42:7::/64') };

describe('subnet.env is written as flannel writes it', () => {
  test('with IPv4 alone', () => {
    expect(printSubnetEnv({ ipv4, ipv6: undefined, mtu: 1450, ipMasq: false })).toBe(
      'FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
    );
  });

  test('with both families', () => {
    expect(printSubnetEnv({ ipv4, ipv6, mtu: 1450, ipMasq: true })).toBe(
      [
        'FLANNEL_NETWORK=10.42.0.0/16',
        'FLANNEL_SUBNET=10.42.7.1/24',
        'FLANNEL_IPV6_NETWORK=2001:cafe:42::/56',
        'FLANNEL_IPV6_SUBNET=2001:cafe:42:7::1/64',
        'FLANNEL_MTU=1450',
        'FLANNEL_IPMASQ=true',
        '',
      ].join('\n'),
    );
  });

  test('with IPv6 alone', () => {
    expect(printSubnetEnv({ ipv4: undefined, ipv6, mtu: 1430, ipMasq: false })).toBe(
      'FLANNEL_IPV6_NETWORK=2001:cafe:42::/56\nFLANNEL_IPV6_SUBNET=2001:cafe:42:7::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n',
    );
  });
});

describe('our previous subnet is read from', () => {
  test.each([
    ['FLANNEL_SUBNET=10.5.72.1/24', '10.5.72.0/24'],
    ['FLANNEL_NETWORK=10.5.0.0/16\r\nFLANNEL_SUBNET=10.5.72.1/24\r\nFLANNEL_MTU=1450\r\n', '10.5.72.0/24'],
    ['FLANNEL_SUBNET="10.5.72.1/24"', '10.5.72.0/24'],
    ["export FLANNEL_SUBNET='10.5.72.1/24' # ours", '10.5.72.0/24'],
    ['  FLANNEL_SUBNET = 10.5.72.1/24 # ours', '10.5.72.0/24'],
    ['FLANNEL_SUBNET=10.5.72.1/24,', '10.5.72.0/24'],
    ['FLANNEL_SUBNET=" , 10.5.72.1/24 "', '10.5.72.0/24'],
    ['FLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_SUBNET=10.5.72.1/24', '10.5.72.0/24'],
    ['# a comment\n\nFLANNEL_SUBNET=10.5.72.1/24', '10.5.72.0/24'],
  ])('%j', (text, expected) => {
    const previous = parsePreviousSubnets(text);
    expect(previous.ipv4 && printSubnet(previous.ipv4)).toBe(expected);
    expect(previous.problems).toEqual([]);
  });

  test('a file with both families', () => {
    const text = printSubnetEnv({ ipv4, ipv6, mtu: 1450, ipMasq: false });
    expect(parsePreviousSubnets(text)).toEqual({ ipv4: ipv4.subnet, ipv6: ipv6.subnet, problems: [] });
  });
});

describe('what an old file says wrongly is named, and the rest is used:', () => {
  test.each([
    ['FLANNEL_SUBNET=rubbish', undefined, ['FLANNEL_SUBNET is not an IPv4 subnet: rubbish']],
    [
      'FLANNEL_SUBNET=rubbish,10.5.72.1/24',
      '10.5.72.0/24',
      ['FLANNEL_SUBNET is not an IPv4 subnet: rubbish'],
    ],
    [
      'FLANNEL_SUBNET=10.5.72.1/24,10.5.73.1/24',
      undefined,
      ['FLANNEL_SUBNET names more than one subnet: 10.5.72.1/24,10.5.73.1/24'],
    ],
    ['FLANNEL_SUBNET=fd00::1/64', undefined, ['FLANNEL_SUBNET is not an IPv4 subnet: fd00::1/64']],
    ['<html>\nFLANNEL_SUBNET=10.5.72.1/24', '10.5.72.0/24', ['not KEY=value: <html>']],
    ['FLANNEL_SUBNET="10.5.72.1/24', undefined, ['not KEY=value: FLANNEL_SUBNET="10.5.72.1/24']],
    ['', undefined, []],
    ['FLANNEL_SUBNET=', undefined, []],
  ])('%j', (text, expected, problems) => {
    const previous = parsePreviousSubnets(text);
    expect(previous.ipv4 && printSubnet(previous.ipv4)).toBe(expected);
    expect(previous.problems).toEqual(problems);
  });

  test('whatever the text, each line and each item of a list is used, or named', () => {
    const item = fc.oneof(
      fc.string(),
      fc.constantFrom('10.5.72.1/24', '10.5.73.0/24', 'fd00::1/64', ' ', '"', '#'),
    );
    const list = fc.array(item, { maxLength: 3 }).map((items) => `FLANNEL_SUBNET=${items.join(',')}`);
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), list), { maxLength: 3 }), (lines) => {
        const text = lines.join('\n');
        const { ipv4: found, ipv6: none, problems } = parsePreviousSubnets(text);
        expect(none).toBeUndefined();
        const { values, unreadable } = parseDotenv(text);
        for (const line of unreadable) expect(problems).toContain(`not KEY=value: ${line}`);
        const named = problems.join('\n');
        for (const each of (values.get('FLANNEL_SUBNET') ?? '').split(',').map((part) => part.trim())) {
          const isUsed = found !== undefined && sameSubnet(parseSubnet(each), found);
          expect(isUsed || named.includes(each)).toBe(true);
        }
      }),
    );
  });
});

describe('a whole file', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(
        fc.option(anyPair('ipv4'), { nil: undefined }),
        anyPair('ipv6'),
        fc.boolean(),
        fc.integer({ min: 68, max: 65_535 }),
        fc.boolean(),
        (anyIpv4, anyIpv6, hasIpv6, mtu, ipMasq) => {
          const env = { ipv4: anyIpv4, ipv6: hasIpv6 || !anyIpv4 ? anyIpv6 : undefined, mtu, ipMasq };
          const text = printSubnetEnv(env);
          expect(parseSubnetEnv(text)).toEqual(env);
          const { problems, ...previous } = parsePreviousSubnets(text);
          expect(previous).toEqual({ ipv4: env.ipv4?.subnet, ipv6: env.ipv6?.subnet });
          expect(problems).toEqual([]);
        },
      ),
    );
  });

  test('may list several networks: ours is the one with our subnet', () => {
    const text =
      'FLANNEL_NETWORK=10.1.0.0/16,10.2.0.0/16\nFLANNEL_SUBNET=10.2.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true';
    expect(parseSubnetEnv(text).ipv4).toEqual({
      network: subnet('10.2.0.0/16'),
      subnet: subnet('10.2.3.0/24'),
    });
  });

  test.each([
    ['', 'FLANNEL_NETWORK and FLANNEL_SUBNET are missing'],
    ['FLANNEL_NETWORK=10.1.0.0/16', 'FLANNEL_SUBNET is missing'],
    ['FLANNEL_SUBNET=10.1.2.1/24', 'FLANNEL_NETWORK is missing'],
    ['FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24', 'FLANNEL_MTU is missing'],
    [
      'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=x',
      "FLANNEL_MTU must be a number, not 'x'",
    ],
    [
      'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=yes',
      "FLANNEL_IPMASQ must be true or false, not 'yes'",
    ],
    ...['1450x', 'x1450', '1234567890', '-1', ''].map((mtu): [string, string] => [
      `FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=${mtu}`,
      `FLANNEL_MTU must be a number, not '${mtu}'`,
    ]),
    ...['xtrue', 'truex', ''].map((ipMasq): [string, string] => [
      `FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=${ipMasq}`,
      `FLANNEL_IPMASQ must be true or false, not '${ipMasq}'`,
    ]),
    ['FLANNEL_NETWORK=x,y\nFLANNEL_SUBNET=10.1.2.1/24', 'FLANNEL_NETWORK is not an IPv4 subnet: x, y'],
    ['FLANNEL_IPV6_NETWORK=10.1.0.0/16', 'FLANNEL_IPV6_NETWORK is not an IPv6 subnet: 10.1.0.0/16'],
    [
      'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24,10.1.3.1/24',
      'FLANNEL_SUBNET names more than one subnet',
    ],
  ])('%j lacks something: %s', (text, message) => {
    expect(() => parseSubnetEnv(text)).toThrow(new ConfigError(message));
  });
});

/** A network and a subnet in it that has a first host address. */
function anyPair(family: Family) {
  const bits = family === 'ipv4' ? 32 : 128;
  return fc
    .tuple(
      fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n }),
      fc.integer({ min: 1, max: bits - 4 }),
      fc.integer({ min: 2, max: 30 }),
    )
    .map(([value, prefixLength, more]) => {
      const address = integerToAddress(family, value);
      const longest = Math.min(prefixLength + more, bits - 2);
      return { network: subnetOf(address, prefixLength), subnet: subnetOf(address, longest) };
    });
}

describe('a file that others write to, as well', () => {
  const ours = printSubnetEnv({ ipv4, ipv6: undefined, mtu: 1450, ipMasq: false });
  const docker = 'DOCKER_NETWORK_OPTIONS=" --bip=10.42.7.1/24 --mtu=1450"';

  test.each([
    ['none', undefined, ours],
    ['our own', ours, ours],
    ['an empty one', '', ours],
    ['that of another subnet', ours.replaceAll('10.42.7', '10.42.8'), ours],
    // flannel's mk-docker-opts.sh -k DOCKER_NETWORK_OPTIONS -d /run/flannel/subnet.env
    ['options of Docker in the place of ours', `${docker}\n`, `${docker}\n${ours}`],
    ['options of Docker behind ours', `${ours}${docker}\n`, `${ours}${docker}\n`],
    ['a key of ours twice', `${ours}FLANNEL_MTU=1\n`, ours],
    ['the other family, which is not ours any more', `FLANNEL_IPV6_SUBNET=fd00::1/64\n${ours}`, ours],
    [
      'a comment, and no line feed at the end',
      `# by hand\nexport FLANNEL_MTU=9`,
      `# by hand\nFLANNEL_MTU=1450\n${ours.replace('FLANNEL_MTU=1450\n', '')}`,
    ],
    ['no text', 'FLANNEL_MTU=9\0', ours],
    ['more than anybody writes', `${'x'.repeat(70_000)}\n`, ours],
  ])('%s', (_, existing, expected) => {
    const merged = mergeSubnetEnv(existing, ours);
    expect(merged).toBe(expected);
    expect(mergeSubnetEnv(merged, ours)).toBe(merged);
  });

  test('keeps the lines of others when ours go', () => {
    expect(mergeSubnetEnv(`${ours}${docker}\n`, undefined)).toBe(`${docker}\n`);
    expect(mergeSubnetEnv(ours, undefined)).toBe('');
    expect(mergeSubnetEnv(undefined, undefined)).toBe('');
  });
});

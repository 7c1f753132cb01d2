import fc from 'fast-check';
import { integerToAddress, parseSubnet, printSubnet } from '../../src/model/address';
import { CniError } from '../../src/cni/cni-error';
import { maskedSubnet } from '../../src/cni/masked-subnet';
import { parseSubnetFile, readSubnetFile } from '../../src/cni/subnet-file';

const WHOLE = `FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.7.1/24
FLANNEL_IPV6_NETWORK=2001:cafe:42::/56
FLANNEL_IPV6_SUBNET=2001:cafe:42:7::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

describe('a subnet is read as the rest of vtepd reads it', () => {
  const expected = (text: string) => {
    const subnet = parseSubnet(text);
    return subnet && printSubnet(subnet);
  };

  test('whatever address and length', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('ipv4' as const, 'ipv6' as const),
        fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
        fc.nat(130),
        (family, value, prefixLength) => {
          const address = integerToAddress(family, family === 'ipv4' ? value & 0xffff_ffffn : value);
          expect(maskedSubnet(`${address}/${prefixLength}`)).toBe(expected(`${address}/${prefixLength}`));
        },
      ),
    );
  });

  test.each([
    ['10.5.72.1/24', '10.5.72.0/24'],
    ['10.5.72.255/30', '10.5.72.252/30'],
    ['255.255.255.255/0', '0.0.0.0/0'],
    ['10.5.72.1/32', '10.5.72.1/32'],
    ['2001:CAFE:42:7:0:0:0:1/64', '2001:cafe:42:7::/64'],
    ['fd00::ffff:ffff/113', 'fd00::ffff:8000/113'],
    ['::1/0', '::/0'],
    ['10.5.72.1', undefined],
    ['10.5.72.1/33', undefined],
    ['10.05.72.1/24', undefined],
    ['10.5.72/24', undefined],
    ['fe80::1%eth0/64', undefined],
    ['fd00::/129', undefined],
    ['fd00::/-1', undefined],
    ['10.5.72.1/24/24', undefined],
    ['', undefined],
  ])('%s', (text, canonical) => {
    expect(maskedSubnet(text)).toBe(canonical);
    expect(expected(text)).toBe(canonical);
  });
});

describe('subnet.env', () => {
  test('names subnets and networks of both families', () => {
    expect(parseSubnetFile(WHOLE, 'file')).toEqual({
      subnets: ['10.42.7.0/24', '2001:cafe:42:7::/64'],
      networks: ['10.42.0.0/16', '2001:cafe:42::/56'],
      mtu: 1450,
      ipMasq: true,
    });
  });

  test('may list several networks, of which each counts once', () => {
    const text = WHOLE.replace('10.42.0.0/16', '10.42.0.0/16, 10.43.0.0/16,10.42.0.1/16').replace(
      '2001:cafe:42::/56',
      '2001:cafe:42::/56,2001:cafe:43::/56',
    );
    expect(parseSubnetFile(text, 'file').networks).toEqual([
      '10.42.0.0/16',
      '10.43.0.0/16',
      '2001:cafe:42::/56',
      '2001:cafe:43::/56',
    ]);
  });

  test('may hold lines that nobody knows', () => {
    expect(parseSubnetFile(`# ours\nrubbish\nFLANNEL_FUTURE=1\n${WHOLE}`, 'file').mtu).toBe(1450);
  });

  test('masquerades only if it says true', () => {
    expect(parseSubnetFile(WHOLE.replace('=true', '=false'), 'file').ipMasq).toBe(false);
    expect(parseSubnetFile(WHOLE.replace('=true', '=1'), 'file').ipMasq).toBe(false);
  });

  test.each([
    [
      '',
      'is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ',
    ],
    [WHOLE.replace(/.*_SUBNET.*\n/g, ''), 'is missing FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET'],
    [WHOLE.replace(/.*_NETWORK.*\n/g, ''), 'is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK'],
    [WHOLE.replace(/.*_MTU.*\n/, ''), 'is missing FLANNEL_MTU'],
    [WHOLE.replace(/.*_IPMASQ.*\n/, ''), 'is missing FLANNEL_IPMASQ'],
    [WHOLE.replace('1450', 'large'), 'has no number as FLANNEL_MTU: large'],
    [WHOLE.replace('10.42.7.1/24', '10.42.7.1'), 'has no subnet as FLANNEL_SUBNET: 10.42.7.1'],
    [WHOLE.replace('10.42.0.0/16', '10.42.0.0/16,x'), 'has no subnet as FLANNEL_NETWORK: x'],
  ])('that lacks something is refused: %j', (text, what) => {
    expect(() => parseSubnetFile(text, '/run/subnet.env')).toThrow(
      new CniError(6, `/run/subnet.env ${what}`),
    );
  });

  test('is undefined when there is none, and an I/O failure when it cannot be read', () => {
    expect(readSubnetFile('/nonexistent/subnet.env')).toBeUndefined();
    expect(() => readSubnetFile('/proc')).toThrow(expect.objectContaining({ code: 5 }) as Error);
  });
});

import { ipAddress, subnet } from '../../src/model/address';
import { whyNoHost, whyNoOverlay } from '../../src/model/special-addresses';

describe('an address', () => {
  it.each([
    ['0.0.0.0', 'no address of a host'],
    ['0.255.255.255', 'no address of a host'],
    ['127.0.0.1', 'a loopback address'],
    ['127.255.255.255', 'a loopback address'],
    ['224.0.0.1', 'a multicast address'],
    ['239.255.255.255', 'a multicast address'],
    ['255.255.255.255', 'the broadcast address'],
    ['::', 'no address of a host'],
    ['::1', 'a loopback address'],
    ['ff02::1', 'a multicast address'],
  ])('is no host: %s', (text, what) => {
    expect(whyNoHost(ipAddress(text))).toBe(what);
  });

  it.each([
    ...[
      '1.0.0.0',
      '126.255.255.255',
      '128.0.0.0',
      '169.254.1.1',
      '223.255.255.255',
      '240.0.0.1',
      '255.255.255.254',
    ],
    ...['::2', '7::1', '127::1', '224::1', 'fe80::1', 'fd00::1', 'feff::1'],
  ])('may be a host: %s', (text) => {
    expect(whyNoHost(ipAddress(text))).toBeUndefined();
  });
});

describe('a network', () => {
  it.each([
    ['127.0.0.0/8', '127.0.0.0/8', 'a loopback address'],
    ['127.5.0.0/16', '127.0.0.0/8', 'a loopback address'],
    ['126.0.0.0/7', '127.0.0.0/8', 'a loopback address'],
    ['0.0.0.0/8', '0.0.0.0/8', 'no address of a host'],
    ['0.5.0.0/16', '0.0.0.0/8', 'no address of a host'],
    ['169.254.0.0/16', '169.254.0.0/16', 'a link-local address'],
    ['169.254.7.0/24', '169.254.0.0/16', 'a link-local address'],
    ['169.0.0.0/8', '169.254.0.0/16', 'a link-local address'],
    ['224.0.0.0/8', '224.0.0.0/4', 'a multicast address'],
    ['239.5.0.0/16', '224.0.0.0/4', 'a multicast address'],
    ['240.0.0.0/4', '255.255.255.255/32', 'the broadcast address'],
    ['250.0.0.0/8', '240.0.0.0/4', 'a reserved address'],
    ['fe80::/64', 'fe80::/10', 'a link-local address'],
    ['ff05::/16', 'ff00::/8', 'a multicast address'],
    ['::/96', '::/128', 'no address of a host'],
  ])('that cannot be an overlay says why: %s', (text, range, what) => {
    expect(whyNoOverlay(subnet(text))).toBe(
      `${text} cannot be an overlay: an address in ${range} is ${what}; use a private network, like 10.5.0.0/16`,
    );
  });

  it.each([
    ...['10.5.0.0/16', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', '198.18.0.0/15', '126.0.0.0/8'],
    ...['128.0.0.0/8', '169.253.0.0/16', '169.255.0.0/16', '223.0.0.0/8', 'fd00:5::/48', '2001:db8::/32'],
  ])('can be an overlay: %s', (text) => {
    expect(whyNoOverlay(subnet(text))).toBeUndefined();
  });
});

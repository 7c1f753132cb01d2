import { readNetwork } from '../../src/core/network';
import { ConfigError } from '../../src/model/errors';

test.each([
  [
    'an overlay of IPv6 alone',
    '{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "vxlan"}}',
    'it disables IPv4; an overlay of IPv6 alone is not supported yet',
  ],
  [
    'another backend',
    '{"Network": "10.5.0.0/16", "Backend": {"Type": "wireguard", "Mode": "auto"}}',
    "it asks for backend 'wireguard'; vtepd knows vxlan",
  ],
])(
  'a configuration that asks for %s is refused with a sentence, before any lease is taken',
  (_, text, reason) => {
    expect(() => readNetwork(text)).toThrow(ConfigError);
    expect(() => readNetwork(text)).toThrow(reason);
  },
);

test('what is asked for and not given is said', () => {
  const { remarks } = readNetwork(
    '{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "vxlan", "DirectRouting": true}}',
  );
  expect(remarks.join()).toMatch(/IPv6 .* is not effective yet.*DirectRouting is ignored/);
});

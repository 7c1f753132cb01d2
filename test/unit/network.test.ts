import { readNetwork } from '../../src/core/network';
import { ConfigError } from '../../src/model/errors';
import { exampleRange } from '../support/examples';

test.each([
  [
    'an overlay of IPv6 alone',
    '{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "vxlan"}}',
    'it disables IPv4; an overlay of IPv6 alone is not supported yet',
  ],
  [
    'another backend',
    '{"Network": "10.5.0.0/16", "Backend": {"Type": "wireguard", "Mode": "auto"}}',
    `it asks for backend 'wireguard'; vtepd knows vxlan: {"Backend": {"Type": "vxlan"}}`,
  ],
  [
    'a backend without a Type',
    '{"Network": "10.5.0.0/16", "Backend": {"VNI": 1}}',
    `it asks for a backend without a Type; vtepd knows vxlan: {"Backend": {"Type": "vxlan"}}`,
  ],
  [
    'no backend, which is udp',
    '{"Network": "10.5.0.0/16"}',
    `it asks for backend 'udp'; vtepd knows vxlan: {"Backend": {"Type": "vxlan"}}`,
  ],
])(
  'a configuration that asks for %s is refused with a sentence, before any lease is taken',
  (_, text, reason) => {
    expect(() => readNetwork(text)).toThrow(ConfigError);
    expect(() => readNetwork(text)).toThrow(new ConfigError(reason));
  },
);

test('a plain configuration is carried out as it says, and nothing is remarked', () => {
  const text = '{"Network": "10.5.0.0/16", "EnableNFTables": true, "Backend": {"Type": "vxlan", "VNI": 7}}';
  const network = readNetwork(text);
  expect(network).toMatchObject({ text, range: exampleRange(), enableNfTables: true, remarks: [] });
  expect(network.backend).toMatchObject({ type: 'vxlan', vni: 7, directRouting: false });
});

test.each([
  [
    'IPv6',
    '{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "vxlan"}}',
    'IPv6 of the network configuration is not effective yet; the overlay carries IPv4',
  ],
  [
    'DirectRouting',
    '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "DirectRouting": true}}',
    'Backend.DirectRouting is ignored: we send everything by VXLAN, and take what flannel sends around it',
  ],
])('%s, which is asked for and not given, is remarked', (_, text, remark) => {
  expect(readNetwork(text).remarks).toEqual([remark]);
});

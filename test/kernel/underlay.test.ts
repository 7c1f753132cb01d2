import { openKernel } from '../../src/kernel/linux-kernel';
import { ipAddress, subnet } from '../../src/model/address';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import { exampleBase, expectDone, networkRoute, put } from '../support/kernel-contract';
import { until } from '../support/lab/until';
import { onFreshKernel } from './fresh-kernel';
import { clearNamespace, sh } from './private-namespace';

const signal = new AbortController().signal;

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

const interfaceNamed = async (name: string) =>
  (await kernel.interfaces(signal)).find((found) => found.name === name);

test('an interface is told with each of its addresses, its state and its MTU', async () => {
  sh('ip addr add 192.168.0.2/24 dev eth0');
  sh('ip addr add 10.0.0.1 peer 10.0.0.2/32 dev eth0');
  sh('ip addr add 169.254.1.1/16 dev eth0 scope link');
  sh('ip addr add fd99::1/64 dev eth0 nodad');
  sh('ip addr add 203.0.113.9/24 dev eth0 valid_lft 1000 preferred_lft 0');
  sh('ip link set eth0 mtu 1400');
  const found = await interfaceNamed('eth0');
  expect(found).toMatchObject({
    index: underlay.index,
    mtu: 1400,
    up: true,
    loopback: false,
    mac: underlay.mac,
  });
  const flags = { scope: 'global', permanent: true, temporary: false, deprecated: false };
  expect(found!.addresses).toEqual(
    expect.arrayContaining([
      { ...flags, address: '192.168.0.1', prefixLength: 24 },
      { ...flags, address: '192.168.0.2', prefixLength: 24, secondary: true },
      { ...flags, address: '10.0.0.1', prefixLength: 32, peer: '10.0.0.2' },
      { ...flags, address: '169.254.1.1', prefixLength: 16, scope: 'link' },
      { ...flags, address: 'fd99::1', prefixLength: 64 },
      { ...flags, address: '203.0.113.9', prefixLength: 24, permanent: false, deprecated: true },
    ]),
  );
});

test('lo is a loopback without MAC; its addresses are those of the host alone', async () => {
  sh('ip link set lo up');
  const found = await interfaceNamed('lo');
  expect(found).toMatchObject({ index: 1, mtu: 65536, up: true, loopback: true, mac: undefined });
  expect(found!.addresses).toContainEqual({
    address: '127.0.0.1',
    prefixLength: 8,
    scope: 'host',
    permanent: true,
    temporary: false,
    deprecated: false,
  });
});

test('an IPv6 address counts once it is proved unique', async () => {
  // Nobody can be asked whether he has it while nothing is plugged in.
  sh('ip link set vk-peer down');
  sh('ip addr add fd99::7/64 dev eth0');
  const isThere = async () =>
    (await interfaceNamed('eth0'))!.addresses.some(({ address }) => address === ipAddress('fd99::7'));
  expect(await isThere()).toBe(false);
  sh('ip link set vk-peer up');
  await until('the address', isThere);
});

test('an interface is told with its kind, a vxlan device with what it sends by', async () => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  sh('ip link add vk-bridge type bridge');
  expect(await interfaceNamed('vk-bridge')).toMatchObject({ kind: 'bridge' });
  expect(await interfaceNamed('eth0')).toMatchObject({ kind: 'veth' });
  expect(await interfaceNamed('flannel.1')).toMatchObject({
    kind: 'vxlan',
    vtep: { underlayIndex: underlay.index, local: '192.168.0.1' },
  });
  expect(await interfaceNamed('lo')).not.toHaveProperty('kind');
});

test('default routes come in the order of their metrics, IPv4 first; one over several links is told once for each of them', async () => {
  sh('ip route add default via 192.168.0.253 dev eth0 metric 50');
  sh('ip addr add fd99::1/64 dev eth0 nodad');
  sh('ip -6 route add default via fd99::fe dev eth0');
  sh('ip route add unreachable default metric 4000');
  sh('ip route add default metric 100 nexthop via 192.168.0.251 dev eth0 nexthop via 192.168.0.252 dev eth0');
  sh('ip route add default via 192.168.0.250 dev eth0 table 77');
  const via = (gateway: string) => ({ interfaceIndex: underlay.index, source: undefined, gateway });
  expect(await kernel.defaultRoutes(signal)).toEqual([
    via('192.168.0.254'),
    via('192.168.0.253'),
    via('192.168.0.251'),
    via('192.168.0.252'),
    via('fd99::fe'),
  ]);
});

test('routes of exactly a network are told with what they are: a black hole, several links, of whatever metric', async () => {
  const network = subnet('10.5.0.0/16');
  sh('ip route add 10.5.0.0/16 via 192.168.0.9 metric 5');
  sh('ip route add blackhole 10.5.0.0/16 metric 9999');
  sh(
    'ip route add 10.5.0.0/16 metric 50 nexthop via 192.168.0.251 dev eth0 nexthop via 192.168.0.252 dev eth0',
  );
  sh('ip route add 10.5.0.0/17 via 192.168.0.9');
  const { index } = underlay;
  const common = { destination: network, interfaceIndex: undefined, gateway: undefined, protocol: 3 };
  const via = (gateway: string) => ({ interfaceIndex: index, gateway });
  expect(await kernel.networkRoutes(network, signal)).toEqual([
    { ...common, ...via('192.168.0.9'), metric: 5 },
    { ...common, metric: 50, hops: [via('192.168.0.251'), via('192.168.0.252')] },
    { ...common, metric: 9_999, type: 'blackhole' },
  ]);
});

test('the route taken follows metrics and prefixes, and names the source', async () => {
  sh('ip addr add 192.168.0.77/24 dev eth0');
  sh('ip route add 198.51.100.0/24 via 192.168.0.9 src 192.168.0.77');
  sh('ip route add unreachable 198.18.0.0/15');
  sh('ip route add blackhole 198.51.101.0/24');
  const index = underlay.index;
  expect(await kernel.routeTo(ipAddress('198.51.100.3'), signal)).toEqual({
    interfaceIndex: index,
    source: '192.168.0.77',
    gateway: '192.168.0.9',
  });
  expect(await kernel.routeTo(ipAddress('198.18.0.1'), signal)).toBeUndefined();
  expect(await kernel.routeTo(ipAddress('198.51.101.1'), signal)).toBeUndefined();
  expect(await kernel.routeTo(ipAddress('192.168.0.1'), signal)).toMatchObject({ interfaceIndex: 1 });
});

test('the route from an address of ours follows the rules for it', async () => {
  const question = [ipAddress('192.168.0.9'), signal, ipAddress('192.168.0.1')] as const;
  expect(await kernel.routeTo(...question)).toMatchObject({ interfaceIndex: underlay.index });
  sh('ip rule add pref 9 from 192.168.0.1 prohibit');
  try {
    expect(await kernel.routeTo(...question)).toBeUndefined();
    expect(await kernel.routeTo(ipAddress('192.168.0.9'), signal)).toMatchObject({
      interfaceIndex: underlay.index,
    });
  } finally {
    sh('ip rule del pref 9');
  }
});

test('without any network there is nothing, and no error', async () => {
  kernel.close();
  clearNamespace();
  kernel = openKernel();
  expect((await kernel.interfaces(signal)).map(({ name }) => name)).toEqual(['lo']);
  expect(await kernel.defaultRoutes(signal)).toEqual([]);
  expect(await kernel.ownLinks(signal)).toEqual([]);
  expect(await kernel.routeTo(ipAddress('192.0.2.1'), signal)).toBeUndefined();
});

test('our links are vxlan links with our routes, not others that have one', async () => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  expectDone(kernel.applyNow([put(networkRoute(subnet('10.9.0.0/24'), undefined, { link: 'eth0' }))]));
  sh('ip link add vk-vxlan type vxlan id 77 dstport 4789 dev eth0');
  expect(await kernel.ownLinks(signal)).toEqual(['flannel.1']);
});

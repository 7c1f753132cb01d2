import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { KernelObject } from '../../src/model/kernel-state';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import {
  LINK,
  NETWORK,
  NETWORK6,
  addressOf,
  blackhole,
  exampleLink,
  expectDone,
  failedNeighbor,
  fdbEntryOf,
  neighborOf,
  networkRoute,
  parametersOf,
  peerRoute,
  put,
  remove,
  unreachable,
} from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { commandOf, json, sh } from './private-namespace';
import { readFileSync } from 'node:fs';

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

/** Everything ip(8) and bridge(8) print of the link and of the routes; not what differs from time to time. */
function shown(): unknown {
  const withoutIndex = (links: Record<string, unknown>[]) => links.map(({ ifindex: _, ...rest }) => rest);
  return {
    links: withoutIndex(json('ip', `link show dev ${LINK}`)),
    addresses: json<{ addr_info: Record<string, unknown>[] }>('ip', `address show dev ${LINK}`).map(
      // How long the kernel looks for duplicates of the link-local address is its own affair.
      ({ addr_info }) => addr_info.map(({ tentative: _, ...rest }) => rest),
    ),
    neighbors: json('ip', `neigh show dev ${LINK}`),
    fdb: json('bridge', `fdb show dev ${LINK}`),
    routes: json('ip', '-4 route show table main'),
    routes6: json('ip', '-6 route show table main'),
  };
}

describe('a put does what the command does, and a removal undoes it:', () => {
  const objects: [name: string, object: KernelObject][] = [
    ['address', addressOf('10.5.1.7/32')],
    ['IPv6 address', addressOf('fd05:0:0:1::7/128')],
    ['FDB entry', fdbEntryOf('02:00:00:00:00:02', '192.168.0.2')],
    ['permanent neighbor', neighborOf('10.5.2.0', '02:00:00:00:00:02')],
    ['learned neighbor', neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned')],
    ['failed neighbor', failedNeighbor('10.5.2.0')],
    ['permanent IPv6 neighbor', neighborOf('fd05:0:0:2::', '02:00:00:00:00:02')],
    ['learned IPv6 neighbor', neighborOf('fd05:0:0:2::', '02:00:00:00:00:02', 'learned')],
    ['network route', networkRoute(NETWORK, '10.5.1.0')],
    ['IPv6 network route', networkRoute(NETWORK6, 'fd05:0:0:1::', { metric: 1024 })],
    ["peer's route", peerRoute('10.5.2.0/24', 3)],
    ["IPv6 peer's route", peerRoute('fd05:0:0:2::/64', 3)],
    ['unreachable route', unreachable('10.5.9.0/24')],
    ['unreachable IPv6 route', unreachable('fd05:0:0:9::/64')],
    ['blackhole route', blackhole('10.5.1.0/24')],
    ['blackhole IPv6 route', blackhole('fd05:0:0:1::/64')],
    ["flannel's route", peerRoute('10.5.2.0/24', 0, { protocol: 3 })],
  ];

  test.each(objects)('%s', (_name, object) => {
    expectDone(kernel.applyNow([put(exampleLink(underlay)), put(addressOf('10.5.1.0/32'))]));
    expectDone(kernel.applyNow([put(addressOf('fd05:0:0:1::/128'))]));
    const before = shown();
    expectDone(kernel.applyNow([put(object)]));
    const ours = shown();
    expect(ours).not.toEqual(before);
    expectDone(kernel.applyNow([put(object)]));
    expect(shown()).toEqual(ours);
    expectDone(kernel.applyNow([remove(object)]));
    expect(shown()).toEqual(before);
    const command = commandOf(put(object));
    sh(object.kind === 'address' && object.prefixLength === 128 ? `${command} nodad` : command);
    expect(shown()).toEqual(ours);
  });

  const { vxlan } = exampleLink({ addresses: [] } as unknown as NetworkInterface);
  test.each([
    ['plain', {}, 'nolearning l2miss'],
    ['learning', { learning: true, l2miss: false }, 'learning'],
    ['with group policy', { gbp: true, l2miss: false, port: 4789 }, 'nolearning gbp'],
  ])('link, %s', (_name, changes, words) => {
    const local = ipAddress('192.168.0.1');
    const parameters = { ...vxlan!, local, underlayIndex: underlay.index, ...changes };
    expectDone(kernel.applyNow([put(exampleLink(underlay, { vxlan: parameters }))]));
    const ours = json('ip', `link show dev ${LINK}`);
    expectDone(kernel.applyNow([remove(exampleLink(underlay))]));
    expect(json('ip', 'link show').map(({ ifname }) => ifname)).not.toContain(LINK);
    sh(
      `ip link add ${LINK} address 02:00:00:00:00:01 mtu 1450 txqueuelen 0 type vxlan id 1 local 192.168.0.1 dev eth0 dstport ${parameters.port} ${words}`,
    );
    sh(`ip link set ${LINK} up`);
    const withoutIndex = (links: Record<string, unknown>[]) => links.map(({ ifindex: _, ...rest }) => rest);
    expect(withoutIndex(ours)).toEqual(withoutIndex(json('ip', `link show dev ${LINK}`)));
  });

  test('link over an IPv6 underlay', () => {
    sh('ip addr add fd99::1/64 dev eth0 nodad');
    const parameters = { ...vxlan!, local: ipAddress('fd99::1'), underlayIndex: underlay.index };
    const link = exampleLink(underlay, { mtu: 1430, vxlan: parameters });
    expectDone(kernel.applyNow([put(link), put(fdbEntryOf('02:00:00:00:00:02', 'fd99::2'))]));
    const [shownLink] = json<{ linkinfo: { info_data: object }; mtu: number }>('ip', `link show dev ${LINK}`);
    expect(shownLink).toMatchObject({
      mtu: 1430,
      linkinfo: { info_data: { local6: 'fd99::1', link: 'eth0' } },
    });
    expect(json('bridge', `fdb show dev ${LINK}`)).toMatchObject([
      { mac: '02:00:00:00:00:02', dst: 'fd99::2' },
    ]);
  });
});

test('neighbor parameters are those of sysctl, and no others change', () => {
  expectDone(kernel.applyNow([put(exampleLink(underlay))]));
  const read = (family: string, name: string) =>
    readFileSync(`/proc/sys/net/${family}/neigh/${LINK}/${name}`, 'utf8').trim();
  const ucast = read('ipv4', 'ucast_solicit');
  expectDone(
    kernel.applyNow([
      put(parametersOf('ipv4')),
      put(parametersOf('ipv6', { appSolicit: 2, queueBytes: 1 << 20 })),
    ]),
  );
  expect([read('ipv4', 'app_solicit'), read('ipv4', 'unres_qlen_bytes')]).toEqual(['3', String(8 << 20)]);
  expect([read('ipv6', 'app_solicit'), read('ipv6', 'unres_qlen_bytes')]).toEqual(['2', String(1 << 20)]);
  expect(read('ipv4', 'ucast_solicit')).toBe(ucast);
  expect(readFileSync('/proc/sys/net/ipv4/neigh/eth0/app_solicit', 'utf8').trim()).toBe('0');
});

test('a new link accepts no router advertisements', () => {
  expectDone(kernel.applyNow([put(exampleLink(underlay))]));
  expect(readFileSync(`/proc/sys/net/ipv6/conf/${LINK}/accept_ra`, 'utf8').trim()).toBe('0');
});

describe('what the kernel refuses is explained:', () => {
  test.each([
    [
      'a VNI that another device has',
      // With another MAC, or it would be taken for ours under another name.
      () => exampleLink(underlay, { name: 'flannel.2', mac: macAddress('02:00:00:00:00:99') }),
      'EEXIST',
      'flannel.1 has VNI 1 on UDP port 8472',
    ],
    [
      'an underlay that is not there',
      () =>
        exampleLink(underlay, {
          name: 'flannel.2',
          vxlan: { ...exampleLink(underlay).vxlan!, underlayIndex: 9999 },
        }),
      'ENODEV',
      'put link flannel.2',
    ],
    ['an MTU above that of the underlay', () => exampleLink(underlay, { mtu: 1480 }), 'EINVAL', 'mtu 1480'],
    [
      'a source that is no address of ours',
      () => networkRoute(subnet('10.5.0.0/16'), '10.5.77.0'),
      'EINVAL',
      'Invalid prefsrc address',
    ],
    [
      'a destination of the wrong family',
      () => fdbEntryOf('02:00:00:00:00:02', 'fd00::2'),
      'EAFNOSUPPORT',
      'put fdb 02:00:00:00:00:02',
    ],
  ])('%s', (_name, object: () => KernelObject, code, text) => {
    expectDone(kernel.applyNow([put(exampleLink(underlay))]));
    const failed = kernel.applyNow([put(object())]);
    expect(failed).toHaveLength(1);
    expect(failed[0]!.error.code).toBe(code);
    expect(failed[0]!.error.message).toContain(text);
  });

  test('a missing capability', () => {
    const script = `
      const { openKernel } = require('${process.cwd()}/src/kernel/linux-kernel');
      const failed = openKernel().applyNow([{ verb: 'put', object: ${JSON.stringify(exampleLink(underlay))} }]);
      console.log(failed[0].error.code, failed[0].error.message);
    `;
    const said = sh(`setpriv --bounding-set -net_admin ${process.execPath} --require tsx/cjs -`, script);
    expect(said).toMatch(/^EPERM cannot put link flannel\.1 .*CAP_NET_ADMIN is needed/);
  });
});

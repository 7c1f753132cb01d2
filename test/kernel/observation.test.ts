import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { alterations } from '../../src/core/vxlan';
import { ipAddress, subnet } from '../../src/model/address';
import {
  kernelStateOf,
  keyOf,
  type KernelObject,
  type Link,
  type Neighbor,
} from '../../src/model/kernel-state';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel, Scope } from '../../src/ports';
import * as arbitrary from '../support/kernel-arbitraries';
import {
  LINK,
  NETWORK,
  PEER,
  SCOPE,
  addressOf,
  exampleBase,
  exampleLink,
  expectDone,
  fdbEntryOf,
  neighborOf,
  networkRoute,
  parametersOf,
  peerRoute,
  printed,
  put,
  remove,
} from '../support/kernel-contract';
import { until } from '../support/lab/until';
import { onFreshKernel } from './fresh-kernel';
import { commandOf, json, sendPacket, sh } from './private-namespace';

const signal = new AbortController().signal;
const BOTH: Scope = { link: LINK, networks: [subnet('10.0.0.0/8'), subnet('fd00::/8')] };

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

const observed = async (scope: Scope = SCOPE) => printed(await kernel.observe(scope, signal));

test('from any state, observing gives what was put, and removing leaves the rest', async () => {
  const base = [
    exampleLink(underlay),
    parametersOf('ipv4'),
    parametersOf('ipv6', { appSolicit: 1 }),
    addressOf('10.5.1.0/32'),
  ];
  const object: fc.Arbitrary<KernelObject> = fc.oneof(
    arbitrary.fdbEntry.filter(({ destination }) => !destination.includes(':')),
    arbitrary.neighbor.filter(({ state }) => state !== 'failed'),
    arbitrary.linkAddress,
    arbitrary.route(ipAddress('10.5.1.0')),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(object, { maxLength: 40 }), fc.nat(), async (random, cut) => {
      expectDone(kernel.applyNow(base.map(put)));
      const state = kernelStateOf([...base, ...random]);
      expectDone(await kernel.apply([...state.values()].map(put), signal));
      expect(await observed(BOTH)).toEqual(printed(state));
      const [kept, gone] = [[...base], [] as KernelObject[]];
      [...state.values()].forEach((it, index) => {
        if (index >= base.length) (index % (1 + (cut % 3)) === 0 ? gone : kept).push(it);
      });
      expectDone(await kernel.apply(gone.map(remove), signal));
      expect(await observed(BOTH)).toEqual(printed(kept));
      expectDone(kernel.applyNow([remove(exampleLink(underlay)), ...kept.map(remove)]));
      expect(await observed(BOTH)).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test('what is not ours is never reported, and survives the removal of all that is', async () => {
  expectDone(kernel.applyNow([...exampleBase(underlay), ...PEER].map(put)));
  for (const command of [
    'ip addr add 172.20.0.1/32 dev flannel.1',
    'ip neigh add 192.168.0.50 lladdr 02:aa:00:00:00:01 dev eth0 nud permanent',
    'ip neigh add 10.5.200.1 lladdr 02:aa:00:00:00:02 dev flannel.1 nud reachable',
    'ip neigh add fe80::99 lladdr 02:aa:00:00:00:03 dev flannel.1 nud permanent',
    'bridge fdb add 02:aa:00:00:00:04 dev flannel.1 dst 192.168.0.9 self dynamic',
    'ip route add 10.5.200.0/24 dev eth0',
    'ip route add 10.5.201.0/24 via 192.168.0.9 proto static',
    'ip route add 10.5.202.0/24 dev eth0 table 77 proto 84',
    'ip route add blackhole 10.5.203.0/24',
    'ip route add 10.99.0.0/16 dev flannel.1',
    'ip route add 10.5.204.0/24 dev flannel.1 proto bird',
    'ip route add 10.5.205.0/24 proto static nexthop via 192.168.0.9 nexthop via 192.168.0.10',
    'ip -6 route add fd77::/64 dev flannel.1',
  ])
    sh(command);
  const foreign = () => [
    ...json('ip', 'route show table all').filter(
      ({ protocol, table }) => protocol !== '84' && table !== 'local',
    ),
    ...json('ip', 'neigh show').filter(({ dst }) => dst !== '10.5.2.0'),
  ];
  const before = foreign();
  expect(await observed(BOTH)).toEqual(
    printed([
      ...exampleBase(underlay),
      parametersOf('ipv6', { appSolicit: 0, queueBytes: 212_992 }),
      ...PEER,
    ]),
  );
  const rest = [...exampleBase(underlay), ...PEER].filter(({ kind }) => kind !== 'link');
  expectDone(await kernel.apply(rest.reverse().map(remove), signal));
  expect(foreign()).toEqual(before);
  sh('ip route del blackhole 10.5.203.0/24');
});

test('what flannel left is reported, and can be removed', async () => {
  sh(
    'ip link add flannel.1 address 02:00:00:00:00:01 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
  );
  sh('ip link set flannel.1 up');
  const left = [
    neighborOf('10.5.4.0', '02:00:00:00:00:04'),
    fdbEntryOf('02:00:00:00:00:04', '192.168.0.4'),
    peerRoute('10.5.4.0/24', 0, { protocol: 3 }),
    networkRoute(NETWORK, undefined, { protocol: 3 }),
  ];
  for (const object of left) sh(commandOf(put(object)));
  const link = exampleLink(underlay);
  const flannels = { ...link, vxlan: { ...link.vxlan!, l2miss: false } };
  const parameters = parametersOf('ipv4', { appSolicit: 0, queueBytes: 212_992 });
  expect(await observed()).toEqual(printed([flannels, parameters, ...left]));
  expectDone(await kernel.apply(left.map(remove), signal));
  expect(await observed()).toEqual(printed([flannels, parameters]));
});

test('a device that is no vxlan is reported as such', async () => {
  sh('ip link add flannel.1 address 02:00:00:00:00:01 mtu 1450 type bridge');
  sh('ip link set flannel.1 up');
  const state = await kernel.observe(SCOPE, signal);
  expect(state.get(`link ${LINK}`)).toEqual({ ...exampleLink(underlay), vxlan: undefined });
  expect(kernel.applyNow([put(exampleLink(underlay))])).toMatchObject([{ error: { code: 'EEXIST' } }]);
  expectDone(kernel.applyNow([remove(exampleLink(underlay)), put(exampleLink(underlay))]));
});

describe('where several routes have one key,', () => {
  const base = () => exampleBase(underlay);
  beforeEach(() => expectDone(kernel.applyNow([...base(), ...PEER].map(put))));

  test.each([
    [
      'a route by another gateway',
      'ip route append 10.5.2.0/24 via 10.5.9.9 dev flannel.1 onlink proto 84 metric 3',
    ],
    ['a route on another link', 'ip route append 10.5.2.0/24 dev eth0 proto 84 metric 3'],
    ['a route before ours', 'ip route prepend 10.5.2.0/24 dev eth0 proto 84 metric 3'],
  ])('as with %s, none of them is taken for ours, and a put leaves only one', async (_what, command) => {
    const ours = PEER[2]!;
    const before = shownRoutes();
    sh(command);
    const state = await kernel.observe(SCOPE, signal);
    expect(state.get(keyOf(ours))).not.toEqual(ours);
    expectDone(await kernel.apply([put(ours)], signal));
    expect(shownRoutes()).toEqual(before);
    expect(await observed()).toEqual(printed([...base(), ...PEER]));
  });

  test('a removal in each pass removes them all', async () => {
    sh('ip route append 10.5.2.0/24 via 10.5.9.9 dev flannel.1 onlink proto 84 metric 3');
    for (let pass = 0; pass < 2; pass++) {
      const state = await kernel.observe(SCOPE, signal);
      expectDone(await kernel.apply([remove(state.get(keyOf(PEER[2]!))!)], signal));
    }
    expect(await observed()).toEqual(printed([...base(), ...PEER.slice(0, 2)]));
  });
});

function shownRoutes(): unknown {
  return json('ip', 'route show root 10.5.0.0/16');
}

test('a link that others made anew is found again: no index is remembered', async () => {
  for (let round = 0; round < 5; round++) {
    expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
    expect(await observed()).toEqual(printed([...exampleBase(underlay), ...PEER]));
    sh('ip link del flannel.1');
    sh(
      'ip link add flannel.1 address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning l2miss',
    );
  }
  expect((await observed())[0]).toContain('flannel.1');
});

test('observations while the link is made anew again and again are never a mixture', async () => {
  // Each generation can be told by its MTU, and by the MAC that its neighbor names.
  const generations = Array.from({ length: 60 }, (_, index) => {
    const mac = `02:00:00:00:01:${index.toString(16).padStart(2, '0')}`;
    return [
      `link add flannel.1 mtu ${1200 + index} type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning`,
      'link set flannel.1 up',
      // A thousand times, so that the link lives for some milliseconds.
      ...Array<string>(1000).fill(`neigh replace 10.5.2.0 lladdr ${mac} dev flannel.1 nud permanent`),
      'link del flannel.1',
    ];
  });
  const child = spawn('ip', ['-batch', '-'], { stdio: ['pipe', 'inherit', 'inherit'] });
  const ended = once(child, 'exit');
  child.stdin.end(generations.flat().join('\n') + '\n');
  let isOver = false;
  void ended.then(() => (isOver = true));
  let whole = 0;
  while (!isOver) {
    const objects = [...(await kernel.observe(SCOPE, signal)).values()];
    const link = objects.find((object) => object.kind === 'link');
    const neighbor = objects.find((object) => object.kind === 'neighbor');
    if (!link) expect(objects).toEqual([]);
    if (link && neighbor) {
      expect(parseInt(neighbor.mac!.slice(-2), 16)).toBe(link.mtu - 1200);
      whole++;
    }
    await nextTurn();
  }
  expect(await ended).toEqual([0, null]);
  expect(whole).toBeGreaterThan(0);
});

test('after down and up, routes and neighbors are put back, and packets flow', async () => {
  expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
  sh('ip link set flannel.1 down');
  expect((await observed()).filter((line) => /^(route|neigh)/.test(line))).toEqual([]);
  expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
  expect(await observed()).toEqual(printed([...exampleBase(underlay), ...PEER]));
  await sendPacket(ipAddress('10.5.2.9'));
});

test('a link that somebody made a port of a bridge is taken out of it, and packets flow', async () => {
  expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
  sh('ip link add vk-bridge type bridge');
  sh('ip link set flannel.1 master vk-bridge');
  const enslaved = (await kernel.observe(SCOPE, signal)).get('link flannel.1') as Link;
  expect(alterations(exampleLink(underlay), enslaved)).toEqual([
    expect.stringMatching(/^master \d+ → 0$/) as string,
  ]);
  expectDone(await kernel.apply([put(exampleLink(underlay))], signal));
  const free = (await kernel.observe(SCOPE, signal)).get('link flannel.1') as Link;
  expect(alterations(exampleLink(underlay), free)).toEqual([]);
  expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
  await sendPacket(ipAddress('10.5.2.9'));
  sh('ip link del vk-bridge');
});

test('a learned neighbor counts as idle since it became stale, and as used as soon as somebody sends', async () => {
  const neighbor = neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned');
  const used = neighborOf('10.5.3.0', '02:00:00:00:00:02', 'learned');
  expectDone(kernel.applyNow([...exampleBase(underlay), PEER[0]!].map(put)));
  // The kernel draws the reachable time at random from half to one and a half of this, when the entry is made.
  sh('sysctl -qw net/ipv4/neigh/flannel.1/base_reachable_time_ms=100');
  // A neighbor made or used that long ago would be probed when that time is over, instead of becoming stale.
  sh('sysctl -qw net/ipv4/neigh/flannel.1/delay_first_probe_time=0');
  const start = performance.now();
  expectDone(kernel.applyNow([neighbor, used].map(put)));
  const idle = async (of: Neighbor) => {
    const state = await kernel.observe(SCOPE, signal);
    return (state.get(keyOf(of)) as Neighbor).idleMilliseconds!;
  };
  expect(await idle(neighbor)).toBe(0);
  const first = await until('idle for half a second', async () =>
    (await idle(neighbor)) >= 500 ? idle(neighbor) : 0,
  );
  expect(first).toBeLessThanOrEqual(performance.now() - start);
  await until('the other idle as well', async () => (await idle(used)) > 0);
  await sendPacket(ipAddress('10.5.3.0'));
  expect(await idle(used)).toBe(0);
  expect(await idle(neighbor)).toBeGreaterThanOrEqual(first);
});

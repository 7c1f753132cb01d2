import fc from 'fast-check';
import { alterations } from '../../src/core/vxlan';
import { observe } from '../../src/kernel/observation';
import { ipAddress, subnet } from '../../src/model/address';
import {
  kernelStateOf,
  keyOf,
  nameOf,
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
import { withScriptedNetlink, type Script } from './scripted-netlink';

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
    // Of our protocol, or as flannel makes them, but for one kind of packets only.
    'ip route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink proto 84 metric 3 tos 0x10',
    'ip route add 10.5.210.0/24 dev flannel.1 proto 84 tos 0x10',
    'ip route add 10.5.206.0/24 via 10.5.206.0 dev flannel.1 onlink tos 0x10',
    // Like flannel's, but through another host's address, without onlink, or outside of the networks.
    'ip route add 10.5.207.0/24 via 10.5.9.9 dev flannel.1 onlink',
    'ip route add 10.5.208.0/24 via 10.5.208.0 dev flannel.1',
    'ip route add 172.20.5.0/24 via 172.20.5.0 dev flannel.1 onlink',
    'ip neigh add 169.254.1.1 lladdr 02:aa:00:00:00:05 dev flannel.1 nud permanent',
    'ip neigh add 239.1.1.1 lladdr 01:00:5e:01:01:01 dev flannel.1 nud permanent',
    'ip neigh add 169.254.1.2 lladdr 02:aa:00:00:00:06 dev flannel.1 nud reachable extern_learn',
  ])
    sh(command);
  const ours = new Set(['10.5.0.0/16 84', '10.5.2.0/24 84']);
  const foreign = () => [
    ...json('ip', 'route show table all').filter(
      ({ dst, protocol, table, tos }) =>
        (tos !== undefined || !ours.has(`${String(dst)} ${String(protocol)}`)) && table !== 'local',
    ),
    ...json('ip', 'neigh show').filter(({ dst }) => dst !== '10.5.2.0'),
  ];
  const before = foreign();
  expect(before.filter(({ tos }) => tos !== undefined)).toHaveLength(3);
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

  test('a put that leaves only one leaves nothing in doubt: a look finds it', async () => {
    const ours = PEER[2]!;
    sh('ip route append 10.5.2.0/24 via 10.5.9.9 dev flannel.1 onlink proto 84 metric 3');
    await kernel.observe(SCOPE, signal);
    expectDone(await kernel.apply([put(ours)], signal));
    expect((await kernel.look([nameOf(ours)!], SCOPE, signal))!.get(keyOf(ours))).toEqual(ours);
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

describe('a link that is made anew while it is observed', () => {
  /** Each generation differs from all others in everything it holds. */
  function make(generation: number, neighbors = 1): void {
    const macs = Array.from({ length: neighbors }, (_, n) => {
      return `02:00:00:0${generation}:${[n >> 8, n & 255].map((octet) => octet.toString(16).padStart(2, '0')).join(':')}`;
    });
    const lines = [
      `link add flannel.1 address 02:00:00:00:00:0${generation} mtu ${1200 + generation} type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning`,
      'link set flannel.1 up',
      `addr add 10.5.1.${generation}/32 dev flannel.1`,
      ...macs.map(
        (mac, n) => `neigh add 10.${64 + (n >> 8)}.${n & 255}.0 lladdr ${mac} dev flannel.1 nud permanent`,
      ),
      `route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink proto 84 metric ${generation}`,
    ];
    sh('ip -batch -', lines.join('\n') + '\n');
    sh(`bridge fdb add ${macs[0]} dev flannel.1 dst 192.168.0.${generation + 1} self permanent`);
  }

  const unmake = () => sh('ip link del flannel.1');
  const observing = (script: Script) =>
    withScriptedNetlink(script, async (netlink) => printed((await observe(netlink, SCOPE, signal)).state));

  test('at whatever moment, is seen as it was before, or as it is now, and never as a mixture', async () => {
    make(1);
    let steps = 0;
    const before = await observing(() => steps++);
    unmake();
    make(2);
    const after = await observing(() => undefined);
    expect(before).toHaveLength(6);
    expect(after).toHaveLength(6);
    expect(before.filter((line) => after.includes(line) && !line.startsWith('ntable'))).toEqual([]);
    const seen = new Set<string>();
    for (let moment = 1; moment <= steps; moment++) {
      unmake();
      make(1);
      const found = await observing((_step, at) => {
        if (at !== moment) return;
        unmake();
        make(2);
      });
      seen.add(found.join('\n'));
    }
    expect(steps).toBeGreaterThan(15);
    expect([...seen].sort()).toEqual([before.join('\n'), after.join('\n')].sort());
  });

  test('between the parts of a dump, is seen as it is now', async () => {
    const MANY = 5_000;
    make(1, MANY);
    let parts = 0;
    let isLongDump = false;
    let hasHappened = false;
    const found = await observing((step) => {
      parts = step === 'send' ? 0 : parts + 1;
      if (parts < 3 || hasHappened) return;
      isLongDump = hasHappened = true;
      unmake();
      make(2, MANY);
    });
    expect(isLongDump).toBe(true);
    expect(found).toEqual(await observing(() => undefined));
    expect(found.filter((line) => line.startsWith('neigh '))).toHaveLength(MANY);
    expect(found.filter((line) => line.includes('lladdr 02:00:00:01'))).toEqual([]);
  });

  test('each time, is given up after some attempts', async () => {
    make(1);
    let generation = 1;
    const observed = observing((step, at) => {
      // Once in each attempt, which has some twenty steps.
      if (step !== 'receive' || at % 10 !== 0) return;
      unmake();
      make((generation = 3 - generation));
    });
    await expect(observed).rejects.toMatchObject({
      code: 'EAGAIN',
      message: 'link flannel.1 was re-created during each of 10 observations',
    });
  });
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
  const reachableMilliseconds = (base: number) =>
    sh(`sysctl -qw net/ipv4/neigh/flannel.1/base_reachable_time_ms=${base}`);
  // A neighbor made or used that long ago would be probed when that time is over, instead of becoming stale.
  sh('sysctl -qw net/ipv4/neigh/flannel.1/delay_first_probe_time=0');
  // Who does not answer a probe is not given up before the end of this test.
  sh('sysctl -qw net/ipv4/neigh/flannel.1/retrans_time_ms=600000');
  reachableMilliseconds(600_000);
  expectDone(kernel.applyNow([put(neighbor)]));
  const idle = async (of: Neighbor) => {
    const state = await kernel.observe(SCOPE, signal);
    return (state.get(keyOf(of)) as Neighbor).idleMilliseconds!;
  };
  expect(await idle(neighbor)).toBe(0);
  reachableMilliseconds(100);
  const start = performance.now();
  expectDone(kernel.applyNow([remove(neighbor), put(neighbor), put(used)]));
  const first = await until('idle for half a second', async () =>
    (await idle(neighbor)) >= 500 ? idle(neighbor) : 0,
  );
  expect(first).toBeLessThanOrEqual(performance.now() - start);
  await until('the other idle as well', async () => (await idle(used)) > 0);
  await sendPacket(ipAddress('10.5.3.0'));
  expect(await idle(used)).toBe(0);
  expect(await idle(neighbor)).toBeGreaterThanOrEqual(first);
});

import { readFileSync, writeFileSync } from 'node:fs';
import { macAddress } from '../../src/model/mac';
import type { FdbEntry, KernelObject } from '../../src/model/kernel-state';
import type { NetworkInterface } from '../../src/model/network-interface';
import { ipAddress, printSubnet, subnet } from '../../src/model/address';
import { MulticastGroups, Protocol } from '../../src/kernel/constants';
import { eachMessage } from '../../src/kernel/message';
import { notificationFilter } from '../../src/kernel/notification-filter';
import { parseRoute } from '../../src/kernel/routes';
import { openMonitor } from '../../native';
import type { Kernel } from '../../src/ports';
import { until } from '../support/lab/until';
import {
  LINK,
  NoticeProbe,
  PEER,
  SCOPE,
  exampleBase,
  exampleLink,
  expectDone,
  neighborOf,
  peerRoute,
  put,
  remove,
} from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { makeUnderlay, sendPacket, sh } from './private-namespace';

const signal = new AbortController().signal;

let kernel: Kernel;
let underlay: NetworkInterface;
let probe: NoticeProbe;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));
beforeEach(() => void (probe = new NoticeProbe(kernel)));
afterEach(() => probe.stop());

let marks = 0;

/** A mark in the stream of notices: when it is there, all that was caused before it is. */
async function mark(): Promise<void> {
  const text = `10.5.250.${(marks++ % 200) + 1}/32`;
  const isThere = () => probe.changes.some((change) => change.includes(text));
  sh(`ip route add unreachable ${text} proto 84 metric 77`);
  await probe.until(`mark ${text}`, isThere);
  sh(`ip route del unreachable ${text} proto 84 metric 77`);
  await probe.until(`mark ${text} removed`, () =>
    probe.changes.some((change) => change === `route ${text} removed`),
  );
  const kept = probe.notices.filter((notice) => notice.kind !== 'changed' || !notice.what.includes(text));
  probe.notices.splice(0, Infinity, ...kept);
}

test('an FDB entry that is not permanent any more is told of, and put right', async () => {
  expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
  await mark();
  const [entry] = PEER as readonly [FdbEntry, ...KernelObject[]];
  for (const kind of ['dynamic', 'static']) {
    sh(`bridge fdb replace ${entry.mac} dev flannel.1 dst 192.168.0.99 self ${kind}`);
    await probe.until(`the ${kind} entry is told of`, () =>
      probe.changes.includes(`fdb-entry ${entry.mac} now leads to 192.168.0.99`),
    );
    probe.notices.length = 0;
    const name = { kind: 'fdb-entry', link: LINK, mac: entry.mac } as const;
    expect(await kernel.look([name], SCOPE, signal)).toEqual(new Map());
    expectDone(kernel.applyNow([put(entry)]));
    expect(sh('bridge fdb show dev flannel.1')).toContain(
      `${entry.mac} dst ${entry.destination} self permanent`,
    );
  }
});

test('nothing that we do is told: making, changing, filling, removing a link', async () => {
  expectDone(await kernel.apply([...exampleBase(underlay), ...PEER].map(put), signal));
  await mark();
  expectDone(await kernel.apply([put(exampleLink(underlay, { mtu: 1400 }))], signal));
  const { vxlan } = exampleLink(underlay);
  const local = ipAddress('192.168.0.77');
  expectDone(kernel.applyNow([put(exampleLink(underlay, { vxlan: { ...vxlan!, local, learning: true } }))]));
  await mark();
  const many = Array.from({ length: 3_000 }, (_, n) => {
    const mac = `02:00:00:01:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
    return { ...PEER[0]!, mac: macAddress(mac) } as (typeof PEER)[0];
  });
  expectDone(await kernel.apply(many.map(put), signal));
  expectDone(await kernel.apply([...many, ...PEER].map(remove), signal));
  await mark();
  expectDone(await kernel.apply([remove(exampleLink(underlay))], signal));
  await mark();
  expect(probe.notices).toEqual([]);
});

describe('with a link and a peer, it is told when somebody', () => {
  beforeEach(async () => {
    expectDone(kernel.applyNow([...exampleBase(underlay), ...PEER].map(put)));
    expect(await kernel.observe(SCOPE, signal)).toBeDefined();
    await mark();
  });

  test.each([
    ['removes a route', 'ip route del 10.5.2.0/24', 'route 10.5.2.0/24 removed'],
    [
      'puts another route in its place',
      'ip route replace 10.5.2.0/24 dev eth0 metric 3',
      'route 10.5.2.0/24 changed',
    ],
    ['removes the network route', 'ip route del 10.5.0.0/16', 'route 10.5.0.0/16 removed'],
    ['removes a neighbor', 'ip neigh del 10.5.2.0 dev flannel.1', 'neighbor 10.5.2.0 removed'],
    ['flushes neighbors', 'ip neigh flush dev flannel.1 nud permanent', 'neighbor 10.5.2.0 removed'],
    [
      'gives a neighbor another MAC',
      'ip neigh replace 10.5.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent',
      'neighbor 10.5.2.0 changed',
    ],
    [
      'makes a neighbor one that ages',
      'ip neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud reachable',
      'neighbor 10.5.2.0 changed',
    ],
    [
      'removes an FDB entry',
      'bridge fdb del 02:00:00:00:00:02 dev flannel.1 self',
      'fdb-entry 02:00:00:00:00:02 removed',
    ],
    [
      'leads an FDB entry elsewhere',
      'bridge fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.66 self permanent',
      'fdb-entry 02:00:00:00:00:02 now leads to 192.168.0.66',
    ],
    [
      'adds an FDB entry',
      'bridge fdb append 02:00:00:00:00:55 dev flannel.1 dst 192.168.0.66 self permanent',
      'fdb-entry 02:00:00:00:00:55 now leads to 192.168.0.66',
    ],
    [
      'removes our address',
      'ip addr del 10.5.1.0/32 dev flannel.1',
      'address 10.5.1.0/32 of flannel.1 removed',
    ],
    ['changes the MTU', 'ip link set flannel.1 mtu 1300', 'link flannel.1 changed: mtu 1450 → 1300'],
    [
      'changes the MAC',
      'ip link set flannel.1 address 02:00:00:00:00:aa',
      'link flannel.1 changed: mac 02:00:00:00:00:01 → 02:00:00:00:00:aa',
    ],
    ['takes the link down', 'ip link set flannel.1 down', 'link flannel.1 changed: up true → false'],
    [
      'changes its vxlan parameters',
      'ip link set flannel.1 type vxlan learning',
      'link flannel.1 changed: vxlan parameters',
    ],
    ['removes the link', 'ip link del flannel.1', 'link flannel.1 removed'],
    ['takes the underlay down', 'ip link set eth0 down', 'underlay eth0 changed: up true → false'],
    ['unplugs the underlay', 'ip link set vk-peer down', 'underlay eth0 changed: carrier'],
    [
      'changes the MTU of the underlay',
      'ip link set eth0 mtu 1400',
      'underlay eth0 changed: mtu 1500 → 1400',
    ],
    [
      'adds an address to the underlay',
      'ip addr add 192.168.0.5/24 dev eth0',
      'address 192.168.0.5/24 of eth0 changed',
    ],
    ['removes its address', 'ip addr del 192.168.0.1/24 dev eth0', 'address 192.168.0.1/24 of eth0 removed'],
    ['removes the underlay', 'ip link del eth0', 'underlay eth0 removed'],
  ])('%s', async (_what, command, change) => {
    sh(command);
    await probe.until(change, ({ changes }) => changes.includes(change));
    // A route that is not ours may go before one that is.
    const others = probe.notices.filter(({ kind }) => kind !== 'changed' && kind !== 'routing');
    expect(others).toEqual([]);
  });

  test('takes the underlay down and up by another name', async () => {
    sh('ip link set eth0 down');
    sh('ip link set eth0 name vk-other');
    sh('ip link set vk-other up');
    await probe.until('the new name', ({ changes }) =>
      changes.includes('underlay eth0 changed: name eth0 → vk-other'),
    );
    probe.notices.splice(0);
    sh('ip link set vk-other mtu 1400');
    await probe.until('a change under the new name', ({ changes }) =>
      changes.includes('underlay vk-other changed: mtu 1500 → 1400'),
    );
  });

  test('removes the underlay and makes it anew', async () => {
    sh('ip link del eth0');
    await probe.until('the end of both', ({ changes }) =>
      ['link flannel.1 removed', 'underlay eth0 removed'].every((change) => changes.includes(change)),
    );
    const remade = makeUnderlay();
    await probe.until('the new one', ({ changes }) => changes.includes('underlay eth0 is there again'));
    expectDone(kernel.applyNow([...exampleBase(remade), ...PEER].map(put)));
    await mark();
    probe.notices.splice(0);
    sh('ip link set eth0 mtu 1400');
    await probe.until('a change of the new one', ({ changes }) =>
      changes.includes('underlay eth0 changed: mtu 1500 → 1400'),
    );
  });

  test('renames the link', async () => {
    sh('ip link set flannel.1 down');
    sh('ip link set flannel.1 name vk-x');
    await probe.until('that it is gone', ({ changes }) => changes.includes('link flannel.1 renamed to vk-x'));
    await mark();
    probe.notices.splice(0);
    sh('ip link set vk-x up');
    sh('ip neigh add 10.5.2.0 lladdr 02:00:00:00:00:09 dev vk-x nud permanent');
    await mark();
    expect(probe.notices).toEqual([]);
  });

  test('makes a link of our name', async () => {
    sh('ip link del flannel.1');
    sh('ip link add flannel.1 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472');
    await probe.until('the new link', ({ changes }) => changes.includes('link flannel.1 made anew'));
    sh('ip link set flannel.1 up');
    await probe.until('that it is up', ({ changes }) =>
      changes.includes('link flannel.1 changed: up false → true'),
    );
  });

  test('does something that does not concern us: then it is not told', async () => {
    for (const command of [
      'ip link add vk-bridge type bridge',
      'ip link set vk-bridge up',
      'ip link set vk-peer master vk-bridge',
      'ip link set vk-peer nomaster',
      'ip addr add 172.30.0.1/16 dev vk-bridge',
      'ip neigh add 172.30.0.2 lladdr 02:00:00:00:00:31 dev vk-bridge nud permanent',
      'ip neigh add 192.168.0.9 lladdr 02:00:00:00:00:31 dev eth0 nud permanent',
      'ip route add 172.31.0.0/16 via 172.30.0.2',
      'ip route del 172.31.0.0/16',
      'ip route add 172.31.0.0/16 via 172.30.0.2 table 77',
      'ip rule add from 172.30.0.0/16 lookup 77',
      'ip rule del from 172.30.0.0/16 lookup 77',
      'ip link set eth0 txqueuelen 77',
      'bridge fdb add 02:00:00:00:00:66 dev vk-peer self',
      'ip link del vk-bridge',
    ])
      sh(command);
    // The kernel's own way with neighbors: learned ones that are used, and foreign ones that are resolved.
    expectDone(kernel.applyNow([put(neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned'))]));
    await sendPacket(ipAddress('10.5.2.9'));
    await sendPacket(ipAddress('192.168.0.77'));
    await mark();
    expect(probe.notices.filter(({ kind }) => kind !== 'interfaces')).toEqual([]);
  });

  test('leads packets of the network elsewhere: then just that is told, once at a time', async () => {
    for (const command of [
      'ip route add 10.5.77.0/24 dev eth0 proto bird',
      'ip route add 10.5.78.0/24 dev eth0 proto 84 table 77',
      'ip route del 10.5.78.0/24 table 77',
      'ip route add 10.5.78.0/24 dev eth0 proto 84 tos 0x10',
      'ip rule add to 10.5.78.0/24 lookup 77 pref 1000',
      'ip rule del pref 1000',
    ]) {
      sh(command);
      await probe.until(command, ({ notices }) => notices.length > 0);
      await mark();
      expect([command, probe.notices.splice(0)]).toEqual([command, [{ kind: 'routing' }]]);
    }
  });

  test('gives a bridge an address, or takes it away, or takes it up or down: then just that is told', async () => {
    sh('ip link add vk-bridge type bridge');
    await mark();
    expect(probe.notices).toEqual([]);
    sh('ip addr add 172.30.0.1/16 dev vk-bridge');
    await mark();
    expect(probe.notices).toEqual([{ kind: 'interfaces' }]);
    sh('ip addr del 172.30.0.1/16 dev vk-bridge');
    await mark();
    expect(probe.notices).toEqual([{ kind: 'interfaces' }, { kind: 'interfaces' }]);
    for (const state of ['up', 'down']) {
      probe.notices.length = 0;
      sh(`ip link set vk-bridge ${state}`);
      await mark();
      expect(probe.notices).toEqual([{ kind: 'interfaces' }]);
    }
    sh('ip link del vk-bridge');
  });
});

test('of thousands of foreign changes of routes and rules outside of the network not one reaches this process', async () => {
  const heard: string[] = [];
  const { ROUTE } = Protocol;
  const { IPV4_ROUTE, IPV4_RULE } = MulticastGroups;
  const monitor = openMonitor(
    {
      protocol: ROUTE,
      groups: [IPV4_ROUTE, IPV4_RULE],
      receiveBufferBytes: 1 << 20,
      filter: notificationFilter(1, SCOPE.networks),
    },
    (messages) =>
      messages &&
      eachMessage(messages, (message) =>
        heard.push(printSubnet(parseRoute(message)?.destination ?? subnet('0.0.0.0/0'))),
      ),
  );
  const each = (words: (n: number) => string) =>
    Array.from({ length: 1_000 }, (_, n) => `${words(n)}\n`).join('');
  const place = (n: number) => `10.${6 + (n >> 8)}.${n & 255}.0/24`;
  for (const verb of ['add', 'del']) {
    sh(
      'ip -batch -',
      each((n) => `route ${verb} ${place(n)} via 192.168.0.254`),
    );
    sh(
      'ip -batch -',
      each((n) => `route ${verb} ${place(n)} via 192.168.0.254 proto bird table 100`),
    );
    sh(
      'ip -batch -',
      each((n) => `rule ${verb} from ${place(n)} lookup 100 pref ${1_000 + n}`),
    );
  }
  sh('ip route add 10.5.77.0/24 via 192.168.0.254');
  await until('what comes after them', () => heard.length > 0);
  monitor.close();
  expect(heard).toEqual(['10.5.77.0/24']);
});

test('a default route that comes or goes is told of, whoever makes it', async () => {
  sh('ip route add default via 192.168.0.253 dev eth0 proto dhcp metric 100');
  await mark();
  expect(probe.notices).toEqual([{ kind: 'interfaces' }]);
  sh('ip route del default via 192.168.0.253 dev eth0 proto dhcp metric 100');
  sh('ip route add 198.51.100.0/24 via 192.168.0.253 dev eth0 proto dhcp');
  await mark();
  expect(probe.notices).toEqual([{ kind: 'interfaces' }, { kind: 'interfaces' }]);
});

test('forwarding that is switched is told of, whichever interface it is for, and no other setting', async () => {
  const set = (path: string, value: string) => writeFileSync(`/proc/sys/net/ipv4/${path}`, value);
  const [before] = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8');
  const other = before === '0' ? '1' : '0';
  set('ip_forward', other);
  await mark();
  expect(probe.notices).toEqual([{ kind: 'interfaces' }]);
  set('conf/eth0/forwarding', before!);
  await mark();
  expect(probe.notices).toHaveLength(2);
  set('conf/eth0/rp_filter', '1');
  set('ip_forward', other);
  sh('ip link add vk-veth type veth peer name vk-veth2');
  await mark();
  expect(probe.notices).toHaveLength(2);
  set('ip_forward', before!);
  await mark();
  sh('ip link del vk-veth');
});

test('misses are heard on a link that is made after listening began, and on the next one', async () => {
  for (let round = 0; round < 3; round++) {
    expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
    await sendPacket(ipAddress(`10.5.2.${round}`));
    await probe.until('the miss', ({ misses }) => misses.includes(`l3 10.5.2.${round}`));
    expectDone(kernel.applyNow([remove(exampleLink(underlay))]));
  }
});

test('an overrun is told, what was lost can be read, and listening goes on', async () => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  const lines = Array.from(
    { length: 60_000 },
    (_, n) =>
      `neigh replace 10.5.${n % 250}.1 lladdr 02:00:00:00:00:${10 + ((n / 250) & 63)} dev ${LINK} nud permanent`,
  );
  // Blocks this process, so that it cannot read what the kernel tells meanwhile.
  sh('ip -batch -', lines.join('\n') + '\n');
  await sendPacket(ipAddress('10.5.253.5'));
  await probe.until('the overrun', ({ notices }) => notices.some(({ kind }) => kind === 'overrun'));
  expect(await kernel.pendingMisses(LINK, signal)).toContainEqual({ layer: 'l3', address: '10.5.253.5' });
  expect(probe.notices.at(-1)).toEqual({ kind: 'overrun' });
  sh(`ip route add 10.5.2.0/24 via 10.5.2.0 dev ${LINK} onlink proto 84`);
  await probe.until('what comes after it', ({ changes }) => changes.includes('route 10.5.2.0/24 changed'));
  await sendPacket(ipAddress('10.5.254.5'));
  await probe.until('a miss after it', ({ misses }) => misses.includes('l3 10.5.254.5'));
});

test('closing twice is no error; what is closed refuses to work', () => {
  const stop = new AbortController();
  kernel.listen(SCOPE, () => undefined, stop.signal);
  stop.abort();
  kernel.close();
  expect(() => kernel.close()).not.toThrow();
  expect(() => kernel.applyNow([put(peerRoute('10.5.2.0/24', 3))])).toThrow(/cannot ask the kernel/);
});

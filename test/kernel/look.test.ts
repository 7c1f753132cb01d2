import { desiredUnder } from '../../src/core/desired';
import { plan } from '../../src/core/plan';
import { ipAddress, subnet } from '../../src/model/address';
import { keyOf, nameOf, type KernelObject, type Route } from '../../src/model/kernel-state';
import type { NetworkInterface } from '../../src/model/network-interface';
import { MutablePeerTable } from '../../src/model/peer';
import type { Kernel } from '../../src/ports';
import { exampleOverlay, examplePeer } from '../support/examples';
import {
  NETWORK,
  NETWORK6,
  PEER,
  SCOPE,
  exampleBase,
  expectDone,
  peerRoute,
  printed,
  put,
} from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { sh } from './private-namespace';

const signal = new AbortController().signal;
const [, , ROUTE] = PEER as readonly [KernelObject, KernelObject, Route];

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

beforeEach(() => expectDone(kernel.applyNow([...exampleBase(underlay), ...PEER].map(put))));

const look = async (object: KernelObject = ROUTE) =>
  (await kernel.look([nameOf(object)!], SCOPE, signal))!.get(keyOf(object));

/** What is done about the peer's route, with the peer in the table or not, and what is there after that. */
async function settle({ isPeer }: { isPeer: boolean }) {
  const names = new Map([[keyOf(ROUTE), nameOf(ROUTE)!]]);
  const actual = (await kernel.look([nameOf(ROUTE)!], SCOPE, signal))!;
  const peers = new MutablePeerTable(isPeer ? [examplePeer(2)] : []);
  const operations = plan(desiredUnder(names, exampleOverlay(), peers, actual), actual);
  expectDone(await kernel.apply(operations, signal));
  return sh('ip -N route show 10.5.2.0/24 proto 84').trim().replace(/ +/g, ' ');
}

const OURS = '10.5.2.0/24 via 10.5.2.0 dev flannel.1 metric 3 onlink';

describe('a route that another one hides', () => {
  const HIDDEN: readonly (readonly [what: string, commands: readonly string[]])[] = [
    ['of the same prefix and a lower metric', ['ip route add 10.5.2.0/24 via 192.168.0.7 dev eth0']],
    ['of a longer prefix', ['ip route add 10.5.2.0/32 via 192.168.0.7 dev eth0']],
    ['that is unreachable', ['ip route add unreachable 10.5.2.0/32']],
    ['of another table', ['ip route add 10.5.2.0/23 dev eth0 table 77', 'ip rule add pref 7 lookup 77']],
    ['that a rule forbids', ['ip rule add pref 7 prohibit']],
  ];

  afterEach(() => {
    for (const rule of sh('ip rule show pref 7').trim().split('\n')) if (rule) sh('ip rule del pref 7');
  });

  test.each(HIDDEN)('%s counts as one that fits nothing', async (_what, commands) => {
    for (const command of commands) sh(command);
    expect(await look()).toMatchObject({ gateway: undefined });
  });

  test.each(HIDDEN)('%s is put all the same, and removed', async (_what, commands) => {
    for (const command of commands) sh(command);
    expect(await settle({ isPeer: true })).toBe(OURS);
    sh('ip route del 10.5.2.0/24 proto 84');
    expect(await settle({ isPeer: true })).toBe(OURS);
    expect(await settle({ isPeer: false })).toBe('');
    expect(await settle({ isPeer: false })).toBe('');
  });
});

test.each([
  ['an MTU', 'mtu lock 600'],
  ['a hop limit', 'hoplimit 1'],
  ['an encapsulation of its own', 'encap ip id 5 dst 192.0.2.9'],
])('a route of ours that somebody gave %s is made anew', async (_what, words) => {
  const way = 'via 10.5.2.0 dev flannel.1 onlink proto 84 metric 3';
  const whole = words.startsWith('encap') ? `${words} ${way}` : `${way} ${words}`;
  sh(`ip route replace 10.5.2.0/24 ${whole}`);
  expect(await look()).toMatchObject({ gateway: undefined });
  const observed = (await kernel.observe(SCOPE, signal)).get(keyOf(ROUTE));
  expect(observed).toMatchObject({ link: undefined, gateway: undefined });
  expect(await settle({ isPeer: true })).toBe(OURS);
});

test('a neighbor that the kernel is never to ask for is told, whoever made it, and can be removed', async () => {
  const stray = { kind: 'neighbor', link: 'flannel.1', address: ipAddress('10.5.2.7') } as const;
  sh('ip neigh add 10.5.2.7 lladdr 02:00:00:00:00:99 dev flannel.1 nud noarp');
  const found = await look(stray as KernelObject);
  expect(found).toMatchObject({ state: 'noarp', mac: '02:00:00:00:00:99' });
  expectDone(kernel.applyNow([{ verb: 'remove', object: found! }]));
  expect(await look(stray as KernelObject)).toBeUndefined();
});

test('a route with a higher metric hides none', async () => {
  sh('ip route add 10.5.2.0/24 via 192.168.0.7 dev eth0 metric 7');
  expect(await look()).toEqual(ROUTE);
  sh('ip route del 10.5.2.0/24 proto 84');
  expect(await look()).toBeUndefined();
});

test('several of one name are known from the last observation, and none of them is left', async () => {
  sh('ip route append 10.5.2.0/24 via 10.5.7.0 dev flannel.1 proto 84 metric 3 onlink');
  expect(await look()).toEqual(ROUTE);
  await kernel.observe(SCOPE, signal);
  expect(await look()).toMatchObject({ gateway: undefined });
  expect(await settle({ isPeer: true })).toBe(OURS);
});

test('our route on another link is in the way, and goes', async () => {
  sh('ip route replace 10.5.2.0/24 dev eth0 proto 84 metric 3');
  expect(await look()).toMatchObject({ link: undefined, gateway: undefined });
  expect(await settle({ isPeer: true })).toBe(OURS);
  sh('ip route replace 10.5.2.0/24 dev eth0 proto 84 metric 3');
  expect(await settle({ isPeer: false })).toBe('');
});

test("flannel's route is told as an observation tells it", async () => {
  const flannels = peerRoute('10.5.4.0/24', 0, { protocol: 3 });
  sh('ip route add 10.5.4.0/24 via 10.5.4.0 dev flannel.1 onlink');
  expect(await look(flannels)).toEqual(flannels);
});

test('what is learned is told with how long it has not been used', async () => {
  sh('ip neigh replace 10.5.3.0 dev flannel.1 lladdr 02:00:00:00:00:03 nud stale extern_learn');
  const name = { kind: 'neighbor', link: SCOPE.link, address: ipAddress('10.5.3.0') } as const;
  const found = (await kernel.look([name], SCOPE, signal))!.get(keyOf(name));
  const observed = (await kernel.observe(SCOPE, signal)).get(keyOf(name));
  expect(found).toMatchObject({ state: 'learned', idleMilliseconds: expect.any(Number) as number });
  expect(printed([found!])).toEqual(printed([observed!]));
});

test('neighbors and routes of IPv6 are told, too', async () => {
  sh('ip addr add fd05::1/128 dev flannel.1 nodad');
  const mac = examplePeer(2).vtepMac;
  const neighbor = {
    kind: 'neighbor',
    link: SCOPE.link,
    address: ipAddress('fd05:0:0:2::'),
    mac,
    state: 'permanent',
  } as const;
  const route = peerRoute('fd05:0:0:2::/64', 3);
  expectDone(kernel.applyNow([neighbor, route].map(put)));
  const scope = { link: SCOPE.link, networks: [NETWORK, NETWORK6] };
  const names = [neighbor, route].map((object) => nameOf(object)!);
  expect(printed((await kernel.look(names, scope, signal))!)).toEqual(printed([neighbor, route]));
});

test('what it tells is what an observation tells, object by object', async () => {
  const state = await kernel.observe(SCOPE, signal);
  const named = [...state.values()].filter((object) => nameOf(object));
  const looked = await kernel.look(
    named.map((object) => nameOf(object)!),
    SCOPE,
    signal,
  );
  expect(printed(looked!)).toEqual(printed(named));
  expect(subnet('10.5.2.0/24')).toEqual(ROUTE.destination);
});

import type { Needed } from '../../src/core/effective-routes';
import { RouteWatcher } from '../../src/engine/route-watcher';
import { desiredState } from '../../src/core/desired';
import { ipAddress, subnet } from '../../src/model/address';
import { KernelError } from '../../src/model/errors';
import type { Overlay } from '../../src/model/overlay';
import { MutablePeerTable, type Peer } from '../../src/model/peer';
import type { RouteEntry, RoutingRule } from '../../src/model/routing';
import type { NetworkInterface } from '../../src/model/network-interface';
import { ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { USUAL_RULES, ruleOf } from '../support/fake-routing';
import { foreignRoute, put } from '../support/kernel-contract';

const DOCKER: NetworkInterface = {
  ...FAKE_UNDERLAY,
  name: 'docker0',
  index: 20,
  kind: 'bridge',
  addresses: [{ ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress('10.5.1.1'), prefixLength: 24 }],
};
const AWAY = 'via 192.168.0.254 dev eth0';

let kernel: FakeKernel;
let clock: FakeClock;
let log: FakeLog;
let watcher: RouteWatcher;
let stop: AbortController;
let running: Promise<void>;
let peers: Peer[];
let needed: Needed[] = [];

async function start(overlay: Overlay = exampleOverlay(), count = 5) {
  [kernel, clock, log, stop] = [new FakeKernel(), new FakeClock(), new FakeLog(), new AbortController()];
  kernel.networkInterfaces = [FAKE_UNDERLAY, DOCKER];
  peers = Array.from({ length: count }, (_, n) => examplePeer(n + 2));
  const programmed = overlay.resolve.kind === 'preload' ? peers : [];
  expect(kernel.applyNow([...desiredState(overlay, programmed, []).values()].map(put))).toEqual([]);
  watcher = new RouteWatcher(kernel, clock, log, () => ({
    overlay,
    peers: new MutablePeerTable(peers),
    needed,
  }));
  kernel.listen(
    { link: 'flannel.1', networks: [overlay.network] },
    () => watcher.routingChanged(),
    stop.signal,
  );
  running = watcher.run(stop.signal);
  watcher.audit();
  await clock.advance(1_000);
}

const set = async (routes: RouteEntry[], rules: RoutingRule[] = []) => {
  kernel.changeRouting({ routes, rules: [...USUAL_RULES, ...rules] });
  await clock.advance(1_000);
};
const complaint = () => watcher.trouble?.complaint;

beforeEach(() => start());
afterEach(async () => {
  needed = [];
  stop.abort();
  await running;
});

it('where nothing of others is in the way, nothing is said', async () => {
  expect(complaint()).toBeUndefined();
  await set([foreignRoute('10.5.9.0/24'), foreignRoute('10.5.2.0/24', { metric: 999 })]);
  await set([foreignRoute('0.0.0.0/0', { table: 52 })], [ruleOf(5270, 52, { isNarrow: true })]);
  expect(complaint()).toBeUndefined();
  expect(log.lines).toEqual([]);
});

describe('what is in the way is named, with what to do, and it is said once and when it is over:', () => {
  it.each<[string, RouteEntry[], RoutingRule[], string]>([
    [
      'a better metric',
      [foreignRoute('10.5.3.0/24')],
      [],
      `packets for peer 10.5.3.0/24 take another way than ours: they go by the route '10.5.3.0/24 ${AWAY}'; remove it, if it is not meant: ip route del 10.5.3.0/24 ${AWAY}`,
    ],
    [
      'the route of another overlay',
      [
        foreignRoute('10.5.3.0/24', {
          protocol: 84,
          hops: [{ link: 'flannel.9', gateway: ipAddress('10.5.3.0') }],
        }),
      ],
      [],
      "packets for peer 10.5.3.0/24 take another way than ours: they go by the route '10.5.3.0/24 via 10.5.3.0 dev flannel.9'; remove it, if it is not meant: ip route del 10.5.3.0/24 via 10.5.3.0 dev flannel.9",
    ],
    [
      'a longer prefix, also behind the first address',
      [foreignRoute('10.5.3.64/27')],
      [],
      `packets for peer 10.5.3.0/24 take another way than ours: they go by the route '10.5.3.64/27 ${AWAY}'; remove it, if it is not meant: ip route del 10.5.3.64/27 ${AWAY}`,
    ],
    [
      'a network of a bridge, and not each of its addresses',
      [
        foreignRoute('10.5.3.0/24', { protocol: 2, hops: [{ link: 'br-77', gateway: undefined }] }),
        foreignRoute('10.5.3.1/32', {
          protocol: 2,
          type: 'local',
          table: 255,
          hops: [{ link: 'br-77', gateway: undefined }],
        }),
      ],
      [],
      'packets for peer 10.5.3.0/24 take another way than ours: they go to br-77, which has the network 10.5.3.0/24; remove br-77, or give it a subnet outside of 10.5.0.0/16',
    ],
    [
      'a single address of this host',
      [
        foreignRoute('10.5.3.9/32', {
          protocol: 2,
          type: 'local',
          table: 255,
          hops: [{ link: 'lo', gateway: undefined }],
        }),
      ],
      [],
      'packets for peer 10.5.3.0/24 take another way than ours: they stay on this host: 10.5.3.9/32 is an address of it (lo); give lo an address outside of 10.5.0.0/16',
    ],
    [
      'a black hole',
      [foreignRoute('10.5.3.0/24', { type: 'blackhole', hops: [] })],
      [],
      "packets for peer 10.5.3.0/24 take another way than ours: they end at the route 'blackhole 10.5.3.0/24'; remove it, if it is not meant: ip route del blackhole 10.5.3.0/24",
    ],
    [
      'several links',
      [
        foreignRoute('10.5.3.0/24', {
          hops: [
            { link: 'eth0', gateway: ipAddress('192.168.0.253') },
            { link: 'eth0', gateway: ipAddress('192.168.0.254') },
          ],
        }),
      ],
      [],
      "packets for peer 10.5.3.0/24 take another way than ours: they go by the route '10.5.3.0/24 nexthop via 192.168.0.253 dev eth0 nexthop via 192.168.0.254 dev eth0'; remove it, if it is not meant: ip route del 10.5.3.0/24 nexthop via 192.168.0.253 dev eth0 nexthop via 192.168.0.254 dev eth0",
    ],
    [
      'a rule for all peers',
      [foreignRoute('0.0.0.0/0', { table: 100 })],
      [ruleOf(1000, 100, { destination: subnet('10.5.0.0/16') })],
      `packets for 5 peers (10.5.2.0/24, 10.5.3.0/24, 10.5.4.0/24 and 2 more), and packets of other hosts for our subnet 10.5.1.0/24 take another way than ours: they go by the route '0.0.0.0/0 ${AWAY} table 100', because of the rule '1000: from all to 10.5.0.0/16 lookup 100'; remove the rule, if it is not meant: ip rule del pref 1000; or put one for the network before it`,
    ],
    [
      'a rule for containers alone',
      [foreignRoute('10.5.4.0/24', { table: 100 })],
      [ruleOf(1000, 100, { input: 'docker0' })],
      `packets of containers behind docker0 for peer 10.5.4.0/24 take another way than ours: they go by the route '10.5.4.0/24 ${AWAY} table 100', because of the rule '1000: from all iif docker0 lookup 100'; remove the rule, if it is not meant: ip rule del pref 1000; or put one for the network before it`,
    ],
    [
      'a rule that prohibits',
      [],
      [ruleOf(1000, 0, { action: 'prohibit', destination: subnet('10.5.3.0/24') })],
      "packets for peer 10.5.3.0/24 take another way than ours: they end at the rule '1000: from all to 10.5.3.0/24 prohibit'; remove it, if it is not meant: ip rule del pref 1000",
    ],
    [
      'a route by our own link without a gateway: the kernel would ask for each address',
      [foreignRoute('10.5.3.0/24', { hops: [{ link: 'flannel.1', gateway: undefined }] })],
      [],
      "packets for peer 10.5.3.0/24 take another way than ours: they go by the route '10.5.3.0/24 dev flannel.1'; remove it, if it is not meant: ip route del 10.5.3.0/24 dev flannel.1",
    ],
    [
      'a rule for one container',
      [foreignRoute('0.0.0.0/0', { table: 100 })],
      [ruleOf(1000, 100, { source: subnet('10.5.1.7/32') })],
      `packets of containers of 10.5.1.7/32 behind docker0 for 5 peers (10.5.2.0/24, 10.5.3.0/24, 10.5.4.0/24 and 2 more) take another way than ours: they go by the route '0.0.0.0/0 ${AWAY} table 100', because of the rule '1000: from 10.5.1.7/32 lookup 100'; remove the rule, if it is not meant: ip rule del pref 1000; or put one for the network before it`,
    ],
    [
      'a rule for what comes from one peer',
      [],
      [ruleOf(1000, 0, { action: 'prohibit', source: subnet('10.5.4.0/24') })],
      "packets of peer 10.5.4.0/24 for our subnet 10.5.1.0/24 take another way than ours: they end at the rule '1000: from 10.5.4.0/24 prohibit'; remove it, if it is not meant: ip rule del pref 1000",
    ],
    [
      'a rule that passes over the main table',
      [],
      [ruleOf(1000, 0, { action: 'goto', target: 32_767, destination: subnet('10.5.4.0/24') })],
      "packets for peer 10.5.4.0/24 take another way than ours: they find no route: the rule '1000: from all to 10.5.4.0/24 goto 32767' passes over ours; remove it, if it is not meant: ip rule del pref 1000",
    ],
    [
      'such a rule, and another table behind',
      [foreignRoute('0.0.0.0/0', { table: 253 })],
      [ruleOf(1000, 0, { action: 'goto', target: 32_767, destination: subnet('10.5.4.0/24') })],
      `packets for peer 10.5.4.0/24 take another way than ours: they go by the route '0.0.0.0/0 ${AWAY} table 253', because of the rule '1000: from all to 10.5.4.0/24 goto 32767'; remove the rule, if it is not meant: ip rule del pref 1000; or put one for the network before it`,
    ],
    [
      'a prefix that somebody made local',
      [
        foreignRoute('10.5.3.0/24', {
          type: 'local',
          table: 255,
          hops: [{ link: 'lo', gateway: undefined }],
        }),
      ],
      [],
      "packets for peer 10.5.3.0/24 take another way than ours: they go by the route 'local 10.5.3.0/24 dev lo table local'; remove it, if it is not meant: ip route del local 10.5.3.0/24 dev lo table local",
    ],
    [
      'a route by a nexthop object of which the kernel does not tell more',
      [foreignRoute('10.5.3.0/24', { hops: [{ link: undefined, gateway: undefined, nexthopId: 5 }] })],
      [],
      "packets for peer 10.5.3.0/24 take another way than ours: they go by the route '10.5.3.0/24 nhid 5'; remove it, if it is not meant: ip route del 10.5.3.0/24 nhid 5",
    ],
    [
      'another network of our own bridge, which is not to be removed',
      [foreignRoute('10.5.3.0/24', { protocol: 2, hops: [{ link: 'docker0', gateway: undefined }] })],
      [],
      'packets for peer 10.5.3.0/24 take another way than ours: they go to docker0, which has the network 10.5.3.0/24; remove its address of that network: ip address del … dev docker0',
    ],
    [
      'a network of the underlay in ours',
      [foreignRoute('10.5.3.0/24', { protocol: 2, hops: [{ link: 'eth0', gateway: undefined }] })],
      [],
      'packets for peer 10.5.3.0/24 take another way than ours: they go to eth0, which has the network 10.5.3.0/24; remove its address of that network: ip address del … dev eth0',
    ],
    [
      'a route to our own subnet',
      [foreignRoute('10.5.1.128/25')],
      [],
      `packets of other hosts for our subnet 10.5.1.0/24 take another way than ours: they go by the route '10.5.1.128/25 ${AWAY}'; remove it, if it is not meant: ip route del 10.5.1.128/25 ${AWAY}`,
    ],
  ])('%s', async (_what, routes, rules, sentence) => {
    await set(routes, rules);
    expect(complaint()).toBe(sentence);
    expect(log.messages('warn')).toEqual(['packets for peers do not go by our routes']);
    await clock.advance(3_600_000);
    expect(log.messages('warn', 'info')).toHaveLength(1);
    await set([]);
    expect(complaint()).toBeUndefined();
    expect(log.messages('info')).toEqual(['packets for all peers go by our routes again']);
  });
});

it('Docker’s bridge with the subnet that we had before is to be made anew, not to be removed', async () => {
  kernel.networkInterfaces = [FAKE_UNDERLAY];
  await set([foreignRoute('10.5.3.0/24', { protocol: 2, hops: [{ link: 'docker0', gateway: undefined }] })]);
  expect(complaint()).toContain('which has the network 10.5.3.0/24; restart Docker with what');
});

it('a main table that no rule leads these packets to is named', async () => {
  const some = ruleOf(32_766, 254, { source: subnet('192.168.0.0/24') });
  kernel.changeRouting({ routes: [], rules: [USUAL_RULES[0]!, some, USUAL_RULES[2]!] });
  await clock.advance(1_000);
  expect(complaint()).toMatch(
    /^packets for 5 peers .* take another way than ours, and|they find no route: no rule leads them to the table main, where ours are; add one: ip rule add pref 32766 lookup main$/,
  );
  kernel.changeRouting({ routes: [], rules: USUAL_RULES });
  await clock.advance(1_000);
  expect(complaint()).toBeUndefined();
});

it('a main table whose routes are passed over for their length is named', async () => {
  const some = ruleOf(32_766, 254, { suppressedLength: 24 });
  kernel.changeRouting({ routes: [], rules: [USUAL_RULES[0]!, some, USUAL_RULES[2]!] });
  await clock.advance(1_000);
  expect(complaint()).toMatch(
    /^packets for 5 peers .* find no route: the rule '32766: from all lookup main suppress_prefixlength 24' passes over ours; /,
  );
  const others = ruleOf(32_766, 254, { suppressedLength: 0 });
  kernel.changeRouting({ routes: [], rules: [USUAL_RULES[0]!, others, USUAL_RULES[2]!] });
  await clock.advance(1_000);
  expect(complaint()).toBeUndefined();
});

it('a route that comes and goes all the time is told of in the log now and then, and in status as it is', async () => {
  for (let n = 0; n < 60; n++) {
    await set(n % 2 === 0 ? [foreignRoute('10.5.3.0/24')] : []);
    expect(complaint() === undefined).toBe(n % 2 === 1);
  }
  expect(log.lines.length).toBeLessThanOrEqual(8);
});

it('a route that is gone with its interface, of which the kernel does not tell, is over within seconds', async () => {
  await set([foreignRoute('10.5.3.0/24')]);
  kernel.foreignRoutes = [];
  await clock.advance(6_000);
  expect(complaint()).toBeUndefined();
});

it('a peer that comes where a foreign route is already is named, and nothing is read anew for it', async () => {
  await set([foreignRoute('10.5.200.0/24')]);
  expect(complaint()).toBeUndefined();
  const { routing } = kernel.routingReads;
  peers.push(examplePeer(200));
  watcher.peersChanged();
  await clock.advance(1_000);
  expect(complaint()).toMatch(
    /^packets for peer 10\.5\.200\.0\/24 take another way than ours: they go by the route/,
  );
  expect(kernel.routingReads.routing).toBe(routing);
});

it('on demand, a route that keeps the kernel from asking is in the way, too', async () => {
  stop.abort();
  await running;
  await start(exampleOverlay({ resolve: ON_DEMAND }));
  expect(complaint()).toBeUndefined();
  await set([foreignRoute('10.5.0.0/20')]);
  expect(complaint()).toMatch(
    /^packets for 5 peers .* take another way than ours: they go by the route '10\.5\.0\.0\/20/,
  );
});

it('of 1000 peers it asks about those that a foreign route may concern, and about all at an audit', async () => {
  stop.abort();
  await running;
  await start(exampleOverlay({ network: subnet('10.0.0.0/8') }), 0);
  peers = Array.from({ length: 1_000 }, (_, n) => ({
    ...examplePeer(2),
    subnet: subnet(`10.${10 + (n >> 8)}.${n & 255}.0/24`),
  }));
  const asked = async (what: () => unknown) => {
    const { questions } = kernel.routingReads;
    what();
    await clock.advance(1_000);
    return kernel.routingReads.questions - questions;
  };
  await clock.advance(600_000);
  // As this host and as a container; and a few for what comes in.
  const own = 3;
  expect(await asked(() => watcher.audit())).toBe(2_000 + own);
  expect(await asked(() => watcher.routingChanged())).toBe(own);
  expect(await asked(() => kernel.changeRouting({ routes: [foreignRoute('10.11.7.0/24')] }))).toBe(2 + own);
});

it('of 1000 changes in a second it looks a few times', async () => {
  const { routing } = kernel.routingReads;
  for (let n = 0; n < 1_000; n++) {
    kernel.changeRouting({ routes: [foreignRoute(`10.5.77.${n & 255}/32`)] });
    await clock.advance(1);
  }
  expect(kernel.routingReads.routing - routing).toBeLessThanOrEqual(3);
});

it('what cannot be read is read again at the next audit', async () => {
  const read = jest.spyOn(kernel, 'routing').mockRejectedValueOnce(new KernelError('EINTR', 'interrupted'));
  await set([foreignRoute('10.5.3.0/24')]);
  expect(complaint()).toBeUndefined();
  watcher.audit();
  await clock.advance(1_000);
  expect(complaint()).toMatch(/10\.5\.3\.0\/24/);
  read.mockRestore();
});

describe('of what this host needs', () => {
  const need = async (...addresses: string[]) => {
    needed = addresses.map((address) => ({ address: ipAddress(address), what: 'a name server' }));
    watcher.audit();
    await clock.advance(1_000);
  };

  it('it is said once what the network hides, and that it does so no more', async () => {
    await need('10.5.77.2', '192.0.2.53');
    await clock.advance(30_000);
    watcher.audit();
    await clock.advance(1_000);
    expect(watcher.hidden?.complaint).toBe(
      'the network hides what this host needs: 10.5.77.2, a name server: in the network 10.5.0.0/16, and of no host, so it is looked for ' +
        'in the overlay; if it is elsewhere, configure another Network, or give it a route of its own: ip route add 10.5.77.2 via GATEWAY',
    );
    expect(log.messages('warn')).toEqual(['the network hides what this host needs']);
    expect(complaint()).toBeUndefined();
    await set([foreignRoute('10.5.77.2/32')]);
    expect(watcher.hidden).toBeUndefined();
    expect(log.messages('info')).toEqual(['what this host needs is not looked for in the overlay any more']);
  });

  it('a name server that is a container, here or at a peer, is not hidden', async () => {
    await need('10.5.1.53', '10.5.3.53');
    expect(watcher.hidden).toBeUndefined();
    peers = peers.filter(({ subnet: { address } }) => address !== '10.5.3.0');
    await need('10.5.3.53');
    expect(watcher.hidden?.complaint).toMatch(/10\.5\.3\.53, a name server/);
  });
});

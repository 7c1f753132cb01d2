/** What is said to override our routes, compared with the way of every single packet. */
import fc from 'fast-check';
import { desiredState } from '../../src/core/desired';
import {
  doubtfulInSteps,
  inquiriesInSteps,
  overridesInSteps,
  prefixesInSteps,
  sendersOf,
} from '../../src/core/effective-routes';
import { RouteIndex } from '../../src/core/route-index';
import { ipAddress, offsetAddress, printSubnet, subnet, subnetOf } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { Peer } from '../../src/model/peer';
import type { RouteAnswer, RouteEntry, RoutingRule } from '../../src/model/routing';
import { complete } from '../../src/model/steps';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import { exampleOverlay } from '../support/examples';
import { ruleOf } from '../support/fake-routing';
import { LINK, expectDone, foreignRoute, put } from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { reroutingCommandOf, sh } from './private-namespace';

const signal = new AbortController().signal;
const NETWORK = subnet('10.5.0.0/24');
const PEERS: Peer[] = [1, 2, 3, 4].map((n) => ({
  subnet: subnet(`10.5.0.${16 * n}/28`),
  publicIp: ipAddress(`192.168.0.${n + 1}`),
  vtepMac: macAddress(`02:00:00:00:01:0${n}`),
}));

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

/** Of the peers, of several, of one, and of parts of one. */
const prefixes = fc
  .record({ offset: fc.integer({ min: 16, max: 79 }), prefixLength: fc.integer({ min: 25, max: 32 }) })
  .map(({ offset, prefixLength }) => subnetOf(offsetAddress(NETWORK.address, BigInt(offset)), prefixLength))
  // What leads to our own subnet is asked about apart.
  .filter(({ prefixLength, address }) => prefixLength > 25 || address !== NETWORK.address);
const routes: fc.Arbitrary<RouteEntry> = fc
  .record({
    destination: prefixes,
    table: fc.constantFrom(254, 100),
    type: fc.constantFrom<RouteEntry['type']>(
      'unicast',
      'unicast',
      'blackhole',
      'unreachable',
      'prohibit',
      'throw',
    ),
    metric: fc.constantFrom(0, 4_000_000_000),
  })
  .map(({ type, ...rest }) =>
    foreignRoute('0.0.0.0/0', { type, ...rest, ...(type === 'unicast' ? {} : { hops: [] }) }),
  );
const rules: fc.Arbitrary<RoutingRule> = fc
  .record({
    destination: fc.option(prefixes, { nil: undefined }),
    input: fc.constantFrom(undefined, 'lo', 'docker0'),
    action: fc.constantFrom<RoutingRule['action']>(
      'lookup',
      'lookup',
      'lookup',
      'blackhole',
      'prohibit',
      'goto',
    ),
    priority: fc.integer({ min: 100, max: 32_000 }),
  })
  // One for everything that ends would also end what the questions rest on.
  .filter(({ action, destination }) => action === 'lookup' || destination !== undefined)
  .map(({ priority, action, ...rest }) =>
    ruleOf(priority, action === 'lookup' ? 100 : 0, {
      action,
      ...rest,
      ...(action === 'goto' ? { target: 32_767 } : {}),
    }),
  );

test('a peer is said to be overridden exactly where a packet for any of its addresses goes elsewhere', async () => {
  const { index } = underlay;
  const overlay = exampleOverlay({ network: NETWORK, subnet: subnet('10.5.0.0/28') });
  const here = { ...overlay, underlay: { ...overlay.underlay, index } };
  expectDone(kernel.applyNow([...desiredState(here, PEERS, []).values()].map(put)));
  sh('ip link add docker0 type bridge');
  sh('ip link set docker0 up');
  sh('ip address add 10.5.0.1/28 dev docker0');
  sh(
    'sysctl -qw net/ipv4/conf/docker0/forwarding=1 net/ipv4/conf/docker0/rp_filter=0 net/ipv4/conf/all/rp_filter=0',
  );
  const isOurs = (answer: RouteAnswer) =>
    answer.kind === 'route' && answer.route.hops.every(({ link }) => link === LINK);
  let overridden = 0;

  const compare = async () => {
    const senders = sendersOf(here, await kernel.interfaces(signal));
    expect(senders.map(({ kind }) => kind)).toEqual(['host', 'containers']);
    const routing = await kernel.routing({ link: LINK, networks: [NETWORK] }, signal);
    const subnets = PEERS.map((peer) => peer.subnet);
    const doubtful = complete(doubtfulInSteps(here, routing, subnets));
    const prefixes = complete(prefixesInSteps(routing));
    const inquiries = complete(inquiriesInSteps(doubtful, senders, prefixes));
    const answers = await kernel.routesOf(
      inquiries.map(({ question }) => question),
      signal,
    );
    const routes = complete(RouteIndex.inSteps(routing.routes));
    const bridges = new Set(['docker0']);
    const found = complete(overridesInSteps(here, routing.rules, routes, inquiries, answers, bridges));
    const said = found.map(({ target, sender }) => `${printSubnet(target)} ${sender.kind}`);
    const packets = subnets.flatMap((target) =>
      senders.flatMap(({ kind, source, input }) =>
        Array.from({ length: 16 }, (_, n) => ({
          name: `${printSubnet(target)} ${kind}`,
          question: { destination: offsetAddress(target.address, BigInt(n)), source, input },
        })),
      ),
    );
    const ways = await kernel.routesOf(
      packets.map(({ question }) => question),
      signal,
    );
    const lost = new Set(packets.filter((_, at) => !isOurs(ways[at]!)).map(({ name }) => name));
    overridden += lost.size;
    expect(said.sort()).toEqual([...lost].sort());
  };

  const changes = fc.record({
    routes: fc.uniqueArray(routes, {
      maxLength: 4,
      selector: ({ destination, table, metric }) => `${printSubnet(destination)} ${table} ${metric}`,
    }),
    rules: fc.uniqueArray(rules, { maxLength: 3, selector: ({ priority }) => priority }),
  });
  await fc.assert(
    fc.asyncProperty(changes, async (change) => {
      const all = [...change.routes, ...change.rules];
      try {
        for (const each of all) sh(reroutingCommandOf('add', each));
        await compare();
      } finally {
        for (const each of all) sh(reroutingCommandOf('del', each));
      }
    }),
    { numRuns: 60 },
  );
  expect(overridden).toBeGreaterThan(0);
});

test('a route by a nexthop object is told with what the kernel tells of that, or with its number', async () => {
  const hopsOf = async () => {
    const { routes } = await kernel.routing({ link: LINK, networks: [NETWORK] }, signal);
    return routes.find(({ destination }) => destination.prefixLength === 28)?.hops;
  };
  sh('ip nexthop add id 5 via 192.168.0.9 dev eth0');
  sh('ip route add 10.5.0.64/28 nhid 5');
  expect(await hopsOf()).toEqual([{ link: 'eth0', gateway: '192.168.0.9' }]);
  sh('sysctl -qw net/ipv4/nexthop_compat_mode=0');
  expect(await hopsOf()).toEqual([{ link: undefined, gateway: undefined, nexthopId: 5 }]);
});

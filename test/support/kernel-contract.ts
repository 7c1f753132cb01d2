/** What every Kernel promises: run on the fake and on Linux. */
import { ipAddress, printSubnet, subnet, type IpAddress, type Subnet } from '../../src/model/address';
import {
  ROUTE_PROTOCOL,
  BLACKHOLE_METRIC,
  UNREACHABLE_METRIC,
  kernelStateOf,
  keyOf,
  nameOf,
  printKernelObject,
  type FdbEntry,
  type KernelObject,
  type KernelState,
  type Link,
  type LinkAddress,
  type Neighbor,
  type NeighborParameters,
  type ObjectName,
  type Route,
} from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { FailedOperation, Operation } from '../../src/model/operation';
import type { Peer } from '../../src/model/peer';
import { MAIN_TABLE, type RouteAnswer, type RouteEntry, type RoutingRule } from '../../src/model/routing';
import type { Kernel, KernelNotice, Scope, StandingAnswers } from '../../src/ports';
import { ruleOf } from './fake-routing';
import { until } from './lab/until';

/** A network namespace for one test, with an underlay interface `eth0` that has 192.168.0.1/24 and is up. */
export interface KernelEnvironment {
  readonly kernel: Kernel;
  readonly underlay: NetworkInterface;
  /** Carries out an operation behind the kernel port's back, as an administrator with ip(8) would. */
  tamper(operation: Operation): Promise<void>;
  /** Adds or removes a route of any table, or a rule, likewise. */
  reroute(verb: 'add' | 'del', what: RouteEntry | RoutingRule): Promise<void>;
  /** Makes this host send a packet to an address of the overlay. */
  send(address: IpAddress): Promise<void>;
  close(): Promise<void>;
}

export const LINK = 'flannel.1';
export const NETWORK = subnet('10.5.0.0/16');
export const NETWORK6 = subnet('fd05::/48');
export const SCOPE: Scope = { link: LINK, networks: [NETWORK] };
export const SCOPE6: Scope = { link: LINK, networks: [NETWORK6] };
const BOOT_PROTOCOL = 3;

export function exampleLink(underlay: NetworkInterface, changes: Partial<Link> = {}): Link {
  return {
    kind: 'link',
    name: LINK,
    mac: macAddress('02:00:00:00:00:01'),
    mtu: 1450,
    up: true,
    vxlan: {
      vni: 1,
      local: underlay.addresses.find(({ scope }) => scope === 'global')?.address,
      underlayIndex: underlay.index,
      port: 8472,
      learning: false,
      gbp: false,
      l2miss: true,
    },
    ...changes,
  };
}

export function parametersOf(family: 'ipv4' | 'ipv6', changes: Partial<NeighborParameters> = {}) {
  const parameters: NeighborParameters = {
    kind: 'neighbor-parameters',
    link: LINK,
    family,
    appSolicit: 3,
    queueBytes: 8 << 20,
  };
  return { ...parameters, ...changes };
}

export function addressOf(text: string): LinkAddress {
  const [address, prefixLength] = text.split('/');
  return { kind: 'address', link: LINK, address: ipAddress(address!), prefixLength: Number(prefixLength) };
}

export function fdbEntryOf(mac: string, destination: string): FdbEntry {
  return {
    kind: 'fdb-entry',
    link: LINK,
    mac: macAddress(mac),
    destination: ipAddress(destination),
  };
}

export function neighborOf(address: string, mac: string, state: Neighbor['state'] = 'permanent'): Neighbor {
  return { kind: 'neighbor', link: LINK, address: ipAddress(address), mac: macAddress(mac), state };
}

export function failedNeighbor(address: string): Neighbor {
  return { kind: 'neighbor', link: LINK, address: ipAddress(address), mac: undefined, state: 'failed' };
}

/** A peer's route: via the first address of its subnet. */
export function peerRoute(text: string, metric: number, changes: Partial<Route> = {}): Route {
  const destination = subnet(text);
  return {
    kind: 'route',
    type: 'unicast',
    destination,
    link: LINK,
    gateway: destination.address,
    source: undefined,
    metric,
    protocol: ROUTE_PROTOCOL,
    ...changes,
  };
}

/** The whole network on the link; `source` undefined for flannel 0.5.5's. */
export function networkRoute(
  network: Subnet,
  source: string | undefined,
  changes: Partial<Route> = {},
): Route {
  return {
    kind: 'route',
    type: 'unicast',
    destination: network,
    link: LINK,
    gateway: undefined,
    source: source === undefined ? undefined : ipAddress(source),
    metric: 0,
    protocol: ROUTE_PROTOCOL,
    ...changes,
  };
}

export function unreachable(text: string): Route {
  return {
    ...peerRoute(text, UNREACHABLE_METRIC),
    type: 'unreachable',
    link: undefined,
    gateway: undefined,
  };
}

export function blackhole(text: string): Route {
  return { ...unreachable(text), type: 'blackhole', metric: BLACKHOLE_METRIC };
}

/** A route of others by eth0. */
export function foreignRoute(text: string, changes: Partial<RouteEntry> = {}): RouteEntry {
  return {
    destination: subnet(text),
    table: MAIN_TABLE,
    type: 'unicast',
    protocol: 4,
    metric: 0,
    hops: [{ link: 'eth0', gateway: ipAddress('192.168.0.254') }],
    ...changes,
  };
}

export function put(object: KernelObject): Operation {
  return { verb: 'put', object };
}

export function remove(object: KernelObject): Operation {
  return { verb: 'remove', object };
}

/** A state as sorted text: what tests compare. How long a neighbor was idle is nobody's business here. */
export function printed(state: KernelState | readonly KernelObject[]): string[] {
  return [...state.values()].map(printKernelObject).sort();
}

/** Fails the test, naming what was refused, unless everything was done. */
export function expectDone(failed: readonly FailedOperation[]): void {
  expect(failed.map(({ error }) => error.message)).toEqual([]);
}

/** What we have before any peer: link, parameters, address and network route. */
export function exampleBase(underlay: NetworkInterface, changes: Partial<Link> = {}): KernelObject[] {
  return [
    exampleLink(underlay, changes),
    parametersOf('ipv4'),
    addressOf('10.5.1.0/32'),
    networkRoute(NETWORK, '10.5.1.0'),
  ];
}

/** The MAC of number n (0 to 255). */
export const macOf = (n: number): string => `02:00:00:00:01:${n.toString(16).padStart(2, '0')}`;

export const PEER: readonly KernelObject[] = [
  fdbEntryOf('02:00:00:00:00:02', '192.168.0.2'),
  neighborOf('10.5.2.0', '02:00:00:00:00:02'),
  peerRoute('10.5.2.0/24', 3),
];

/** Collects notices, to be waited for. */
export class NoticeProbe {
  readonly notices: KernelNotice[] = [];
  readonly #abort = new AbortController();

  constructor(kernel: Kernel, scope = SCOPE) {
    kernel.listen(scope, (notices) => this.notices.push(...notices), this.#abort.signal);
  }

  get changes(): string[] {
    return this.notices.flatMap((notice) => (notice.kind === 'changed' ? [notice.what] : []));
  }

  get misses(): string[] {
    return this.notices.flatMap((notice) => {
      if (notice.kind !== 'miss') return [];
      return notice.miss.layer === 'l3' ? [`l3 ${notice.miss.address}`] : [`l2 ${notice.miss.mac}`];
    });
  }

  until(what: string, condition: (probe: NoticeProbe) => boolean): Promise<unknown> {
    return until(what, () => condition(this));
  }

  stop(): void {
    this.#abort.abort(new Error('the test is over'));
  }
}

/** A route of others that leads nowhere. */
function hole(type: RouteEntry['type'], table = MAIN_TABLE): RouteEntry {
  return foreignRoute('10.5.2.0/24', { type, table, hops: [] });
}

const TWO = '10.5.2.0/24 via 192.168.0.253 dev eth0 via 192.168.0.254 dev eth0';

function overTwo(): RouteEntry {
  const hops = ['192.168.0.253', '192.168.0.254'].map((gateway) => ({
    link: 'eth0',
    gateway: ipAddress(gateway),
  }));
  return foreignRoute('10.5.2.0/24', { hops });
}

function printAnswer(answer: RouteAnswer): string {
  if (answer.kind === 'refused') return answer.code;
  const { destination, table, hops } = answer.route;
  const ways = hops.map(({ link, gateway }) => `${gateway ? ` via ${gateway}` : ''} dev ${link}`);
  return `${printSubnet(destination)}${ways.join('')}${table === MAIN_TABLE ? '' : ` table ${table}`}`;
}

export function describeKernelContract(name: string, open: () => Promise<KernelEnvironment>): void {
  describe(`${name} keeps the contract of a kernel:`, () => {
    const signal = new AbortController().signal;
    let environment: KernelEnvironment;
    let kernel: Kernel;
    let underlay: NetworkInterface;
    const probes: NoticeProbe[] = [];
    const listen = () => {
      const probe = new NoticeProbe(kernel);
      probes.push(probe);
      return probe;
    };
    const apply = async (...operations: Operation[]) => expectDone(await kernel.apply(operations, signal));
    const putAll = (objects: readonly KernelObject[]) => apply(...objects.map(put));
    const observed = async (scope: Scope = SCOPE) => printed(await kernel.observe(scope, signal));

    beforeEach(async () => {
      environment = await open();
      ({ kernel, underlay } = environment);
    });

    afterEach(async () => {
      for (const probe of probes.splice(0)) probe.stop();
      await environment.close();
    });

    test('where there is nothing, nothing is observed', async () => {
      expect(await observed()).toEqual([]);
    });

    test('what was put is observed', async () => {
      const objects = [
        ...exampleBase(underlay),
        ...PEER,
        unreachable('10.5.9.0/24'),
        blackhole('10.5.1.0/24'),
      ];
      await putAll(objects);
      expect(await observed()).toEqual(printed(objects));
    });

    test('what was put is observed under the same keys', async () => {
      const objects = [
        ...exampleBase(underlay),
        ...PEER,
        unreachable('10.5.9.0/24'),
        blackhole('10.5.1.0/24'),
      ];
      await putAll(objects);
      const state = await kernel.observe(SCOPE, signal);
      expect([...state.keys()].sort()).toEqual([...kernelStateOf(objects).keys()].sort());
    });

    test('putting twice is putting once', async () => {
      const objects = [
        ...exampleBase(underlay),
        ...PEER,
        unreachable('10.5.9.0/24'),
        blackhole('10.5.1.0/24'),
      ];
      await putAll(objects);
      await putAll(objects);
      expect(await observed()).toEqual(printed(objects));
    });

    test('everything works for IPv6 as for IPv4', async () => {
      const objects = [
        exampleLink(underlay, { mtu: 1430 }),
        parametersOf('ipv6'),
        addressOf('fd05:0:0:1::/128'),
        networkRoute(NETWORK6, 'fd05:0:0:1::', { metric: 1024 }),
        fdbEntryOf('02:00:00:00:00:02', '192.168.0.2'),
        neighborOf('fd05:0:0:2::', '02:00:00:00:00:02'),
        neighborOf('fd05:0:0:3::', '02:00:00:00:00:03', 'learned'),
        peerRoute('fd05:0:0:2::/64', 3),
        unreachable('fd05:0:0:9::/64'),
        blackhole('fd05:0:0:1::/64'),
      ];
      await putAll(objects);
      expect(await observed(SCOPE6)).toEqual(printed(objects));
      const rest = objects.slice(4);
      await apply(...rest.map(remove), ...rest.map(remove));
      expect(await observed(SCOPE6)).toEqual(printed(objects.slice(0, 4)));
    });

    test('a put replaces what has the same key', async () => {
      await putAll([...exampleBase(underlay), ...PEER]);
      const changed = [
        fdbEntryOf('02:00:00:00:00:02', '192.168.0.22'),
        neighborOf('10.5.2.0', '02:00:00:00:00:22'),
        peerRoute('10.5.2.0/24', 3, { gateway: ipAddress('10.5.2.1') }),
        parametersOf('ipv4', { appSolicit: 5, queueBytes: 1 << 20 }),
      ];
      await putAll(changed);
      const [link, , ...rest] = exampleBase(underlay);
      expect(await observed()).toEqual(printed([link!, ...rest, ...changed]));
    });

    test('a neighbor takes each of its states', async () => {
      await putAll(exampleBase(underlay));
      for (const neighbor of [
        neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned'),
        neighborOf('10.5.2.0', '02:00:00:00:00:02'),
        neighborOf('10.5.2.0', '02:00:00:00:00:03', 'learned'),
      ]) {
        await putAll([neighbor]);
        const state = await kernel.observe(SCOPE, signal);
        const { idleMilliseconds, ...found } = state.get(keyOf(neighbor)) as Neighbor;
        expect(found).toEqual(neighbor);
        expect(idleMilliseconds ?? 0).toBe(0);
      }
    });

    test('"nobody has it" takes the place of a neighbor, and is not observed: the kernel forgets it by itself', async () => {
      const base = exampleBase(underlay);
      await putAll([...base, neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned')]);
      await putAll([failedNeighbor('10.5.2.0'), failedNeighbor('10.5.3.0')]);
      expect(await observed()).toEqual(printed(base));
    });

    test('a link is changed in place, and what is on it stays', async () => {
      const [, ...rest] = [...exampleBase(underlay), ...PEER];
      await putAll([exampleLink(underlay), ...rest]);
      const before = (await kernel.interfaces(signal)).find(({ name }) => name === LINK);
      const { vxlan } = exampleLink(underlay);
      const local = ipAddress('192.168.0.99');
      const changed = exampleLink(underlay, { mtu: 1400, vxlan: { ...vxlan!, local, learning: true } });
      await putAll([changed]);
      expect(await observed()).toEqual(printed([changed, ...rest]));
      const after = (await kernel.interfaces(signal)).find(({ name }) => name === LINK);
      expect(after?.index).toBe(before?.index);
    });

    test('a link that gets another MAC loses its neighbors, and keeps the rest', async () => {
      const [, ...rest] = [...exampleBase(underlay), ...PEER];
      await putAll([exampleLink(underlay), ...rest]);
      const changed = exampleLink(underlay, { mac: macAddress('02:00:00:00:00:77') });
      await putAll([changed]);
      const kept = rest.filter(({ kind }) => kind !== 'neighbor');
      expect(await observed()).toEqual(printed([changed, ...kept]));
    });

    test('a link that goes down loses its routes and neighbors, and keeps its address and FDB entries', async () => {
      await putAll([...exampleBase(underlay), ...PEER]);
      const down = exampleLink(underlay, { up: false });
      await putAll([down]);
      const kept = [down, parametersOf('ipv4'), addressOf('10.5.1.0/32'), PEER[0]!];
      expect(await observed()).toEqual(printed(kept));
    });

    test('what is removed is gone, and what is gone can be removed', async () => {
      const base = exampleBase(underlay);
      await putAll([...base, ...PEER, unreachable('10.5.9.0/24')]);
      const removals = [unreachable('10.5.9.0/24'), ...PEER].map(remove);
      await apply(...removals, ...removals);
      expect(await observed()).toEqual(printed(base));
    });

    test('the removed link takes everything on it along; removing from it then is no error', async () => {
      await putAll([...exampleBase(underlay), ...PEER]);
      await apply(remove(exampleLink(underlay)), ...[...exampleBase(underlay), ...PEER].map(remove));
      expect(await observed()).toEqual([]);
    });

    test('a removed route is only the one that was named', async () => {
      const foreign = peerRoute('10.5.2.0/24', 3, { protocol: 4 });
      await putAll(exampleBase(underlay));
      await environment.tamper(put(foreign));
      await apply(remove(peerRoute('10.5.2.0/24', 3)));
      await environment.tamper(put(neighborOf('10.5.7.0', '02:00:00:00:00:07')));
      await apply(remove(neighborOf('10.5.7.0', '02:00:00:00:00:07')));
      const other = networkRoute(subnet('10.5.2.0/24'), undefined, { link: 'eth0', metric: 3 });
      await environment.tamper(remove(foreign));
      await environment.tamper(put(other));
      await apply(remove(peerRoute('10.5.2.0/24', 3)));
      expect(await observed()).toEqual(printed([...exampleBase(underlay), other]));
    });

    test("a route of somebody else's with our destination and metric stays, whatever is put and removed", async () => {
      await putAll(exampleBase(underlay));
      const foreign = peerRoute('10.5.2.0/24', 3, { gateway: undefined, link: 'eth0', protocol: 4 });
      await environment.tamper(put(foreign));
      const ours = peerRoute('10.5.2.0/24', 3);
      await apply(put(ours), put(ours));
      expect(await observed()).toEqual(printed([...exampleBase(underlay), ours]));
      await apply(remove(ours));
      expect(await observed()).toEqual(printed(exampleBase(underlay)));
      // It would be gone if a put had taken its place.
      await environment.tamper(remove(foreign));
    });

    test('a route of ours, or of another overlay, is told by its link', async () => {
      await putAll(exampleBase(underlay));
      const other = { ...exampleLink(underlay), name: 'flannel.6' };
      await putAll([{ ...other, vxlan: { ...other.vxlan!, vni: 6 } }]);
      const routes = [peerRoute('10.5.6.0/24', 3, { link: 'flannel.6' }), unreachable('10.6.9.0/24')];
      for (const route of routes) await environment.tamper(put(route));
      expect(await observed()).toEqual(printed(exampleBase(underlay)));
      const former = { ...SCOPE, formerLinks: ['flannel.6'] };
      expect(await observed(former)).toEqual(printed([...exampleBase(underlay), routes[0]!]));
      expect(await observed({ link: 'flannel.6', networks: [subnet('10.6.0.0/16')] })).toEqual(
        expect.arrayContaining(printed(routes)),
      );
      await apply(...routes.map(remove));
    });

    test('what flannel left by the underlay, and for our own subnet, is told by PublicIP and subnet', async () => {
      await putAll(exampleBase(underlay));
      const via = (gateway: string, metric = 0) =>
        peerRoute('10.5.3.0/24', metric, { link: 'eth0', gateway: ipAddress(gateway), protocol: 3 });
      const hole = { ...blackhole('10.5.1.0/24'), metric: 0, protocol: 3 };
      const leftovers = [via('192.168.0.3'), hole];
      const foreign = [via('192.168.0.4', 7), { ...hole, destination: subnet('10.5.4.0/24') }];
      for (const route of [...leftovers, ...foreign]) await environment.tamper(put(route));
      expect(await observed()).toEqual(printed(exampleBase(underlay)));
      const places = {
        ...SCOPE,
        ownSubnets: [subnet('10.5.1.0/24')],
        peerAddresses: new Set([ipAddress('192.168.0.3')]),
      };
      expect(await observed(places)).toEqual(printed([...exampleBase(underlay), ...leftovers]));
      const hidden = nameOf(peerRoute('10.5.3.0/24', 9))!;
      expect((await kernel.look([hidden], places, signal))!.get(keyOf(leftovers[0]!))).toEqual(leftovers[0]);
      await apply(...leftovers.map(remove));
      expect(await observed(places)).toEqual(printed(exampleBase(underlay)));
      for (const route of foreign) await environment.tamper(remove(route));
    });

    test('one refused operation stops no other, and is named', async () => {
      const objects = [...exampleBase(underlay), ...PEER];
      const refused = put({ ...peerRoute('10.5.3.0/24', 4), link: 'nosuch' });
      const operations = objects.map(put);
      operations.splice(5, 0, refused);
      const failed = await kernel.apply(operations, signal);
      expect(failed.map(({ operation }) => operation)).toEqual([refused]);
      expect(failed[0]?.error).toMatchObject({ name: 'Error', code: 'ENODEV' });
      expect(failed[0]?.error.message).toContain('10.5.3.0/24');
      expect(await observed()).toEqual(printed(objects));
    });

    test('a put of a link does not make it another device', async () => {
      const link = exampleLink(underlay);
      await putAll([link]);
      const other = exampleLink(underlay, { vxlan: { ...link.vxlan!, vni: 2 } });
      const failed = await kernel.apply([put(other)], signal);
      expect(failed.map(({ error }) => error.code)).toEqual(['EEXIST']);
      expect(await observed()).toContain(printed([link])[0]);
    });

    test('operations are carried out in their order, those before and after one of a link, too', async () => {
      await putAll([...exampleBase(underlay), ...PEER]);
      const changed = exampleLink(underlay, { mac: macAddress('02:00:00:00:00:77') });
      const [before, after] = ['10.5.3.0', '10.5.4.0'].map((address) =>
        neighborOf(address, '02:00:00:00:00:03'),
      );
      // Another MAC costs a link the neighbors that it has by then.
      await apply(put(before!), put(changed), put(after!));
      const [, ...rest] = exampleBase(underlay);
      const kept = [...rest, ...PEER.filter(({ kind }) => kind !== 'neighbor')];
      expect(await observed()).toEqual(printed([changed, ...kept, after!]));
      await apply(put(before!), remove(changed), put(changed), ...rest.map(put));
      expect(await observed()).toEqual(printed([changed, ...rest]));
    });

    test('a few operations are carried out at once', async () => {
      await putAll(exampleBase(underlay));
      expectDone(kernel.applyNow(PEER.map(put)));
      expect(await observed()).toEqual(printed([...exampleBase(underlay), ...PEER]));
      const failed = kernel.applyNow([
        put({ ...neighborOf('10.5.3.0', '02:00:00:00:00:03'), link: 'nosuch' }),
      ]);
      expect(failed.map(({ error }) => error.code)).toEqual(['ENODEV']);
      expectDone(kernel.applyNow(PEER.map(remove)));
      expect(await observed()).toEqual(printed(exampleBase(underlay)));
    });

    test('what was put at once while a long change was under way is not removed by it', async () => {
      await putAll(exampleBase(underlay));
      const others = Array.from({ length: 200 }, (_, n) => fdbEntryOf(macOf(n), '192.168.0.2'));
      await putAll([...others, ...PEER]);
      const applying = kernel.apply([...others, ...PEER].map(remove), signal);
      expectDone(kernel.applyNow(PEER.map(put)));
      expectDone(await applying);
      expect(await observed()).toEqual(printed([...exampleBase(underlay), ...PEER]));
      // Later ones may.
      await apply(...PEER.map(remove));
      expect(await observed()).toEqual(printed(exampleBase(underlay)));
    });

    test('nothing of others is observed; what flannel left on our link is', async () => {
      const base = exampleBase(underlay);
      await putAll(base);
      const flannels = [
        peerRoute('10.5.4.0/24', 0, { protocol: BOOT_PROTOCOL }),
        networkRoute(NETWORK, undefined, { protocol: BOOT_PROTOCOL, metric: 7 }),
      ];
      const foreign = [
        addressOf('172.31.0.1/32'),
        peerRoute('10.5.5.0/24', 0, { protocol: 4 }),
        peerRoute('10.6.5.0/24', 0, { protocol: BOOT_PROTOCOL }),
        networkRoute(subnet('10.5.6.0/24'), undefined, { protocol: BOOT_PROTOCOL }),
        networkRoute(subnet('10.5.7.0/24'), undefined, { protocol: BOOT_PROTOCOL, link: 'eth0' }),
      ];
      const ours = networkRoute(subnet('10.5.8.0/24'), undefined, { link: 'eth0', metric: 9 });
      for (const object of [...flannels, ...foreign, ours]) await environment.tamper(put(object));
      expect(await observed()).toEqual(printed([...base, ...flannels, ours]));
    });

    describe('a look', () => {
      const NAMES = PEER.map((object) => nameOf(object)!);
      const look = (names: readonly ObjectName[] = NAMES) => kernel.look(names, SCOPE, signal);
      const looked = async (names?: readonly ObjectName[]) => printed((await look(names))!);

      beforeEach(() => putAll(exampleBase(underlay)));

      test('tells what is there of what was named, and nothing else', async () => {
        expect(await looked()).toEqual([]);
        await putAll(PEER);
        expect(await looked()).toEqual(printed(PEER));
        for (const [at, name] of NAMES.entries()) expect(await looked([name])).toEqual(printed([PEER[at]!]));
        await apply(remove(PEER[2]!));
        expect(await looked()).toEqual(printed(PEER.slice(0, 2)));
        const network = networkRoute(NETWORK, '10.5.1.0');
        expect(await looked([nameOf(network)!])).toEqual(printed([network]));
      });

      test('tells what others have changed', async () => {
        await putAll(PEER);
        const changed = [
          fdbEntryOf('02:00:00:00:00:02', '192.168.0.99'),
          neighborOf('10.5.2.0', '02:00:00:00:00:99'),
          peerRoute('10.5.2.0/24', 3, { gateway: ipAddress('10.5.9.9') }),
        ];
        for (const object of changed) await environment.tamper(put(object));
        expect(await looked()).toEqual(printed(changed));
      });

      test('tells how long a neighbor has not been used, as an observation does', async () => {
        const learned = neighborOf('10.5.2.0', '02:00:00:00:00:02', 'learned');
        await putAll([learned]);
        const [name] = [nameOf(learned)!];
        const state = await look([name]);
        expect(state?.get(keyOf(learned))).toMatchObject({ state: 'learned', mac: learned.mac });
      });

      test('takes no object of others for ours', async () => {
        const foreign = peerRoute('10.5.2.0/24', 3, { protocol: 4 });
        await environment.tamper(put(foreign));
        expect(await looked()).toEqual([]);
      });

      test('cannot tell anything where there is no link', async () => {
        await apply(remove(exampleLink(underlay)));
        expect(await look()).toBeUndefined();
      });

      test('ends with the reason of its signal', async () => {
        const reason = new Error('enough');
        await expect(kernel.look(NAMES, SCOPE, AbortSignal.abort(reason))).rejects.toBe(reason);
      });

      test('tells of many at a time', async () => {
        const many = Array.from({ length: 250 }, (_, n) => [
          fdbEntryOf(macOf(n), '192.168.0.2'),
          neighborOf(`10.5.${n + 3}.0`, macOf(n)),
          peerRoute(`10.5.${n + 3}.0/24`, n + 4),
        ]).flat();
        await putAll(many);
        expect(await looked(many.map((object) => nameOf(object)!))).toEqual(printed(many));
      });
    });

    test('a changed or removed object is noticed, by its name if it is one of many', async () => {
      await putAll([...exampleBase(underlay), ...PEER]);
      const probe = listen();
      for (const object of PEER) {
        await environment.tamper(remove(object));
        await probe.until(printKernelObject(object), ({ notices }) =>
          notices.some(
            (notice) => notice.kind === 'changed' && notice.name && keyOf(notice.name) === keyOf(object),
          ),
        );
      }
      await environment.tamper(put(exampleLink(underlay, { mtu: 1300 })));
      await probe.until('the link', ({ notices }) =>
        notices.some((notice) => notice.kind === 'changed' && notice.name === undefined),
      );
    });

    test('a changed or removed object is noticed', async () => {
      await putAll([...exampleBase(underlay), ...PEER]);
      const probe = listen();
      for (const [operation, ...words] of [
        [remove(peerRoute('10.5.2.0/24', 3)), 'route', '10.5.2.0/24', 'removed'],
        [remove(neighborOf('10.5.2.0', '02:00:00:00:00:02')), 'neighbor', '10.5.2.0', 'removed'],
        [remove(fdbEntryOf('02:00:00:00:00:02', '192.168.0.2')), 'fdb', '02:00:00:00:00:02', 'removed'],
        [put(exampleLink(underlay, { mtu: 1300 })), 'link', LINK, 'changed'],
        [remove(addressOf('10.5.1.0/32')), 'address', '10.5.1.0/32', 'removed'],
        [remove(exampleLink(underlay)), 'link', LINK, 'removed'],
      ] as const) {
        const before = probe.changes.length;
        await environment.tamper(operation);
        await probe.until(words.join(' '), ({ changes }) =>
          changes.slice(before).some((change) => words.every((word) => change.includes(word))),
        );
      }
    });

    test('our own changes are not noticed', async () => {
      const probe = listen();
      await putAll([...exampleBase(underlay), ...PEER]);
      expectDone(kernel.applyNow(PEER.map(remove)));
      // What comes after them proves that they have been passed over.
      await environment.tamper(put(peerRoute('10.5.2.0/24', 3)));
      await probe.until('the route of another program', ({ changes }) =>
        changes.some((change) => change.includes('10.5.2.0/24')),
      );
      expect(probe.changes.filter((change) => !/^(link|address) /.test(change))).toHaveLength(1);
    });

    test('an unknown address raises a miss, and waits until it is answered', async () => {
      await putAll(exampleBase(underlay));
      const probe = listen();
      await environment.send(ipAddress('10.5.2.5'));
      await probe.until('an L3 miss', ({ misses }) => misses.includes('l3 10.5.2.5'));
      expect(await kernel.pendingMisses(LINK, signal)).toEqual([{ layer: 'l3', address: '10.5.2.5' }]);
      expectDone(
        kernel.applyNow([put(PEER[0]!), put(neighborOf('10.5.2.5', '02:00:00:00:00:02', 'learned'))]),
      );
      expect(await kernel.pendingMisses(LINK, signal)).toEqual([]);
    });

    test('"nobody has it" is an answer, too', async () => {
      await putAll(exampleBase(underlay));
      const probe = listen();
      await environment.send(ipAddress('10.5.2.5'));
      await probe.until('an L3 miss', ({ misses }) => misses.includes('l3 10.5.2.5'));
      expectDone(kernel.applyNow([put(failedNeighbor('10.5.2.5'))]));
      expect(await kernel.pendingMisses(LINK, signal)).toEqual([]);
    });

    describe('standing answers', () => {
      const peer = (vtepMac: string, publicIp: string, of = '10.5.2.0/24'): Peer => ({
        subnet: subnet(of),
        vtepMac: macAddress(vtepMac),
        publicIp: ipAddress(publicIp),
      });
      const first = peer('02:00:00:00:00:02', '192.168.0.2');
      const moved = peer('02:00:00:00:00:03', '192.168.0.3');
      const within = peer('02:00:00:00:00:04', '192.168.0.4', '10.5.2.128/25');
      let end: AbortController;
      let answers: StandingAnswers;
      let probe: NoticeProbe;

      const open = () => (answers = kernel.standingAnswers(LINK, end.signal));
      const join = (...peers: Peer[]) =>
        answers.peersChanged(peers.map((after) => ({ before: undefined, after })));
      const isWaiting = async () => (await kernel.pendingMisses(LINK, signal)).length > 0;
      /** What there is more than before, once the miss has been told, and answered or not. */
      const asked = async (address: string, isAnswered = true) => {
        const count = probe.notices.length;
        const before = await observed();
        await environment.send(ipAddress(address));
        await probe.until('the miss', () => probe.misses.includes(`l3 ${address}`));
        if (isAnswered) await until('the answer', async () => !(await isWaiting()));
        // What was changed comes after it.
        await environment.tamper(put(peerRoute('10.5.77.0/24', 3)));
        await probe.until('the end', () => probe.changes.some((change) => change.includes('10.5.77.0/24')));
        await environment.tamper(remove(peerRoute('10.5.77.0/24', 3)));
        const others = probe.changes.filter((change) => !change.includes('10.5.77.0/24'));
        expect([count, others]).toEqual([0, []]);
        return (await observed()).filter((line) => !before.includes(line));
      };

      beforeEach(async () => {
        end = new AbortController();
        await putAll(exampleBase(underlay));
        open();
        probe = listen();
      });

      afterEach(() => end.abort());

      test('a miss for a peer is answered without us, and told', async () => {
        join(first);
        expect(await asked('10.5.2.5')).toEqual(
          printed([
            fdbEntryOf(first.vtepMac, first.publicIp),
            neighborOf('10.5.2.5', first.vtepMac, 'learned'),
          ]),
        );
      });

      test('a peer of a longer prefix has its own answer, and its neighbor another', async () => {
        join(first, within);
        expect(await asked('10.5.2.129')).toContain(
          printed([neighborOf('10.5.2.129', within.vtepMac, 'learned')])[0],
        );
      });

      test('who moved is answered with as he is now', async () => {
        join(first);
        answers.peersChanged([{ before: first, after: moved }]);
        expect(await asked('10.5.2.5')).toEqual(
          printed([
            fdbEntryOf(moved.vtepMac, moved.publicIp),
            neighborOf('10.5.2.5', moved.vtepMac, 'learned'),
          ]),
        );
      });

      test.each([
        ['who left', () => answers.peersChanged([{ before: first, after: undefined }])],
        ['whom the signal ended', () => end.abort()],
      ])('%s is answered with no more', async (_who, leave) => {
        join(first);
        leave();
        expect(await asked('10.5.2.5', false)).toEqual([]);
        expect(await isWaiting()).toBe(true);
      });

      test('there is none after the signal aborted', () => {
        end.abort();
        expect(open).toThrow('aborted');
      });
    });

    describe('the way of packets:', () => {
      const waysOf = async (...addresses: string[]) => {
        const ask = (address: string) => ({
          destination: ipAddress(address),
          source: ipAddress('10.5.1.0'),
          input: undefined,
        });
        return (await kernel.routesOf(addresses.map(ask), signal)).map(printAnswer);
      };
      const others = async (scope: Scope = SCOPE) => {
        const { rules, routes } = await kernel.routing(scope, signal);
        return [...rules.filter(({ priority }) => priority > 0 && priority < 32_766), ...routes];
      };
      const reroute = (what: RouteEntry | RoutingRule) => environment.reroute('add', what);
      const OURS = '10.5.2.0/24 via 10.5.2.0 dev flannel.1';
      const WHOLE = '10.5.0.0/16 dev flannel.1';
      const AWAY = 'via 192.168.0.254 dev eth0';

      beforeEach(() => putAll([...exampleBase(underlay), ...PEER]));

      test('where nobody else has a say, it is ours, and there is nothing else to tell', async () => {
        expect(await waysOf('10.5.2.0', '10.5.2.77', '10.5.3.1', '192.0.2.1')).toEqual([
          OURS,
          OURS,
          WHOLE,
          `0.0.0.0/0 ${AWAY}`,
        ]);
        const { rules, routes } = await kernel.routing(SCOPE, signal);
        expect(rules.map(({ priority, table }) => [priority, table])).toEqual([
          [0, 255],
          [32_766, 254],
          [32_767, 253],
        ]);
        expect(routes).toEqual([]);
      });

      test.each<[string, RouteEntry, string[]]>([
        ['a better metric', foreignRoute('10.5.2.0/24'), [`10.5.2.0/24 ${AWAY}`, `10.5.2.0/24 ${AWAY}`]],
        ['a worse metric', foreignRoute('10.5.2.0/24', { metric: 999 }), [OURS, OURS]],
        ['a longer prefix', foreignRoute('10.5.2.64/26'), [OURS, `10.5.2.64/26 ${AWAY}`]],
        ['a route of a host', foreignRoute('10.5.2.77/32'), [OURS, `10.5.2.77/32 ${AWAY}`]],
        ['a black hole', hole('blackhole'), ['EINVAL', 'EINVAL']],
        ['a route that says unreachable', hole('unreachable'), ['EHOSTUNREACH', 'EHOSTUNREACH']],
        ['a route that prohibits', hole('prohibit'), ['EACCES', 'EACCES']],
        ['a route over several links', overTwo(), [TWO, TWO]],
      ])('%s is told, and what it takes', async (_what, route, ways) => {
        await reroute(route);
        expect(await others()).toEqual([route]);
        expect(await waysOf('10.5.2.1', '10.5.2.77')).toEqual(ways);
      });

      test.each<[string, RoutingRule]>([
        ['to the network', ruleOf(1000, 100, { destination: NETWORK })],
        ['to a part of it', ruleOf(1000, 100, { destination: subnet('10.5.2.0/25') })],
        ['from our subnet', ruleOf(1000, 100, { source: subnet('10.5.1.0/24') })],
        ['for what this host sends', ruleOf(1000, 100, { input: 'lo' })],
        ['for all but some', ruleOf(1000, 100, { isInverted: true, source: subnet('192.168.0.0/24') })],
      ])('a rule %s is told, and what of it', async (_what, rule) => {
        const route = foreignRoute('0.0.0.0/0', { table: 100 });
        await reroute(route);
        await reroute(rule);
        expect(await others()).toEqual([rule, route]);
        expect(await waysOf('10.5.2.1')).toEqual([`0.0.0.0/0 ${AWAY} table 100`]);
      });

      test.each<[string, RoutingRule, string]>([
        ['another source', ruleOf(1000, 100, { source: subnet('10.5.1.128/25') }), OURS],
        ['another way in', ruleOf(1000, 100, { input: 'eth0' }), OURS],
        ['a table without a route', ruleOf(1000, 101), OURS],
        ['a later turn', ruleOf(32_800, 100), OURS],
        ['no way at all: a black hole', ruleOf(1000, 0, { action: 'blackhole' }), 'EINVAL'],
        ['no way at all: unreachable', ruleOf(1000, 0, { action: 'unreachable' }), 'ENETUNREACH'],
        ['no way at all: prohibited', ruleOf(1000, 0, { action: 'prohibit' }), 'EACCES'],
      ])('a rule has %s', async (_what, rule, way) => {
        await reroute(foreignRoute('10.5.2.0/24', { table: 100 }));
        await reroute(rule);
        expect(await waysOf('10.5.2.1')).toEqual([way]);
        expect((await kernel.routing(SCOPE, signal)).rules).toContainEqual(rule);
      });

      test('a table that sends on leaves it to the next', async () => {
        await reroute(hole('throw', 100));
        await reroute(ruleOf(1000, 100));
        expect(await waysOf('10.5.2.1')).toEqual([OURS]);
      });

      test('what shares no address with the network is not told, nor of the main table what is shorter', async () => {
        await reroute(foreignRoute('10.6.0.0/16'));
        await reroute(foreignRoute('10.6.2.0/24', { table: 100 }));
        await reroute(foreignRoute('10.0.0.0/8'));
        expect(await others()).toEqual([]);
        const shorter = foreignRoute('10.0.0.0/8', { table: 100 });
        await reroute(shorter);
        expect(await others()).toEqual([shorter]);
        expect(await others({ ...SCOPE, networks: [subnet('10.7.0.0/16')] })).toEqual([shorter]);
      });

      test('many packets are asked about, and answered in their order', async () => {
        const addresses = Array.from({ length: 300 }, (_, n) => (n % 3 === 0 ? '10.5.2.1' : '10.5.9.1'));
        expect(await waysOf(...addresses)).toEqual(addresses.map((_, n) => (n % 3 === 0 ? OURS : WHOLE)));
      });

      test('the packets of others who send by us have their own', async () => {
        await reroute(ruleOf(1000, 100, { input: 'eth0' }));
        await reroute(foreignRoute('10.5.2.0/24', { table: 100 }));
        const question = {
          destination: ipAddress('10.5.2.1'),
          source: ipAddress('192.168.0.9'),
          input: underlay.index,
        };
        expect((await kernel.routesOf([question], signal)).map(printAnswer)).toEqual([
          `10.5.2.0/24 ${AWAY} table 100`,
        ]);
        expect(await waysOf('10.5.2.1')).toEqual([OURS]);
      });

      test.each<[string, RouteEntry | RoutingRule]>([
        ['a route in the network', foreignRoute('10.5.2.0/24')],
        ['a route of a host in it', foreignRoute('10.5.9.9/32')],
        ['a route that leads nowhere', hole('blackhole')],
        ['a route of another table', foreignRoute('10.5.2.0/24', { table: 100 })],
        ['a rule', ruleOf(1000, 100)],
      ])('it is noticed that %s comes, and goes', async (_what, what) => {
        const probe = listen();
        const count = () => probe.notices.filter(({ kind }) => kind === 'routing').length;
        await environment.reroute('add', what);
        await probe.until('that it came', () => count() === 1);
        await environment.reroute('del', what);
        await probe.until('that it went', () => count() === 2);
      });
    });

    test('no link, no misses', async () => {
      expect(await kernel.pendingMisses('nosuch', signal)).toEqual([]);
    });

    test('nothing is heard after the signal aborted', async () => {
      await putAll(exampleBase(underlay));
      const [silent, probe] = [listen(), listen()];
      silent.stop();
      await environment.tamper(put(peerRoute('10.5.2.0/24', 3)));
      await probe.until('the route of another program', ({ changes }) => changes.length > 0);
      expect(silent.notices).toEqual([]);
    });

    test('the interfaces are told with their addresses, the link too', async () => {
      await putAll(exampleBase(underlay));
      const interfaces = await kernel.interfaces(signal);
      expect(interfaces).toContainEqual(underlay);
      expect(interfaces.find(({ name }) => name === LINK)).toMatchObject({
        mtu: 1450,
        up: true,
        loopback: false,
        mac: '02:00:00:00:00:01',
        kind: 'vxlan',
        vtep: { underlayIndex: underlay.index, local: '192.168.0.1' },
        addresses: expect.arrayContaining([
          {
            address: '10.5.1.0',
            prefixLength: 32,
            scope: 'global',
            permanent: true,
            temporary: false,
            deprecated: false,
          },
        ]) as unknown,
      });
    });

    test('the route to an address is found, on the link or by the default route', async () => {
      expect(await kernel.routeTo(ipAddress('192.168.0.77'), signal)).toEqual({
        interfaceIndex: underlay.index,
        source: '192.168.0.1',
        gateway: undefined,
      });
      expect(await kernel.routeTo(ipAddress('203.0.113.1'), signal)).toEqual({
        interfaceIndex: underlay.index,
        source: '192.168.0.1',
        gateway: '192.168.0.254',
      });
      expect(await kernel.routeTo(ipAddress('2001:db8::1'), signal)).toBeUndefined();
      expect(await kernel.defaultRoutes(signal)).toEqual([
        { interfaceIndex: underlay.index, source: undefined, gateway: '192.168.0.254' },
      ]);
    });

    test('our links are those that carry our routes', async () => {
      expect(await kernel.ownLinks(signal)).toEqual([]);
      await putAll(exampleBase(underlay));
      expect(await kernel.ownLinks(signal)).toEqual([LINK]);
    });

    test('an aborted signal ends everything with its reason', async () => {
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      await expect(kernel.observe(SCOPE, aborted)).rejects.toBe(reason);
      await expect(kernel.apply([], aborted)).rejects.toBe(reason);
      await expect(kernel.pendingMisses(LINK, aborted)).rejects.toBe(reason);
      await expect(kernel.interfaces(aborted)).rejects.toBe(reason);
      await expect(kernel.routeTo(ipAddress('192.168.0.77'), aborted)).rejects.toBe(reason);
      await expect(kernel.defaultRoutes(aborted)).rejects.toBe(reason);
      await expect(kernel.ownLinks(aborted)).rejects.toBe(reason);
      await expect(kernel.routing(SCOPE, aborted)).rejects.toBe(reason);
      await expect(kernel.routesOf([], aborted)).rejects.toBe(reason);
      expect(() => kernel.listen(SCOPE, () => undefined, aborted)).toThrow(reason);
    });
  });
}

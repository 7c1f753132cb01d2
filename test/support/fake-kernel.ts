/** Linux networking in memory: one network namespace, with the rules that matter to us. */
import {
  contains,
  familyOf,
  sameSubnet,
  subnet,
  ipAddress,
  type IpAddress,
  type Subnet,
} from '../../src/model/address';
import { KernelError } from '../../src/model/errors';
import {
  ROUTE_PROTOCOL,
  kernelStateOf,
  keyOf,
  nameOf,
  printKernelObject,
  type KernelObject,
  type KernelState,
  type Link,
  type NeighborParameters,
  type ObjectName,
  type Route,
} from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { KernelSettings } from '../../src/model/kernel-settings';
import type { Miss } from '../../src/model/miss';
import { BOOT_PROTOCOL, ownerOfRoute } from '../../src/model/ownership';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from '../../src/model/network-interface';
import { MutablePeerTable, type PeerChange } from '../../src/model/peer';
import { printOperation, type FailedOperation, type Operation } from '../../src/model/operation';
import { Overtaken } from '../../src/kernel/overtaken';
import {
  LOCAL_TABLE,
  MAIN_TABLE,
  type RouteAnswer,
  type RouteEntry,
  type RouteQuestion,
  type Routing,
  type RoutingRule,
} from '../../src/model/routing';
import type { Kernel, KernelNotice, Scope, StandingAnswers } from '../../src/ports';
import { USUAL_RULES, isNear, resolve } from './fake-routing';

type Listener = (notices: readonly KernelNotice[]) => void;

interface Fault {
  readonly code: string;
  times: number;
}

const KERNEL_PROTOCOL = 2;
/** What Linux reads one after the other: a change in between is in one part and not in another. */
const DUMPS: readonly (readonly KernelObject['kind'][])[] = [
  ['link'],
  ['neighbor-parameters', 'address'],
  ['neighbor'],
  ['fdb-entry'],
  ['route'],
];
const DEFAULT_PARAMETERS = { appSolicit: 0, queueBytes: 212_992 };

/** eth0, as the example overlay's underlay: index 2, MTU 1500, 192.168.0.1/24 and fd00::1/64. */
export const FAKE_UNDERLAY: NetworkInterface = {
  name: 'eth0',
  index: 2,
  mtu: 1500,
  up: true,
  carrier: true,
  loopback: false,
  mac: macAddress('02:ee:00:00:00:01'),
  addresses: [['192.168.0.1', 24] as const, ['fd00::1', 64] as const].map(([address, prefixLength]) => ({
    address: ipAddress(address),
    prefixLength,
    scope: 'global',
    permanent: true,
    temporary: false,
    deprecated: false,
  })),
};

/**
 * Keeps what was put, as the kernel does: what is on a link goes with it, its routes and neighbors go when it goes down, and
 * nothing can be put on a link that is not there. Faults are asked for by name; notices reach the listeners before the method
 * that causes them returns.
 */
export class FakeKernel implements Kernel {
  /** Everything there is, foreign objects too, by {@link keyOf}. To change it as another program would, use {@link tamper}. */
  readonly state = new Map<string, KernelObject>();
  /** Every operation that was asked for, refused ones too, in order. */
  readonly operations: Operation[] = [];
  /** How often {@link observe} was called. */
  observations = 0;
  /** How many objects {@link look} was asked for. */
  looks = 0;
  /** It cannot tell of single objects. */
  isOld = false;
  /** The interfaces that are not ours. */
  networkInterfaces: NetworkInterface[] = [FAKE_UNDERLAY];
  defaultRouteList: ResolvedRoute[] = [
    { interfaceIndex: 2, source: undefined, gateway: ipAddress('192.168.0.254') },
  ];
  /** What comes from these addresses of ours finds no route, because of a rule. */
  readonly unroutedSources = new Set<IpAddress>();
  /** `notForwarding`: all such links, asked about or not. */
  kernelSettings: KernelSettings = { isForwarding: true, notForwarding: [], isBridgedFiltered: true };
  /** Rules and routes of others; change them by {@link changeRouting}. */
  rules: readonly RoutingRule[] = USUAL_RULES;
  foreignRoutes: readonly RouteEntry[] = [];
  /** How often {@link routing} was called, and of how many packets {@link routesOf} was asked. */
  readonly routingReads = { routing: 0, questions: 0 };
  isClosed = false;
  /** Awaited before each part of an observation, and before each operation of {@link apply}: what happens there, happens between them. */
  pace: (() => Promise<void>) | undefined;

  readonly #puts = new Map<string, Fault>();
  readonly #removals = new Map<string, Fault>();
  #observeFault: Fault | undefined;
  #applyFault: Fault | undefined;
  readonly #listeners = new Map<Listener, string>();
  /** Neighbors that failed by themselves. */
  readonly #givenUp = new Set<string>();
  readonly #pending = new Set<IpAddress>();
  readonly #overtaken = new Overtaken();
  /** By link: whom misses are answered with. */
  readonly #standing = new Map<string, MutablePeerTable>();
  readonly #indexes = new Map<string, number>();
  #nextIndex = 10;
  #gate: Promise<void> | undefined;

  /** The operations as text, for comparison with a list; `since` leaves out the first so many. */
  printed(since = 0): string[] {
    return this.operations.slice(since).map(printOperation);
  }

  /** The whole state as ip(8) and bridge(8) would print it, sorted. */
  printedState(): string[] {
    return [...this.state.values()].map(printKernelObject).sort();
  }

  /** The next `times` puts of the object with this key are refused. */
  failPut(key: string, code = 'ENOBUFS', times = 1): void {
    this.#puts.set(key, { code, times });
  }

  /** The next `times` removals of the object with this key are refused. */
  failRemove(key: string, code = 'EBUSY', times = 1): void {
    this.#removals.set(key, { code, times });
  }

  /** The next `times` observations throw. */
  failObserve(code = 'EINTR', times = 1): void {
    this.#observeFault = { code, times };
  }

  /** The next `times` calls of apply or applyNow have each of their operations refused. */
  failApply(code = 'ENOBUFS', times = 1): void {
    this.#applyFault = { code, times };
  }

  /** Holds observe and apply back until the returned function is called. */
  hold(): () => void {
    let release: () => void = () => undefined;
    this.#gate = new Promise((resolve) => (release = resolve));
    return () => {
      this.#gate = undefined;
      release();
    };
  }

  /** Carries out operations as another program would: nothing is recorded, and the listeners are told. */
  tamper(...operations: readonly Operation[]): void {
    for (const { verb, object } of operations) {
      const before = this.state.get(keyOf(object));
      this.#execute(verb, object);
      const isChanged = JSON.stringify(before) !== JSON.stringify(this.state.get(keyOf(object)));
      const isElsewhere = object.kind === 'route' && object.link && !this.#link(object.link);
      if (isChanged && isElsewhere) this.#tell(undefined, [{ kind: 'routing' }]);
      const change = verb === 'put' ? 'changed' : 'removed';
      const what = `${keyOf(object)} ${change}`;
      if (isChanged) this.#tell(linkOf(object), [{ kind: 'changed', what, name: nameOf(object) }]);
    }
  }

  /** The underlay changes: other interfaces, and a notice. */
  changeInterfaces(interfaces: readonly NetworkInterface[]): void {
    this.networkInterfaces = [...interfaces];
    for (const link of this.#links()) {
      const { underlayIndex = 0 } = link.vxlan ?? {};
      if (underlayIndex === 0 || interfaces.some(({ index }) => index === underlayIndex)) continue;
      this.#remove(link);
    }
    this.#tell(undefined, [
      { kind: 'changed', what: 'underlay changed', name: undefined },
      { kind: 'interfaces' },
    ]);
  }

  /** The default routes become these, and a notice says so. */
  changeDefaultRoutes(...routes: readonly ResolvedRoute[]): void {
    this.defaultRouteList = [...routes];
    this.#tell(undefined, [{ kind: 'interfaces' }]);
  }

  /** Others change rules and routes, and a notice says so. */
  changeRouting(changes: { rules?: readonly RoutingRule[]; routes?: readonly RouteEntry[] }): void {
    this.rules = changes.rules ?? this.rules;
    this.foreignRoutes = changes.routes ?? this.foreignRoutes;
    this.#tell(undefined, [{ kind: 'routing' }]);
  }

  /** Others add a route or a rule, or remove the one that is so. */
  reroute(verb: 'add' | 'del', what: RouteEntry | RoutingRule): void {
    const change = <T>(all: readonly T[], one: T): T[] =>
      verb === 'add' ? [...all, one] : all.filter((other) => JSON.stringify(other) !== JSON.stringify(one));
    if ('priority' in what) this.changeRouting({ rules: change(this.rules, what) });
    else this.changeRouting({ routes: change(this.foreignRoutes, what) });
  }

  /** Somebody sends to an address or MAC that the kernel must ask about. */
  raiseMiss(...misses: readonly Miss[]): void {
    for (const miss of misses) {
      if (miss.layer === 'l2') continue;
      this.#pending.add(miss.address);
      this.#answer(miss.address);
    }
    this.notify(...misses.map((miss) => ({ kind: 'miss', miss }) as const));
  }

  /** Notices are lost: what they told is left to be read. */
  overrun(...lost: readonly Miss[]): void {
    for (const miss of lost) if (miss.layer === 'l3') this.#pending.add(miss.address);
    this.notify({ kind: 'overrun' });
  }

  /** Tells every listener. */
  notify(...notices: readonly KernelNotice[]): void {
    this.#tell(undefined, notices);
  }

  /** From now on the neighbor counts as unused for so long. */
  age(address: IpAddress, idleMilliseconds: number): void {
    for (const [key, object] of this.state) {
      if (object.kind === 'neighbor' && object.address === address)
        this.state.set(key, { ...object, idleMilliseconds });
    }
  }

  /** A learned neighbor does not answer the kernel's probes, and is given up. */
  fail(address: IpAddress): void {
    for (const [key, object] of this.state) {
      if (object.kind !== 'neighbor' || object.address !== address || object.mac === undefined) continue;
      this.state.set(key, { ...object, state: 'failed', mac: undefined });
      this.#givenUp.add(key);
      this.#tell(object.link, [{ kind: 'unanswered', address, mac: object.mac }]);
    }
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  async observe(scope: Scope, signal: AbortSignal): Promise<KernelState> {
    await this.#turn(signal);
    this.observations++;
    if (isDue(this.#observeFault)) throw refusal(this.#observeFault!.code, 'cannot read the kernel state');
    const found = new Map<string, KernelObject>();
    for (const part of DUMPS) {
      await this.#part(signal);
      for (const object of this.state.values())
        if (part.includes(object.kind) && this.#isOurs(object, scope)) found.set(keyOf(object), object);
    }
    return found;
  }

  async look(
    names: readonly ObjectName[],
    scope: Scope,
    signal: AbortSignal,
  ): Promise<KernelState | undefined> {
    await this.#turn(signal);
    await this.#part(signal);
    if (isDue(this.#observeFault)) throw refusal(this.#observeFault!.code, 'cannot read the kernel state');
    if (this.isOld || !this.#link(scope.link)) return undefined;
    this.looks += names.length;
    const found = names.flatMap((name) => [...this.#under(keyOf(name)), ...this.#before(name)]);
    return kernelStateOf(found.filter((object) => this.#isOurs(object, scope)));
  }

  /** Of one key, somebody else's route may stand before ours. */
  #under(key: string): KernelObject[] {
    return [key, behind(key)].flatMap((each) => this.state.get(each) ?? []);
  }

  /** What flannel has before our route of that name. */
  #before(name: ObjectName): KernelObject[] {
    return name.kind === 'route' && name.metric > 0 ? this.#under(keyOf({ ...name, metric: 0 })) : [];
  }

  async apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly FailedOperation[]> {
    return this.#overtaken.during(async (due) => {
      await this.#turn(signal);
      const fault = isDue(this.#applyFault) ? this.#applyFault : undefined;
      if (!this.pace) return this.#applyAll(due(operations), fault);
      const failed: FailedOperation[] = [];
      for (const operation of operations) {
        await this.#part(signal);
        failed.push(...this.#applyAll(due([operation]), fault));
      }
      return failed;
    });
  }

  applyNow(operations: readonly Operation[]): readonly FailedOperation[] {
    this.#overtaken.note(operations);
    return this.#applyAll(operations, isDue(this.#applyFault) ? this.#applyFault : undefined);
  }

  #applyAll(operations: readonly Operation[], fault: Fault | undefined): readonly FailedOperation[] {
    const failed: FailedOperation[] = [];
    for (const operation of operations) {
      this.operations.push(operation);
      try {
        const { verb, object } = operation;
        const own = (verb === 'put' ? this.#puts : this.#removals).get(keyOf(object));
        const due = fault ?? (isDue(own) ? own : undefined);
        if (due) throw refusal(due.code, `cannot ${printOperation(operation)}`);
        this.#execute(verb, object);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        failed.push({ operation, error });
      }
    }
    return failed;
  }

  listen({ link }: Scope, listener: Listener, signal: AbortSignal): void {
    signal.throwIfAborted();
    this.#listeners.set(listener, link);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
  }

  standingAnswers(linkName: string, signal: AbortSignal): StandingAnswers {
    signal.throwIfAborted();
    const peers = new MutablePeerTable();
    this.#standing.set(linkName, peers);
    signal.addEventListener('abort', () => this.#standing.delete(linkName), { once: true });
    return {
      peersChanged: (changes: readonly PeerChange[]) => {
        for (const { before, after } of changes)
          if (after) peers.put(after);
          else if (before) peers.remove(before.subnet);
      },
    };
  }

  async pendingMisses(linkName: string, signal: AbortSignal): Promise<readonly Miss[]> {
    await this.#turn(signal);
    if (!this.#link(linkName)) return [];
    return [...this.#pending].map((address) => ({ layer: 'l3', address }));
  }

  settings(): KernelSettings {
    return this.kernelSettings;
  }

  async interfaces(signal: AbortSignal): Promise<readonly NetworkInterface[]> {
    await this.#turn(signal);
    return [...this.networkInterfaces, ...this.#links().map((link) => this.#interfaceOf(link))];
  }

  async routeTo(
    destination: IpAddress,
    signal: AbortSignal,
    from?: IpAddress,
  ): Promise<ResolvedRoute | undefined> {
    await this.#turn(signal);
    if (from !== undefined && this.unroutedSources.has(from)) return undefined;
    for (const { index, up, addresses } of this.networkInterfaces) {
      for (const { address, prefixLength } of up ? addresses : []) {
        if (!contains(subnet(`${address}/${prefixLength}`), destination)) continue;
        return { interfaceIndex: index, source: address, gateway: undefined };
      }
    }
    const family = familyOf(destination);
    const found = this.defaultRouteList.find(({ gateway }) => gateway && familyOf(gateway) === family);
    if (!found) return undefined;
    const via = this.networkInterfaces.find(({ index }) => index === found.interfaceIndex);
    const source = via?.addresses.find(({ address }) => familyOf(address) === family)?.address;
    return { ...found, source: found.source ?? source };
  }

  async defaultRoutes(signal: AbortSignal): Promise<readonly ResolvedRoute[]> {
    await this.#turn(signal);
    return [...this.defaultRouteList];
  }

  async routing(scope: Scope, signal: AbortSignal): Promise<Routing> {
    const { link, networks } = scope;
    await this.#turn(signal);
    this.routingReads.routing++;
    const isOurs = ({ hops, table, ...route }: RouteEntry) => {
      const [hop] = hops;
      if (hops.length === 1 && hop!.link === link && table === LOCAL_TABLE) return true;
      const { destination, metric, protocol, type } = route;
      if (table !== MAIN_TABLE || hops.length > 1) return false;
      if (type !== 'unicast' && type !== 'unreachable' && type !== 'blackhole') return false;
      const marks = { ...{ destination, metric, protocol, type }, link: hop?.link, gateway: hop?.gateway };
      return ownerOfRoute({ ...marks, isOnlink: true }, scope) !== 'foreign';
    };
    return {
      rules: [...this.rules].sort((a, b) => a.priority - b.priority),
      routes: this.#routes().filter((route) => isNear(route, networks) && !isOurs(route)),
    };
  }

  async routesOf(questions: readonly RouteQuestion[], signal: AbortSignal): Promise<readonly RouteAnswer[]> {
    await this.#turn(signal);
    this.routingReads.questions += questions.length;
    const routes = this.#routes();
    const names = new Map([
      ...this.networkInterfaces.map(({ index, name }) => [index, name] as const),
      ...[...this.#indexes].map(([name, index]) => [index, name] as const),
    ]);
    return questions.map(({ destination, source, input }) =>
      resolve(this.rules, routes, {
        ...{ destination, source },
        input: input === undefined ? 'lo' : (names.get(input) ?? '?'),
      }),
    );
  }

  /** Of all tables: what was put, what the interfaces bring with them, and what others made. */
  #routes(): RouteEntry[] {
    const put = [...this.state.values()].flatMap((object): RouteEntry[] => {
      if (object.kind !== 'route') return [];
      const { destination, type, protocol, metric, link, gateway } = object;
      const hops = link === undefined ? [] : [{ link, gateway }];
      return [{ destination, table: MAIN_TABLE, type, protocol, metric, hops }];
    });
    const nameOf = (index: number) => this.networkInterfaces.find((nic) => nic.index === index)?.name;
    const defaults = this.defaultRouteList.map(({ interfaceIndex, gateway }): RouteEntry => {
      const hops = [{ link: nameOf(interfaceIndex), gateway }];
      const destination = subnet(gateway && familyOf(gateway) === 'ipv6' ? '::/0' : '0.0.0.0/0');
      return { destination, table: MAIN_TABLE, type: 'unicast', protocol: BOOT_PROTOCOL, metric: 0, hops };
    });
    const connected = this.networkInterfaces.flatMap(({ name, up, addresses }) =>
      (up ? addresses : []).flatMap(({ address, prefixLength }): RouteEntry[] => {
        const common = { protocol: KERNEL_PROTOCOL, metric: 0, hops: [{ link: name, gateway: undefined }] };
        const itself = { address, prefixLength: familyOf(address) === 'ipv6' ? 128 : 32 };
        const whole = subnet(`${address}/${prefixLength}`);
        return [
          { destination: itself, table: LOCAL_TABLE, type: 'local', ...common },
          { destination: whole, table: MAIN_TABLE, type: 'unicast', ...common },
        ];
      }),
    );
    return [...put, ...defaults, ...connected, ...this.foreignRoutes];
  }

  async networkRoutes(network: Subnet, signal: AbortSignal): Promise<readonly NetworkRoute[]> {
    await this.#turn(signal);
    const index = (link: string | undefined) =>
      this.#indexes.get(link ?? '') ?? this.networkInterfaces.find(({ name }) => name === link)?.index;
    return [...this.state.values()].flatMap((object) =>
      object.kind === 'route' && sameSubnet(object.destination, network)
        ? [{ ...object, interfaceIndex: index(object.link) }]
        : [],
    );
  }

  async ownLinks(signal: AbortSignal): Promise<readonly string[]> {
    await this.#turn(signal);
    const names = [...this.state.values()].flatMap((object) =>
      object.kind === 'route' && object.protocol === ROUTE_PROTOCOL && object.link ? [object.link] : [],
    );
    return [...new Set(names)].filter((name) => this.#link(name)?.vxlan);
  }

  close(): void {
    this.isClosed = true;
    this.#listeners.clear();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#gate) return;
    await Promise.race([
      this.#gate,
      new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true })),
    ]);
    signal.throwIfAborted();
  }

  async #part(signal: AbortSignal): Promise<void> {
    await this.pace?.();
    signal.throwIfAborted();
  }

  #tell(linkName: string | undefined, notices: readonly KernelNotice[]): void {
    for (const [listener, name] of [...this.#listeners]) {
      if (linkName === undefined || linkName === name) listener(notices);
    }
  }

  #answer(address: IpAddress): void {
    for (const [link, peers] of this.#standing) {
      const peer = this.#link(link)?.up ? peers.byAddress(address) : undefined;
      if (!peer || familyOf(address) === 'ipv6') continue;
      const { vtepMac: mac, publicIp: destination } = peer;
      this.#put({ kind: 'fdb-entry', link, mac, destination });
      this.#put({ kind: 'neighbor', link, address, mac, state: 'learned' });
    }
  }

  #execute(verb: Operation['verb'], object: KernelObject): void {
    if (verb === 'put') this.#put(object);
    else this.#remove(object);
  }

  #put(object: KernelObject): void {
    if (object.kind === 'link') return this.#putLink(object);
    const what = `cannot put ${printKernelObject(object)}`;
    if (object.link !== undefined) {
      const link = this.#link(object.link) ?? this.networkInterfaces.find(({ name }) => name === object.link);
      if (!link) throw refusal('ENODEV', `${what}: there is no such link`);
      if (object.kind === 'route' && !link.up) throw refusal('ENETDOWN', `${what}: the link is down`);
    }
    if (object.kind === 'route' && object.source && !this.#isLocal(object.source)) {
      throw refusal('EINVAL', `${what}: ${object.source} is no address of this host`);
    }
    if (object.kind === 'neighbor') {
      this.#pending.delete(object.address);
      this.#givenUp.delete(keyOf(object));
    }
    const key = keyOf(object);
    this.state.set(object.kind === 'route' && this.#isTaken(key, object) ? behind(key) : key, object);
  }

  /** Another program's route stays where it is; flannel's, and ours, make room. */
  #isTaken(key: string, { protocol }: Route): boolean {
    const first = this.state.get(key);
    const isForeign = first?.kind === 'route' && ![ROUTE_PROTOCOL, BOOT_PROTOCOL].includes(first.protocol);
    return isForeign && protocol === ROUTE_PROTOCOL;
  }

  #putLink(link: Link): void {
    const existing = this.#link(link.name);
    const what = `cannot put ${printKernelObject(link)}`;
    const { underlayIndex = 0 } = link.vxlan ?? {};
    if (underlayIndex !== 0 && !this.networkInterfaces.some(({ index }) => index === underlayIndex)) {
      throw refusal('ENODEV', `${what}: there is no such underlay`);
    }
    const fixed = ({ vxlan }: Link) => vxlan && [vxlan.vni, vxlan.port, vxlan.gbp].join();
    if (existing && fixed(existing) !== fixed(link)) {
      throw refusal('EEXIST', `${what}: there is another device of this name`);
    }
    // Whether L2 misses are reported is decided when the device is made.
    const l2miss = existing?.vxlan?.l2miss ?? link.vxlan?.l2miss ?? false;
    this.state.set(keyOf(link), link.vxlan ? { ...link, vxlan: { ...link.vxlan, l2miss } } : link);
    if (!existing) {
      this.#indexes.set(link.name, this.#nextIndex++);
      for (const family of ['ipv4', 'ipv6'] as const) {
        const parameters: NeighborParameters = {
          kind: 'neighbor-parameters',
          link: link.name,
          family,
          ...DEFAULT_PARAMETERS,
        };
        this.state.set(keyOf(parameters), parameters);
      }
    }
    if (existing && (existing.mac !== link.mac || existing.noarp !== link.noarp))
      this.#flush(link.name, ({ kind }) => kind === 'neighbor');
    if (existing?.up && !link.up) {
      this.#flush(
        link.name,
        (object) =>
          object.kind === 'route' ||
          object.kind === 'neighbor' ||
          (object.kind === 'address' && familyOf(object.address) === 'ipv6'),
      );
    }
  }

  #remove(object: KernelObject): void {
    if (object.kind === 'neighbor-parameters') return;
    // A route is removed only as it was named: with its protocol, and its link.
    const isNamed = (existing: KernelObject | undefined) =>
      existing?.kind !== 'route' ||
      object.kind !== 'route' ||
      (existing.protocol === object.protocol && existing.link === object.link);
    const key = keyOf(object);
    if (object.kind === 'route' && !isNamed(this.state.get(key))) {
      if (isNamed(this.state.get(behind(key)))) this.state.delete(behind(key));
      return;
    }
    this.state.delete(key);
    if (object.kind === 'link') this.#flush(object.name, () => true);
    if (object.kind === 'address') {
      this.#flush(undefined, (other) => other.kind === 'route' && other.source === object.address);
    }
  }

  #flush(linkName: string | undefined, isConcerned: (object: KernelObject) => boolean): void {
    for (const [key, object] of this.state) {
      if (object.kind === 'link' || (linkName !== undefined && object.link !== linkName)) continue;
      if (isConcerned(object)) this.state.delete(key);
    }
    if (linkName !== undefined) this.#pending.clear();
  }

  #isOurs(object: KernelObject, scope: Scope): boolean {
    const { link, networks } = scope;
    switch (object.kind) {
      case 'link':
        return object.name === link;
      case 'neighbor-parameters':
        return object.link === link && networks.some(({ address }) => familyOf(address) === object.family);
      case 'address':
        return object.link === link && networks.some((network) => contains(network, object.address));
      case 'fdb-entry':
        return object.link === link;
      case 'neighbor':
        // What was put as an answer is the kernel's to forget.
        return object.link === link && (object.state !== 'failed' || this.#givenUp.has(keyOf(object)));
      case 'route':
        return ownerOfRoute({ ...object, isOnlink: true }, scope) !== 'foreign';
    }
  }

  #isLocal(address: IpAddress): boolean {
    const own = [...this.state.values()].filter((object) => object.kind === 'address');
    const others = this.networkInterfaces.flatMap(({ addresses }) => addresses);
    return [...own, ...others].some((local) => local.address === address);
  }

  #interfaceOf(link: Link): NetworkInterface {
    const addresses = [...this.state.values()].flatMap((object) => {
      if (object.kind !== 'address' || object.link !== link.name) return [];
      const { address, prefixLength } = object;
      const flags = { scope: 'global', permanent: true, temporary: false, deprecated: false } as const;
      return [{ address, prefixLength, ...flags }];
    });
    const { name, mtu, up, mac, vxlan } = link;
    const index = this.#indexes.get(name)!;
    return {
      ...{ name, index, mtu, up, carrier: up, loopback: false, mac, addresses },
      ...(vxlan ? { kind: 'vxlan', vtep: { underlayIndex: vxlan.underlayIndex, local: vxlan.local } } : {}),
    };
  }

  #links(): Link[] {
    return [...this.state.values()].filter((object) => object.kind === 'link');
  }

  #link(name: string): Link | undefined {
    const link = this.state.get(`link ${name}`);
    return link?.kind === 'link' ? link : undefined;
  }
}

/** Where a route is that another program's stands before. */
function behind(key: string): string {
  return `${key} behind`;
}

function linkOf(object: KernelObject): string | undefined {
  return object.kind === 'link' ? object.name : object.link;
}

function isDue(fault: Fault | undefined): boolean {
  if (!fault || fault.times <= 0) return false;
  fault.times--;
  return true;
}

function refusal(code: string, message: string): KernelError {
  return new KernelError(code, message);
}

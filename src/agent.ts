/** The composition root: which loop talks to which, and in which order they start. */
import { setMaxListeners } from 'node:events';
import { admissionOf } from './core/admission';
import type { FirewallOptions, FirewallWish } from './core/firewall';
import { peerNames } from './core/desired';
import type { Network } from './core/network';
import { AdmissionKeeper, removeGuard, type AdmissionSituation } from './engine/admission-keeper';
import { Announcer } from './engine/announcer';
import { AccessWatcher } from './engine/access-watcher';
import { begin } from './engine/beginning';
import { ConfigWatcher } from './engine/config-watcher';
import { EtcdAddresses } from './engine/etcd-addresses';
import { Conditions, type Check } from './engine/conditions';
import { Recorder } from './engine/recorder';
import { FirewallKeeper } from './engine/firewall-keeper';
import { formerLinksOf, removeFormerLinks } from './engine/former-links';
import { FlannelWatcher, isFlannelsFile } from './engine/flannel-watcher';
import { Identity } from './engine/identity';
import { KnownAddresses } from './engine/known-addresses';
import { LeaseHolder } from './engine/lease-holder';
import { LinkedAbort } from './linked-abort';
import { MissResponder, type MissSituation } from './engine/miss-responder';
import { OwnHostState, type OwnHostChange } from './engine/own-host-state';
import {
  hardwareAddressOf,
  memoryOf,
  readLeasesMissed,
  readPast,
  rememberedLease,
  type Past,
} from './engine/past';
import { PeerWatcher } from './engine/peer-watcher';
import { awaitKernel, awaitKernelState, type UnderlayOptions, type Waiting } from './engine/prerequisites';
import { Reconciler, type Cause, type PassReport } from './engine/reconciler';
import { RouteWatcher, type RoutedOverlay } from './engine/route-watcher';
import { conditionsOf, type Grievance, type Patients } from './engine/readiness';
import { serviceLineOf, statusOf, type Witnesses } from './engine/status';
import { SurroundingsWatcher } from './engine/surroundings-watcher';
import { UnderlayWatcher, type SeenUnderlay } from './engine/underlay-watcher';
import { contains, sameSubnet, type IpAddress, type Subnet } from './model/address';
import { KernelError, UnsupportedError, describeError } from './model/errors';
import type { Lease } from './model/lease';
import type { MacAddress } from './model/mac';
import type { Memory } from './model/memory-codec';
import { isOurLinkName, linkNameOf, type Overlay, type ResolveMode, type Underlay } from './model/overlay';
import type { Peer, PeerChange } from './model/peer';
import type { AgentStatus } from './model/status';
import { printSubnetEnv } from './model/subnet-env-codec';
import type {
  Clock,
  Firewall,
  Host,
  Kernel,
  KernelNotice,
  LeaseRegistry,
  Log,
  StandingAnswers,
  VxlanGuard,
} from './ports';

export interface AgentOptions {
  /** Where the network configuration is looked for, for a person: `/coreos.com/network/config`. */
  readonly configPlace: string;
  readonly underlay: UnderlayOptions;
  readonly resolve: ResolveMode;
  /** `--ip-blackhole-route` */
  readonly hasBlackholeRoute: boolean;
  /** Addresses of etcd: no lease may lead them into the overlay. */
  readonly etcdAddresses: readonly IpAddress[];
  /** The endpoints that are host names: the same holds for their addresses. */
  readonly etcdNames?: readonly string[];
  readonly renewMarginSeconds: number;
  /** Whether another subnet may take the place of the one we had, if that is another host's. */
  readonly mayRenumber: boolean;
  /** For how long a peer is kept whose lease expired. */
  readonly peerGraceMilliseconds: number;
  /** `--iptables-resync` */
  readonly firewallResyncSeconds: number;
  readonly firewall: Omit<FirewallOptions, 'enableNfTables'>;
  /** The etcd of this host's own, if it has one: is told of the underlay and of each that follows, and is one of the checks. */
  readonly embeddedEtcd?:
    { settle(underlay: Underlay): void; readonly trouble: Grievance; readonly isUp?: boolean } | undefined;
  /** Only peers may send to the VXLAN port. */
  readonly admitsPeersOnly: boolean;
}

export interface AgentPorts {
  readonly registry: LeaseRegistry;
  readonly kernel: Kernel;
  /** Undefined: the packet filter is left alone. */
  readonly firewall: Firewall | undefined;
  /** Undefined: the VXLAN port is left alone. */
  readonly guard: VxlanGuard | undefined;
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * From so many leases on, a start first makes the base of the overlay and writes subnet.env, and only then judges the leases and
 * writes their peers: with the network route in place the kernel asks for each that is not there yet. Fewer take no longer than
 * to write the file.
 */
const MANY_LEASES = 250;

/** What only tells waits for the peers' entries, but no longer than this: something may keep them from being written. */
const LONGEST_START_MILLISECONDS = 3_000;
/** No pass takes so long, with however many peers: what it waits for will not come. */
const STUCK_MILLISECONDS = 120_000;
const NOTES_MILLISECONDS = 5_000;
/** A storm of notifications may overrun us many times a second. */
const OVERRUN_REST_MILLISECONDS = 60_000;
/** An administrator may be waiting for a start, and look. */
const STARTING_NOTES_MILLISECONDS = 1_000;
/** Who starts the service waits for no longer: what a start lacks then (etcd, the configuration) may come in minutes, or never. */
const SERVICE_START_MILLISECONDS = 10_000;
/** Of a host that renumbers again and again the oldest subnets are forgotten. */
const MOST_FORMER_SUBNETS = 16;
/** A peer that etcd told of when it was asked is in the table by then, or it is gone. */
const FOUND_MILLISECONDS = 5_000;

/** The agent of one host: {@link run} is its whole life. */
export class Agent {
  readonly #watcher: PeerWatcher;
  readonly #reconciler: Reconciler;
  readonly #responder: MissResponder;
  readonly #announcer: Announcer;
  readonly #recorder: Recorder;
  readonly #surroundings: SurroundingsWatcher;
  readonly #routes: RouteWatcher;
  readonly #firewall: FirewallKeeper | undefined;
  readonly #admission: AdmissionKeeper | undefined;
  /** The firewall's first pass is over, well or not. */
  #isFirewallTried = false;
  #holder: LeaseHolder | undefined;
  #underlay: UnderlayWatcher | undefined;
  #configWatcher: ConfigWatcher | undefined;
  readonly #access: AccessWatcher;
  readonly #flannel: FlannelWatcher;
  #standing: StandingAnswers | undefined;
  /** What is known of this host, and what follows from it. */
  readonly #own: OwnHostState;
  /** Settles when the leases have been judged by what we are now. */
  #judged = Promise.resolve();
  /** The leases are judged once the base of the overlay is in place. */
  #arePeersLater = false;
  #past: Past | undefined;
  #identity: Identity | undefined;
  readonly #etcdAddresses: EtcdAddresses;
  readonly #known = new KnownAddresses(() => this.#watcher.leases);
  /** Overlay devices whose routes are ours, too. */
  #formerLinks: readonly string[] = [];
  readonly #conditions: Conditions;
  readonly #waiting: Waiting;
  #markStarted: () => void = () => undefined;
  #markTidy: () => void = () => undefined;
  /** Resolves once the kernel holds exactly what it should, by what the registry says now. */
  readonly #tidy = new Promise<void>((resolve) => (this.#markTidy = resolve));
  /** Resolves when the first pass is over, well or not. Never rejects. */
  readonly started = new Promise<void>((resolve) => (this.#markStarted = resolve));
  #isReloading = false;
  #toldSystemd: string | undefined;
  /** Since it was last told. */
  #overruns = 0;
  #overrunToldAt = -Infinity;

  constructor(
    private readonly options: AgentOptions,
    private readonly ports: AgentPorts,
  ) {
    const { registry, kernel, host, clock, log } = ports;
    this.#waiting = { clock, log, waits: new Set() };
    const { resolve, hasBlackholeRoute, etcdAddresses, firewall } = options;
    this.#own = new OwnHostState(log, {
      ...{ resolve, hasBlackholeRoute, etcdAddresses },
      ipMasq: firewall.ipMasq,
    });
    this.#own.listen((change) => this.#follow(change));
    this.#etcdAddresses = new EtcdAddresses(host, clock, options.etcdNames ?? [], (etcdAddresses) =>
      this.#own.set({ etcdAddresses }),
    );
    this.#reconciler = new Reconciler(kernel, clock, log, () => ({
      overlay: this.#overlay!,
      peers: this.#watcher.peers,
      isInSync: this.#watcher.isInSync,
      former: this.#former,
      places: {
        formerLinks: this.#formerLinks,
        ownSubnets: this.#own.facts.formerSubnets ?? [],
        peerAddresses: this.#known.now(),
      },
      absent: this.#responder.absentSubnets(),
    }));
    this.#responder = new MissResponder(
      kernel,
      registry,
      clock,
      log,
      () => this.#missSituation(),
      (objects, what) => this.#reconciler.lookAt(objects, { kind: 'external', what }),
      (peer) => this.#meetFound(peer),
    );
    this.#watcher = new PeerWatcher(
      registry,
      clock,
      log,
      {
        inSync: () => {
          this.#lookAtAll({ kind: 'wanted', what: 'in sync' });
          this.#admission?.trigger();
        },
        tableChanged: (changes) => this.#noteTable(changes),
        peersChanged: (changes, each) => {
          this.#known.peersChanged(each);
          this.#admission?.peersChanged(changes);
          this.#responder.peersChanged(changes);
          this.#reconciler.peersChanged(each);
          this.#recorder.trigger();
        },
        ownLeaseChanged: (stored) => this.#holder?.noticeStored(stored),
        ownMacClaimed: (lease) => this.#yieldMac(lease),
      },
      options.peerGraceMilliseconds,
    );
    this.#flannel = new FlannelWatcher(host, clock, log);
    this.#announcer = new Announcer(host, clock, log, (text) => {
      if (isFlannelsFile(text)) this.#flannel.note('subnet file');
    });
    this.#conditions = new Conditions(clock);
    const resyncMilliseconds = options.firewallResyncSeconds * 1000;
    this.#firewall =
      ports.firewall &&
      new FirewallKeeper(
        ports.firewall,
        clock,
        log,
        resyncMilliseconds,
        () => this.#firewallWish(),
        () => this.#flannel.note('rules'),
      );
    this.#admission =
      ports.guard && options.admitsPeersOnly
        ? new AdmissionKeeper(ports.guard, clock, log, () => this.#admissionSituation())
        : undefined;
    this.#surroundings = new SurroundingsWatcher(
      kernel,
      clock,
      log,
      () => this.#overlay,
      () => this.#watcher.peers,
    );
    this.#access = new AccessWatcher(registry, clock, log, () => this.#holder?.lease?.name);
    this.#routes = new RouteWatcher(kernel, clock, log, () => this.#routedOverlay());
    this.#recorder = new Recorder(host, clock, log, () => this.#memory());
  }

  /** What packets need, and what the agent needs: each thing with its state, and since when it has been so. */
  readiness(): Check[] {
    return this.#conditions.check(conditionsOf(this.#parts));
  }

  /** Everything about this host that an administrator may want to know; `withPeers`: each of them, too. */
  status(withPeers: boolean): AgentStatus {
    return statusOf(this.#parts, this.readiness(), this.ports.clock.now(), withPeers);
  }

  /** Whether the loops turn; where they do not, another start helps. A blocked event loop answers nothing at all. */
  liveness(): Check[] {
    return this.#conditions.check([{ name: 'loops', reason: this.stuck(), advisory: false }]);
  }

  /** The subnet that subnet.env named when we started: an earlier agent's, perhaps of another network. */
  get #former(): readonly Subnet[] {
    return this.#past?.previous ? [this.#past.previous] : [];
  }

  get #overlay(): Overlay | undefined {
    return this.#own.current?.overlay;
  }

  get #parts(): Patients & Witnesses {
    return {
      waits: this.#waiting.waits,
      watcher: this.#watcher,
      holder: this.#holder,
      underlay: this.#underlay,
      overlay: this.#overlay,
      reconciler: this.#reconciler,
      responder: this.#responder,
      announcer: this.#announcer,
      configWatcher: this.#configWatcher,
      access: this.#access,
      flannel: this.#flannel,
      firewall: this.#firewall,
      admission: this.#admission,
      surroundings: this.#surroundings,
      routes: this.#routes,
      recorder: this.#recorder,
      unrouted: this.options.resolve.kind === 'on-demand' ? this.#own.current?.unrouted : undefined,
      embeddedEtcd: this.options.embeddedEtcd,
    };
  }

  /** What makes no progress although the event loop turns; undefined while all is well. */
  stuck(): string | undefined {
    const { passMilliseconds } = this.#reconciler;
    if (passMilliseconds < STUCK_MILLISECONDS) return undefined;
    return `a pass over the kernel state has lasted for ${Math.round(passMilliseconds / 1000)} s`;
  }

  /** Like {@link audit}, and systemd hears when it begins and when it is done. */
  reload(): void {
    // A start that is not over yet reads everything anyway, and must not be called ready by us.
    if (this.#announcer.isAnnounced) {
      this.#isReloading = true;
      this.ports.host.notify({ reloading: true });
    }
    this.audit('SIGHUP');
    this.#admission?.trigger();
  }

  /** Asks for everything to be read and compared anew. */
  audit(what: string): void {
    this.#lookAtAll({ kind: 'audit', what });
  }

  #lookAtAll(cause: Cause): void {
    if (this.#overlay) this.#reconciler.trigger(cause);
  }

  /**
   * Serves until the signal aborts, and leaves lease and kernel state as they are. Rejects with {@link UnsupportedError} when
   * this host cannot do it at all; everything else is waited for or worked around.
   */
  async run(signal: AbortSignal): Promise<void> {
    const over = new LinkedAbort(signal);
    const notes = this.#takeNotes(over.signal);
    try {
      await this.#start(signal);
      await this.#serve(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      over.abort();
      await notes;
    }
  }

  /** Looks at its own health now and then: since when something has been so is not to depend on who asked, and when. */
  async #takeNotes(signal: AbortSignal): Promise<void> {
    const { clock, host } = this.ports;
    const began = clock.now();
    let isStarting = true;
    while (!signal.aborted) {
      this.#tellSystemd();
      // Behind what is waited for, so that who looks at once sees it.
      if (isStarting && clock.now() - began >= SERVICE_START_MILLISECONDS) {
        isStarting = false;
        if (!this.#announcer.isAnnounced) host.notify({ ready: true });
      }
      this.liveness();
      this.#lookAtAsking();
      const rest = this.#announcer.isAnnounced ? NOTES_MILLISECONDS : STARTING_NOTES_MILLISECONDS;
      await clock.sleep(rest, signal).catch(() => undefined);
    }
  }

  /** On demand, no peer is reached anew while the kernel does not ask. It tells nobody of that setting. */
  #lookAtAsking(): void {
    if (this.#overlay?.resolve.kind !== 'on-demand' || !this.#reconciler.isBaseInPlace) return;
    const { notAsking = [] } = this.ports.kernel.settings([linkNameOf(this.#overlay.backend)]);
    if (notAsking.length > 0)
      this.#lookAtAll({ kind: 'external', what: 'the kernel does not ask for neighbors any more' });
  }

  /** Tells what a start waits for, how we are, and each change of it. */
  #tellSystemd(): void {
    const status = serviceLineOf(this.readiness(), this.#parts);
    if (status === this.#toldSystemd) return;
    this.#toldSystemd = status;
    this.ports.host.notify({ status });
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { kernel, host, clock, log } = this.ports;
    this.#past = await readPast(host, log, this.options.configPlace);
    this.#underlay = new UnderlayWatcher(kernel, clock, log, this.options.underlay, {
      saved: this.#past.saved,
      network: () => this.#own.facts.network?.range.network,
      subnets: () => this.#ownSubnets,
      isSettled: () => this.#announcer.isAnnounced,
      peers: () => publicIpsOf(this.#watcher.peers),
    });
    const first = this.#firstUnderlay(signal);
    // A start may take long, and end only because the underlay changed meanwhile.
    const following = new LinkedAbort(signal);
    const followed = first.then(
      () => this.#followUnderlay(following.signal),
      () => undefined,
    );
    try {
      await this.#findPlace(first, signal);
    } finally {
      following.abort();
      await followed;
    }
  }

  /** Gets our place in the overlay: configuration, lock, lease. */
  async #findPlace(first: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const { registry, kernel, host, clock, log } = this.ports;
    const { configPlace } = this.options;
    const isInUse = (whole: Subnet) => this.#isInUse(whole);
    const [{ network, memory }] = await Promise.all([
      begin({ registry, host, isInUse, ...this.#waiting }, this.#watcher, configPlace, signal),
      first,
      this.#etcdAddresses.first(signal),
    ]);
    for (const remark of network.remarks) log.warn(remark);
    await this.#meetNetwork(network, signal);
    this.#configWatcher = new ConfigWatcher(registry, clock, log, network, memory === undefined);
    const linkName = linkNameOf(network.backend);
    host.lock(linkName);
    const networks = [network.range.network, ...this.#ownSubnets];
    const { interfaces } = this.#own.facts.hostNetwork!;
    this.#formerLinks = formerLinksOf(interfaces, host, linkName, networks);
    if (this.ports.guard && !this.#admission) removeGuard(this.ports.guard, linkName, log);
    const scope = { link: linkName, networks: [network.range.network] };
    await awaitKernel(this.#waiting, signal, () =>
      kernel.listen(scope, (notices) => this.#hear(notices, signal), signal),
    );
    this.#standing = this.#standingAnswers(linkName, signal);
    const existingMac = await this.#existingMac(network, linkName, signal);
    this.#holder = this.#makeHolder(network, existingMac);
    const remembered = memory ? this.#adoptFrom(memory, this.#identity!) : await this.#recallPeers();
    await this.#settle(remembered ?? (await this.#holder.acquire(this.#watcher.leases, signal)));
  }

  /** What this host has of that network already decides how it may be routed. */
  async #meetNetwork(network: Network, signal: AbortSignal): Promise<void> {
    const { kernel } = this.ports;
    const read = () => kernel.networkRoutes(network.range.network, signal);
    const networkRoutes = await awaitKernel(this.#waiting, signal, read);
    const hostNetwork = { ...this.#own.facts.hostNetwork!, networkRoutes };
    this.#own.set({ network, hostNetwork, formerSubnets: this.#ownSubnets });
  }

  #makeHolder(network: Network, existingMac: MacAddress | undefined): LeaseHolder {
    const { registry, host, clock, log } = this.ports;
    const past = this.#past!;
    const publicIp = () => this.#underlay!.current!.publicIp;
    const leases = () => this.#watcher.leases;
    const identity = new Identity(host, log, network.backend.vni, publicIp, leases, existingMac);
    this.#identity = identity;
    return new LeaseHolder(registry, clock, log, {
      range: network.range,
      publicIp,
      previous: past.previous,
      remembered: () => rememberedLease(past, host, this.#own.facts),
      ownMacs: () => [identity.vtepMac, past.saved?.vtepMac],
      reserved: () => this.#own.reserved(this.#ownSubnets),
      renewMarginSeconds: this.options.renewMarginSeconds,
      mayRenumber: this.options.mayRenumber,
      attributesFor: (held, name) => identity.attributesFor(held, name),
      isProven: (lease) => identity.isProven(lease),
    });
  }

  /** True for a network that this host had a place in, by what it remembers, or by a device that is there. */
  #isInUse(network: Subnet): boolean {
    const interfaces = this.#own.facts.hostNetwork?.interfaces ?? [];
    const devices = interfaces.filter(({ name }) => isOurLinkName(name));
    const addresses = devices.flatMap((device) => device.addresses.map(({ address }) => address));
    return [...this.#ownSubnets, ...addresses].some((own) => contains(network, own));
  }

  /** Those of our containers, now and before. */
  get #ownSubnets(): Subnet[] {
    const { previous, saved } = this.#past!;
    return [this.#holder?.lease?.subnet, previous, saved?.subnet].filter((subnet) => subnet !== undefined);
  }

  /** Told at once: an etcd of this host's own needs it before it can tell us anything. */
  async #firstUnderlay(signal: AbortSignal): Promise<void> {
    const seen = await this.#underlay!.first(this.#waiting, signal);
    this.#own.set(seen);
    this.options.embeddedEtcd?.settle(seen.underlay);
  }

  #followUnderlay(signal: AbortSignal): Promise<void> {
    const looked = (seen: SeenUnderlay) => {
      const before = hardwareAddressOf(this.#own.facts);
      this.#own.set(seen);
      // By it this host knows its state file again.
      if (hardwareAddressOf(this.#own.facts) !== before) this.#recorder.trigger();
    };
    return this.#underlay!.run({ looked, moved: (before) => this.#tellOfMove(before) }, signal);
  }

  /** A peer that is cut off from etcd, and whose lease has expired, is kept by an agent that is started again, too. */
  async #recallPeers(): Promise<undefined> {
    const { host, clock } = this.ports;
    const known = new Set(this.#watcher.leases.map(({ name }) => name));
    this.#watcher.recall(
      await readLeasesMissed(host, clock, this.options.configPlace, (name) => known.has(name)),
    );
  }

  /** Our lease from memory, if it is that of this host as it is now. */
  #adoptFrom(memory: Memory, identity: Identity): Lease | undefined {
    this.#watcher.restore(memory.leases);
    const lease = memory.leases.find(({ name }) => name === memory.ownLease);
    if (!lease || !identity.isOurs(lease)) {
      this.ports.log.warn('the lease we remember is not that of this host as it is now; waiting for etcd');
      return undefined;
    }
    this.#holder!.adopt(lease, (memory.expiresAt - this.ports.clock.wallTime()) / 1000);
    return lease;
  }

  /** What a later start without etcd needs to know. */
  #memory(): Memory | undefined {
    const { host, clock } = this.ports;
    const lease = this.#holder?.lease;
    if (!lease) return undefined;
    const expiresAt = clock.wallTime() + this.#holder!.remainingSeconds * 1000;
    return memoryOf(
      this.options.configPlace,
      host,
      this.#own.facts,
      lease,
      this.#watcher.remembered,
      expiresAt,
    );
  }

  async #serve(signal: AbortSignal): Promise<void> {
    const loops = new AbortController();
    const until = AbortSignal.any([signal, loops.signal]);
    // Every loop listens to it, and Node takes more than ten listeners for a leak.
    setMaxListeners(0, until);
    // They start programs and write much: neither packets nor whoever waits for subnet.env wait for that.
    const aborted = new Promise<void>((resolve) => {
      until.addEventListener('abort', () => resolve(), { once: true });
      if (until.aborted) resolve();
    });
    const firstPass = this.#reconciler.tried.then(() => this.#announcer.attempted);
    const met = firstPass.then(() => this.#meetPeers(until));
    const patience = this.ports.clock.sleep(LONGEST_START_MILLISECONDS, until).catch(() => undefined);
    const calm = Promise.race([met.then(() => this.#tidy), patience]);
    void firstPass.then(() => this.#markStarted());
    const after = async (event: Promise<void>, loop: () => Promise<void>) => {
      await Promise.race([event, aborted]);
      if (!until.aborted) await loop();
    };
    const firewall = this.#firewall;
    const run = [
      this.#watcher.run(until),
      this.#holder!.run((lease) => void this.#settle(lease), until),
      this.#followUnderlay(until),
      this.#reconciler.run((report) => this.#afterPass(report), until),
      this.#responder.run(until),
      this.#announcer.run(until),
      ...(firewall ? [after(firstPass, () => firewall.run(until, () => this.#afterFirewallPass()))] : []),
      ...(this.#admission ? [this.#admission.run(until)] : []),
      this.#surroundings.run(until),
      this.#configWatcher!.run(until),
      this.#etcdAddresses.run(until),
      // What only tells is no hurry of a start: the peers' entries come first.
      after(calm, () => this.#routes.run(until)),
      after(calm, () => this.#access.run(until)),
      after(calm, () => this.#flannel.run(until)),
      after(calm, () => this.#recorder.run(until)),
      after(this.#tidy, () => this.#removeFormerLinks(until)),
    ];
    try {
      await Promise.all(run);
    } finally {
      // One loop that broke takes the others with it.
      loops.abort();
      await Promise.allSettled(run);
    }
  }

  /** For who waits for the kernel to ask. Without them the event loop answers alone, only later. */
  #standingAnswers(linkName: string, signal: AbortSignal): StandingAnswers | undefined {
    if (this.options.resolve.kind === 'preload') return undefined;
    try {
      return this.ports.kernel.standingAnswers(linkName, signal);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.ports.log.warn('misses are answered later than they could be', { error: describeError(error) });
      return undefined;
    }
  }

  /** Whoever is answered for may answer the moment after: he is admitted first. */
  #noteTable(changes: readonly PeerChange[]): void {
    if (!this.#standing) return;
    this.#admission?.admit(changes.flatMap(({ after }) => after ?? []));
    this.#standing.peersChanged(changes);
  }

  /** The MAC of the device that is there, if it can stay: peers know it already. */
  async #existingMac(network: Network, link: string, signal: AbortSignal): Promise<MacAddress | undefined> {
    const { kernel } = this.ports;
    const scope = { link, networks: [network.range.network] };
    const state = await awaitKernelState(kernel, this.#waiting, scope, signal);
    const device = state.get(`link ${link}`);
    return device?.kind === 'link' && device.vxlan ? device.mac : undefined;
  }

  /** The later of two claims gives way: writing our lease again takes another MAC. */
  #yieldMac(other: Lease): void {
    const own = this.#holder?.lease;
    if (own && BigInt(other.createRevision) < BigInt(own.createRevision)) this.#holder!.republish();
  }

  /** Takes our place in the overlay as the lease says. */
  async #settle(lease: Lease): Promise<void> {
    // A bridge keeps the subnet that it had for a while.
    const formerSubnets = withSubnet(this.#own.facts.formerSubnets ?? [], lease.subnet);
    this.#own.set({ lease, formerSubnets });
    this.#recorder.trigger();
    await this.#judged;
  }

  /** Tells the loops what is different for them. */
  #follow({ now, before, differs }: OwnHostChange): void {
    const isOtherSubnet = !before || !sameSubnet(before.overlay.subnet, now.overlay.subnet);
    const isOtherVtep = isOtherSubnet || before.overlay.vtepMac !== now.overlay.vtepMac;
    if (!before)
      this.#arePeersLater = now.overlay.hasNetworkRoute && this.#watcher.leases.length >= MANY_LEASES;
    if (differs.has('self') && !this.#arePeersLater) this.#judged = this.#judged.then(() => this.#judge());
    if (differs.has('overlay')) {
      // Packets leave by the new way at once; but a new place in the overlay may make other leases good or bad.
      if (isOtherVtep)
        void this.#judged.then(() => this.#reconciler.trigger({ kind: 'wanted', what: 'our lease' }));
      else this.#reconciler.trigger({ kind: 'wanted', what: 'underlay changed' });
      this.#admission?.trigger();
      this.#surroundings.trigger();
      this.#recorder.trigger();
    }
    if (isOtherSubnet) this.#firewall?.trigger('our subnet');
  }

  #judge(): Promise<void> {
    const { self, range } = this.#own.current!;
    return this.#watcher.identify(self, range);
  }

  /** The base is in place: judges the leases, if they were to wait for it, and answers what the kernel asked meanwhile. */
  async #meetPeers(signal: AbortSignal): Promise<void> {
    if (this.#arePeersLater) {
      this.#arePeersLater = false;
      await (this.#judged = this.#judged.then(() => this.#judge()));
      this.#reconciler.trigger({ kind: 'wanted', what: 'in sync' });
    }
    this.#answerPendingMisses(signal);
  }

  /** Etcd and our peers are to know; what follows for ourselves is derived already. */
  #tellOfMove(before: Underlay): void {
    const underlay = this.#underlay!.current!;
    this.options.embeddedEtcd?.settle(underlay);
    // Connections that are bound to an address that is gone would wait for etcd for seconds.
    if (underlay.address !== before.address) this.ports.registry.reconnect();
    this.#holder?.republish();
  }

  /** Etcd told of it when it was asked; what it said may be older than what the watch has told us, or newer. */
  #meetFound(peer: Peer): void {
    this.#admission?.admit([peer]);
    const cause: Cause = { kind: 'wanted', what: 'answered with what etcd said' };
    this.#reconciler.lookLater(peerNames(this.#overlay!, peer), FOUND_MILLISECONDS, cause);
  }

  /** Not before we are in sync: until then what an earlier agent left may be all that carries packets. */
  async #removeFormerLinks(signal: AbortSignal): Promise<void> {
    const { kernel, host, clock, log, guard } = this.ports;
    const onRemoved = (link: string) => guard && removeGuard(guard, link, log);
    const overlay = this.#overlay!;
    await removeFormerLinks(kernel, host, clock, log, overlay, this.#former, onRemoved, signal);
  }

  #missSituation(): MissSituation | undefined {
    if (!this.#own.current) return undefined;
    const { overlay, range } = this.#own.current;
    return {
      overlay,
      subnetLength: range.subnetLength,
      peers: this.#watcher.peers,
      isComplete: this.#watcher.isJudged,
      meet: (subnet) => this.#watcher.meet(subnet),
      peerOf: (lease) => this.#watcher.peerOf(lease),
    };
  }

  #hear(notices: readonly KernelNotice[], signal: AbortSignal): void {
    const misses = notices.flatMap((notice) => (notice.kind === 'miss' ? [notice.miss] : []));
    if (misses.length > 0) this.#responder.take(misses);
    for (const notice of notices) {
      if (notice.kind === 'changed') this.#hearOfChange(notice);
      if (notice.kind === 'interfaces') {
        this.#surroundings.trigger();
        this.#underlay?.trigger();
      }
      if (notice.kind === 'interfaces' || notice.kind === 'routing') this.#routes.routingChanged();
      if (notice.kind === 'overrun') this.#recoverFromOverrun(signal);
    }
  }

  #hearOfChange({ what, name, isNewLink }: KernelNotice & { kind: 'changed' }): void {
    const cause: Cause = { kind: 'external', what };
    if (isNewLink) this.#flannel.note('device');
    if (name && this.#overlay) return this.#reconciler.lookAt([name], cause);
    this.#lookAtAll(cause);
    this.#underlay?.trigger();
  }

  #recoverFromOverrun(signal: AbortSignal): void {
    const now = this.ports.clock.now();
    this.#overruns++;
    if (now - this.#overrunToldAt >= OVERRUN_REST_MILLISECONDS) {
      this.ports.log.warn('the kernel had more to tell than we could read; reading everything anew', {
        times: this.#overruns,
      });
      this.#overruns = 0;
      this.#overrunToldAt = now;
    }
    this.#lookAtAll({ kind: 'external', what: 'overrun' });
    this.#answerPendingMisses(signal);
  }

  /** Answers what the kernel asked and we could not hear. */
  #answerPendingMisses(signal: AbortSignal): void {
    if (!this.#overlay) return;
    this.ports.kernel.pendingMisses(linkNameOf(this.#overlay.backend), signal).then(
      (misses) => this.#responder.take(misses),
      (error: unknown) => {
        if (signal.aborted) return;
        this.ports.log.warn('cannot read what waits for an answer', { error: describeError(error) });
      },
    );
  }

  #afterPass(report: PassReport): void {
    if (this.#isReloading) this.ports.host.notify({ ready: true });
    this.#isReloading = false;
    const hopeless = report.failed.find(({ error }) => error.code === 'EPERM' || error.code === 'EOPNOTSUPP');
    if (hopeless && !report.isBaseInPlace && !this.#announcer.isAnnounced) {
      throw new UnsupportedError(describeError(hopeless.error), { cause: hopeless.error });
    }
    if (report.isAudit) this.#routes.audit();
    else this.#routes.peersChanged();
    if (report.kind === 'whole') this.#announce();
    if (report.kind === 'whole' && report.failed.length === 0 && report.isInSync) this.#markTidy();
    if (this.#admission?.isInPlace === false) this.#admission.trigger();
    // All checks are gone through for it: too much for each peer that joins. Of those it is told in a few seconds.
    if (report.kind === 'whole') this.#tellSystemd();
  }

  #afterFirewallPass(): void {
    this.#isFirewallTried = true;
    this.#announce();
  }

  /** Containers may start when packets can flow, and not before those to the outside are masqueraded, if they should be. */
  #announce(): void {
    const own = this.#own.current;
    if (!own || !this.#reconciler.isBaseInPlace) return;
    if (own.subnetEnv.ipMasq && this.#firewall && !this.#isFirewallTried) return;
    this.#announcer.announce(printSubnetEnv(own.subnetEnv));
  }

  /** After the first pass: traffic has not to wait for it, and what an earlier agent left guards meanwhile. */
  #admissionSituation(): AdmissionSituation | undefined {
    if (!this.#overlay || !this.#reconciler.isBaseInPlace) return undefined;
    const { peers, isInSync } = this.#watcher;
    return { admission: admissionOf(this.#overlay, peers), isInSync };
  }

  /** Before the base is in place, nothing that is there shows where packets will go. */
  #routedOverlay(): RoutedOverlay | undefined {
    if (!this.#overlay || !this.#reconciler.isBaseInPlace) return undefined;
    const servers = this.ports.host.nameServers().map((address) => ({ address, what: 'a name server' }));
    const { etcdAddresses = [] } = this.#own.facts;
    const etcd = [...this.options.etcdAddresses, ...etcdAddresses].map((address) => ({
      address,
      what: 'etcd',
    }));
    return { overlay: this.#overlay, peers: this.#watcher.peers, needed: [...servers, ...etcd] };
  }

  #firewallWish(): FirewallWish | undefined {
    if (!this.#overlay) return undefined;
    const { network, subnet, backend } = this.#overlay;
    const { enableNfTables } = this.#own.facts.network!;
    const options = { ...this.options.firewall, enableNfTables };
    return { link: linkNameOf(backend), overlays: [{ network, subnet }], options };
  }
}

function* publicIpsOf(peers: Iterable<Peer>): Iterable<IpAddress> {
  for (const { publicIp } of peers) yield publicIp;
}

/** Once each, and the latest only. */
function withSubnet(subnets: readonly Subnet[], added: Subnet): Subnet[] {
  return [...subnets.filter((subnet) => !sameSubnet(subnet, added)), added].slice(-MOST_FORMER_SUBNETS);
}

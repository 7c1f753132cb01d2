/** One host: its kernel, its file, its way to the store, and the agent that runs on it or not. */
import { Agent } from '../../src/agent';
import { ipAddress, type IpAddress } from '../../src/model/address';
import type { Operation } from '../../src/model/operation';
import type { Kernel, LeaseRegistry } from '../../src/ports';
import { keyOf, type KernelObject } from '../../src/model/kernel-state';
import { macAddress, type MacAddress } from '../../src/model/mac';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { ResolveMode } from '../../src/model/overlay';
import { FakeHost } from '../support/fake-host';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import type { FakeRegistry } from '../support/fake-registry';
import { Connection, type ConnectionOptions, type Outage } from './connection';
import { DistantRegistry } from './distant-registry';
import type { Invariants, Suspect } from './invariants';
import { Knowledge } from './knowledge';
import { MemoryHost } from './memory-host';
import type { ObservedStore } from './observed-store';
import { NarrowRegistry } from './narrow-registry';
import { Process, type HostClocks } from './process';
import { QuietLog } from './quiet-log';
import type { Random } from './random';
import type { Scheduler } from './scheduler';
import { SlowKernel, type KernelOptions } from './slow-kernel';
import type { Traffic } from './traffic';

/** A mistake to be found: adapters that stand between the agent and the truth. */
export interface PlantedBug {
  registry?(registry: LeaseRegistry): LeaseRegistry;
  kernel?(kernel: Kernel): Kernel;
}

/** What all hosts of a run share. */
export interface World {
  readonly scheduler: Scheduler;
  readonly chance: Random;
  readonly store: ObservedStore;
  readonly invariants: Invariants;
  readonly traffic: Traffic;
  readonly outage: Outage;
  readonly connection: ConnectionOptions;
  readonly resolve: ResolveMode;
  readonly peerGraceMilliseconds: number;
  /** Which keys a host is shown, by its number; undefined: all. */
  viewOf(host: number): ((name: string) => boolean) | undefined;
  readonly newBug: (() => PlantedBug) | undefined;
  readonly isHeard: boolean;
  /** True when no subnet is free. */
  isFull(): boolean;
}

const LINK = 'flannel.1';
const FAST_KERNEL: KernelOptions = { latency: [0.1, 5], odds: 0 };

interface Life {
  readonly agent: Agent;
  readonly process: Process;
  readonly client: FakeRegistry;
  readonly kernel: SlowKernel;
  /** The overlay address that its agent has put, and whether it has said aloud since then that it has lost its subnet. */
  address: IpAddress | undefined;
  hasSaidLoss: boolean;
}

export class SimulatedHost implements Suspect {
  readonly name: string;
  readonly ownAddresses = new Set<IpAddress>();
  readonly connection: Connection;
  /** Keys that were its own at some time of this life; kept only where it does not see all. */
  ownKeys = new Set<string>();
  kernel: FakeKernel;
  kernelOptions = FAST_KERNEL;
  /** Its monotonic clock may be bad, but never goes back. */
  readonly clocks: HostClocks;
  /** How likely its disk refuses a write. */
  diskOdds = 0;
  /** Its files, which outlive its agents. */
  readonly files = new FakeHost();
  /** An administrator has taken it out of service for good. */
  isRetired = false;
  /** Kernel operations its agents have carried out. */
  operations = 0;
  #address: IpAddress;
  #lives = 0;
  #boots = 0;
  /** What its boot is known by; copies of a running machine share it. */
  #boot = '';
  #life: Life | undefined;
  #disturbedAt = 0;
  #moves = 0;

  constructor(
    readonly number: number,
    private readonly world: World,
  ) {
    this.name = `h${number}`;
    this.#address = addressOf(number, 0);
    this.ownAddresses.add(this.#address);
    this.clocks = { wallOffset: 0, rate: world.chance.between(0.97, 1.03) };
    this.connection = new Connection(world.outage, world.chance.fork(), world.connection);
    this.kernel = this.#newKernel();
  }

  get isRunning(): boolean {
    return this.#life !== undefined;
  }

  get address(): IpAddress {
    return this.#address;
  }

  get overlayAddresses(): readonly IpAddress[] {
    return this.#life ? this.#addressesOnLink() : [];
  }

  get vtepMac(): MacAddress | undefined {
    const link = this.kernel.state.get(`link ${LINK}`);
    return link?.kind === 'link' ? link.mac : undefined;
  }

  get tellsOfTwin(): boolean {
    return this.#life!.agent.readiness().some(({ name, ok }) => name === 'lease contest' && !ok);
  }

  isShown(name: string): boolean {
    const view = this.world.viewOf(this.number);
    return !view || view(name) || this.ownKeys.has(name);
  }

  hasNeighbor(object: KernelObject): boolean {
    const neighbor = this.kernel.state.get(keyOf(object));
    return neighbor?.kind === 'neighbor' && neighbor.mac !== undefined;
  }

  get isPaused(): boolean {
    return this.#life?.process.isPaused ?? false;
  }

  get undisturbedSince(): number {
    // A host that lost its subnet while no other is free knows it, and waits.
    if (this.world.isFull() || this.isPaused) this.disturb();
    return Math.max(this.#disturbedAt, this.connection.lastTrouble);
  }

  /** Something other than the connection keeps its agent from its work just now, and for so long. */
  disturb(milliseconds = 0): void {
    this.#disturbedAt = Math.max(this.#disturbedAt, this.world.scheduler.now + milliseconds);
  }

  start(): void {
    if (this.#life || this.isRetired) return;
    const { scheduler, store, invariants, traffic, resolve, peerGraceMilliseconds } = this.world;
    const bug = this.world.newBug?.();
    const process = new Process(
      `${this.name}.${++this.#lives}`,
      scheduler,
      this.world.chance.fork(),
      this.clocks,
    );
    const knowledge = new Knowledge();
    for (const address of this.#addressesOnLink()) knowledge.ownSubnets.add(address);
    const client = store.client(this.#boot);
    const registry = new DistantRegistry(client, process, this.connection, scheduler, {
      moment: () => store.moment,
      asked: (method) => invariants.checkRequests(this, traffic.count(this.name, method)),
      beforeWork: (method, subject) => invariants.watchWrite(this, method, subject),
      listAnswered: ({ revision }, moment) => knowledge.listed(revision, moment),
      watchBegan: (afterRevision) => knowledge.watches(afterRevision),
      batchDelivered: (moment) => knowledge.told(moment),
    });
    const kernel = new SlowKernel(this.kernel, process, () => this.kernelOptions, {
      asked: (operations) => invariants.checkOperations(this, knowledge, operations),
      done: (operations) => {
        this.operations += operations.length;
        for (const operation of operations) this.#watchAddress(life, operation);
        if (operations.some(({ object }) => object.kind === 'address' || object.kind === 'link'))
          invariants.noteAddresses(this);
      },
    });
    const view = this.world.viewOf(this.number);
    const isOwn = (publicIp: string) => this.ownAddresses.has(publicIp as IpAddress);
    const shown = view ? new NarrowRegistry(registry, view, isOwn, (this.ownKeys = new Set())) : registry;
    const options = {
      underlay: { iface: [], ifaceRegex: [], canReach: undefined, publicIp: undefined },
      resolve,
      etcdAddresses: [],
      configPlace: '/coreos.com/network/config',
      renewMarginSeconds: 3600,
      mayRenumber: true,
      peerGraceMilliseconds,
      hasBlackholeRoute: false,
      firewallResyncSeconds: 5,
      firewall: { ipMasq: false, fullyRandom: true, forward: true },
      admitsPeersOnly: false,
    };
    const agent = new Agent(options, {
      registry: bug?.registry?.(shown) ?? shown,
      kernel: bug?.kernel?.(kernel) ?? kernel,
      firewall: undefined,
      guard: undefined,
      host: new MemoryHost(this.files, process, () => this.diskOdds),
      clock: process,
      log: new QuietLog(process.name, scheduler, this.world.isHeard, (message) => {
        if (message.includes('subnet')) life.hasSaidLoss = true;
      }),
    });
    const life: Life = { agent, process, client, kernel, address: undefined, hasSaidLoss: false };
    this.#life = life;
    this.disturb();
    invariants.noteAddresses(this);
    const end = (how: string) => {
      if (process.isAlive) invariants.report('agents run on', `${this.name} ended: ${how}`);
    };
    agent.run(new AbortController().signal).then(
      () => end('of itself'),
      (error: unknown) => end(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
  }

  /** kill -9: the kernel keeps what it has. */
  kill(): void {
    if (!this.#life) return;
    const { process, client, kernel } = this.#life;
    process.kill();
    client.close();
    kernel.close();
    this.files.end();
    this.#life = undefined;
    this.world.invariants.noteAddresses(this);
  }

  /** The power fails: nothing is left but, perhaps, the subnet file. */
  loseKernel(keepsFile: boolean): void {
    this.kill();
    this.kernel = this.#newKernel();
    if (!keepsFile) this.files.subnetFile = undefined;
  }

  /** SIGSTOP; or, `stopsClock`, the whole machine is suspended. */
  pause(stopsClock: boolean): void {
    this.disturb();
    this.#life?.process.pause(stopsClock);
  }

  resume(): void {
    this.disturb();
    if (this.isPaused) this.#life?.process.resume();
  }

  /** Out of service: its kernel is empty, and no agent starts again. */
  retire(): void {
    this.loseKernel(false);
    this.isRetired = true;
  }

  /** It becomes what another is, but for its address in the underlay: a copied image, or, `wakes`, a copied running machine. */
  becomeCloneOf(other: SimulatedHost, wakes: boolean): void {
    this.loseKernel(false);
    this.files.subnetFile = other.files.subnetFile;
    this.files.memory = other.files.memory;
    if (!wakes) return;
    this.#boot = other.#boot;
    const objects = [...other.kernel.state.values()];
    const rank = ({ kind }: KernelObject) => (kind === 'link' ? 0 : kind === 'address' ? 1 : 2);
    objects.sort((a, b) => rank(a) - rank(b));
    this.kernel.tamper(...objects.map((object) => ({ verb: 'put', object }) as const));
  }

  cutWatches(): void {
    if (!this.#life) return;
    this.connection.lastTrouble = this.world.scheduler.now;
    this.#life.client.cutWatches();
  }

  /** DHCP gives it an address that nobody ever had; or this one, which another has or had. */
  move(address = addressOf(this.number, ++this.#moves)): void {
    this.#address = address;
    this.ownAddresses.add(this.#address);
    this.kernel.changeInterfaces([this.#underlay()]);
    this.disturb();
  }

  #watchAddress(life: Life, { verb, object }: Operation): void {
    if (verb !== 'put' || object.kind !== 'address') return;
    if (life.address !== undefined && life.address !== object.address && !life.hasSaidLoss)
      this.world.invariants.report(
        'a lost subnet is told',
        `${this.name} has gone from ${life.address} to ${object.address} without a word`,
      );
    life.address = object.address;
    life.hasSaidLoss = false;
  }

  #newKernel(): FakeKernel {
    this.#boot = `${this.name}, boot ${++this.#boots}`;
    const kernel = new FakeKernel();
    kernel.networkInterfaces = [this.#underlay()];
    return kernel;
  }

  /** A copied image is another machine: its interface has another hardware address. */
  #underlay(): NetworkInterface {
    const [address] = FAKE_UNDERLAY.addresses;
    return {
      ...FAKE_UNDERLAY,
      mac: macAddress(`02:ee:00:00:${hex(this.number >> 8)}:${hex(this.number & 255)}`),
      addresses: [{ ...address!, address: this.#address, prefixLength: 12 }],
    };
  }

  #addressesOnLink(): IpAddress[] {
    const addresses: IpAddress[] = [];
    for (const object of this.kernel.state.values()) {
      if (object.kind === 'address' && object.link === LINK) addresses.push(object.address);
    }
    return addresses;
  }
}

/** 172.16.0.0/12 has room for 2^20 addresses: 2^14 hosts with 63 moves. */
function addressOf(host: number, moves: number): IpAddress {
  const offset = moves * 16_384 + host + 1;
  return ipAddress(`172.${16 + (offset >> 16)}.${(offset >> 8) & 255}.${offset & 255}`);
}

function hex(octet: number): string {
  return octet.toString(16).padStart(2, '0');
}

/** One run: hosts, faults, and the verdict. */
import { setMaxListeners } from 'node:events';
import { addressToInteger, sizeOf } from '../../src/model/address';
import type { SubnetRange, VxlanBackend } from '../../src/model/network-config';
import { parseNetworkConfig } from '../../src/model/network-config-codec';
import type { Backup } from '../support/fake-registry';
import { Connection, Outage } from './connection';
import { findUnconverged, type Expectation } from './convergence';
import {
  FAULTS,
  type Emphasis,
  GOOD_LATENCY,
  LONG_FAULTS,
  LONG_MILLISECONDS,
  MENDING_MILLISECONDS,
  heal,
  provoke,
  type Scene,
} from './faults';
import { FlannelHost, findUnsettledFlannel } from './flannel-host';
import { Invariants, type Violation } from './invariants';
import { viewOf as narrowViewOf } from './narrow-registry';
import { ObservedStore } from './observed-store';
import { Random } from './random';
import { Scheduler } from './scheduler';
import { Traffic } from './traffic';
import { SimulatedHost, type PlantedBug, type World } from './simulated-host';

export interface SimulationOptions {
  readonly seed: number;
  readonly hosts: number;
  /** How many faults are provoked. */
  readonly faults: number;
  /** In the middle, an outage that no lease outlives. */
  readonly hasLongFaults?: boolean;
  /** Hosts besides that run flannel. */
  readonly flannelHosts?: number;
  /** Subnets that remain when every host has one; undefined: many. Negative: not every host gets one before some have gone. */
  readonly spareSubnets?: number;
  readonly onDemand?: boolean;
  readonly emphasis?: Emphasis;
  /** Instead of any, one of these each time. */
  readonly only?: readonly string[];
  /** A mistake that should be found; made anew for each host's each life. */
  readonly bug?: () => PlantedBug;
  /** How many of the last steps are kept. */
  readonly traceLength?: number;
  /** Mean time between two faults, in milliseconds. */
  readonly pace?: number;
}

export interface SimulationReport {
  readonly options: SimulationOptions;
  readonly violations: readonly Violation[];
  readonly steps: number;
  readonly virtualSeconds: number;
  /** How long it took until all was well after the last fault. */
  readonly convergedAfterSeconds: number | undefined;
  /** The most requests that the store got from all hosts in a second, and from one in a minute, after they had started. */
  readonly peaks: { readonly fleetPerSecond: number; readonly hostPerMinute: number };
  readonly fingerprint: string;
  readonly trace: readonly string[];
}

/** All must be well so long after the last fault; the watch's own audit (ten minutes) must not be what mends it. */
const CONVERGENCE_MILLISECONDS = 300_000;
const QUIET_MILLISECONDS = 130_000;
/** Of more hosts than this most see only some of the others: all peers of all hosts would not fit into memory. */
const MANY_HOSTS = 200;
/** Where there are many, less time is spent on waiting. */
const MANY = { mendingMilliseconds: 5_000, quietMilliseconds: 70_000 };

// Node warns of what could be a leak: here it is the many loops of many agents, each of which waits with its agent's signal.
setMaxListeners(0);

/** Runs until an invariant is violated, or all converged after the last fault and stayed quiet. */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const chance = new Random(options.seed);
  const scheduler = new Scheduler(options.traceLength);
  const store = new ObservedStore({ now: () => scheduler.now });
  const config = parseNetworkConfig(configFor(options));
  const { network, subnetLength } = config.ipv4!;
  const backend = config.backend as VxlanBackend;
  const invariants = new Invariants(store, scheduler, subnetLength, options.onDemand ?? false);
  const traffic = new Traffic(scheduler);
  const outage = new Outage(() => scheduler.now);
  const resolve = options.onDemand
    ? ({ kind: 'on-demand', idleMilliseconds: 300_000 } as const)
    : ({ kind: 'preload' } as const);
  const viewOf = (host: number) =>
    options.hosts > MANY_HOSTS ? narrowViewOf(host, options.hosts) : undefined;
  const world: World = {
    scheduler,
    chance,
    store,
    invariants,
    traffic,
    outage,
    connection: { latency: GOOD_LATENCY, odds: 0 },
    resolve,
    peerGraceMilliseconds: chance.pick([0, 30_000]),
    viewOf,
    newBug: options.bug,
    isHeard: options.hosts <= 50,
    isFull: () => store.entries.size > subnetsIn(scene.range),
  };
  const hosts = Array.from({ length: options.hosts }, (_, number) => new SimulatedHost(number, world));
  const flannels = Array.from({ length: options.flannelHosts ?? 0 }, (_, number) => {
    const connection = new Connection(outage, chance.fork(), world.connection);
    return new FlannelHost(number, { scheduler, store, chance, range: () => scene.range }, connection);
  });
  const expectation: Expectation = { network, backend, resolve };
  const configure = (isNarrow: boolean) => {
    const text = configFor(options, isNarrow);
    store.put('config', text);
    scene.range = parseNetworkConfig(text).ipv4!;
  };
  const scene: Scene = {
    hosts,
    flannels,
    store,
    outage,
    scheduler,
    chance,
    range: config.ipv4!,
    configure,
    isReconfigured: false,
    backups: [] as Backup[],
    spareSubnets: options.spareSubnets,
    isOver: false,
  };

  const isOver = () => {
    invariants.checkOwners();
    return invariants.violations.length > 0;
  };
  configure(false);
  const pace = options.pace ?? 4_000;
  // Some start together, some while others are at work already.
  const spread = chance.pick([0, 50, 2_000]);
  for (const host of [...hosts, ...flannels])
    scheduler.after(chance.between(0, spread), `${host.name} starts`, () => host.start());
  await scheduler.run(chance.between(0, 10_000), isOver);
  traffic.reset();
  for (let count = 0; count < options.faults && !isOver(); count++) {
    const isLong = options.hasLongFaults && count === options.faults >> 1;
    const table = isLong ? LONG_FAULTS : options.only ? pickOf(FAULTS, options.only) : FAULTS;
    scheduler.note(`FAULT ${provoke(scene, table, options.emphasis)}`);
    if (isLong) await scheduler.run(LONG_MILLISECONDS + chance.between(0, 600_000), isOver);
    const pause = chance.chance(0.3) ? chance.between(0, 20) : -Math.log(1 - chance.next()) * pace;
    await scheduler.run(pause, isOver);
  }
  const isLarge = options.hosts > MANY_HOSTS;
  const mendingMilliseconds = isLarge ? MANY.mendingMilliseconds : MENDING_MILLISECONDS;
  let convergedAfterSeconds: number | undefined;
  if (!isOver()) {
    // What undoes itself later does so while all is well.
    scheduler.note('ALL FAULTS END');
    heal(scene, mendingMilliseconds);
    await scheduler.run(mendingMilliseconds + 1, isOver);
    convergedAfterSeconds = await converge();
    if (convergedAfterSeconds !== undefined) await stayQuiet();
  }
  return {
    options,
    violations: invariants.violations,
    steps: scheduler.steps,
    virtualSeconds: Math.round(scheduler.now / 1000),
    convergedAfterSeconds,
    peaks: { fleetPerSecond: traffic.fleetPerSecond, hostPerMinute: traffic.hostPerMinute },
    fingerprint: scheduler.fingerprint,
    trace: scheduler.recent,
  };

  async function converge(): Promise<number | undefined> {
    const start = scheduler.now;
    const bound = CONVERGENCE_MILLISECONDS;
    for (let wait = 1_000; ; wait = Math.min(wait * 1.5, bound / 10)) {
      await scheduler.run(wait, isOver);
      if (isOver()) return undefined;
      const problem =
        (await findUnconverged(hosts, store, expectation)) ?? findUnsettledFlannel(flannels, store);
      if (!problem) return Math.round((scheduler.now - start) / 1000);
      if (scheduler.now - start < bound) continue;
      invariants.report('all converge', `${problem}, ${Math.round(bound / 1000)} s after the last fault`);
      return undefined;
    }
  }

  /** For two minutes and an audit of the kernel nothing is written, and all stays as it is. */
  async function stayQuiet(): Promise<void> {
    const { revision } = store;
    const { writes } = traffic;
    const operations = hosts.map((host) => host.operations);
    await scheduler.run(isLarge ? MANY.quietMilliseconds : QUIET_MILLISECONDS, isOver);
    if (isOver()) return;
    // Flannel renews by writing.
    if (store.revision !== revision && flannels.length === 0)
      invariants.report('quiet is quiet', `the store went from revision ${revision} to ${store.revision}`);
    if (traffic.writes !== writes)
      invariants.report('quiet is quiet', `agents asked ${traffic.writes - writes} times for a write`);
    const busy = hosts.find((host, index) => host.operations !== operations[index]);
    if (busy) invariants.report('quiet is quiet', `${busy.name} wrote to its kernel`);
    const problem = await findUnconverged(hosts, store, expectation);
    if (problem) invariants.report('all converge', `${problem}, although all was well before`);
  }
}

/** 10.5.0.0/16 in 24s, or just enough of them; more hosts get 10.0.0.0/8. */
function configFor({ hosts, flannelHosts = 0, spareSubnets }: SimulationOptions, isNarrow = false): string {
  const network = hosts <= 200 ? '10.5.0.0/16' : '10.0.0.0/8';
  const last = spareSubnets === undefined ? undefined : hosts + flannelHosts + spareSubnets;
  const max = isNarrow ? '10.5.128.0' : last && `10.5.${last}.0`;
  return JSON.stringify({
    Network: network,
    SubnetLen: 24,
    ...(max ? { SubnetMin: '10.5.1.0', SubnetMax: max } : {}),
    Backend: { Type: 'vxlan' },
  });
}

function pickOf(faults: typeof FAULTS, names: readonly string[]): typeof FAULTS {
  return Object.fromEntries(names.map((name) => [name, faults[name]!]));
}

function subnetsIn({ subnetLength, subnetMin, subnetMax }: SubnetRange): number {
  const size = sizeOf('ipv4', subnetLength);
  return Number((addressToInteger(subnetMax) - addressToInteger(subnetMin)) / size) + 1;
}

/** What can happen to hosts, network and store: each fault does one thing, and most undo themselves after a while. */
import { ipAddress, subnetOf, type IpAddress, type Subnet } from '../../src/model/address';
import { keyOf } from '../../src/model/kernel-state';
import { parseLeaseName, printLeaseAttributes, printLeaseName, vxlanData } from '../../src/model/lease-codec';
import { localMacOf } from '../../src/model/mac';
import type { Backup } from '../support/fake-registry';
import { freeSubnet } from '../../src/core/subnets';
import type { Outage } from './connection';
import type { FlannelHost } from './flannel-host';
import { leasesOf } from './convergence';
import { SUBNETS, type ObservedStore } from './observed-store';
import type { Random } from './random';
import type { Scheduler } from './scheduler';
import type { SimulatedHost } from './simulated-host';
import type { SubnetRange } from '../../src/model/network-config';

export interface Scene {
  readonly hosts: readonly SimulatedHost[];
  readonly flannels: readonly FlannelHost[];
  readonly store: ObservedStore;
  readonly outage: Outage;
  readonly scheduler: Scheduler;
  readonly chance: Random;
  range: SubnetRange;
  /** Writes another range of subnets into the configuration, or the first one again. */
  readonly configure: (isNarrow: boolean) => void;
  isReconfigured: boolean;
  readonly backups: Backup[];
  /** How many subnets there are besides one for each host; undefined: many. */
  readonly spareSubnets: number | undefined;
  /** No more faults: those that were to come later do not. */
  isOver: boolean;
}

type Fault = (scene: Scene) => string | undefined;

/** Longer than a lease lives. */
export const LONG_MILLISECONDS = 25 * 3_600_000;
const KEPT_BACKUPS = 5;
/** So long hosts have to write their own keys again. */
export const MENDING_MILLISECONDS = 60_000;

/** By name, with how often each comes compared with the others. */
export const FAULTS: Readonly<Record<string, readonly [weight: number, fault: Fault]>> = {
  crash: [8, (scene) => onRunning(scene, (host) => restart(scene, host, false))],
  reboot: [4, (scene) => onRunning(scene, (host) => restart(scene, host, true))],
  'power failure': [1, powerFailure],
  'host cut off': [5, (scene) => onAny(scene, (host) => cutOff(scene, host, shortOrLonger(scene)))],
  'store outage': [3, (scene) => storeOutage(scene, shortOrLonger(scene))],
  'lease expired': [6, expireLease],
  'watches cut': [4, cutWatches],
  compaction: [3, compaction],
  backup: [4, backup],
  restore: [2, restore],
  'key deleted': [4, (scene) => onKey(scene, (key) => scene.store.delete(key))],
  'key overwritten with garbage': [3, (scene) => onKey(scene, (key) => scene.store.put(key, garbage(scene)))],
  'key overwritten with nonsense': [
    3,
    (scene) => onKey(scene, (key) => scene.store.put(key, nonsense(scene))),
  ],
  'key given to another host': [2, giveAway],
  'key written again': [2, (scene) => onKey(scene, (key) => writeAgain(scene, key))],
  'garbage key': [2, garbageKey],
  reservation: [2, reservation],
  'address changed': [4, (scene) => onRunning(scene, (host) => host.move())],
  'bad connection': [5, (scene) => onAny(scene, (host) => badConnection(scene, host))],
  'slow connection': [4, (scene) => onAny(scene, (host) => slowConnection(scene, host))],
  'kernel refuses': [3, (scene) => onAny(scene, (host) => badKernel(scene, host))],
  'kernel slow': [2, (scene) => onAny(scene, (host) => slowKernel(scene, host))],
  'disk full': [1, (scene) => onAny(scene, (host) => fullDisk(scene, host))],
  'wall clock set': [2, (scene) => onAny(scene, (host) => setClock(scene, host))],
  'agent paused': [4, (scene) => onRunning(scene, (host) => pause(scene, host, false, shortOrLonger(scene)))],
  'host suspended': [
    3,
    (scene) => onRunning(scene, (host) => pause(scene, host, true, shortOrLonger(scene))),
  ],
  'rebooted elsewhere': [2, (scene) => onAny(scene, (host) => restart(scene, host, true, () => host.move()))],
  'image copied': [2, copyImage],
  'machine doubled': [2, doubleMachine],
  'addresses exchanged': [1, exchangeAddresses],
  'address doubled': [1, doubleAddress],
  'new cluster': [1, newCluster],
  'subnet range changed': [1, changeRange],
  'flannel restarted': [3, (scene) => onFlannel(scene, (flannel) => restartFlannel(scene, flannel, false))],
  'flannel rebooted': [1, (scene) => onFlannel(scene, (flannel) => restartFlannel(scene, flannel, true))],
  'flannel cut off': [
    2,
    (scene) => onFlannel(scene, (flannel) => cutOff(scene, flannel, shortOrLonger(scene))),
  ],
  misses: [6, misses],
  tampering: [4, tampering],
  overrun: [1, (scene) => onRunning(scene, (host) => host.kernel.overrun())],
};

/** Outages that outlast every lease: a day and an hour of virtual time, so they come in runs of their own. */
export const LONG_FAULTS: Readonly<Record<string, readonly [weight: number, fault: Fault]>> = {
  'store outage of a day': [1, (scene) => storeOutage(scene, LONG_MILLISECONDS)],
  'host cut off for a day': [2, (scene) => onAny(scene, (host) => cutOff(scene, host, LONG_MILLISECONDS))],
  'agent paused for a day': [
    1,
    (scene) => onRunning(scene, (host) => pause(scene, host, false, LONG_MILLISECONDS)),
  ],
  'host suspended for a day': [
    1,
    (scene) => onRunning(scene, (host) => pause(scene, host, true, LONG_MILLISECONDS)),
  ],
  'flannel cut off for a day': [
    1,
    (scene) => onFlannel(scene, (flannel) => cutOff(scene, flannel, LONG_MILLISECONDS)),
  ],
  'host down for a day': [
    2,
    (scene) =>
      onRunning(scene, (host) => {
        host.kill();
        later(scene, LONG_MILLISECONDS, `${host.name} starts`, () => host.start());
      }),
  ],
};

/** How many times as often as usual a fault comes. */
export type Emphasis = Readonly<Record<string, number>>;

/** Chooses one and does it. Returns what was done, for the trace. */
export function provoke(scene: Scene, faults: typeof FAULTS, emphasis: Emphasis = {}): string {
  const names = Object.keys(faults);
  const weightOf = (name: string) => faults[name]![0] * (emphasis[name] ?? 1);
  let pick = scene.chance.next() * names.reduce((sum, name) => sum + weightOf(name), 0);
  const name = names.find((each) => (pick -= weightOf(each)) < 0) ?? names[0]!;
  return `${name}: ${faults[name]![1](scene) ?? 'nothing to do'}`;
}

/** Everything works from now on, and everybody is up. */
export function heal(scene: Scene, mendingMilliseconds: number): void {
  scene.isOver = true;
  scene.outage.end();
  for (const host of [...scene.hosts, ...scene.flannels]) {
    host.connection.isCut = false;
    host.connection.odds = 0;
    host.connection.setLatency(GOOD_LATENCY);
  }
  // One too many for the subnets there are: somebody must go.
  const surplus = Math.max(0, -(scene.spareSubnets ?? 0));
  for (const host of scene.hosts.slice(0, surplus)) host.retire();
  separate(scene);
  for (const host of scene.hosts) {
    host.kernelOptions = { latency: [0.1, 5], odds: 0 };
    host.diskOdds = 0;
    host.resume();
    // A changed configuration is read at the next start.
    if (scene.isReconfigured) host.kill();
    host.start();
  }
  for (const flannel of scene.flannels) {
    if (scene.isReconfigured) flannel.kill();
    flannel.start();
  }
  clear(scene, () => false);
  // What still cannot be read then belongs to nobody who remembers: who knew it keeps it, so that no two hosts need be alike.
  later(scene, mendingMilliseconds, 'an administrator clears up', () => {
    clear(
      scene,
      (key) =>
        scene.store.isUnreadable(key) ||
        isOverwritten(scene, key) ||
        (scene.spareSubnets !== undefined && !isUsed(scene, key)),
    );
  });
}

/** Deletes what no host will ever delete: keys of nobody here, and what else is to go. */
function clear({ store, hosts, flannels }: Scene, isDue: (key: string) => boolean): void {
  const inService = hosts.filter(({ isRetired }) => !isRetired);
  const own = new Set(inService.flatMap((host) => [...host.ownAddresses]));
  for (const { address } of flannels) own.add(address);
  for (const key of [...store.entries.keys()]) {
    if (!key.startsWith(SUBNETS)) continue;
    const holder = store.holderOf(key);
    if (holder === undefined || !own.has(holder) || isDue(key)) store.delete(key);
  }
}

export const GOOD_LATENCY = [1, 50] as const;

/** A host may hold two leases: one that was lost and came back with a backup, or a reservation. It uses one. */
function isUsed({ store, hosts, flannels }: Scene, key: string): boolean {
  if (flannels.some((flannel) => flannel.key === key)) return true;
  const address = parseLeaseName(key.slice(SUBNETS.length))?.subnet.address;
  const holder = store.holderOf(key);
  return hosts.some(
    (host) => host.address === holder && host.overlayAddresses.some((own) => own === address),
  );
}

/** Flannel lives by a key whatever it says, until the key goes. */
function isOverwritten({ store, flannels }: Scene, key: string): boolean {
  return flannels.some((flannel) => flannel.key === key && store.holderOf(key) !== flannel.address);
}

function later({ scheduler }: Scene, milliseconds: number, what: string, work: () => void): void {
  scheduler.after(milliseconds, what, work);
}

function onAny(scene: Scene, work: (host: SimulatedHost) => void): string {
  const host = scene.chance.pick(scene.hosts);
  work(host);
  return host.name;
}

function onRunning(scene: Scene, work: (host: SimulatedHost) => void): string | undefined {
  const running = scene.hosts.filter(({ isRunning }) => isRunning);
  if (running.length === 0) return undefined;
  const host = scene.chance.pick(running);
  work(host);
  return host.name;
}

function onKey(scene: Scene, work: (key: string) => void): string | undefined {
  const keys = [...scene.store.entries.keys()].filter((key) => key.startsWith(SUBNETS));
  if (keys.length === 0) return undefined;
  const key = scene.chance.pick(keys);
  work(key);
  return key;
}

/** Mostly a hiccup, sometimes minutes. */
function shortOrLonger({ chance }: Scene): number {
  return chance.chance(0.7) ? chance.between(50, 10_000) : chance.between(10_000, 300_000);
}

function onFlannel(scene: Scene, work: (flannel: FlannelHost) => void): string | undefined {
  if (scene.flannels.length === 0) return undefined;
  const flannel = scene.chance.pick(scene.flannels);
  work(flannel);
  return flannel.name;
}

function restartFlannel(scene: Scene, flannel: FlannelHost, isReboot: boolean): void {
  if (isReboot) flannel.reboot();
  else flannel.kill();
  later(scene, scene.chance.between(0, 60_000), `${flannel.name} starts`, () => flannel.start());
}

function restart(scene: Scene, host: SimulatedHost, isReboot: boolean, meanwhile = () => {}): void {
  const { chance } = scene;
  if (isReboot) host.loseKernel(chance.chance(0.5));
  else host.kill();
  meanwhile();
  const pause = chance.chance(0.5) ? chance.between(0, 1_000) : chance.between(1_000, 120_000);
  later(scene, pause, `${host.name} starts`, () => host.start());
}

function powerFailure(scene: Scene): string {
  for (const host of scene.hosts) {
    host.loseKernel(scene.chance.chance(0.5));
    later(scene, 1_000 + scene.chance.between(0, 50), `${host.name} starts`, () => host.start());
  }
  return 'all hosts';
}

/** What it does afterwards, it does by what it knew before. */
function pause(scene: Scene, host: SimulatedHost, stopsClock: boolean, milliseconds: number): void {
  host.pause(stopsClock);
  later(scene, milliseconds, `${host.name} goes on`, () => host.resume());
}

function two({ hosts, chance }: Scene): [SimulatedHost, SimulatedHost] | undefined {
  if (hosts.length < 2) return undefined;
  const one = chance.below(hosts.length);
  const other = (one + 1 + chance.below(hosts.length - 1)) % hosts.length;
  return [hosts[one]!, hosts[other]!];
}

/** One host becomes a copy of another: same files, and perhaps the same device, but an address of its own. */
function copyImage(scene: Scene): string | undefined {
  const pair = two(scene);
  if (!pair) return undefined;
  const [original, copy] = pair;
  const wakes = scene.chance.chance(0.5);
  copy.becomeCloneOf(original, wakes);
  later(scene, scene.chance.between(0, 60_000), `${copy.name} starts`, () => copy.start());
  return `${copy.name} from ${original.name}${wakes ? ', with its kernel' : ''}`;
}

/** Two hosts are rebooted, and each gets the address that was the other's. */
function exchangeAddresses(scene: Scene): string | undefined {
  const pair = two(scene);
  if (!pair) return undefined;
  const [one, other] = pair;
  const [first, second] = [one.address, other.address];
  restart(scene, one, true, () => one.move(second));
  restart(scene, other, true, () => other.move(first));
  return `${one.name} and ${other.name}`;
}

/** By mistake a host gets another's address, for a while: to flannel's protocol they are one host. */
function doubleAddress(scene: Scene): string | undefined {
  const pair = two(scene);
  if (!pair) return undefined;
  const [one, other] = pair;
  const milliseconds = scene.chance.between(1_000, 600_000);
  const { address } = one;
  other.move(address);
  later(scene, milliseconds, `${other.name} gets an address of its own`, () => separate(scene));
  return `${other.name} like ${one.name}`;
}

/** A machine is woken twice from one image of its memory: alike in all, even the boot, until one gets another address. */
function doubleMachine(scene: Scene): string | undefined {
  const { chance } = scene;
  const pair = two(scene);
  if (!pair) return undefined;
  const [original, copy] = pair;
  copy.becomeCloneOf(original, true);
  copy.move(original.address);
  original.kill();
  for (const host of pair) later(scene, chance.between(0, 2_000), `${host.name} starts`, () => host.start());
  later(scene, chance.between(60_000, 900_000), `${copy.name} gets an address of its own`, () =>
    separate(scene),
  );
  return `${copy.name} like ${original.name}`;
}

/** Each has an address of its own; whoever had the doubled one by then, for it may have been exchanged meanwhile. */
function separate({ hosts }: Scene): void {
  const taken = new Map<IpAddress, SimulatedHost>();
  for (const host of hosts) {
    const other = taken.get(host.address);
    if (other) {
      for (const each of [host, other]) each.disturb();
      host.move();
    }
    taken.set(host.address, host);
  }
}

/** Nothing is left but the configuration, in a store whose revisions have nothing to do with those before. */
function newCluster(scene: Scene): string {
  const { store, chance } = scene;
  const milliseconds = chance.between(6_000, 30_000);
  storeOutage(scene, milliseconds);
  const config = store.entries.get('config')!;
  const revision = chance.chance(0.5) ? 2 : store.revision + chance.below(1_000);
  later(scene, milliseconds, `an empty store at revision ${revision}`, () => {
    if (scene.isOver) return;
    const entries = new Map([['config', { ...config, modRevision: 2, createRevision: 2 }]]);
    store.restore({ revision, entries, etcdLeases: new Map() });
    for (const host of [...scene.hosts, ...scene.flannels]) host.cutWatches();
  });
  return `at revision ${revision}`;
}

/** Another part of the network is given out from now on; one by one the hosts are told by a restart. */
function changeRange(scene: Scene): string | undefined {
  const { chance, hosts, flannels } = scene;
  if (scene.spareSubnets !== undefined || hosts.length > 50) return undefined;
  const isNarrow = chance.chance(0.7);
  scene.configure(isNarrow);
  scene.isReconfigured = true;
  for (const host of hosts)
    later(scene, chance.between(0, 60_000), `${host.name} is restarted`, () => {
      if (!host.isRunning) return;
      host.kill();
      host.start();
    });
  for (const flannel of flannels) restartFlannel(scene, flannel, false);
  return isNarrow ? 'to a narrow one' : 'to the wide one';
}

function cutOff(scene: Scene, host: SimulatedHost | FlannelHost, milliseconds: number): void {
  const { connection } = host;
  connection.isCut = true;
  connection.lastTrouble = scene.scheduler.now;
  later(scene, connection.timeToDetect(), `${host.name} finds its watches dead`, () => {
    if (connection.isDown) host.cutWatches();
  });
  later(scene, milliseconds, `${host.name} is connected again`, () => {
    connection.isCut = false;
    connection.lastTrouble = scene.scheduler.now;
  });
}

function storeOutage(scene: Scene, milliseconds: number): string {
  const { outage, scheduler } = scene;
  const hosts = [...scene.hosts, ...scene.flannels];
  outage.lasts(milliseconds);
  for (const host of hosts) {
    host.connection.lastTrouble = scheduler.now;
    later(scene, host.connection.timeToDetect(), `${host.name} finds its watches dead`, () => {
      if (host.connection.isDown) host.cutWatches();
    });
  }
  later(scene, milliseconds, 'the store is back', () => {
    for (const { connection } of hosts) connection.lastTrouble = scheduler.now;
  });
  return `${Math.round(milliseconds / 1000)} s`;
}

function expireLease(scene: Scene): string | undefined {
  const ids = scene.store.etcdLeaseIds;
  if (ids.length === 0) return undefined;
  const id = scene.chance.pick(ids);
  scene.store.revoke(id);
  return id;
}

function cutWatches(scene: Scene): string {
  if (scene.chance.chance(0.7)) return onAny(scene, (host) => host.cutWatches());
  for (const host of [...scene.hosts, ...scene.flannels]) host.cutWatches();
  return 'all hosts';
}

function compaction(scene: Scene): string {
  scene.store.compact();
  if (scene.chance.chance(0.5)) return `${scene.store.revision}`;
  return `${scene.store.revision}, watches cut: ${cutWatches(scene)}`;
}

function backup({ store, backups }: Scene): string {
  backups.push(store.backup());
  if (backups.length > KEPT_BACKUPS) backups.shift();
  return `revision ${store.revision}`;
}

/** etcd is stopped, its data put back, and started: a while without it, and then a past that is not everybody's. */
function restore(scene: Scene): string | undefined {
  const { store, backups, chance } = scene;
  if (backups.length === 0) return undefined;
  const chosen = chance.pick(backups);
  const milliseconds = chance.between(6_000, 30_000);
  storeOutage(scene, milliseconds);
  later(scene, milliseconds, `the store is put back to revision ${chosen.revision}`, () => {
    if (scene.isOver) return;
    store.restore(chosen);
    for (const host of [...scene.hosts, ...scene.flannels]) host.cutWatches();
  });
  return `to revision ${chosen.revision}, from ${store.revision}`;
}

function garbage({ chance }: Scene): string {
  return chance.pick(['', 'garbage', '{', '[]', 'null', '{"PublicIP":7}', '{"PublicIP":"10.5.1"}']);
}

/** It can be read, but no packet could be sent to it. */
function nonsense({ chance }: Scene): string {
  return chance.pick([
    '{}',
    '{"PublicIP":"0.0.0.0","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:01"}}',
    '{"PublicIP":"224.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:01"}}',
    '{"PublicIP":"198.51.100.1","BackendType":"vxlan","BackendData":{"VtepMAC":"01:00:00:00:00:01"}}',
    '{"PublicIP":"198.51.100.1","BackendType":"vxlan"}',
    '{"PublicIP":"198.51.100.1","BackendType":"host-gw"}',
  ]);
}

function strangerValue({ chance }: Scene): string {
  const number = chance.below(250);
  return attributes(ipAddress(`198.51.100.${number + 1}`), number);
}

function attributes(publicIp: IpAddress, number: number): string {
  return printLeaseAttributes({
    publicIp,
    publicIpv6: undefined,
    backendType: 'vxlan',
    backendData: vxlanData(1, localMacOf(Uint8Array.from([0xf2, 0xff, 0, 0, 0, number]))),
    backendV6Data: undefined,
  });
}

function giveAway(scene: Scene): string | undefined {
  const leases = scene.chance.chance(0.5) ? leasesOf(scene.store) : [];
  const value =
    leases.length > 0 ? printLeaseAttributes(scene.chance.pick(leases).attributes) : strangerValue(scene);
  return onKey(scene, (key) => scene.store.put(key, value));
}

function writeAgain({ store }: Scene, key: string): void {
  const { value, etcdLeaseId } = store.entries.get(key)!;
  store.put(key, value, etcdLeaseId);
}

function garbageKey(scene: Scene): string {
  const { store, chance } = scene;
  const names = ['garbage', '10.5.300.0-24', '10.5.7.0', '10.5.7.0-99', 'x/y', ''];
  const free = chance.chance(0.5) ? vacancy(scene) : undefined;
  const key = SUBNETS + (free ? printLeaseName({ subnet: free, ipv6Subnet: undefined }) : chance.pick(names));
  store.put(key, chance.chance(0.5) ? garbage(scene) : strangerValue(scene));
  return key;
}

function reservation(scene: Scene): string | undefined {
  const free = vacancy(scene);
  if (!free) return undefined;
  const host = scene.chance.pick(scene.hosts);
  const name = printLeaseName({ subnet: free, ipv6Subnet: undefined });
  // Made by an administrator, who does not know the host's MAC.
  scene.store.put(SUBNETS + name, `{"PublicIP":"${host.address}","BackendType":"vxlan"}`);
  return `${name} for ${host.name}`;
}

function vacancy({ store, range, chance }: Scene): Subnet | undefined {
  return freeSubnet(
    range,
    leasesOf(store).map((lease) => lease.subnet),
    chance.next(),
  );
}

function badConnection(scene: Scene, host: SimulatedHost): void {
  host.connection.odds = scene.chance.between(0.02, 0.25);
  later(scene, scene.chance.between(1_000, 120_000), `${host.name}'s connection is good again`, () => {
    host.connection.odds = 0;
  });
}

function slowConnection(scene: Scene, host: SimulatedHost): void {
  host.connection.setLatency([1, scene.chance.between(100, 5_000)]);
  later(scene, scene.chance.between(1_000, 60_000), `${host.name}'s connection is fast again`, () => {
    host.connection.setLatency(GOOD_LATENCY);
    host.connection.lastTrouble = scene.scheduler.now;
  });
}

function badKernel(scene: Scene, host: SimulatedHost): void {
  host.kernelOptions = { ...host.kernelOptions, odds: scene.chance.between(0.01, 0.3) };
  later(scene, scene.chance.between(1_000, 60_000), `${host.name}'s kernel works again`, () => {
    host.kernelOptions = { ...host.kernelOptions, odds: 0 };
    host.disturb();
  });
}

function slowKernel(scene: Scene, host: SimulatedHost): void {
  host.kernelOptions = { ...host.kernelOptions, latency: [1, scene.chance.between(50, 2_000)] };
  later(scene, scene.chance.between(1_000, 60_000), `${host.name}'s kernel is fast again`, () => {
    host.kernelOptions = { ...host.kernelOptions, latency: [0.1, 5] };
    host.disturb();
  });
}

function fullDisk(scene: Scene, host: SimulatedHost): void {
  host.diskOdds = 1;
  later(scene, scene.chance.between(1_000, 60_000), `${host.name}'s disk has room again`, () => {
    host.diskOdds = 0;
  });
}

/** By hours or years, either way. */
function setClock({ chance }: Scene, host: SimulatedHost): void {
  host.clocks.wallOffset = chance.pick([-1, 1]) * chance.pick([3_600_000, 100_000_000, 300_000_000_000]);
}

/** Somebody on a host sends to addresses of the overlay: where the kernel does not know the way, it asks. */
function misses(scene: Scene): string {
  const { chance, range } = scene;
  return onAny(scene, (host) => {
    for (let count = 1 + chance.below(4); count > 0; count--) {
      const known = chance.chance(0.5) ? leasesOf(scene.store) : [];
      const target = known.length > 0 ? chance.pick(known).subnet : freeSubnet(range, [], chance.next())!;
      const asked = chance.chance(0.3) ? target.address : ipAddress(target.address.replace(/\.0$/, '.7'));
      if (needsAnswer(host, asked, range)) host.kernel.raiseMiss({ layer: 'l3', address: asked });
    }
  });
}

/** The kernel asks for an address only while no route of a peer leads to it, and no neighbor says where it is. */
function needsAnswer(host: SimulatedHost, asked: IpAddress, range: SubnetRange): boolean {
  const target = subnetOf(asked, range.subnetLength);
  for (const object of host.kernel.state.values()) {
    if (object.kind === 'neighbor' && object.address === asked) return false;
    if (object.kind !== 'route' || object.destination.address !== target.address) continue;
    if (object.destination.prefixLength === target.prefixLength && asked !== target.address) return false;
  }
  return host.kernel.state.has('link flannel.1');
}

/** Another program removes something of ours. */
function tampering(scene: Scene): string | undefined {
  return onAny(scene, (host) => {
    const objects = [...host.kernel.state.values()];
    if (objects.length === 0) return;
    const object = scene.chance.pick(objects);
    if (object.kind === 'neighbor-parameters' || (object.kind === 'link' && scene.chance.chance(0.5))) return;
    scene.scheduler.note(`removed behind its back: ${keyOf(object)}`);
    host.kernel.tamper({ verb: 'remove', object });
    host.disturb();
  });
}

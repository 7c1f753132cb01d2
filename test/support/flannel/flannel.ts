/**
 * A host that runs flannel: an emulation of all that its peers, its etcd and its kernel see of it, in flannel's own order, its
 * defects included. (Real flannel is not to be had where these tests run.)
 *
 * Of 0.5.5 this shows what its kernel and its miss handling do to a host of ours. The real one keeps its leases in an etcd v2
 * store, which we do not speak, so it can never be in one overlay with us; the emulation keeps them where 0.18 and later do.
 */
import { mkdirSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Etcd } from '../lab/etcd';
import type { Host } from '../lab/host';
import { FlannelDevice, partsOf, type FlannelPeer, type FlannelVersion } from './device';
import { MissAnswers } from './misses';
import { installFlannelRules } from './rules';
import { FlannelStore, type StoredLease, type StoreEvent } from './store';

const NETWORK = '10.5.0.0/16';

export interface FlannelOptions {
  readonly version: FlannelVersion;
  /** Rules of the packet filter, as `--ip-masq` and the default forward rules give them; none if unset. */
  readonly rules?: 'iptables 0.5.5' | 'iptables' | 'nftables';
}

/** What flannel did about its peers. */
export interface Deed {
  readonly what: 'added' | 'removed';
  readonly subnet: string;
}

export class Flannel {
  readonly #peers = new Map<string, FlannelPeer>();
  readonly deeds: Deed[] = [];
  /** Reasons why flannel since 0.21.3 forgot all its peers: there must be none. */
  readonly amnesia: string[] = [];
  #work: Promise<void> = Promise.resolve();
  #answers: MissAnswers | undefined;
  #isRunning = true;

  private constructor(
    readonly host: Host,
    readonly version: FlannelVersion,
    /** `10.5.7.0-24` */
    readonly subnet: string,
    readonly mac: string,
    /** Why the flannel.1 it found was made anew; undefined if it was taken as it is, or there was none. */
    readonly misfit: string | undefined,
    private readonly store: FlannelStore,
    private readonly device: FlannelDevice,
  ) {}

  /** Starts it; when this returns, its subnet file is written and all peers that it found are in the kernel. */
  static async start(host: Host, etcd: Etcd, { version, rules }: FlannelOptions): Promise<Flannel> {
    const device = new FlannelDevice(host, version);
    const store = new FlannelStore(etcd);
    const previous = previousSubnet(host.agent.subnetFile);
    const { mac, misfit } = await device.ensure();
    const attributes = valueOf(version, host.publicIp, mac);
    const subnet =
      version === '0.5.5'
        ? await acquireAsOld(store, host.publicIp, attributes)
        : await acquire(store, host.publicIp, previous, attributes);
    await device.configure(subnet, NETWORK);
    if (rules) await installFlannelRules(host.namespace, rules, NETWORK, subnet.replace('-', '/'));
    writeSubnetFile(host.agent.subnetFile, subnet, rules !== undefined);
    const flannel = new Flannel(host, version, subnet, mac, misfit, store, device);
    await flannel.#run();
    return flannel;
  }

  /** False once it ended: because it was told to, or because its lease was revoked. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Misses that 0.5.5 answered. */
  get answers(): number {
    return this.#answers?.count ?? 0;
  }

  /** A new etcd lease for the same key with the same value: what flannel does 23 hours after it started. */
  renew(): Promise<string> {
    return this.store.put(this.subnet, valueOf(this.version, this.host.publicIp, this.mac));
  }

  /** True once it has heard of that subnet (`10.5.7.0/24`) and done what it does about a peer. */
  async knows(subnet: string): Promise<boolean> {
    await this.#work;
    return this.#peers.has(subnet.replace('/', '-'));
  }

  /** Everything it was told until now is done. */
  settled(): Promise<void> {
    return this.#work;
  }

  /** Ends as flannel does: lease, kernel state, rules and subnet file stay. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.store.close();
    await this.#work;
    await this.#answers?.end();
  }

  async #run(): Promise<void> {
    if (this.version === '0.5.5') {
      this.#answers = MissAnswers.start(this.host.namespace, (address) => this.#macOf(address));
    }
    const { leases, revision } = await this.store.list();
    for (const lease of leases) this.#enqueue({ kind: 'put', lease });
    await this.#work;
    if (this.version === '0.5.5') await this.device.removeAllBut([...this.#peers.values()]);
    this.store.watch(revision, (event) => this.#enqueue(event));
  }

  /** One event after the other, as in flannel's one loop. */
  #enqueue(event: StoreEvent): void {
    this.#work = this.#work.then(() => (this.#isRunning ? this.#take(event) : undefined));
  }

  async #take(event: StoreEvent): Promise<void> {
    switch (event.kind) {
      case 'put':
        return this.#added(event.lease);
      case 'delete':
        if (event.subnet !== this.subnet) await this.#removed(event.subnet);
        // "Lease has been revoked. Shutting down daemon." But 0.5.5 does not watch its own.
        else if (this.version !== '0.5.5') this.#isRunning = false;
        return;
      case 'undecodable':
        if (this.version === '0.5.5') return;
        this.amnesia.push(`${event.key}: ${event.why}`);
        for (const subnet of [...this.#peers.keys()]) await this.#removed(subnet);
    }
  }

  async #added({ subnet, value }: StoredLease): Promise<void> {
    const mac = value.BackendData?.VtepMAC;
    if (subnet === this.subnet || value.BackendType !== 'vxlan' || mac === undefined) return;
    const peer = { subnet, publicIp: value.PublicIP, mac };
    this.#peers.set(subnet, peer);
    await this.device.put(peer);
    this.deeds.push({ what: 'added', subnet });
  }

  async #removed(subnet: string): Promise<void> {
    const peer = this.#peers.get(subnet);
    if (!peer) return;
    this.#peers.delete(subnet);
    await this.device.remove(peer);
    this.deeds.push({ what: 'removed', subnet });
  }

  #macOf(address: string): string | undefined {
    for (const { subnet, mac } of this.#peers.values()) {
      if (contains(subnet, address)) return mac;
    }
    return undefined;
  }
}

/** By PublicIP, blindly, if it fits the network; else the subnet of the subnet file, if nobody has it; else any. */
async function acquire(
  store: FlannelStore,
  publicIp: string,
  previous: string | undefined,
  value: string,
): Promise<string> {
  const { leases } = await store.list();
  const own = leases.find((lease) => lease.value.PublicIP === publicIp);
  if (own && FITTING.test(own.subnet)) {
    await store.put(own.subnet, value);
    return own.subnet;
  }
  if (own) await store.delete(own.subnet);
  const taken = new Set(leases.flatMap(({ subnet }) => (subnet === own?.subnet ? [] : [subnet])));
  const subnet = [previous, ...candidates()].find((each) => each !== undefined && !taken.has(each))!;
  // Flannel ends with exit code 1 when it loses this race.
  if (!(await store.create(subnet, value))) throw new Error(`subnet already exists: ${subnet}`);
  return subnet;
}

/** 0.5.5 knows nothing of its previous subnet, and tries again when it loses a race. */
async function acquireAsOld(store: FlannelStore, publicIp: string, value: string): Promise<string> {
  for (;;) {
    const { leases } = await store.list();
    const own = leases.find((lease) => lease.value.PublicIP === publicIp);
    if (own) {
      await store.put(own.subnet, value);
      return own.subnet;
    }
    const taken = new Set(leases.map(({ subnet }) => subnet));
    const subnet = candidates().find((each) => !taken.has(each))!;
    if (await store.create(subnet, value)) return subnet;
  }
}

/** A subnet that flannel would lease in {@link NETWORK}. */
const FITTING = /^10\.5\.([1-9]\d*)\.0-24$/;

/** All of them, from one that chance chooses. */
function candidates(): string[] {
  const third = 1 + Math.floor(Math.random() * 100);
  return Array.from({ length: 255 }, (_, n) => `10.5.${((third + n) % 255) + 1}.0-24`);
}

/** Byte for byte what Go's encoder makes of flannel's LeaseAttrs, which had fewer fields once. */
function valueOf(version: FlannelVersion, publicIp: string, mac: string): string {
  if (version === '0.5.5')
    return `{"PublicIP":"${publicIp}","BackendType":"vxlan","BackendData":{"VtepMAC":"${mac}"}}`;
  return `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
}

function previousSubnet(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const match = /^FLANNEL_SUBNET=(\d+\.\d+\.\d+)\.\d+\/(\d+)$/m.exec(readFileSync(file, 'utf8'));
  return match ? `${match[1]}.0-${match[2]}` : undefined;
}

function writeSubnetFile(file: string, subnet: string, hasMasquerade: boolean): void {
  const { address, length } = partsOf(subnet);
  mkdirSync(dirname(file), { recursive: true });
  const lines = [
    `FLANNEL_NETWORK=${NETWORK}`,
    `FLANNEL_SUBNET=${address.replace(/0$/, '1')}/${length}`,
    'FLANNEL_MTU=1450',
    `FLANNEL_IPMASQ=${String(hasMasquerade)}`,
  ];
  writeFileSync(file, lines.join('\n') + '\n');
}

/** For the /24 of these tests. */
function contains(subnet: string, address: string): boolean {
  return subnet.replace(/\d+-24$/, '') === address.replace(/\d+$/, '');
}

/**
 * Hosts on one switch, in network namespaces of this machine: what demo, e2e tests, bench and chaos share.
 *
 *     hub:    br0 ── eth0 of every host (172.30.0.1, .2, …) and of every etcd member (172.30.255.1, …)
 *     host:   eth0, flannel.1 (the agent's), docker0 ── eth0 of its container
 *
 * It touches nothing outside of its namespaces, and it ends with the process that made it, however that ends.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from './agent';
import { run } from './command';
import { Etcd } from './etcd';
import { EtcdTls } from './etcd-tls';
import { Host } from './host';
import { Lifetime } from './lifetime';
import { Namespace } from './namespace';

export interface LabPlan {
  readonly hosts: number;
  /** 1 (the default) or 3; 0: agents are told neither where etcd is nor their interface, but by the test. */
  readonly etcdMembers?: number;
  /** Stored as the network's configuration; undefined: {@link NETWORK_CONFIG}; null: nothing is stored. */
  readonly config?: object | string | null;
  /** More arguments for every etcd member. */
  readonly etcdArguments?: readonly string[];
  /** Clients reach etcd over TLS only, and with a certificate. */
  readonly etcdTls?: boolean;
  /** How agents find their interface; by default `--iface=eth0`. */
  readonly underlayOptions?: readonly string[];
  /** Options that every agent gets. */
  readonly agentOptions?: readonly string[];
}

export const PREFIX = '/coreos.com/network';
export const NETWORK_CONFIG = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };

export class Lab {
  private constructor(
    private readonly lifetime: Lifetime,
    readonly hosts: readonly Host[],
    readonly etcd: Etcd,
    readonly hub: Namespace,
  ) {}

  /** Makes namespaces and links, and starts etcd; no agent runs yet. */
  static async start(plan: LabPlan): Promise<Lab> {
    const lifetime = new Lifetime();
    try {
      const lab = await Lab.#make(plan, lifetime);
      if (plan.etcdMembers === 0) return lab;
      await lab.etcd.start();
      if (plan.config !== null) await lab.putConfig(plan.config ?? NETWORK_CONFIG);
      return lab;
    } catch (error) {
      lifetime.end();
      throw error;
    }
  }

  /** Short name, part of the names of all its namespaces. */
  get id(): string {
    return this.lifetime.id;
  }

  /** Logs and files of hosts and etcd members. */
  get directory(): string {
    return this.lifetime.directory;
  }

  /** Host 1, 2, … */
  host(index: number): Host {
    const host = this.hosts[index - 1];
    if (!host) throw new RangeError(`the lab has ${this.hosts.length} hosts, none is number ${index}`);
    return host;
  }

  async putConfig(config: object | string): Promise<void> {
    await this.etcd.put(`${PREFIX}/config`, typeof config === 'string' ? config : JSON.stringify(config));
  }

  /** The leases in etcd: `10.5.7.0-24` and its value. */
  leases(): Promise<Map<string, string>> {
    return this.etcd.list(`${PREFIX}/subnets/`);
  }

  /** The first three numbers of a /24 that nobody leases now: chance may have given any of them to a host. */
  async freeSubnet(): Promise<string> {
    const leases = await this.leases();
    let number = 254;
    while (leases.has(`10.5.${number}.0-24`)) number--;
    return `10.5.${number}`;
  }

  /** Starts the agents of these hosts (of all, if none are named), waits until they are ready and attaches the containers. */
  async startAgents(hosts: readonly Host[] = this.hosts, readyWithinMilliseconds?: number): Promise<void> {
    for (const host of hosts) host.agent.start();
    await Promise.all(
      hosts.map(async (host) => {
        await host.agent.ready(readyWithinMilliseconds);
        await host.attachContainer();
      }),
    );
  }

  /** Leaves everything running when this process ends. */
  keep(): void {
    this.lifetime.keep();
  }

  /** Ends all processes of the lab and removes it. Safe to call twice. */
  end(): void {
    this.lifetime.end();
  }

  static async #make(plan: LabPlan, lifetime: Lifetime): Promise<Lab> {
    const namespace = (name: string): Namespace => new Namespace(`vtl-${lifetime.id}-${name}`);
    const hub = namespace('hub');
    const members = range(plan.etcdMembers ?? 1).map((n) => ({
      name: `e${n}`,
      namespace: namespace(`e${n}`),
      address: `172.30.255.${n}`,
    }));
    const etcdDirectory = directoryOf(lifetime, 'etcd');
    const tls = plan.etcdTls
      ? await EtcdTls.create(
          directoryOf(lifetime, 'tls'),
          members.map(({ address }) => address),
        )
      : undefined;
    const etcd = new Etcd(members, etcdDirectory, plan.etcdArguments, tls);
    const hosts = range(plan.hosts).map((n) => {
      const directory = directoryOf(lifetime, `h${n}`);
      const options = [
        ...(members.length > 0
          ? [`--etcd-endpoints=${etcd.endpoints}`, ...(plan.underlayOptions ?? ['--iface=eth0'])]
          : []),
        ...(tls ? tlsOptions(tls) : []),
        `--subnet-file=${join(directory, 'subnet.env')}`,
        `--state-file=${join(directory, 'state.json')}`,
        '--log-format=json',
        '-v=1',
        ...(plan.agentOptions ?? []),
      ];
      const place = namespace(`h${n}`);
      return new Host(n, place, namespace(`c${n}`), underlayAddress(n), new Agent(place, directory, options));
    });
    await addNamespaces([
      hub,
      ...members.map((each) => each.namespace),
      ...hosts.flatMap((h) => [h.namespace, h.container]),
    ]);
    await connect(hub, members, hosts);
    return new Lab(lifetime, hosts, etcd, hub);
  }
}

function tlsOptions({ caFile, client }: EtcdTls): string[] {
  return [`--etcd-cafile=${caFile}`, `--etcd-certfile=${client.cert}`, `--etcd-keyfile=${client.key}`];
}

async function addNamespaces(namespaces: readonly Namespace[]): Promise<void> {
  const lines = namespaces.map(({ name }) => `netns add ${name}`);
  await run('ip', ['-batch', '-'], { input: lines.join('\n') + '\n' });
}

async function connect(
  hub: Namespace,
  members: readonly { namespace: Namespace; address: string }[],
  hosts: readonly Host[],
): Promise<void> {
  const stations = [
    ...members,
    ...hosts.map(({ namespace, publicIp }) => ({ namespace, address: publicIp })),
  ];
  // Frames between hosts are to pass the bridge unseen by anybody's iptables.
  await hub.batch([
    'link add br0 type bridge',
    'link set br0 up',
    ...stations.flatMap(({ namespace }, n) => [
      `link add port${n} type veth peer name eth0 netns ${namespace.name}`,
      `link set port${n} master br0 up`,
    ]),
  ]);
  await hub.configure({ 'bridge/bridge-nf-call-iptables': 0 }).catch(() => undefined);
  await inBatches(stations, ({ namespace, address }) =>
    namespace.batch(['link set lo up', `address add ${address}/16 dev eth0`, 'link set eth0 up']),
  );
  await inBatches(hosts, async ({ namespace, container }) => {
    await namespace.batch([
      'link add docker0 type bridge',
      `link add port0 type veth peer name eth0 netns ${container.name}`,
      'link set port0 master docker0 up',
      'link set docker0 up',
    ]);
    await container.ip('link', 'set', 'lo', 'up');
    await namespace.configure({ 'ipv4/ip_forward': 1 });
  });
}

/** A few at a time: more processes than processors only wait for each other. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 8) await Promise.all(items.slice(at, at + 8).map(work));
}

function underlayAddress(n: number): string {
  return `172.30.${n >> 8}.${n & 255}`;
}

function directoryOf(lifetime: Lifetime, name: string): string {
  const directory = join(lifetime.directory, name);
  mkdirSync(directory, { recursive: true });
  return directory;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

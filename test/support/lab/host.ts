/** A host of the lab: underlay interface eth0, an agent, and a container behind a bridge, as Docker would make it. */
import { readFileSync } from 'node:fs';
import type { Agent } from './agent';
import type { Namespace } from './namespace';

/** What subnet.env says, by name: `FLANNEL_SUBNET` and so on. */
export type SubnetEnvironment = Readonly<Record<string, string>>;

export interface NeighborEntry {
  readonly dst: string;
  readonly lladdr?: string;
  readonly state: readonly string[];
  readonly extern_learn?: null;
}

export interface FdbRow {
  readonly mac: string;
  readonly dst?: string;
  readonly state?: string;
}

export interface RouteRow {
  readonly type?: string;
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly protocol?: string;
  readonly metric?: number;
  readonly prefsrc?: string;
}

export class Host {
  constructor(
    /** From 1 on. */
    readonly index: number,
    readonly namespace: Namespace,
    readonly container: Namespace,
    readonly publicIp: string,
    readonly agent: Agent,
  ) {}

  get name(): string {
    return `host ${this.index}`;
  }

  /** The agent's answer, from subnet.env; throws when there is none yet. */
  get environment(): SubnetEnvironment {
    const lines = readFileSync(this.agent.subnetFile, 'utf8').trim().split('\n');
    return Object.fromEntries(lines.map((line) => line.split('=', 2) as [string, string]));
  }

  /** `10.5.7.0/24` */
  get subnet(): string {
    const [address, length] = this.environment['FLANNEL_SUBNET']!.split('/') as [string, string];
    return `${address.replace(/\d+$/, (last) => String(Number(last) - 1))}/${length}`;
  }

  /** The first address of the subnet, which is the VTEP's own. */
  get vtepAddress(): string {
    return this.subnet.split('/')[0]!;
  }

  /** The container's: the second after the first, `10.5.7.2`. */
  get containerAddress(): string {
    return this.#addressAfterVtep(2);
  }

  /** Gives bridge and container the subnet that the agent got, as Docker does with --bip and --mtu. */
  async attachContainer(): Promise<void> {
    const { FLANNEL_SUBNET: gateway, FLANNEL_MTU: mtu } = this.environment;
    const [gatewayAddress, length] = gateway!.split('/') as [string, string];
    await Promise.all([
      this.namespace.batch([
        'address flush dev docker0',
        `address add ${gateway} dev docker0`,
        `link set docker0 mtu ${mtu} up`,
        `link set port0 mtu ${mtu}`,
      ]),
      this.container.batch([
        'address flush dev eth0',
        `address add ${this.containerAddress}/${length} dev eth0`,
        `link set eth0 mtu ${mtu} up`,
        `route replace default via ${gatewayAddress}`,
      ]),
    ]);
  }

  /** `ip -j neigh show dev flannel.1` */
  neighbors(link = 'flannel.1'): Promise<NeighborEntry[]> {
    return this.namespace.ipJson('neigh', 'show', 'dev', link);
  }

  /** `bridge -j fdb show dev flannel.1` */
  fdb(link = 'flannel.1'): Promise<FdbRow[]> {
    return this.namespace.bridgeJson('fdb', 'show', 'dev', link);
  }

  /** `ip -j route show` */
  routes(): Promise<RouteRow[]> {
    return this.namespace.ipJson('route', 'show', 'table', 'main');
  }

  /** The MAC of its VXLAN device; undefined when there is no such device. */
  async vtepMac(link = 'flannel.1'): Promise<string | undefined> {
    const links = await this.namespace.ipJson<{ ifname: string; address: string }>('link', 'show');
    return links.find(({ ifname }) => ifname === link)?.address;
  }

  #addressAfterVtep(offset: number): string {
    return this.vtepAddress.replace(/\d+$/, (last) => String(Number(last) + offset));
  }
}

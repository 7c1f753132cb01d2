/** Where a fault happens: three hosts with agents, packets flowing, and somebody who looks. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../support/lab/host';
import { Lab, NETWORK_CONFIG, PREFIX, type LabPlan } from '../support/lab/lab';
import type { LogLine } from '../support/lab/agent';
import { Stream, now, type Instant } from '../support/lab/stream';
import { until, type Bound } from '../support/lab/until';
import type { Loss } from './fault';
import { Onlooker } from './onlooker';

/** Host 1 is damaged; hosts 2 and 3 are not. */
export class Scene {
  #streams: { untouched: Stream; through: Stream[]; since: Instant } | undefined;
  /** How much of which run of the agent's log was there before the fault. */
  #logSeen = { lines: 0, startedAt: 0 };
  /** What ends with the fault, in reverse order. */
  #undo: (() => unknown)[] = [];

  private constructor(
    readonly lab: Lab,
    private readonly eyes: readonly Onlooker[],
    /** What hosts 1 and 2 should hold. */
    readonly baselines: readonly (readonly string[])[],
    /** From 0 up to, not including, 1; by the seed. */
    readonly random: () => number,
  ) {}

  static async make(plan: Partial<LabPlan>, random: () => number): Promise<Scene> {
    const lab = await Lab.start({ hosts: 3, ...plan });
    try {
      await lab.startAgents();
      const { Network: network } = (plan.config ?? NETWORK_CONFIG) as typeof NETWORK_CONFIG;
      const eyes = await Promise.all([lab.host(1), lab.host(2)].map((host) => Onlooker.start(host, network)));
      const others = lab.hosts.length - 1;
      const baselines: string[][] = [];
      for (const onlooker of eyes) {
        const seen = await until('every host knows every other', async () => {
          const objects = await onlooker.see();
          return objects.filter((object) => object.startsWith('fdb ')).length === others && objects;
        });
        baselines.push(seen);
      }
      return new Scene(lab, eyes, baselines, random);
    } catch (error) {
      lab.end();
      throw error;
    }
  }

  get victim(): Host {
    return this.lab.host(1);
  }

  get peer(): Host {
    return this.lab.host(2);
  }

  get other(): Host {
    return this.lab.host(3);
  }

  get eyes1(): Onlooker {
    return this.eyes[0]!;
  }

  get eyes2(): Onlooker {
    return this.eyes[1]!;
  }

  /** A subnet of the network that nobody has: `10.5.77.0`. */
  freeSubnet(nth = 0): string {
    const used = new Set(this.lab.hosts.map(({ vtepAddress }) => vtepAddress));
    const [first, second] = this.victim.vtepAddress.split('.');
    const all = Array.from({ length: 200 }, (_, n) => `${first}.${second}.${n + 20}.0`);
    const free = all.filter((each) => !used.has(each));
    return free[nth]!;
  }

  /** The metric of a host's route in the kernel of host 1. */
  async metricOf(subnet: string): Promise<number> {
    const route = (await this.victim.routes()).find(({ dst }) => dst === subnet);
    if (route?.metric === undefined) throw new Error(`host 1 has no route to ${subnet}`);
    return route.metric;
  }

  /** Does something to the kernel of host 1, and waits until it is undone; returns the milliseconds that took. */
  async damage(what: () => Promise<unknown>, withinMilliseconds?: number): Promise<number> {
    await this.eyes1.arm(this.baselines[0]!);
    await what();
    return this.eyes1.repaired(withinMilliseconds);
  }

  /**
   * Has host 1 compare everything, and waits until that has left it as it should be: it takes away an entry that is nobody's and
   * carries nothing.
   */
  async compared(): Promise<void> {
    const stray = 'fdb add 0e:00:00:00:00:78 dev flannel.1 dst 198.51.100.8 self permanent';
    await this.damage(() => this.victim.namespace.bridgeBatch([stray]));
  }

  /** Milliseconds until something becomes true. */
  async took(what: string, look: () => unknown, bound: Bound = {}): Promise<number> {
    const start = performance.now();
    await until(what, look, { everyMilliseconds: 5, ...bound });
    return performance.now() - start;
  }

  /** Waits; for faults that are a state of things, not an event. Packets are sent in it, however busy the machine is. */
  async lasts(milliseconds: number): Promise<void> {
    await Promise.all([sleep(milliseconds), this.sends()]);
  }

  /** Whatever becomes of the fault, this is done at its end. */
  atEnd(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** The log lines of host 1 since the fault began. */
  log(): LogLine[] {
    const { agent } = this.victim;
    return agent.log().slice(agent.startedAt === this.#logSeen.startedAt ? this.#logSeen.lines : 0);
  }

  /** Waits until the agent of host 1 says something, since the fault began. */
  said(words: RegExp): Promise<LogLine> {
    return until(
      () =>
        `host 1 says ${String(words)}; it said: ${this.log()
          .map(({ message }) => message)
          .join('; ')}`,
      () => this.log().find((line) => words.test(line.message)),
    );
  }

  /** Waits until the agent of host 1 warns in a line that names all of these, since the fault began. */
  warned(...names: readonly string[]): Promise<LogLine> {
    return until(
      () => `host 1 warns of ${names.join(', ')}`,
      () =>
        this.log().find((line) => {
          const text = JSON.stringify(line);
          return line.level === 'warn' && names.every((name) => text.includes(name));
        }),
    );
  }

  /** Milliseconds until a container of host 1 gets an answer from one of host 2. */
  reachesPeer(): Promise<number> {
    const words = ['-c', '1', '-W', '1', this.peer.containerAddress];
    return this.took(
      'host 2 answers host 1',
      async () => (await this.victim.container.attempt('ping', words)).status === 0,
    );
  }

  /** Ends the agent of host 1 and starts it with these options until the fault ends. */
  async restartWith(...args: readonly string[]): Promise<void> {
    const { agent } = this.victim;
    this.atEnd(async () => {
      await agent.end('SIGKILL');
      agent.start();
      await agent.ready();
    });
    await agent.end('SIGKILL');
    agent.start({ args });
    await agent.ready();
  }

  /** The key of a host's lease. */
  keyOf(host: Host): string {
    return `${PREFIX}/subnets/${host.subnet.replace('/', '-')}`;
  }

  /** Resolves when host 1 hears of what happens in etcd: of a lease that comes, and of its end. */
  async followsEtcd(): Promise<void> {
    const subnet = this.freeSubnet(9);
    const key = `${PREFIX}/subnets/${subnet}-24`;
    const has = async () =>
      (await this.victim.neighbors()).some(({ dst, lladdr }) => dst === subnet && lladdr === WITNESS.vtepMac);
    const often = { everyMilliseconds: 10 };
    // Written again and again until it is: an etcd that comes back refuses the first writes.
    await until('etcd takes a lease', () => this.#puts(key, leaseValue(WITNESS)), often);
    await until('host 1 hears of a lease that comes', has, often);
    await this.lab.etcd.etcdctl('del', key);
    await until('host 1 hears of a lease that goes', async () => !(await has()), often);
  }

  #puts(key: string, value: string): Promise<boolean> {
    return this.lab.etcd.put(key, value).then(
      () => true,
      () => false,
    );
  }

  /** Makes packets flow. */
  async begin(): Promise<void> {
    this.#undo = [];
    const { agent } = this.victim;
    this.#logSeen = { lines: agent.log().length, startedAt: agent.startedAt };
    const { victim, peer, other } = this;
    const untouched = await Stream.start(peer, other);
    const out = await Stream.start(victim, peer);
    const back = await Stream.start(other, victim);
    this.#streams = { untouched, through: [out, back], since: now() };
  }

  /** Waits until so many more packets were sent on each path. */
  async sends(count?: number): Promise<void> {
    const { untouched, through } = this.#streams!;
    await Promise.all([untouched, ...through].map((stream) => stream.sends(count)));
  }

  /** Waits until everything is as it was; throws, with what is not. */
  async settle(): Promise<void> {
    await Promise.all(
      this.eyes.map(async (onlooker, n) => {
        await onlooker.arm(this.baselines[n]!);
        await onlooker.repaired();
      }),
    );
  }

  /** Undoes what the fault asked to be undone. */
  async undo(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
  }

  /** Ends the streams, and counts. */
  async count(): Promise<{ untouched: Loss; through: Loss }> {
    const { untouched, through, since } = this.#streams!;
    const disturbance = { from: since, to: now() };
    // What a fault breaks it may break a moment later.
    await this.sends();
    const reports = await Promise.all([untouched, ...through].map((stream) => stream.end(disturbance)));
    const losses = reports.map(({ sent, sentMeanwhile, lost, longestSilenceMilliseconds }) => ({
      sent,
      sentMeanwhile,
      lost,
      silenceMilliseconds: Math.round(longestSilenceMilliseconds),
    }));
    return { untouched: losses[0]!, through: losses.slice(1).reduce(sum) };
  }

  /** Removes it with everything in it. */
  end(): void {
    for (const onlooker of this.eyes) onlooker.end();
    this.lab.end();
  }
}

/** A host that exists in etcd only. */
const WITNESS = { publicIp: '172.30.77.9', vtepMac: '0e:00:00:00:77:09' };

/** A lease's value, as flannel writes it. */
export function leaseValue({ publicIp, vtepMac }: { publicIp: string; vtepMac: string }): string {
  return JSON.stringify({
    PublicIP: publicIp,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: vtepMac },
  });
}

/** The etcd lease of a key, as etcdctl names it. */
export async function etcdLeaseOf({ lab }: Scene, key: string): Promise<string> {
  const [found] = await lab.etcd.inspect(key);
  return BigInt(found!.lease!).toString(16);
}

function sum(a: Loss, b: Loss): Loss {
  return {
    sent: a.sent + b.sent,
    // On each of the paths.
    sentMeanwhile: Math.min(a.sentMeanwhile, b.sentMeanwhile),
    lost: a.lost + b.lost,
    silenceMilliseconds: Math.max(a.silenceMilliseconds, b.silenceMilliseconds),
  };
}

/** Hours of churn in minutes: leases that change, other programs that tamper, packets that ask. The agent's memory does not grow with them. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_CONFIG, leaseOfPeer, leasesOfPeers, macOfPeer, subnetOfPeer } from '../bench/leases';
import { Helper } from '../bench/talk';
import { randomOf } from '../chaos/random';
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { raiseNeighborLimits } from '../support/lab/neighbor-limits';
import { isLong, seedElse } from '../support/long';

const PEERS = 2_000;
/** What six hours bring with twenty changes a second; the normal run shows that a minute of them is survived. $VTEPD_CHURN: as many as that. */
const CHANGES = Number(process.env['VTEPD_CHURN'] ?? (isLong ? 432_000 : 1_200));
/** V8 collects all every ten thousand changes or so: a quarter of these has some such moments in it. */
const IS_TELLING = CHANGES >= 200_000;
const PARTS = 24;
const AT_ONCE = 4;
const PAUSE_MILLISECONDS = 16;
/** Between the second quarter of a long run and its last: some 15 bytes a change, where a kept lease would be hundreds. */
const TOLERANCE_MEGABYTES = 6;
const SEED = seedElse(20261127, 'memory');

let lab: Lab;
let restore: () => void;

beforeAll(async () => {
  restore = raiseNeighborLimits();
  lab = await Lab.start({ hosts: 2, config: BENCH_CONFIG });
  await lab.etcd.putAll(leasesOfPeers(0, PEERS));
  lab.host(1).agent.start({ args: ['--resolve=preload'] });
  lab.host(2).agent.start({ args: ['--resolve=on-demand', '--idle-timeout=5'] });
  await Promise.all([lab.host(1).agent.ready(), lab.host(2).agent.ready()]);
});

afterAll(() => {
  restore?.();
  lab?.end();
});

/** Megabytes that the process has for itself: heaps and stacks, not the program's text. */
function anonymousOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Anonymous:\s+(\d+) kB/m.exec(text)![1]) / 1024;
}

/** Megabytes of that in the C library's heap, from which the addon and Node's own parts have theirs. */
function heapOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps`, 'utf8');
  return Number(/\[heap\]\n(?:.*\n)*?Anonymous:\s+(\d+) kB/.exec(text)?.[1] ?? 0) / 1024;
}

test(
  `${CHANGES} changes ${IS_TELLING ? 'leave the memory as it was' : 'are survived'} (seed ${SEED})`,
  async () => {
    const random = randomOf(SEED);
    const below = (limit: number) => Math.floor(random() * limit);
    const hosts: readonly Host[] = [lab.host(1), lab.host(2)];
    const startWriter = () => Helper.start(lab.etcd.members[0]!.namespace, 'writer', lab.etcd.endpoints);
    let writer = await startWriter();
    /** In hours a server gives up a stream now and then: the same puts again are no other change. */
    const write = async (puts: readonly [string, string][]) => {
      try {
        await writer.ask(puts);
      } catch {
        writer = await startWriter();
        await writer.ask(puts);
      }
    };
    const sender = await Helper.start(lab.host(2).namespace, 'sender');
    /** The least of each part: what is there when V8 has just collected. */
    const least: number[][] = hosts.map(() => []);
    const heaps: number[][] = hosts.map(() => []);
    for (let part = 0; part < PARTS; part++) {
      const samples: number[][] = hosts.map(() => []);
      for (let done = 0; done < CHANGES / PARTS; done += AT_ONCE) {
        await write(Array.from({ length: AT_ONCE }, () => changeOf(below)));
        await sleep(PAUSE_MILLISECONDS);
        if (done % 240 !== 0) continue;
        await tamper(hosts, sender, below);
        for (const [at, host] of hosts.entries()) samples[at]!.push(anonymousOf(host.agent.pid!));
      }
      for (const [at, each] of samples.entries()) {
        least[at]!.push(Math.min(...each));
        heaps[at]!.push(heapOf(hosts[at]!.agent.pid!));
      }
      if (IS_TELLING)
        process.stderr.write(
          `part ${part + 1} of ${PARTS}: ${least.map((each) => each.at(-1)!.toFixed(1)).join(' and ')} MB\n`,
        );
    }
    writer.end();
    sender.end();
    const printed = (each: readonly number[]) => each.map((megabytes) => megabytes.toFixed(1)).join(' ');
    for (const [at, mode] of ['preload', 'on demand'].entries())
      process.stderr.write(
        `memory, ${mode}: ${printed(least[at]!)} MB; in the C heap ${printed(heaps[at]!)} MB\n`,
      );
    for (const [at, host] of hosts.entries()) {
      expect(host.agent.running).toBe(true);
      if (!IS_TELLING) continue;
      // The least of each quarter, when V8 has just collected.
      for (const figures of [least[at]!, heaps[at]!]) {
        const before = Math.min(...figures.slice(PARTS / 4, PARTS / 2));
        expect(Math.min(...figures.slice(-PARTS / 4)) - before).toBeLessThan(TOLERANCE_MEGABYTES);
      }
    }
  },
  12 * 3_600_000,
);

/** A peer's lease with another address or MAC, or as it was at first. */
function changeOf(below: (limit: number) => number): [string, string] {
  const n = below(PEERS);
  const mac = below(2) === 0 ? macOfPeer(n) : macOfPeer(n + 20_000 + below(3) * 5_000);
  return leaseOfPeer(n, `198.19.${n >> 8}.${below(250) + 1}`, mac);
}

/** What others do meanwhile: routes are deleted, a lease goes and comes back, packets go to peers that then are idle. */
async function tamper(
  [preload, onDemand]: readonly Host[],
  sender: Helper,
  below: (limit: number) => number,
): Promise<void> {
  const peers = Array.from({ length: 20 }, () => below(PEERS));
  const [first] = peers;
  await sender.ask({ addresses: peers.map((n) => `${subnetOfPeer(n)}.${below(250) + 1}`), perSecond: 0 });
  const stray = `fdb replace 0e:99:00:00:00:${below(90) + 10} dev flannel.1 dst 198.51.100.9 self permanent`;
  await Promise.all([
    preload!.namespace.run('sh', [
      '-c',
      peers.map((n) => `ip route del ${subnetOfPeer(n)}.0/24 2>/dev/null || true`).join(';'),
    ]),
    ...[preload!, onDemand!].map(({ namespace }) => namespace.bridgeBatch([stray])),
    lab.etcd.etcdctl('del', `${PREFIX}/subnets/${subnetOfPeer(first!)}.0-24`),
  ]);
}

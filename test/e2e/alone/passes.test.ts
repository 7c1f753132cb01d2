/** On demand, passes look, and drop who is idle, while answers are being given: what an answer has begun, no pass takes away. */
import { createInterface } from 'node:readline';
import { BENCH_CONFIG, leasesOfPeers, macOfPeer, subnetOfPeer } from '../../bench/leases';
import { Helper } from '../../bench/talk';
import { randomOf } from '../../chaos/random';
import type { Host } from '../../support/lab/host';
import { Lab } from '../../support/lab/lab';
import { raiseNeighborLimits } from '../../support/lab/neighbor-limits';
import { until } from '../../support/lab/until';

const PEERS = 1_500;
const SEED = 20261127;
const STRANGER = '0e:00:00:00:00:99';

const addressOf = (n: number) => `${subnetOfPeer(n)}.5`;

let lab: Lab;
let host: Host;
let restore: () => void;

beforeAll(async () => {
  restore = raiseNeighborLimits();
  lab = await Lab.start({
    hosts: 1,
    config: BENCH_CONFIG,
    agentOptions: ['--resolve=on-demand', '--idle-timeout=1'],
  });
  host = lab.host(1);
  await lab.etcd.putAll(leasesOfPeers(0, PEERS));
  await lab.startAgents();
  // The kernel counts as idle what is not REACHABLE any more.
  await host.namespace.configure({
    'ipv4/neigh/flannel.1/base_reachable_time_ms': 500,
    'ipv4/neigh/flannel.1/delay_first_probe_time': 1,
    // What the device would say there nobody hears: dropped, and counted.
    'ipv6/conf/flannel.1/disable_ipv6': 1,
  });
  await host.namespace.ip('route', 'add', 'default', 'via', '172.30.255.1');
});

afterAll(() => {
  restore?.();
  lab?.end();
});

test('no entry of a peer that was just asked for is removed', async () => {
  const monitor = host.namespace.start('bridge', ['monitor', 'fdb'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const removed: string[] = [];
  createInterface({ input: monitor.stdout! }).on('line', (line) => {
    const mac = /^Deleted (\S+)/.exec(line)?.[1];
    if (mac) removed.push(mac);
  });
  // Each is a reason for a whole pass, which removes it.
  const disturb = `while :; do bridge fdb replace ${STRANGER} dev flannel.1 dst 198.51.100.9 self permanent; sleep 0.001; done`;
  const disturber = host.namespace.start('sh', ['-c', disturb], { stdio: 'ignore' });
  const sender = await Helper.start(host.namespace, 'sender');
  await sender.ask({ addresses: Array.from({ length: PEERS }, (_, n) => addressOf(n)), perSecond: 300 });
  disturber.kill();
  monitor.kill();
  sender.end();
  expect(removed.filter((mac) => mac === STRANGER).length).toBeGreaterThan(20);
  const peers = new Set(Array.from({ length: PEERS }, (_, n) => macOfPeer(n)));
  expect(removed.filter((mac) => peers.has(mac))).toEqual([]);
});

test('peers that are dropped and asked for again at the same time cost no packet', async () => {
  const random = randomOf(SEED);
  const [before, askedBefore] = [await sentBy(host), missesOf(host)];
  const sender = await Helper.start(host.namespace, 'sender');
  // Ten at a time, for the first gets through in any case. Each peer is asked for every second and a half, and dropped after one.
  const addresses = Array.from({ length: 10_000 }, () => addressOf(Math.floor(random() * PEERS)));
  await sender.ask({
    addresses: addresses.flatMap((address) => Array.from({ length: 10 }, () => address)),
    perSecond: 10_000,
  });
  sender.end();
  await until('all have gone', async () => (await sentBy(host)).packets - before.packets >= 100_000);
  expect(missesOf(host) - askedBefore).toBeGreaterThan(PEERS / 10);
  expect((await sentBy(host)).dropped).toBe(before.dropped);
});

function missesOf({ agent }: Host): number {
  return agent.log().filter(({ message }) => message === 'miss answered').length;
}

/** What the VTEP sent, and what it dropped because it did not know where to. */
async function sentBy({ namespace }: Host): Promise<{ packets: number; dropped: number }> {
  const [link] = await namespace.ipJson<{ stats64: { tx: { packets: number; dropped: number } } }>(
    ...['-s', 'link', 'show', 'dev', 'flannel.1'],
  );
  return link!.stats64.tx;
}

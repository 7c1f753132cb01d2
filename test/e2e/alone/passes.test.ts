/** On demand, passes look, and drop who is idle, while answers are being given: what an answer has begun, no pass takes away. */
import { createInterface } from 'node:readline';
import { BENCH_CONFIG, leasesOfPeers, macOfPeer, subnetOfPeer } from '../../bench/leases';
import { Helper } from '../../bench/talk';
import { randomOf } from '../../chaos/random';
import type { Host } from '../../support/lab/host';
import { Lab } from '../../support/lab/lab';
import { raiseNeighborLimits } from '../../support/lab/neighbor-limits';
import { until } from '../../support/lab/until';
import { seedElse } from '../../support/long';

const PEERS = 1_500;
const SEED = seedElse(20261127, 'passes');
/** Peers that are asked for while one pass is made. */
const SLICE = 50;

const addressOf = (n: number) => `${subnetOfPeer(n)}.5`;

let lab: Lab;
let host: Host;
let restore: () => void;

beforeAll(async () => {
  restore = raiseNeighborLimits();
  lab = await Lab.start({
    hosts: 1,
    config: BENCH_CONFIG,
    agentOptions: ['--resolve=on-demand'],
  });
  host = lab.host(1);
  await lab.etcd.putAll(leasesOfPeers(0, PEERS));
  // Nobody is idle in the first test: whatever is removed is removed wrongly.
  host.agent.start({ args: ['--idle-timeout=3600'] });
  await host.agent.ready();
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
  /** A stranger's entry is the reason for a whole pass, which removes it. */
  const pass = async (number: number) => {
    const stranger = `0e:99:00:00:00:${number.toString(16).padStart(2, '0')}`;
    await host.namespace.bridgeBatch([
      `fdb replace ${stranger} dev flannel.1 dst 198.51.100.9 self permanent`,
    ]);
    await until('the stranger is gone', () => removed.includes(stranger));
  };
  const sender = await Helper.start(host.namespace, 'sender');
  for (let slice = 0; slice < PEERS / SLICE; slice++) {
    const addresses = Array.from({ length: SLICE }, (_, n) => addressOf(slice * SLICE + n));
    await Promise.all([pass(slice), sender.ask({ addresses, perSecond: 300 })]);
  }
  monitor.kill();
  sender.end();
  const peers = new Set(Array.from({ length: PEERS }, (_, n) => macOfPeer(n)));
  expect(removed.filter((mac) => !peers.has(mac))).toHaveLength(PEERS / SLICE);
  expect(removed.filter((mac) => peers.has(mac))).toEqual([]);
});

test(`peers that are dropped and asked for again at the same time cost no packet (seed ${SEED})`, async () => {
  await host.agent.end();
  host.agent.start({ args: ['--idle-timeout=1'] });
  await host.agent.ready();
  const random = randomOf(SEED);
  const before = await sentBy(host);
  const sender = await Helper.start(host.namespace, 'sender');
  let sent = 0;
  // Until as many as there are were dropped and asked for again.
  while (missesOf(host) < PEERS) {
    // Ten at a time, for the first gets through in any case. Each peer is asked for every second and a half, and dropped after one.
    const addresses = Array.from({ length: 1_000 }, () => addressOf(Math.floor(random() * PEERS)));
    const bursts = addresses.flatMap((address) => Array.from({ length: 10 }, () => address));
    await sender.ask({ addresses: bursts, perSecond: 10_000 });
    sent += bursts.length;
  }
  sender.end();
  await until('all have gone', async () => (await sentBy(host)).packets - before.packets >= sent);
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

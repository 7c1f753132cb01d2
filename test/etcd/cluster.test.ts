/** A cluster of three: what an agent feels when members go. */
import { EtcdRegistry } from '../../src/etcd/registry';
import { startEtcdCluster, type EtcdServer } from '../support/etcd-server';
import { leaseSubnets, vxlanAttributes, WatchProbe, written } from '../support/registry-contract';

const signal = new AbortController().signal;

let servers: readonly EtcdServer[] = [];
let registry: EtcdRegistry;
const probes: WatchProbe[] = [];

beforeEach(async () => {
  servers = await startEtcdCluster(3);
  registry = new EtcdRegistry({
    endpoints: servers.map(({ url }) => url),
    prefix: '/test',
    callDeadlineMilliseconds: 1_000,
  });
});

afterEach(async () => {
  await Promise.all(probes.splice(0).map((probe) => probe.stop()));
  registry?.close();
  await Promise.all(servers.map((server) => server.destroy()));
});

function watch(afterRevision: string): WatchProbe {
  const probe = new WatchProbe(registry, afterRevision);
  probes.push(probe);
  return probe;
}

async function leader(): Promise<EtcdServer> {
  for (const server of servers) {
    const [status] = JSON.parse(await server.etcdctl(['endpoint', 'status', '-w', 'json'])) as {
      Status: { leader: number; header: { member_id: number } };
    }[];
    if (status!.Status.leader === status!.Status.header.member_id) return server;
  }
  throw new Error('the cluster has no leader');
}

/** Follows as the engine does: any trouble gives a new list and a new watch. Collects every name ever seen. */
function follow(): { readonly names: Set<string>; stop(): Promise<void> } {
  const names = new Set<string>();
  const controller = new AbortController();
  const run = async () => {
    while (!controller.signal.aborted) {
      try {
        const { leases, revision } = await registry.list(controller.signal);
        for (const { name } of leases) names.add(name);
        for await (const { changes } of registry.watch(revision, controller.signal)) {
          for (const change of changes) if (change.kind === 'put') names.add(change.lease.name);
        }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };
  const done = run();
  return {
    names,
    stop: () => {
      controller.abort();
      return done;
    },
  };
}

test('when the leader is killed, calls go on within seconds, and a follower misses nothing', async () => {
  const follower = follow();
  const create = async (n: number) => {
    const deadline = performance.now() + 15_000;
    for (;;) {
      try {
        const id = await registry.grant(60, signal);
        return written(await registry.create(leaseSubnets(`10.5.${n}.0/24`), vxlanAttributes(n), id, signal));
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };
  await create(1);
  const killed = await leader();
  await killed.stop('SIGKILL');
  const start = performance.now();
  for (let n = 2; n <= 20; n++)
    await create(n).catch((error: unknown) => {
      // The answer of an earlier try was lost, and its key is there with another etcd lease.
      if (!/conflict/.test(String(error))) throw error;
    });
  expect(performance.now() - start).toBeLessThan(15_000);
  const deadline = performance.now() + 20_000;
  while (follower.names.size < 20) {
    if (performance.now() > deadline) throw new Error(`missing some of: ${[...follower.names].join(' ')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await killed.start();
  await follower.stop();
}, 60_000);

test('a member cut off from the others ends its watches, instead of being silent', async () => {
  const { revision } = await registry.list(signal);
  // The first endpoint is asked first: the watch is there.
  const probe = watch(revision);
  await probe.ready();
  servers[1]!.pause();
  servers[2]!.pause();
  try {
    expect(await probe.failure(20_000)).toMatchObject({ code: 'unavailable' });
    await expect(registry.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
  } finally {
    servers[1]!.resume();
    servers[2]!.resume();
  }
}, 60_000);

/** A cluster of three: what an agent feels when members go. */
import { EtcdRegistry } from '../../src/etcd/registry';
import { startEtcdCluster, type EtcdServer } from '../support/etcd-server';
import { until } from '../support/lab/until';
import { leaseSubnets, vxlanAttributes, WatchProbe } from '../support/registry-contract';

const signal = new AbortController().signal;

let servers: readonly EtcdServer[] = [];
let registry: EtcdRegistry;
const probes: WatchProbe[] = [];

beforeEach(async () => {
  servers = await startEtcdCluster(3);
  registry = new EtcdRegistry({
    endpoints: servers.map(({ url }) => url),
    prefix: '/test',
    callDeadlineMilliseconds: 2_000,
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

test('when the leader is killed, calls go on, each is carried out once, and a follower misses nothing', async () => {
  const follower = follow();
  /** As the engine does: trouble is tried again; what is there by then may be the work of a try whose answer was lost. */
  const create = async (n: number) => {
    let tries = 0;
    await until(`a lease for ${n}`, async () => {
      tries++;
      const id = await registry.grant(60, signal);
      const result = await registry.create(leaseSubnets(`10.5.${n}.0/24`), vxlanAttributes(n), id, signal);
      if (result.kind === 'written') return true;
      expect(tries).toBeGreaterThan(1);
      const { leases } = await registry.list(signal);
      expect(leases.find(({ name }) => name === `10.5.${n}.0-24`)).toMatchObject({
        attributes: vxlanAttributes(n),
      });
      return true;
    });
  };
  await create(1);
  const killed = await leader();
  await killed.stop('SIGKILL');
  for (let n = 2; n <= 20; n++) await create(n);
  await until(
    () => `all of them, besides ${[...follower.names].join(' ')}`,
    () => follower.names.size >= 20,
  );
  const { leases } = await registry.list(signal);
  expect(leases.map(({ name }) => name).sort()).toEqual([...follower.names].sort());
  expect(leases).toHaveLength(20);
  await killed.start();
  await follower.stop();
});

test('a member cut off from the others ends its watches, instead of being silent', async () => {
  const { revision } = await registry.list(signal);
  // The first endpoint is asked first: the watch is there.
  const probe = watch(revision);
  await probe.ready();
  servers[1]!.pause();
  servers[2]!.pause();
  try {
    expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
    await expect(registry.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
  } finally {
    servers[1]!.resume();
    servers[2]!.resume();
  }
});

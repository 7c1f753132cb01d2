/** Stopping, starting, crashing: packets flow on, and an agent that comes back finds nothing to do. */
import { join } from 'node:path';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { compared, netlinkWrites, readings, traced } from '../support/lab/netlink-writes';
import { bothWays, withoutLoss } from '../support/lab/stream';

let lab: Lab;
let host: Host;
let peer: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 3 });
  host = lab.host(1);
  peer = lab.host(2);
  await lab.startAgents(lab.hosts.slice(1));
  host.agent.start({ under: traced(firstTrace()) });
  await host.agent.ready();
  await host.attachContainer();
});

afterAll(() => lab?.end());

test('the trace that is to show no write after a restart does show those of the first start', () => {
  expect(netlinkWrites(firstTrace())).toEqual(
    expect.arrayContaining(['RTM_NEWLINK', 'RTM_SETNEIGHTBL', 'RTM_NEWADDR', 'RTM_NEWROUTE', 'RTM_NEWNEIGH']),
  );
});

describe.each(['SIGTERM', 'SIGKILL'] as const)('an agent that is ended by %s and started again', (signal) => {
  let before: Snapshot;
  let trace: string;

  beforeAll(async () => {
    before = await snapshot(host);
    trace = join(lab.directory, `netlink-${signal}`);
  });

  test('loses no packet in either direction', async () => {
    await withoutLoss(bothWays(host, peer), async (traffic) => {
      await host.agent.end(signal);
      await traffic.sends();
      host.agent.start({ under: traced(trace) });
      await host.agent.ready();
      // What an agent breaks it may break after it is ready.
      await compared(host.agent.pid!, trace);
    });
  });

  test('has the same subnet, MAC and kernel state as before', async () => {
    expect(await snapshot(host)).toEqual(before);
  });

  test('asks the kernel for no change at all', () => {
    // Once at its start, and twice more.
    expect(readings(trace)).toBeGreaterThanOrEqual(3);
    expect(netlinkWrites(trace)).toEqual([]);
  });

  test('does not write its lease again', async () => {
    expect((await snapshot(host)).lease).toEqual(before.lease);
  });
});

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s ends the agent with exit code 0, and lease, kernel state and subnet.env stay',
  async (signal) => {
    const before = await snapshot(peer);
    const environment = peer.environment;
    expect(await peer.agent.end(signal)).toEqual({ code: 0, signal: null });
    expect(await snapshot(peer)).toEqual(before);
    expect(peer.environment).toEqual(environment);
    peer.agent.start();
    await peer.agent.ready();
  },
);

test('SIGTERM ends an agent that waits for an etcd that is not there', async () => {
  const waiting = lab.host(3);
  await waiting.agent.end('SIGKILL');
  waiting.agent.start({ args: ['--etcd-endpoints=http://172.30.254.254:2379'] });
  await waiting.agent.logged((line) => line.level === 'warn');
  expect(await waiting.agent.end()).toEqual({ code: 0, signal: null });
});

test('an agent that is started again keeps a peer whose lease has expired, and which may only be cut off from etcd', async () => {
  const key = `/coreos.com/network/subnets/${peer.subnet.replace('/', '-')}`;
  const [stored] = await lab.etcd.inspect(key);
  const expired = 'lease expired; its peer is kept for a while';
  await peer.agent.end();
  await withoutLoss(bothWays(host, peer), async (traffic) => {
    await lab.etcd.etcdctl('lease', 'revoke', BigInt(stored!.lease!).toString(16));
    await host.agent.logged(({ message }) => message === expired);
    await host.agent.end();
    await traffic.sends();
    host.agent.start();
    await host.agent.ready();
    // It asks etcd after two seconds how the lease went.
    await host.agent.logged(({ message }) => message === expired);
    await traffic.sends();
  });
  peer.agent.start();
  await peer.agent.ready();
});

function firstTrace(): string {
  return join(lab.directory, 'netlink-first');
}

/** What must be the same before and after. */
interface Snapshot {
  readonly lease: unknown;
  readonly mac: string | undefined;
  readonly neighbors: unknown;
  readonly fdb: unknown;
  readonly routes: unknown;
}

async function snapshot(of: Host): Promise<Snapshot> {
  const leases = await lab.etcd.inspect(`/coreos.com/network/subnets/${of.subnet.replace('/', '-')}`);
  return {
    lease: leases,
    mac: await of.vtepMac(),
    neighbors: sorted(await of.neighbors()),
    fdb: sorted(await of.fdb()),
    routes: sorted(await of.routes()),
  };
}

function sorted(rows: readonly object[]): string[] {
  return rows.map((row) => JSON.stringify(row)).sort();
}

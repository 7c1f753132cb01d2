/** etcd goes away and comes back; the overlay does not notice, and what happened meanwhile is caught up with. */
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { allReachAll, pingAllPairs, unanswered } from '../support/lab/ping';
import { withoutLoss } from '../support/lab/stream';
import { until } from '../support/lab/until';

let lab: Lab;
afterEach(() => lab?.end());

test('with etcd down traffic flows, the kernel state stays, and a host that joins afterwards is reachable', async () => {
  lab = await Lab.start({ hosts: 3 });
  const [first, second, third] = lab.hosts as [Host, Host, Host];
  await lab.startAgents([first, second]);
  await withoutLoss([[first, second]], async (traffic) => {
    await lab.etcd.stop();
    await first.agent.logged(({ level }) => level === 'warn');
    await traffic.sends();
    expect(unanswered(await pingAllPairs([first, second]))).toEqual([]);
    expect(await first.fdb()).toHaveLength(1);

    await lab.etcd.start();
    await lab.startAgents([third]);
    await until('the others know the new host', async () => (await first.fdb()).length === 2);
    await until('the others know the new host', async () => (await second.fdb()).length === 2);
    expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
  });
});

test('an agent started while etcd is down waits, and starts when etcd comes', async () => {
  lab = await Lab.start({ hosts: 2 });
  await lab.startAgents([lab.host(1)]);
  await lab.etcd.stop();
  const { agent } = lab.host(2);
  agent.start();
  await agent.logged(({ level }) => level === 'warn');
  expect(agent.running).toBe(true);
  await lab.etcd.start();
  await agent.ready();
  await lab.host(2).attachContainer();
  await allReachAll(lab.hosts);
});

test('a cluster that loses the member named first still tells everybody of a host that joins and of one that leaves', async () => {
  lab = await Lab.start({ hosts: 3, etcdMembers: 3 });
  await lab.startAgents(lab.hosts.slice(0, 2));
  await lab.etcd.stop('e1');
  await lab.startAgents([lab.host(3)]);
  const first = lab.host(1);
  await until('host 1 knows host 3', async () => (await first.fdb()).length === 2);
  await allReachAll(lab.hosts);

  const { subnet, agent } = lab.host(3);
  await agent.end();
  expect(await agent.command('leave')).toMatchObject({ status: 0 });
  await until('host 1 has forgotten host 3', async () => (await first.fdb()).length === 1);
  expect((await first.routes()).map(({ dst }) => dst)).not.toContain(subnet);
});

test('after all leases were deleted every host takes its own subnet back', async () => {
  lab = await Lab.start({ hosts: 3 });
  await lab.startAgents();
  const subnets = lab.hosts.map((host) => host.subnet);
  await lab.etcd.etcdctl('del', '--prefix', `${PREFIX}/subnets/`);
  await until('all leases are back', async () => (await lab.leases()).size === 3);
  expect([...(await lab.leases()).keys()].sort()).toEqual(
    subnets.map((each) => each.replace('/', '-')).sort(),
  );
  await until('everybody knows everybody', async () =>
    (await Promise.all(lab.hosts.map((host) => host.fdb()))).every((fdb) => fdb.length === 2),
  );
  expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
});

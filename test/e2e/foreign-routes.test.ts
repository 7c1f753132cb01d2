/** What of this host is in the network's way, or comes in its way, stays as it is, and the overlay carries on beside it. */
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { allReachAll } from '../support/lab/ping';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;

beforeEach(async () => {
  lab = await Lab.start({ hosts: 2, agentOptions: ['--resolve=on-demand'] });
  host = lab.host(1);
});

afterEach(() => lab?.end());

/** The routes of exactly the network: `dev eth1 kernel`. */
async function networkRoutes(): Promise<string[]> {
  const routes = (await host.routes()).filter(({ dst }) => dst === '10.5.0.0/16');
  return routes.map(({ dev, protocol }) => `${dev} ${protocol}`);
}

async function secondInterface(): Promise<void> {
  await host.namespace.batch([
    'link add eth1 type veth peer name lan1',
    'link set lan1 up',
    'link set eth1 up',
  ]);
}

async function check(name: string): Promise<string | undefined> {
  const { stdout } = await host.agent.command('status', '--json');
  const { checks } = JSON.parse(stdout) as { checks: { name: string; reason?: string }[] };
  return checks.find((each) => each.name === name)?.reason;
}

test('the route of a second interface in the network stays, from the start on, and also after a cleanup', async () => {
  await secondInterface();
  await host.namespace.ip('address', 'add', '10.5.0.77/16', 'dev', 'eth1');
  await lab.startAgents();
  expect(await networkRoutes()).toEqual(['eth1 kernel']);
  await allReachAll(lab.hosts);
  expect(await check('network route')).toMatch(/10\.5\.0\.0\/16 dev eth1; so all peers are written at once/);
  await host.agent.end();
  expect(await host.agent.command('cleanup')).toMatchObject({ status: 0 });
  expect(await networkRoutes()).toEqual(['eth1 kernel']);
});

test('one that comes while the agent runs takes the place of ours, and ours is there again when it has gone', async () => {
  await lab.startAgents();
  expect(await networkRoutes()).toEqual(['flannel.1 84']);
  await secondInterface();
  await host.namespace.ip('address', 'add', '10.5.0.77/16', 'dev', 'eth1');
  await until('only the other route is there', async () => (await networkRoutes()).join() === 'eth1 kernel');
  await allReachAll(lab.hosts);
  await host.namespace.ip('address', 'del', '10.5.0.77/16', 'dev', 'eth1');
  await until('ours is there again', async () => (await networkRoutes()).join() === 'flannel.1 84');
  expect(await check('network route')).toBeUndefined();
  // Whoever makes it, and with whatever metric.
  const words = ['10.5.0.0/16', 'via', '172.30.255.1', 'dev', 'eth0', 'proto', '186', 'metric', '700'];
  await host.namespace.ip('route', 'add', ...words);
  await until('only the other route is there', async () => (await networkRoutes()).join() === 'eth0 bgp');
  await allReachAll(lab.hosts);
  await host.namespace.ip('route', 'del', ...words);
  await until('ours is there again', async () => (await networkRoutes()).join() === 'flannel.1 84');
});

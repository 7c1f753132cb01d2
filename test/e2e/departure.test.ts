/** Leaving for good: `vtepd leave` gives the lease back, `vtepd cleanup` clears the kernel only. */
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { allReachAll, pingAllPairs, unanswered } from '../support/lab/ping';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;
let subnet: string;

beforeEach(async () => {
  lab = await Lab.start({ hosts: 3 });
  await lab.startAgents();
  host = lab.host(1);
  subnet = host.subnet;
  await host.agent.end();
});

afterEach(() => lab?.end());

test('leave gives the lease back and removes everything of ours; the others forget the host', async () => {
  await host.namespace.ip('route', 'add', '192.0.2.0/24', 'dev', 'eth0', 'proto', 'static');
  expect(await host.agent.command('leave')).toMatchObject({ status: 0 });
  expect([...(await lab.leases()).keys()]).not.toContain(subnet.replace('/', '-'));
  expect(await host.vtepMac()).toBeUndefined();
  const destinations = (await host.routes()).map(({ dst }) => dst);
  expect(destinations).toContain('192.0.2.0/24');
  expect(
    destinations.filter((destination) => destination.startsWith('10.5.') && destination !== subnet),
  ).toEqual([]);
  await until(
    'the others have forgotten the host',
    async () => !(await lab.host(2).routes()).some(({ dst }) => dst === subnet),
  );
  expect(unanswered(await pingAllPairs(lab.hosts.slice(1)))).toEqual([]);
});

test('cleanup removes everything of ours from the kernel and keeps the lease', async () => {
  expect(await host.agent.command('cleanup')).toMatchObject({ status: 0 });
  expect([...(await lab.leases()).keys()]).toContain(subnet.replace('/', '-'));
  expect(await host.vtepMac()).toBeUndefined();
  await lab.startAgents([host]);
  expect(host.subnet).toBe(subnet);
  await allReachAll(lab.hosts);
});

test('cleanup finds a device that is down, which has lost the routes that mark it, and no other', async () => {
  await host.namespace.batch([
    'link set flannel.1 down',
    'link add flannel.7 type vxlan id 7 dstport 8479 dev eth0',
  ]);
  expect(await host.agent.command('cleanup')).toMatchObject({ status: 0 });
  expect((await host.namespace.attempt('ip', ['link', 'show', 'flannel.1'])).status).not.toBe(0);
  expect((await host.namespace.attempt('ip', ['link', 'show', 'flannel.7'])).status).toBe(0);
});

test.each(['leave', 'cleanup'])(
  '%s refuses to pull the ground from under a running agent, and changes nothing, even while its device is gone',
  async (command) => {
    host.agent.start();
    await host.agent.ready();
    const { pid } = host.agent;
    const stored = await lab.etcd.inspect(PREFIX);
    // So that it does not make the device anew before it is asked.
    process.kill(pid!, 'SIGSTOP');
    for (const isDeviceThere of [true, false]) {
      if (!isDeviceThere) await host.namespace.ip('link', 'delete', 'flannel.1');
      const entries = [await host.routes(), await host.vtepMac()];
      expect(await host.agent.command(command)).toEqual({
        status: 1,
        stdout: '',
        stderr: `vtepd: stop the agent first; nothing was changed: another vtepd (process ${pid}) runs for flannel.1 already\n`,
      });
      expect([await host.routes(), await host.vtepMac()]).toEqual(entries);
    }
    process.kill(pid!, 'SIGCONT');
    expect(await lab.etcd.inspect(PREFIX)).toEqual(stored);
  },
);

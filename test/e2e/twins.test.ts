/** Two hosts with one PublicIP, both with an agent: a cloned machine, addresses behind a NAT. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Lab, PREFIX } from '../support/lab/lab';
import { bothWays, withoutLoss } from '../support/lab/stream';
import { until } from '../support/lab/until';

let lab: Lab;
afterEach(() => lab?.end());

const contested = ({ message }: { message: string }) => /another host has our PublicIP/.test(message);

const revisionOf = async (key: string) => (await lab.etcd.inspect(key))[0]!.modRevision;

test('the first keeps its lease, the second says what to do, nobody loses a packet, and the second takes over when the first has gone', async () => {
  lab = await Lab.start({ hosts: 3 });
  const [first, second, third] = [lab.host(1), lab.host(2), lab.host(3)];
  await lab.startAgents([first, third]);
  const { subnet } = first;
  const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
  const value = await lab.etcd.etcdctl('get', key);
  await withoutLoss(bothWays(first, third), async () => {
    second.agent.start({ args: [`--public-ip=${first.publicIp}`] });
    const complaint = await second.agent.logged(contested);
    expect(complaint).toMatchObject({ level: 'warn', publicIp: first.publicIp });
    expect(String(complaint['error'])).toContain('give one of them another by --public-ip or --iface');
    const objection = await first.agent.logged(contested);
    expect(String(objection['error'])).toContain('we were there first, and keep it');
    // The second tries again now and then: it claims the lease, and the first objects. Each is a write.
    const before = await revisionOf(key);
    await until('the second has tried again', async () => (await revisionOf(key)) >= before + 2);
  });
  expect(await lab.etcd.etcdctl('get', key)).toBe(value);
  expect(first.subnet).toBe(subnet);
  expect(second.agent.log().filter(({ message }) => /subnet file/.test(message))).toEqual([]);

  await first.agent.end('SIGTERM');
  // It waits for longer each time.
  await second.agent.ready(180_000);
  expect(second.subnet).toBe(subnet);
});

test('of two clones that start in the same moment one gets the lease that both remember, and both say so', async () => {
  lab = await Lab.start({ hosts: 3 });
  const [first, second, third] = [lab.host(1), lab.host(2), lab.host(3)];
  await lab.startAgents([first, third]);
  const { subnet } = first;
  await first.agent.end('SIGTERM');
  const mac = (await first.vtepMac())!;
  // The clone has everything: the device with its MAC, and, by --public-ip, the address.
  await second.namespace.batch([
    `link add flannel.1 address ${mac} type vxlan id 1 dstport 8472 dev eth0 nolearning`,
    'link set flannel.1 up',
  ]);
  const value = await lab.etcd.etcdctl('get', `${PREFIX}/subnets/${subnet.replace('/', '-')}`);
  first.agent.start();
  second.agent.start({ args: [`--public-ip=${first.publicIp}`] });
  // Where both have claimed it, the one that gives way tries again after 7 to 15 s, and only then the other hears of it.
  const words = await Promise.all([first, second].map(({ agent }) => agent.logged(contested)));
  expect(words.map(({ error }) => String(error).split(',')[0]).sort()).toEqual([
    'it was there first',
    'we were there first',
  ]);
  expect(await lab.etcd.etcdctl('get', `${PREFIX}/subnets/${subnet.replace('/', '-')}`)).toBe(value);
  const statuses = await Promise.all([first, second].map(({ agent }) => agent.command('status')));
  expect(statuses.map(({ status }) => status).sort()).toEqual([0, 1]);
  for (const { stdout } of statuses) expect(stdout).toContain('another host has our PublicIP');
});

test('copies of one running machine, alike in all and even in the boot, hear of each other', async () => {
  lab = await Lab.start({ hosts: 2 });
  const [first, other] = [lab.host(1), lab.host(2)];
  await lab.startAgents();
  const { subnet } = first;
  await first.agent.end('SIGTERM');
  const directory = join(lab.directory, 'copy');
  mkdirSync(directory);
  const copy = first.agent.copy(directory);
  await withoutLoss([[other, first]], async () => {
    first.agent.start();
    // Nobody on this machine tells it that there is another.
    copy.start({
      under: ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /run/vtepd && exec "$@"', 'sh'],
    });
    const words = await Promise.all([first.agent, copy].map((agent) => agent.logged(contested)));
    expect(words.map(({ error }) => String(error).split(',')[0]).sort()).toEqual([
      'it was there first',
      'we were there first',
    ]);
    expect([first.subnet, (await lab.leases()).size]).toEqual([subnet, 2]);
  });
  await copy.end('SIGTERM');
});

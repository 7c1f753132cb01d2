/** Who a host takes itself for: by its devices, its addresses, its state file. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { allReachAll } from '../support/lab/ping';
import { withoutLoss } from '../support/lab/stream';
import { until } from '../support/lab/until';

let lab: Lab;
afterEach(() => lab?.end());

const stateFileOf = ({ agent }: Host) => join(dirname(agent.subnetFile), 'state.json');
const publicIpsOf = async () =>
  [...(await lab.leases()).values()]
    .map((value) => (JSON.parse(value) as { PublicIP: string }).PublicIP)
    .sort();

/** Nothing of it is left in the kernel or below /run, and its interface has these addresses. */
async function reboot(host: Host, ...addresses: string[]): Promise<void> {
  // Of the agent's two records, subnet.env and the state file, the second is written after readiness; only that one outlives a boot.
  await until('the state file', () =>
    readFileSync(stateFileOf(host), 'utf8').includes(`"ownLease":"${host.subnet.replace('/', '-')}"`),
  );
  await host.agent.end('SIGKILL');
  rmSync(host.agent.subnetFile);
  await host.namespace.batch([
    'link del flannel.1',
    'address flush dev docker0',
    'address flush dev eth0',
    ...addresses.map((address) => `address add ${address} dev eth0`),
  ]);
}

test('an agent that starts before the interface has its address waits for it, and takes none of its own devices', async () => {
  lab = await Lab.start({ hosts: 2, underlayOptions: ['--iface-regex=^(10|172)\\.'] });
  const [host] = lab.hosts as [Host, Host];
  await lab.startAgents();
  const { subnet } = host;
  await host.agent.end('SIGTERM');
  await host.namespace.batch([`address del ${host.publicIp}/16 dev eth0`]);
  host.agent.start();
  const waits = await host.agent.logged(({ message }) => message === 'waiting for the underlay interface');
  expect(String(waits['error'])).toContain('flannel.1 (');
  await host.namespace.batch([`address add ${host.publicIp}/16 dev eth0`]);
  await host.agent.ready(60_000);
  expect(host.subnet).toBe(subnet);
  expect(await publicIpsOf()).toEqual(lab.hosts.map(({ publicIp }) => publicIp).sort());
  await host.attachContainer();
  await allReachAll(lab.hosts);
});

test('a floating address beside its own changes nothing for a host, and its next holder leaves the lease of the first alone', async () => {
  lab = await Lab.start({ hosts: 3 });
  const [first, second, third] = lab.hosts as [Host, Host, Host];
  await lab.startAgents();
  const subnets = lab.hosts.map(({ subnet }) => subnet);
  const pairs = [[first, third] as const, [third, second] as const];
  await withoutLoss(pairs, async () => {
    await first.namespace.batch([
      // As DHCP gives it: it may end, the floating one does not.
      `address change ${first.publicIp}/16 dev eth0 valid_lft 3600 preferred_lft 3600`,
      'address add 172.30.77.77/32 dev eth0',
    ]);
    await first.agent.end('SIGTERM');
    first.agent.start();
    await first.agent.ready();
    await first.namespace.batch(['address del 172.30.77.77/32 dev eth0']);
    const key = `${PREFIX}/subnets/${first.subnet.replace('/', '-')}`;
    expect(await lab.etcd.etcdctl('get', key)).toContain(`"PublicIP":"${first.publicIp}"`);
    await second.namespace.batch(['address add 172.30.77.77/32 dev eth0']);
    await second.agent.end('SIGTERM');
    second.agent.start();
    await second.agent.ready();
    expect(lab.hosts.map(({ subnet }) => subnet)).toEqual(subnets);
    expect(await publicIpsOf()).toEqual(lab.hosts.map(({ publicIp }) => publicIp).sort());
  });
});

test('a lease by its PublicIP, which is that of another host, is named and left alone', async () => {
  lab = await Lab.start({ hosts: 2 });
  const [first, second] = lab.hosts as [Host, Host];
  await lab.startAgents();
  const [mine, theirs] = [first.subnet, second.subnet];
  const key = `${PREFIX}/subnets/${theirs.replace('/', '-')}`;
  const value = await lab.etcd.etcdctl('get', key);
  await second.agent.end('SIGKILL');
  await second.namespace.batch(['link set eth0 down']);
  await reboot(first, `${second.publicIp}/16`);
  first.agent.start();
  await first.agent.ready();
  const line = await first.agent.logged(
    ({ message }) => message === 'a lease with our PublicIP is not ours to use',
  );
  expect(line).toMatchObject({ level: 'warn', lease: theirs.replace('/', '-') });
  expect(first.subnet).toBe(mine);
  expect(await lab.etcd.etcdctl('get', key)).toBe(value);
});

test('a host that is booted and has another address keeps its lease, and is reached at once', async () => {
  lab = await Lab.start({ hosts: 2 });
  const [host] = lab.hosts as [Host, Host];
  await lab.startAgents();
  const { subnet } = host;
  const before = (await host.vtepMac())!;
  await reboot(host, '172.30.1.101/16');
  host.agent.start();
  await host.agent.ready();
  expect(host.subnet).toBe(subnet);
  expect(await host.vtepMac()).toBe(before);
  expect((await lab.leases()).size).toBe(2);
  expect(await publicIpsOf()).toEqual(['172.30.0.2', '172.30.1.101']);
  await host.attachContainer();
  await allReachAll(lab.hosts);
});

test('a clone with the state file, the machine ID and the network card of a host that lives gets another subnet, and that host loses nothing', async () => {
  lab = await Lab.start({ hosts: 3 });
  const [original, clone, other] = lab.hosts as [Host, Host, Host];
  await lab.startAgents([original, other]);
  const { subnet } = original;
  const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
  const value = await lab.etcd.etcdctl('get', key);
  const state = await until('the state file', () => readFileSync(stateFileOf(original), 'utf8'));
  const [card] = await clone.namespace.ipJson<{ address: string }>('link', 'show', 'dev', 'eth0');
  const parsed = JSON.parse(state) as { host: { hardwareAddress: string } };
  parsed.host.hardwareAddress = card!.address;
  await withoutLoss([[other, original]], async () => {
    writeFileSync(stateFileOf(clone), JSON.stringify(parsed));
    clone.agent.start();
    await clone.agent.ready();
    await clone.attachContainer();
    const said = await clone.agent.logged(({ message }) => /held by another host, which lives/.test(message));
    expect(said).toMatchObject({ level: 'warn', lease: subnet.replace('/', '-') });
    expect(clone.subnet).not.toBe(subnet);
    expect(original.subnet).toBe(subnet);
    expect(await lab.etcd.etcdctl('get', key)).toBe(value);
  });
  await allReachAll(lab.hosts);
});

test('what a host reaches by its underlay is leased neither to it nor believed of others', async () => {
  const config = { Network: '10.5.0.0/22', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  lab = await Lab.start({ hosts: 2, config });
  const [host] = lab.hosts as [Host, Host];
  await host.namespace.batch([
    'address add 10.5.1.9/30 dev eth0',
    'route add default via 10.5.1.10 dev eth0',
    'route add 10.9.9.9/32 dev eth0',
  ]);
  // 10.5.1.0/24 holds its gateway.
  const backend = { BackendType: 'vxlan', BackendData: { VNI: 1, VtepMAC: '02:00:00:00:00:55' } };
  await lab.etcd.put(
    `${PREFIX}/subnets/10.5.3.0-24`,
    JSON.stringify({ PublicIP: '172.30.255.255', ...backend }),
  );
  host.agent.start();
  await host.agent.ready();
  expect(host.subnet).toBe('10.5.2.0/24');
  const { stdout } = await host.agent.command('status');
  expect(stdout).toContain('its PublicIP 172.30.255.255 is the broadcast address of 172.30.0.0/16');
  expect(await host.fdb()).toEqual([]);
});

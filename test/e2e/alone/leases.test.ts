/** Who gets which subnet: many at once, reservations, bad neighbors in the store, a configuration that comes late. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Lab, NETWORK_CONFIG, PREFIX } from '../../support/lab/lab';
import { allReachAll } from '../../support/lab/ping';
import { until } from '../../support/lab/until';

let lab: Lab;
afterEach(() => lab?.end());

test('50 agents started at once on an empty store all get different subnets, and none exits', async () => {
  lab = await Lab.start({ hosts: 50 });
  await lab.startAgents(lab.hosts, 180_000);
  expect(new Set(lab.hosts.map((host) => host.subnet)).size).toBe(50);
  expect(lab.hosts.filter((host) => !host.agent.running)).toEqual([]);
  const leases = await lab.leases();
  expect([...leases.keys()].sort()).toEqual(lab.hosts.map((host) => host.subnet.replace('/', '-')).sort());
  for (const host of lab.hosts) {
    const value = JSON.parse(leases.get(host.subnet.replace('/', '-'))!) as object;
    expect(value).toEqual({
      PublicIP: host.publicIp,
      PublicIPv6: null,
      BackendType: 'vxlan',
      BackendData: { VNI: 1, VtepMAC: await host.vtepMac() },
    });
  }
});

test('a reservation is honoured, and stays one', async () => {
  lab = await Lab.start({ hosts: 2 });
  const key = `${PREFIX}/subnets/10.5.99.0-24`;
  await lab.etcd.put(key, JSON.stringify({ PublicIP: lab.host(1).publicIp }));
  await lab.startAgents();
  expect(lab.host(1).subnet).toBe('10.5.99.0/24');
  expect(await lab.etcd.inspect(key)).toMatchObject([{ key, lease: undefined }]);
  await allReachAll(lab.hosts);
});

test('an agent that lost its lease and its kernel state takes its previous subnet, which subnet.env names', async () => {
  lab = await Lab.start({ hosts: 2 });
  await lab.startAgents();
  const host = lab.host(1);
  const { subnet } = host;
  await host.agent.end('SIGKILL');
  await lab.etcd.etcdctl('del', `${PREFIX}/subnets/${subnet.replace('/', '-')}`);
  await host.namespace.ip('link', 'del', 'flannel.1');
  await lab.startAgents([host]);
  expect(host.subnet).toBe(subnet);
  // Its device is new, and so is its MAC: the other has to hear of it.
  await allReachAll(lab.hosts);
});

test('the VTEP MAC survives a reboot: it is taken back from our own lease', async () => {
  lab = await Lab.start({ hosts: 2 });
  await lab.startAgents();
  const host = lab.host(1);
  const mac = await host.vtepMac();
  await host.agent.end('SIGKILL');
  // What a reboot takes away; /run is empty then as well.
  await host.namespace.ip('link', 'del', 'flannel.1');
  await host.namespace.run('rm', [host.agent.subnetFile]);
  await lab.startAgents([host]);
  expect(await host.vtepMac()).toBe(mac);
  await allReachAll(lab.hosts);
});

test('a lease that is deleted under a running agent is taken back', async () => {
  lab = await Lab.start({ hosts: 2 });
  await lab.startAgents();
  const host = lab.host(1);
  const { subnet } = host;
  await lab.etcd.etcdctl('del', `${PREFIX}/subnets/${subnet.replace('/', '-')}`);
  await until('the lease is back', async () => (await lab.leases()).has(subnet.replace('/', '-')));
  expect(host.agent.running).toBe(true);
  await allReachAll(lab.hosts);
});

test('a key over the whole network renumbers nobody: neither hosts whose keys are deleted, nor those that start again', async () => {
  lab = await Lab.start({ hosts: 2 });
  await lab.startAgents();
  const other = lab.host(2);
  const subnets = lab.hosts.map(({ subnet }) => subnet);
  const stranger = { PublicIP: '172.30.77.1', BackendType: 'vxlan' };
  const value = { ...stranger, BackendData: { VNI: 1, VtepMAC: '0a:00:00:00:77:01' } };
  await lab.etcd.put(`${PREFIX}/subnets/10.5.0.0-16`, JSON.stringify(value));
  // Until a key is back, the one that is there may be believed for a moment.
  for (const subnet of subnets)
    await lab.etcd.etcdctl('del', `${PREFIX}/subnets/${subnet.replace('/', '-')}`);
  const names = [...subnets.map((subnet) => subnet.replace('/', '-')), '10.5.0.0-16'].sort().join();
  await until(
    'both have their keys back',
    async () => [...(await lab.leases()).keys()].sort().join() === names,
  );
  await other.agent.end();
  await lab.startAgents([other]);
  expect(lab.hosts.map(({ subnet }) => subnet)).toEqual(subnets);
  await allReachAll(lab.hosts);
});

test('an agent told to stop rather than to take another subnet stops, and leaves everything as it is; so does its next start', async () => {
  lab = await Lab.start({ hosts: 2, agentOptions: ['--subnet-lost=stop'] });
  await lab.startAgents();
  const host = lab.host(1);
  const { subnet, environment } = host;
  const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
  const mac = await host.vtepMac();
  const stranger = { PublicIP: '172.30.77.7', PublicIPv6: null, BackendType: 'vxlan' };
  await lab.etcd.put(
    key,
    JSON.stringify({ ...stranger, BackendData: { VNI: 1, VtepMAC: '0e:00:00:00:00:77' } }),
  );
  expect(await host.agent.exit()).toMatchObject({ code: 3 });
  expect(host.agent.log().at(-1)!.message).toContain('--subnet-lost=stop');
  host.agent.start();
  expect(await host.agent.exit()).toMatchObject({ code: 3 });
  expect(host.environment).toEqual(environment);
  expect(await host.vtepMac()).toBe(mac);
  await lab.etcd.etcdctl('del', key);
  host.agent.start();
  await host.agent.ready();
  expect(host.subnet).toBe(subnet);
});

test('garbage and foreign keys below subnets harm nobody, and are named in the log', async () => {
  lab = await Lab.start({ hosts: 3 });
  const garbage = {
    hello: 'world',
    '10.5.77.0-24': 'not json',
    '10.5.78.0-24': '{"PublicIP":"nonsense","BackendType":"vxlan"}',
    '10.5.79.0-24': '{"PublicIP":"172.30.9.9","BackendType":"vxlan","BackendData":{"VtepMAC":"no"}}',
    '10.5.80.0-24': '{"PublicIP":"172.30.9.10","PublicIPv6":null,"BackendType":"wireguard","BackendData":{}}',
    '10.5.81.0-33': '{}',
    '': 'empty',
  };
  const put = () =>
    lab.etcd.putAll(Object.entries(garbage).map(([name, value]) => [`${PREFIX}/subnets/${name}`, value]));
  await put();
  await lab.startAgents(lab.hosts.slice(0, 2));
  // And once more while they watch.
  await put();
  await lab.startAgents([lab.host(3)]);
  await allReachAll(lab.hosts);
  const host = lab.host(1);
  expect(host.agent.running).toBe(true);
  const named = host.agent
    .log()
    .filter(({ level }) => level === 'warn')
    .map((line) => JSON.stringify(line));
  for (const name of ['hello', '10.5.77.0-24', '10.5.78.0-24', '10.5.79.0-24', '10.5.81.0-33']) {
    expect(named.filter((line) => line.includes(`"${name}"`)).length).toBeGreaterThan(0);
  }
  const stored = await lab.leases();
  for (const [name, value] of Object.entries(garbage)) expect(stored.get(name)).toBe(value);
});

describe('the network configuration', () => {
  test('is waited for when it is missing, and mended input is picked up without a restart', async () => {
    lab = await Lab.start({ hosts: 1, config: null });
    const { agent } = lab.host(1);
    agent.start();
    await agent.logged((line) => line.level === 'warn' && JSON.stringify(line).includes(`${PREFIX}/config`));
    await lab.putConfig('{"Network": "10.5.0.0/16", "SubnetLen": 17, "Backend": {"Type": "vxlan"}}');
    await agent.logged((line) =>
      JSON.stringify(line).includes('network must be able to accommodate at least four subnets'),
    );
    await lab.putConfig(NETWORK_CONFIG);
    await agent.ready();
    expect(lab.host(1).environment).toMatchObject({
      FLANNEL_NETWORK: '10.5.0.0/16',
      FLANNEL_MTU: '1450',
      FLANNEL_IPMASQ: 'false',
    });
  });

  test('is written, shown and checked by `vtepd config`', async () => {
    lab = await Lab.start({ hosts: 1, config: null });
    const { agent } = lab.host(1);
    const good = join(lab.directory, 'good.json');
    const bad = join(lab.directory, 'bad.json');
    writeFileSync(good, JSON.stringify(NETWORK_CONFIG));
    writeFileSync(bad, '{"Network": "10.5.0.0/30"}');
    expect(await agent.command('config', 'get')).not.toMatchObject({ status: 0 });
    expect(await agent.command('config', 'check', good)).toMatchObject({ status: 0 });
    const refused = await agent.command('config', 'set', bad);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain('network is too small');
    expect(await agent.command('config', 'set', good)).toMatchObject({ status: 0 });
    const shown = await agent.command('config', 'get');
    expect(shown.status).toBe(0);
    for (const part of ['10.5.0.0/16', '10.5.1.0', '10.5.255.0', 'vxlan'])
      expect(shown.stdout).toContain(part);
    agent.start();
    await agent.ready();
  });
});

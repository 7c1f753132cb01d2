/** One host with its own ideas: what an agent does about them, while packets flow. */
import { join } from 'node:path';
import type { LogLine } from '../support/lab/agent';
import { Capture } from '../support/lab/capture';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { ping } from '../support/lab/ping';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2 });
  host = lab.host(1);
});

afterEach(async () => {
  for (const { agent } of lab.hosts) if (agent.running) await agent.end();
});

afterAll(() => lab?.end());

/** Status and text of an answer to a request from the host itself. */
function get(url: string): Promise<string> {
  const script = `fetch(${JSON.stringify(url)}).then(
    async (answer) => console.log(answer.status, await answer.text()), () => console.log('refused'))`;
  return host.namespace.run(process.execPath, ['-e', script]);
}

async function start(...args: string[]): Promise<void> {
  host.agent.start({ args });
  await host.agent.ready();
}

describe('with --ip-blackhole-route', () => {
  const blackholes = async () =>
    (await host.routes()).filter(({ type, protocol }) => type === 'blackhole' && protocol === '84');

  test('a container is reached; where no bridge has the subnet any more, senders hear so, and nothing leaves', async () => {
    await start('--ip-blackhole-route');
    await host.attachContainer();
    expect(await blackholes()).toMatchObject([{ dst: host.subnet }]);
    expect((await ping(host.namespace, [host.containerAddress])).size).toBe(1);

    await host.namespace.ip('address', 'flush', 'dev', 'docker0');
    const leaving = `dst net ${host.subnet} or udp port 8472`;
    const watch = await Capture.start(host.namespace, 'eth0', leaving, join(lab.directory, 'leaving.pcap'));
    const { stderr } = await host.namespace.attempt('ping', ['-c1', '-W50', host.containerAddress]);
    expect(stderr).toMatch(/invalid argument/i);
    expect(await watch.end()).toEqual([]);
  });

  test('it is put back when it is deleted', async () => {
    await start('--ip-blackhole-route');
    await host.namespace.ip('route', 'del', 'blackhole', host.subnet, 'proto', '84');
    await until('it is there again', async () => (await blackholes()).length === 1);
  });

  test('it stays while the agent is away, and goes with the option, and with cleanup', async () => {
    await start('--ip-blackhole-route');
    await host.agent.end();
    expect(await blackholes()).toHaveLength(1);
    await start();
    expect(await blackholes()).toEqual([]);
    await host.agent.end();
    await start('--ip-blackhole-route');
    await host.agent.end();
    expect(await host.agent.command('cleanup')).toMatchObject({ status: 0 });
    expect(await blackholes()).toEqual([]);
  });
});

describe('EnableNFTables', () => {
  const homes = async () => {
    const iptables = await host.namespace.run('iptables-save', ['-t', 'nat']);
    const tables = await host.namespace.run('nft', ['list', 'tables']);
    return { iptables: iptables.includes('VTEPD-MASQ'), nftables: tables.includes('vtepd-flannel.1') };
  };
  const configured = async (enableNfTables: boolean | undefined) => {
    await lab.putConfig({
      Network: '10.5.0.0/16',
      Backend: { Type: 'vxlan' },
      ...(enableNfTables === undefined ? {} : { EnableNFTables: enableNfTables }),
    });
    await start('--ip-masq');
    // What was before goes when the new rules are there.
    await host.agent.logged(({ message }) => message.startsWith('firewall rules put in order'));
    const found = await homes();
    await host.agent.end();
    return found;
  };

  test('false means iptables, true nftables, and nothing what the host uses; the rules of before are gone', async () => {
    expect(await configured(false)).toEqual({ iptables: true, nftables: false });
    expect(await configured(undefined)).toEqual({ iptables: true, nftables: false });
    expect(await configured(true)).toEqual({ iptables: false, nftables: true });
    expect(await configured(undefined)).toEqual({ iptables: false, nftables: true });
    expect(await configured(false)).toEqual({ iptables: true, nftables: false });
  });

  test('what was not written is shown as not said', async () => {
    await lab.putConfig({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } });
    const { stdout } = await host.agent.command('config', 'get');
    expect(JSON.parse(stdout)).toMatchObject({ EnableNFTables: null });
  });
});

describe('what is in the way of containers is said once, is advice to /readyz, and is over when it is over:', () => {
  const advice = async () => (await get('http://127.0.0.1:8080/readyz?verbose')).match(/^.*\[!\].*$/gm);
  const warnings = () => host.agent.log().filter(({ level }) => level === 'warn');

  beforeEach(async () => {
    await start('--healthz-port=8080');
    await host.attachContainer();
  });

  test('a docker0 whose address is not of our subnet', async () => {
    const own = `${host.vtepAddress.replace(/0$/, '1')}/24`;
    await host.namespace.batch(['address flush dev docker0', 'address add 172.17.0.1/16 dev docker0']);
    expect(
      await host.agent.logged(({ message }) => message === 'a bridge does not fit the overlay'),
    ).toMatchObject({
      level: 'warn',
      error: expect.stringMatching(/^docker0 has 172\.17\.0\.1\/16, .*restart Docker/) as string,
    });
    expect(await advice()).toEqual([expect.stringMatching(/bridge: not well for \d+ s: .*docker0 has 172/)]);
    await host.namespace.batch(['address flush dev docker0', `address add ${own} dev docker0`]);
    await host.agent.logged(({ message }) => message === 'bridges fit the overlay again');
    expect(await advice()).toBeNull();
    expect(warnings().filter(({ message }) => message.includes('bridge'))).toHaveLength(1);
  });

  test('an ip_forward of 0: containers of other hosts get no answer', async () => {
    await host.namespace.configure({ 'ipv4/ip_forward': 0 });
    // Any change of an address makes the agent look; else it does within a minute.
    await host.namespace.ip('address', 'add', '192.0.2.1/32', 'dev', 'lo');
    expect(
      await host.agent.logged(({ message }) => message === 'packets of containers are not forwarded'),
    ).toMatchObject({
      level: 'warn',
      error: expect.stringContaining('sysctl -w net.ipv4.ip_forward=1') as string,
    });
    expect(await advice()).toEqual([expect.stringMatching(/forwarding: not well/)]);
    await host.namespace.configure({ 'ipv4/ip_forward': 1 });
    await host.namespace.ip('address', 'del', '192.0.2.1/32', 'dev', 'lo');
    await host.agent.logged(({ message }) => message === 'packets of containers are forwarded again');
  });
});

describe('a host that lacks something starts all the same:', () => {
  const errors = () =>
    host.agent
      .log()
      // A busy machine loses a connection to etcd now and then.
      .filter(({ level, message }) => /warn|error|text/.test(level) && !message.includes('etcd'));

  test('a /proc/sys that cannot be written', async () => {
    const script = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"';
    host.agent.start({ under: ['unshare', '--mount', 'sh', '-ec', script, 'sh'] });
    await host.agent.ready();
    expect(errors()).toEqual([]);
  });

  test('IPv6, switched off', async () => {
    await host.namespace.configure({ 'ipv6/conf/all/disable_ipv6': 1, 'ipv6/conf/default/disable_ipv6': 1 });
    await start('--ip-masq');
    expect(errors()).toEqual([]);
    await host.namespace.configure({ 'ipv6/conf/all/disable_ipv6': 0, 'ipv6/conf/default/disable_ipv6': 0 });
  });
});

describe('the health server', () => {
  test('listens where it is told to, and nowhere else', async () => {
    await start('--healthz-ip=::1', '--healthz-port=8080');
    expect(await get('http://[::1]:8080/healthz?verbose')).toMatch(
      /^200 \[\+\] loops: well for \d+ s\nvtepd is running\n/,
    );
    expect(await get('http://[::1]:8080/readyz')).toMatch(/^200 vtepd is ready/);
    expect(await get('http://127.0.0.1:8080/readyz')).toMatch(/^refused/);
  });

  test('a port in use costs no packet: it is said, and taken once it is free', async () => {
    const program = "require('node:net').createServer().listen(8080, '0.0.0.0')";
    const squatter = host.namespace.start(process.execPath, ['-e', program], { stdio: 'ignore' });
    await until('the port is taken', async () =>
      (await host.namespace.run('ss', ['-ltn'])).includes(':8080'),
    );
    await start('--healthz-port=8080');
    const isComplaint = ({ message }: LogLine) => message.startsWith('health checks are not answered');
    expect(await host.agent.logged(isComplaint)).toMatchObject({
      level: 'warn',
      error: 'cannot listen for health checks on 0.0.0.0:8080: the address is in use',
    });
    squatter.kill();
    await until('it answers', async () => (await get('http://127.0.0.1:8080/healthz')).startsWith('200'));
  });
});

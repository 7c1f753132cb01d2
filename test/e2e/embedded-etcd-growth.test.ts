/** From one etcd to three, and from the first host's own to a service: by the lines of docs/embedded-etcd.md. */
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pidOfEtcdOn } from '../support/etcd-on';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { allReachAll } from '../support/lab/ping';
import { withoutLoss, type Pair } from '../support/lab/stream';
import { until } from '../support/lab/until';

const PAGE = readFileSync(resolve(__dirname, '../../docs/embedded-etcd.md'), 'utf8');

let lab: Lab;
let hosts: readonly [Host, Host, Host];
let first: Host;

const homeOf = (host: Host) => dirname(host.agent.subnetFile);
/** The page's addresses and paths as this host of the lab has them. */
const here = (host: Host, text: string) =>
  text
    .replaceAll('192.168.0.', '172.30.0.')
    .replaceAll('/var/lib/vtepd', homeOf(host))
    .replaceAll('/var/lib/etcd', join(homeOf(host), 'service'))
    .replaceAll('/var/backups', lab.directory);

/** The line of the page that begins so, without its remark. */
function lineOf(beginning: string): string {
  const line = PAGE.split('\n').find((each) =>
    each.replace(/^.* root (?=ETCDCTL)/, '').startsWith(beginning),
  );
  if (line === undefined) throw new Error(`docs/embedded-etcd.md has no line '${beginning}…'`);
  return line.replace(/^.* root (?=ETCDCTL)/, '').replace(/ +#.*$/, '');
}

const env = { PATH: process.env['PATH'], ETCDCTL_API: '3' };

/** Runs that line on the first host. */
const runLine = (beginning: string) =>
  first.namespace.run('sh', ['-ec', here(first, lineOf(beginning))], { env });

const etcdctl = (...words: string[]) => first.namespace.run('etcdctl', words, { env });

/** Starts etcd as Debian's service would, by the page's /etc/default/etcd for that member. */
function startService(host: Host, name: string): void {
  const block = PAGE.split('```').find((each) => each.startsWith(`ini\nETCD_NAME=${name}\n`));
  if (block === undefined) throw new Error(`docs/embedded-etcd.md has no settings of ${name}`);
  const settings = block.trim().split('\n').slice(1);
  const variables = Object.fromEntries(
    settings.map((line) => here(host, line).split(/=(.*)/s).slice(0, 2) as [string, string]),
  );
  mkdirSync(join(homeOf(host), 'service'), { recursive: true });
  const log = openSync(join(homeOf(host), 'service.log'), 'a');
  host.namespace
    .start('etcd', [], { env: { ...env, ...variables }, stdio: ['ignore', log, log], detached: true })
    .unref();
}

const membersAreWell = (count: number) =>
  until(
    `${count} members are well`,
    async () =>
      (await etcdctl('member', 'list')).trim().split('\n').length === count &&
      (await etcdctl('endpoint', 'health', '--cluster')) !== undefined,
    { everyMilliseconds: 200 },
  );

const endpoints = () => `--${here(first, lineOf('etcd-endpoints=http://192.168.0.1:2379,'))}`;
const joined = () => ['--iface=eth0', `--etcd-endpoints=http://${first.publicIp}:2379`];
const EMBEDDED = ['--embedded-etcd', '--iface=eth0'];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 3, etcdMembers: 0 });
  hosts = lab.hosts as unknown as [Host, Host, Host];
  [first] = hosts;
  first.agent.start({ args: EMBEDDED });
  await first.agent.ready();
  for (const host of hosts.slice(1)) host.agent.start({ args: joined() });
  for (const host of hosts) {
    await host.agent.ready();
    await host.attachContainer();
  }
  await allReachAll(hosts);
});

afterAll(() => lab?.end());

/** Between hosts, one of which is the first, in both directions. */
function paths(): Pair[] {
  const [, second, third] = hosts;
  return [
    [first, second],
    [third, first],
  ];
}

test('a backup is put back: the hosts find their leases again, and no packet is lost', async () => {
  const subnets = hosts.map((host) => host.subnet);
  await runLine('ETCDCTL_API=3 etcdctl snapshot save');
  await withoutLoss(paths(), async (traffic) => {
    await first.agent.end();
    await traffic.sends();
    await runLine('rm -rf /var/lib/vtepd/etcd');
    await runLine('etcdctl snapshot restore');
    first.agent.start({ args: EMBEDDED });
    await first.agent.ready();
    for (const host of hosts.slice(1))
      await host.agent.logged(({ message }) => message === 'etcd answers again');
  });
  expect(hosts.map((host) => host.subnet)).toEqual(subnets);
  await allReachAll(hosts);
});

test('without a backup, new data is filled by the hosts, each with the subnet it had', async () => {
  const subnets = hosts.map((host) => host.subnet);
  // Nothing in etcd tells the first host's agent of the others before they have written their leases again: its state file does.
  await withoutLoss(paths(), async (traffic) => {
    await first.agent.end();
    await traffic.sends();
    await runLine('rm -rf /var/lib/vtepd/etcd');
    first.agent.start({ args: EMBEDDED });
    await first.agent.ready();
    await until(
      'all leases are there',
      async () => {
        const keys = await etcdctl('get', '--prefix', '--keys-only', '/coreos.com/network/subnets/');
        return keys.trim().split(/\n+/).length === 3;
      },
      { everyMilliseconds: 200 },
    );
  });
  expect(hosts.map((host) => host.subnet)).toEqual(subnets);
  await allReachAll(hosts);
});

test('two more members join, and the agents are given all three, without loss of a packet', async () => {
  await withoutLoss(paths(), async (traffic) => {
    for (const [index, name] of ['h2', 'h3'].entries()) {
      // Refused until all members have seen each other for five seconds.
      await until(`${name} is added`, () => runLine(`etcdctl member add ${name}`), {
        everyMilliseconds: 500,
      });
      startService(hosts[index + 1]!, name);
      await membersAreWell(index + 2);
    }
    for (const host of hosts.slice(1)) {
      await host.agent.end();
      await traffic.sends();
      host.agent.start({ args: ['--iface=eth0', endpoints()] });
      await host.agent.ready();
    }
  });
});

test('a restart of the first host’s agent brings its member back into the three', async () => {
  await withoutLoss(paths(), async (traffic) => {
    await first.agent.end();
    await traffic.sends();
    first.agent.start({ args: EMBEDDED });
    await first.agent.ready();
    await membersAreWell(3);
  });
});

test('the first host’s data moves out into a service of its own, without loss of a packet', async () => {
  const { subnet } = first;
  const data = join(homeOf(first), 'etcd');
  await withoutLoss(paths(), async (traffic) => {
    await first.agent.end();
    await traffic.sends();
    expect(pidOfEtcdOn(data)).toBeUndefined();
    mkdirSync(join(homeOf(first), 'service'), { recursive: true });
    await runLine('mv /var/lib/vtepd/etcd');
    startService(first, 'vtepd');
    first.agent.start({ args: ['--iface=eth0', endpoints()] });
    await first.agent.ready();
    await membersAreWell(3);
  });
  expect(first.subnet).toBe(subnet);
  expect(existsSync(data)).toBe(false);
  await allReachAll(hosts);
});

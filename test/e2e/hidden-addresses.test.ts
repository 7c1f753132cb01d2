/** What this host needs elsewhere, and the overlay takes: its name server by the route of the network, a local network by that of a peer. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessStatus } from '../../src/model/status';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;

afterEach(() => lab?.end());

async function reasonOf(name: string): Promise<string | undefined> {
  const { stdout } = await host.agent.command('status', '--json');
  const { checks, isReady } = JSON.parse(stdout) as ProcessStatus;
  expect(isReady).toBe(true);
  return checks.find((check) => check.name === name)!.reason;
}

test.each(['preload', 'on-demand'])(
  'a name server in the network, where no host is, is named until it has a route of its own (--resolve=%s)',
  async (mode) => {
    lab = await Lab.start({ hosts: 1, agentOptions: [`--resolve=${mode}`] });
    host = lab.host(1);
    const file = join(lab.directory, 'resolv.conf');
    // Of one that is elsewhere, and of one that stands in no address, nothing is to be said.
    writeFileSync(file, 'nameserver 10.5.253.9\nnameserver 172.30.255.1\nnameserver nonsense\n');
    const words = `mount --bind ${file} /etc/resolv.conf && exec "$@"`;
    host.agent.start({ under: ['unshare', '--mount', 'sh', '-c', words, 'sh'] });
    await host.agent.ready();
    const line = await host.agent.logged(
      ({ message }) => message === 'the network hides what this host needs',
    );
    expect(line).toMatchObject({ level: 'warn' });
    const reason = await until('status says it', () => reasonOf('hidden addresses'));
    expect(reason).toContain('10.5.253.9, a name server: in the network 10.5.0.0/16, and of no host');
    expect(reason).not.toContain('172.30.255.1');
    await host.namespace.ip('route', 'add', '10.5.253.9', 'via', '172.30.255.1');
    await until('it is well', async () => (await reasonOf('hidden addresses')) === undefined);
  },
);

test('a local network of which a peer has a part is named with that peer, until it is gone', async () => {
  lab = await Lab.start({ hosts: 2 });
  const [first, peer] = lab.hosts as [Host, Host];
  host = first;
  await lab.startAgents();
  const wide = peer.subnet.replace(/\.(\d+)\.0\/24$/, (_, n) => `.${Number(n) & 0xfe}.0/23`);
  // In the peer's half: the other may be ours.
  const address = peer.subnet.replace('.0/24', '.9/23');
  await host.namespace.batch([
    'link add eth1 type veth peer name lan1',
    'link set lan1 up',
    'link set eth1 up',
    `address add ${address} dev eth1`,
  ]);
  await until('status says it', async () =>
    (await reasonOf('other leases'))?.includes(
      `${peer.subnet.replace('/', '-')} (its subnet is a part of ${wide} of eth1: what this host looks for there goes to the peer`,
    ),
  );
  await host.namespace.ip('link', 'del', 'eth1');
  await until('it is well', async () => (await reasonOf('other leases')) === undefined);
});

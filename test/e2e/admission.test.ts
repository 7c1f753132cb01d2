/** Who is no peer gets nothing into the overlay. */
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { Listener, sendDatagrams } from '../support/lab/listener';
import { allReachAll, ping } from '../support/lab/ping';
import { until } from '../support/lab/until';
import { vxlanPacket } from '../support/vxlan-packet';

const PORT = 7000;
const VXLAN_PORT = 8472;
const ON = '--vxlan-admission=on';

let lab: Lab;
let host: Host;
let peer: Host;
let joiner: Host;
let stranger: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 4, agentOptions: [ON, '-v=1'] });
  [host, peer, joiner, stranger] = lab.hosts as [Host, Host, Host, Host];
  await lab.startAgents([host, peer]);
  // It has the peer's address as well, without telling anybody.
  await stranger.namespace.configure({ 'ipv4/conf/all/arp_ignore': 1, 'ipv4/conf/all/rp_filter': 0 });
  await stranger.namespace.ip('address', 'add', `${peer.publicIp}/32`, 'dev', 'lo');
});
afterAll(() => lab?.end());

/** The sources that the host's container hears, of packets that come by these addresses in the name of those. */
async function heardOf(packets: readonly (readonly [from: string, source: string])[]): Promise<string[]> {
  const mac = (await host.vtepMac())!;
  const destination = host.containerAddress;
  const listener = await Listener.start(host.container, PORT);
  const forged = packets.map(([from, source]) => ({
    from,
    hex: vxlanPacket({ vni: 1, mac, source, destination }).toString('hex'),
  }));
  const to = { address: host.publicIp, port: VXLAN_PORT };
  await sendDatagrams(stranger.namespace, to, forged);
  // What a peer sends comes last.
  const last = vxlanPacket({ vni: 1, mac, source: peer.vtepAddress, destination }).toString('hex');
  await sendDatagrams(peer.namespace, to, [{ from: peer.publicIp, hex: last }]);
  await until('the peer is heard', () => listener.heard.includes(peer.vtepAddress));
  listener.end();
  return listener.heard.filter((source) => source !== peer.vtepAddress);
}

const hasGuard = async (of: Host): Promise<boolean> =>
  (await of.namespace.run('nft', ['list', 'tables'])).includes('vtepd-admission-flannel.1');

function forgeries(): (readonly [string, string])[] {
  const other = (of: Host) => of.vtepAddress.replace(/\d+$/, '77');
  return [
    [stranger.publicIp, other(peer)],
    [stranger.publicIp, other(host)],
    [stranger.publicIp, '203.0.113.7'],
    // The peer's address, but not its subnet.
    [peer.publicIp, other(host)],
    [peer.publicIp, '10.5.255.7'],
  ];
}

test('what a stranger forges reaches no container; what peers say does', async () => {
  expect(await heardOf(forgeries())).toEqual([]);
  await allReachAll([host, peer]);
  // The host itself, by its VTEP address.
  expect((await ping(peer.namespace, [host.containerAddress])).size).toBe(1);
});

test('the stranger is named in the log', async () => {
  // A reload reads the rules, and who was refused.
  process.kill(host.agent.pid!, 'SIGHUP');
  const line = await host.agent.logged(({ message }) => message.startsWith('packets refused'));
  expect(line['address']).toBe(stranger.publicIp);
});

test('a container does not reach the VXLAN port of a peer as its host', async () => {
  const send = `const socket = require('node:dgram').createSocket('udp4');
    socket.send('x', 8472, '${peer.publicIp}', () => socket.close());`;
  await host.container.run(process.execPath, ['-e', send]);
  await until('it is counted', async () => {
    const rules = await host.namespace.run('nft', [
      'list',
      'chain',
      'inet',
      'vtepd-admission-flannel.1',
      'forward',
    ]);
    return /counter packets 1 /.test(rules);
  });
});

test('a host that joins is admitted as soon as that is heard of: its first packet is answered', async () => {
  joiner.agent.start();
  await joiner.agent.ready();
  await joiner.attachContainer();
  for (const { agent } of [host, peer])
    await agent.logged(({ message, subnet }) => message === 'peer joined' && subnet === joiner.subnet);
  const answers = await ping(joiner.container, [host.containerAddress, peer.containerAddress]);
  expect(answers.size).toBe(2);
});

test('nor does it as another peer, whose address it forges', async () => {
  await host.container.ip('address', 'add', `${joiner.publicIp}/32`, 'dev', 'lo');
  const inner = { source: joiner.vtepAddress, destination: peer.containerAddress };
  const packet = vxlanPacket({ vni: 1, mac: (await peer.vtepMac())!, ...inner });
  const forged = [{ from: joiner.publicIp, hex: packet.toString('hex') }];
  await sendDatagrams(host.container, { address: peer.publicIp, port: VXLAN_PORT }, forged);
  await until('it is counted', async () => {
    const rules = await host.namespace.run('nft', ['list', 'table', 'inet', 'vtepd-admission-flannel.1']);
    return /fib saddr \. iif oif.* counter packets 1 /.test(rules);
  });
  await host.container.ip('address', 'del', `${joiner.publicIp}/32`, 'dev', 'lo');
});

test('a table that somebody flushed is put back', async () => {
  for (let i = 0; i < 3; i++) {
    await host.namespace.run('nft', ['flush', 'ruleset']);
    await until('the guard is there again', () => hasGuard(host));
  }
  expect(await heardOf(forgeries())).toEqual([]);
});

test('the guard stays while the agent is away, and goes when it comes back without it', async () => {
  await host.agent.end();
  expect(await heardOf(forgeries())).toEqual([]);
  host.agent.start({ args: ['--vxlan-admission=off'] });
  await host.agent.ready();
  expect(await hasGuard(host)).toBe(false);
  expect(await heardOf(forgeries())).toEqual(forgeries().map(([, source]) => source));
});

test('cleanup removes the guard', async () => {
  await peer.agent.end();
  expect(await hasGuard(peer)).toBe(true);
  const { status, stdout } = await peer.agent.command('cleanup');
  expect({ status, stdout }).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('removed the guard of the VXLAN port of flannel.1') as string,
  });
  expect(await hasGuard(peer)).toBe(false);
});

test('on demand, who resolves by ARP through the tunnel is not refused', async () => {
  await host.agent.end();
  await joiner.agent.end();
  for (const each of [host, joiner]) {
    each.agent.start({ args: ['--resolve=on-demand', ON] });
    await each.agent.ready();
    // Probes begin soon after an entry is made.
    await each.namespace.configure({
      'ipv4/neigh/flannel.1/base_reachable_time_ms': 500,
      'ipv4/neigh/flannel.1/delay_first_probe_time': 1,
    });
  }
  const args = ['-n', '-q', '-c', '60', '-i', '0.1', '-W', '1', joiner.containerAddress];
  const { stdout } = await host.container.attempt('ping', args);
  expect(stdout).toContain(' 0% packet loss');
  // Unanswered probes would have ended in this state.
  expect((await host.neighbors()).flatMap(({ state }) => state)).not.toContain('FAILED');
});

/** The kernel asks, vtepd answers: on demand as the rule, in preload mode when something was damaged. */
import { createInterface } from 'node:readline';
import type { LogLine } from '../../support/lab/agent';
import type { Host } from '../../support/lab/host';
import { Lab } from '../../support/lab/lab';
import { raiseNeighborLimits } from '../../support/lab/neighbor-limits';
import { ping } from '../../support/lab/ping';
import { auditsThatRepaired } from '../../support/lab/repairs';
import { Receiver, sendBurst } from '../../support/lab/stream';
import { until } from '../../support/lab/until';

let lab: Lab;
afterAll(() => lab?.end());

describe('on demand', () => {
  let host: Host;
  let peer: Host;

  beforeAll(async () => {
    lab = await Lab.start({ hosts: 3, agentOptions: ['--resolve=on-demand', '--idle-timeout=3'] });
    await lab.startAgents();
    // The kernel itself says for how long nobody used a neighbor, but only once it is not REACHABLE any more: after 15 to 45
    // seconds, unless told otherwise. And it probes instead, if the last use was less than delay_first_probe_time ago.
    const soon = {
      'ipv4/neigh/flannel.1/base_reachable_time_ms': 4000,
      'ipv4/neigh/flannel.1/delay_first_probe_time': 1,
    };
    await Promise.all(lab.hosts.map(({ namespace }) => namespace.configure(soon)));
    [host, peer] = lab.hosts as [Host, Host];
  });

  afterAll(() => lab.end());

  test('the kernel of a host that has talked to nobody holds no peer', async () => {
    expect(await host.neighbors()).toEqual([]);
    expect(await host.fdb()).toEqual([]);
    expect((await host.routes()).filter(({ gateway }) => gateway !== undefined)).toEqual([]);
  });

  test('the first packet to a peer arrives, and brings its three entries', async () => {
    const answers = await ping(host.container, [peer.containerAddress]);
    expect(answers.size).toBe(1);
    expect((await host.fdb()).map(({ mac, dst }) => ({ mac, dst }))).toEqual([
      { mac: await peer.vtepMac(), dst: peer.publicIp },
    ]);
    expect((await host.neighbors()).map(({ dst }) => dst)).toContain(peer.vtepAddress);
    expect((await host.routes()).map(({ dst }) => dst)).toContain(peer.subnet);
    await host.agent.logged((line) => isAnswer(line, peer));
  });

  test('a peer that nobody uses any more is dropped, and found again when it is asked for', async () => {
    await until(
      'the idle peer is gone',
      async () =>
        (await host.fdb()).length === 0 && !(await host.routes()).some(({ dst }) => dst === peer.subnet),
      { everyMilliseconds: 200 },
    );
    expect(await host.neighbors()).toEqual([]);
    expect((await ping(host.container, [peer.containerAddress])).size).toBe(1);
  });

  test('a peer in use is not dropped while another, which is not, is', async () => {
    const [inUse, idle] = [peer, lab.host(3)];
    const has = async ({ publicIp }: Host) => (await host.fdb()).some(({ dst }) => dst === publicIp);
    const words = ['-n', '-q', '-i', '0.1', inUse.containerAddress];
    const pings = host.container.start('ping', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: pings.stdout! })[Symbol.asyncIterator]();
    await lines.next();
    expect((await ping(host.container, [idle.containerAddress])).size).toBe(1);
    // Questions are answered in their order: that of the other, if there was one, is in the log as well then.
    await host.agent.logged((line) => isAnswer(line, idle));
    const before = answersOf(host, inUse);
    await until('the idle one is gone', async () => !(await has(idle)), { everyMilliseconds: 200 });
    pings.kill('SIGINT');
    let said = '';
    for await (const line of { [Symbol.asyncIterator]: () => lines }) said += `${line}\n`;
    expect(said).toMatch(/ 0% packet loss/);
    expect(answersOf(host, inUse)).toBe(before);
  });

  test('whoever asks for an address that nobody leases hears "host unreachable" from the agent', async () => {
    const absent = await lab.freeSubnet();
    await expectUnreachable(host, `${absent}.7`);
    await host.agent.logged((line) => isRefusal(line, `${absent}.7`));
    // It may be known already.
    await expectUnreachable(host, `${absent}.8`);
  });

  test('a host that is leased the very subnet that was absent a moment ago is reachable as soon as that is heard of', async () => {
    const subnet = await lab.freeSubnet();
    const address = `${subnet}.2`;
    await expectUnreachable(host, address);
    const late = lab.host(3);
    await late.agent.end('SIGKILL');
    await late.namespace.ip('link', 'del', 'flannel.1');
    await lab.etcd.etcdctl('del', `/coreos.com/network/subnets/${late.subnet.replace('/', '-')}`);
    await lab.etcd.put(
      `/coreos.com/network/subnets/${subnet}.0-24`,
      JSON.stringify({ PublicIP: late.publicIp }),
    );
    await lab.startAgents([late]);
    expect(late.containerAddress).toBe(address);
    await host.agent.logged(({ message, subnet: of }) => message === 'peer joined' && of === late.subnet);
    expect((await ping(host.container, [address])).size).toBe(1);
  });
});

describe('a burst of 2000 packets to 2000 addresses of peers the kernel does not know yet', () => {
  const PEERS = 10;
  const ADDRESSES = 200;
  let restore: () => void;

  beforeAll(async () => {
    restore = raiseNeighborLimits();
    lab = await Lab.start({ hosts: PEERS + 1, agentOptions: ['--resolve=on-demand'] });
    await lab.startAgents();
  });

  afterAll(() => {
    restore?.();
    lab.end();
  });

  test('none is lost', async () => {
    const [host, ...peers] = lab.hosts as [Host, ...Host[]];
    // Every address of a peer's subnet is its own, so that its kernel takes what is sent to any of them.
    await Promise.all(
      peers.map((peer) => peer.namespace.ip('route', 'add', 'local', peer.subnet, 'dev', 'lo')),
    );
    const receivers = await Promise.all(peers.map((peer) => Receiver.start(peer.namespace)));
    const numbers = Array.from({ length: ADDRESSES }, (_, number) => number);
    const targets = numbers.flatMap((number) =>
      peers.map((peer) => ({ address: peer.vtepAddress.replace(/0$/, String(number + 10)), number })),
    );
    const sending = await sendBurst(host.namespace, targets);
    expect(sending).toMatchObject({ sent: PEERS * ADDRESSES, failed: 0 });
    for (const receiver of receivers)
      expect(await receiver.count(ADDRESSES, 5000)).toMatchObject({ lost: 0, gaps: [] });
  });
});

describe('damage in preload mode', () => {
  let host: Host;
  let peer: Host;
  let peerMac: string;

  beforeAll(async () => {
    lab = await Lab.start({ hosts: 3 });
    await lab.startAgents();
    [host, peer] = lab.hosts as [Host, Host];
    peerMac = (await peer.vtepMac())!;
  });

  afterAll(() => lab.end());

  const DAMAGES: readonly (readonly [what: string, damage: () => Promise<unknown>])[] = [
    [
      'an FDB entry is deleted',
      () =>
        host.namespace.run('bridge', [
          'fdb',
          'del',
          peerMac,
          'dev',
          'flannel.1',
          'dst',
          peer.publicIp,
          'self',
        ]),
    ],
    [
      'an FDB entry points elsewhere',
      () =>
        host.namespace.run('bridge', [
          'fdb',
          'replace',
          peerMac,
          'dev',
          'flannel.1',
          'dst',
          '172.30.200.200',
          'self',
          'permanent',
        ]),
    ],
    ['a neighbor is deleted', () => host.namespace.ip('neigh', 'del', peer.vtepAddress, 'dev', 'flannel.1')],
    [
      'a neighbor has a wrong MAC',
      () =>
        host.namespace.ip(
          'neigh',
          'replace',
          peer.vtepAddress,
          'lladdr',
          '02:00:00:00:00:99',
          'dev',
          'flannel.1',
          'nud',
          'permanent',
        ),
    ],
    ["a peer's route is deleted", () => host.namespace.ip('route', 'del', peer.subnet)],
    [
      'the network route is deleted',
      () => host.namespace.ip('route', 'del', '10.5.0.0/16', 'dev', 'flannel.1'),
    ],
    ["the VTEP's address is deleted", () => host.namespace.flush('address', 'dev', 'flannel.1')],
    ['the VTEP is set down', () => host.namespace.ip('link', 'set', 'flannel.1', 'down')],
    ['the VTEP is deleted', () => host.namespace.ip('link', 'del', 'flannel.1')],
  ];

  test.each(DAMAGES)('%s: it is repaired before any audit, and traffic flows', async (_, damage) => {
    const before = await stateOf(host);
    await damage();
    await until('the kernel state is as it was', async () => (await stateOf(host)) === before);
    expect(auditsThatRepaired(host.agent.log())).toEqual([]);
    expect((await ping(host.container, [peer.containerAddress])).size).toBe(1);
    expect((await ping(peer.container, [host.containerAddress])).size).toBe(1);
  });

  test('an address of nobody is unreachable here as well', async () => {
    const address = `${await lab.freeSubnet()}.7`;
    await expectUnreachable(host, address);
    await host.agent.logged((line) => isRefusal(line, address));
  });
});

/** Fails unless the container hears that nobody is there. */
async function expectUnreachable(host: Host, address: string): Promise<void> {
  const { stdout } = await host.container.attempt('ping', ['-n', '-c', '1', '-W', '50', address]);
  expect(stdout).toContain('Destination Host Unreachable');
}

/** The answer "nobody has it": without an agent the kernel would give up, too, but after six seconds. */
function isRefusal(line: LogLine, address: string): boolean {
  return line.message === 'miss answered: nobody has it' && line['address'] === address;
}

function isAnswer(line: LogLine, peer: Host): boolean {
  return line.message === 'miss answered' && line['subnet'] === peer.subnet;
}

function answersOf({ agent }: Host, peer: Host): number {
  return agent.log().filter((line) => isAnswer(line, peer)).length;
}

/** Everything on flannel.1 and every route, as text, in a fixed order. */
async function stateOf(host: Host): Promise<string> {
  const [links, addresses, neighbors, fdb, routes] = await Promise.all([
    host.vtepMac(),
    host.namespace.ip('-o', '-4', 'address', 'show', 'dev', 'flannel.1').catch(() => ''),
    host.neighbors().catch(() => []),
    host.fdb().catch(() => []),
    host.routes(),
  ]);
  const rows = [...neighbors, ...fdb, ...routes].map((row) => JSON.stringify(row)).sort();
  // Interface indexes differ after a re-creation; nothing else does.
  return [links, addresses.replace(/^\d+:/, ''), ...rows].join('\n');
}

/**
 * From v0.1.0 to the build under test and back, in place, while a thousand packets a second flow in each direction: with etcd, and
 * without it from the state file.
 */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AGENT } from '../support/lab/agent';
import type { Host } from '../support/lab/host';
import { impersonal, settled, stateOf, type HostState } from '../support/lab/host-state';
import { Lab, NETWORK_CONFIG, PREFIX } from '../support/lab/lab';
import { builtRevision, RELEASE } from '../support/lab/revision';
import { bothWays, streaming, withoutLoss } from '../support/lab/stream';

interface Variant {
  readonly name: string;
  readonly options: readonly string[];
  readonly config?: object;
  /** As Docker leaves it, for iptables-restore. */
  readonly iptables?: string;
}

/** iptables makes these tables and chains, and has no way to remove them. */
const DOCKERS_RULES = `*nat
:POSTROUTING ACCEPT
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
COMMIT
`;

const VARIANTS: readonly Variant[] = [
  { name: 'as it is by default', options: [] },
  {
    name: 'on demand, with masquerade by nftables, admission and the blackhole route',
    options: ['--resolve=on-demand', '--ip-masq', '--vxlan-admission=on', '--ip-blackhole-route'],
    config: { EnableNFTables: true },
  },
  {
    name: 'with masquerade by iptables',
    options: ['--ip-masq'],
    config: { EnableNFTables: false },
    iptables: DOCKERS_RULES,
  },
];

let released: string;

beforeAll(async () => {
  released = await builtRevision(RELEASE);
});

describe.each(VARIANTS)('on a host $name,', ({ options, config, iptables }) => {
  let lab: Lab;
  let host: Host;
  let peer: Host;
  /** Before there was any agent. */
  let bare: HostState;
  /** What each build makes of a bare host, by its program. */
  const fresh = new Map<string, HostState>();
  /** What is to be the same through all of it. */
  let identity: unknown;

  beforeAll(async () => {
    lab = await Lab.start({ hosts: 3, agentOptions: options, config: { ...NETWORK_CONFIG, ...config } });
    host = lab.host(1);
    peer = lab.host(2);
    if (iptables) await host.namespace.run('iptables-restore', [], { input: iptables });
    bare = await stateOf(host);
    await lab.startAgents(lab.hosts.slice(1));
    await beginFresh(AGENT);
    await leaveNothing(released);
    await beginFresh(released);
    identity = await identityOf();
  });

  afterAll(() => lab?.end());

  /** Subnet, lease and device. */
  const identityOf = async () => ({
    subnet: host.environment,
    lease: await lab.etcd.inspect(`${PREFIX}/subnets/${host.subnet.replace('/', '-')}`),
    link: (await stateOf(host))['link'],
  });

  /** Starts a build where there was none, and learns what it makes of the host. */
  async function beginFresh(program: string): Promise<void> {
    host.agent.program = program;
    await lab.startAgents([host]);
    await streaming(bothWays(host, peer), async (traffic) => {
      // It may take away later what it has found.
      await traffic.sends(1_000);
      fresh.set(program, await look());
    });
  }

  /** The cleanup of a build, whichever has run. */
  async function leaveNothing(program: string): Promise<void> {
    await host.agent.end();
    host.agent.program = program;
    expect(await host.agent.command('cleanup')).toMatchObject({ status: 0 });
    expect({ ...(await stateOf(host)), files: '' }).toEqual(bare);
  }

  /** Ends the agent and starts that build, under packets; `between` is done while there is none. */
  async function changeTo(program: string, between: () => void = () => undefined): Promise<void> {
    await withoutLoss(bothWays(host, peer), async (traffic) => {
      await host.agent.end();
      between();
      await traffic.sends();
      host.agent.program = program;
      host.agent.start();
      await host.agent.ready();
      await traffic.sends();
      // Exactly what it would have made by itself, no more and no less.
      const expected = fresh.get(program)!;
      expect(await settled(look, expected)).toEqual(expected);
    });
  }

  const look = async () => impersonal(host, await stateOf(host));

  const stateFile = () => join(dirname(host.agent.subnetFile), 'state.json');
  const startsFromMemory = () =>
    host.agent.logged(({ message }) => message === 'etcd does not answer; starting from memory');

  test('an upgrade without etcd goes by the state file of v0.1.0', async () => {
    await lab.etcd.stop();
    await changeTo(AGENT);
    await startsFromMemory();
    await lab.etcd.start();
    expect(await identityOf()).toEqual(identity);
  });

  test('the way back loses nothing', async () => {
    await changeTo(released);
    expect(await identityOf()).toEqual(identity);
  });

  test('an upgrade loses nothing', async () => {
    // The next is written by this build.
    await changeTo(AGENT, () => rmSync(stateFile()));
    expect(existsSync(stateFile())).toBe(true);
    expect(await identityOf()).toEqual(identity);
  });

  test('the way back without etcd goes by the state file of this build', async () => {
    await lab.etcd.stop();
    await changeTo(released);
    await startsFromMemory();
    await lab.etcd.start();
    expect(await identityOf()).toEqual(identity);
  });

  test('what v0.1.0 left is all removed by the cleanup of this build', async () => {
    await leaveNothing(AGENT);
  });
});

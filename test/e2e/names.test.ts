/**
 * What other versions, other programs and administrators' scripts know a host by: one that v0.1.0 runs, and one that the build under
 * test runs. A name may be added; none may change. Each of the two also has to understand the other's.
 */
import type { CommandResult } from '../support/lab/command';
import { AGENT } from '../support/lab/agent';
import type { Host } from '../support/lab/host';
import { fieldsOf, namesOf, type HostNames } from '../support/lab/host-names';
import { Lab, NETWORK_CONFIG } from '../support/lab/lab';
import { builtRevision, RELEASE } from '../support/lab/revision';
import { until } from '../support/lab/until';

const COMMON: HostNames = {
  devices: ['flannel.1'],
  'routing protocols': ['84'],
  files: ['/run/vtepd/NAMESPACE-PID.sock', '/run/vtepd/NAMESPACE-flannel.1.lock', 'state.json', 'subnet.env'],
  'subnet.env': ['FLANNEL_IPMASQ', 'FLANNEL_MTU', 'FLANNEL_NETWORK', 'FLANNEL_SUBNET'],
  etcd: ['/coreos.com/network/config', '/coreos.com/network/subnets/SUBNET'],
  'a lease': ['BackendData.VNI', 'BackendData.VtepMAC', 'BackendType', 'PublicIP', 'PublicIPv6'],
};
const GUARD = [
  'inet vtepd-admission-flannel.1',
  'inet vtepd-admission-flannel.1 guard',
  'inet vtepd-admission-flannel.1 input',
];

/** The names on the host, by what writes the rules. */
const NAMES: readonly [tool: string, enableNfTables: boolean, names: HostNames][] = [
  [
    'nftables',
    true,
    {
      ...COMMON,
      'nftables, tables and chains': [...GUARD, 'ip vtepd-flannel.1', 'ip vtepd-flannel.1 postrouting'],
      // Docker's chains are iptables', and what answers them is, too.
      'iptables, chains': ['VTEPD-FWD-flannel.1', 'VTEPD-RAW-flannel.1'],
      'iptables, comments': ['vtepd flannel.1'],
    },
  ],
  [
    'iptables',
    false,
    {
      ...COMMON,
      'nftables, tables and chains': GUARD,
      'iptables, chains': ['VTEPD-FWD-flannel.1', 'VTEPD-MASQ-flannel.1', 'VTEPD-RAW-flannel.1'],
      'iptables, comments': ['vtepd flannel.1'],
    },
  ],
];

/** What is new since v0.1.0, in whichever way rules are written: added to the names there were. */
const ADDED: HostNames = {
  'nftables, tables and chains': ['inet vtepd-admission-flannel.1 forward'],
};

/** With everything that leaves a mark. */
const OPTIONS = ['--ip-masq', '--vxlan-admission=on', '--ip-blackhole-route'];

let released: string;

beforeAll(async () => {
  released = await builtRevision(RELEASE);
});

describe.each(NAMES)('where %s writes the rules,', (_, EnableNFTables, names) => {
  let lab: Lab;
  /** One under v0.1.0, one under this build. */
  let before: Host;
  let now: Host;

  beforeAll(async () => {
    lab = await Lab.start({
      hosts: 2,
      agentOptions: OPTIONS,
      config: { ...NETWORK_CONFIG, EnableNFTables },
    });
    [before, now] = [lab.host(1), lab.host(2)];
    before.agent.program = released;
    for (const host of lab.hosts) {
      await host.namespace.run('iptables', ['-P', 'FORWARD', 'DROP']);
      await lab.startAgents([host]);
      // As Docker 28 does for each container.
      const drop = ['-d', host.containerAddress, '!', '-i', 'docker0', '-j', 'DROP'];
      await host.namespace.run('iptables', ['-t', 'raw', '-A', 'PREROUTING', ...drop]);
    }
  });

  afterAll(() => lab?.end());

  test('the names on the host are those of v0.1.0, and what is known to be new', async () => {
    for (const [host, expected] of [
      [before, names],
      [now, withAdded(names)],
    ] as const) {
      let found: HostNames = {};
      await until('all of it is there', async () => {
        found = await namesOf(lab, host);
        return JSON.stringify(found['iptables, chains']) === JSON.stringify(expected['iptables, chains']);
      }).catch(() => undefined);
      expect({ host: host.name, ...found }).toEqual({ host: host.name, ...expected });
    }
  });

  test('each build asks the agent of the other how it is, and finds every field and check of v0.1.0', async () => {
    const answers = {
      'v0.1.0 of v0.1.0': await commandOf(released, before, 'status', '--json', '--peers'),
      'this build of v0.1.0': await commandOf(AGENT, before, 'status', '--json', '--peers'),
      'v0.1.0 of this build': await commandOf(released, now, 'status', '--json', '--peers'),
      'this build of this build': await commandOf(AGENT, now, 'status', '--json', '--peers'),
    };
    const fields = Object.fromEntries(
      Object.entries(answers).map(([who, { stdout }]) => [who, fieldsOf(JSON.parse(stdout))]),
    );
    const known = fields['v0.1.0 of v0.1.0']!;
    expect(known).toEqual(expect.arrayContaining(['lease.subnet', 'peers.list[].vtepMac', 'checks[etcd]']));
    for (const [who, found] of Object.entries(fields))
      expect({ who, lacks: known.filter((field) => !found.includes(field)) }).toEqual({ who, lacks: [] });
    for (const answer of Object.values(answers)) expect(answer).toMatchObject({ status: 0, stderr: '' });
  });

  test('for a person, too, each build can say how the agent of the other is', async () => {
    for (const [program, host] of [
      [AGENT, before],
      [released, now],
    ] as const) {
      const { status, stdout } = await commandOf(program, host, 'status', '--peers');
      expect({ status, stdout }).toMatchObject({
        status: 0,
        stdout: expect.stringContaining(': ready\n') as string,
      });
      expect(stdout).not.toMatch(/undefined|NaN|\[object/);
    }
  });

  test.each([
    ['cleanup', 'stop the agent first; nothing was changed'],
    ['run', 'another vtepd (process PID) runs for flannel.1 already'],
  ])('beside the agent of the other, %s is refused by each', async (command, reason) => {
    for (const [program, host] of [
      [AGENT, before],
      [released, now],
    ] as const) {
      const pid = String(host.agent.pid);
      const { status, stderr } = await commandOf(program, host, command);
      expect(stderr.replaceAll(pid, 'PID')).toContain(reason);
      expect(status).toBe(1);
      expect(host.agent.pid).toBe(Number(pid));
    }
  });

  test.each([
    ['success', 0, ['--version']],
    ['a word that is no command', 2, ['nonsense']],
    ['an option with a wrong value', 2, ['run', '--healthz-port=many']],
    ['an option that is not there', 2, ['run', '--nonsense']],
  ])('both builds have the same exit code for %s: %i', async (_name, code, words) => {
    expect((await commandOf(released, before, ...words)).status).toBe(code);
    expect((await commandOf(AGENT, before, ...words)).status).toBe(code);
  });

  test('both builds have the same exit code where no agent runs: 1', async () => {
    await before.agent.end();
    for (const program of [released, AGENT])
      expect(await commandOf(program, before, 'status')).toMatchObject({
        status: 1,
        stderr: 'vtepd: no vtepd runs in this network namespace\n',
      });
  });
});

function withAdded(names: HostNames): HostNames {
  const all = { ...names };
  for (const [kind, added] of Object.entries(ADDED)) all[kind] = [...(names[kind] ?? []), ...added].sort();
  return all;
}

/** Runs a command of that build on a host, whichever runs there as its agent. */
async function commandOf(program: string, host: Host, ...words: string[]): Promise<CommandResult> {
  const { agent } = host;
  const own = agent.program;
  agent.program = program;
  try {
    return await agent.command(...words);
  } finally {
    agent.program = own;
  }
}

/** Two overlays on one host, as flannel's "multiple networks": each agent with a prefix, a VNI, a port, a network and files of its own. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Agent } from '../support/lab/agent';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { compared, netlinkWrites, traced } from '../support/lab/netlink-writes';
import { allReachAll } from '../support/lab/ping';
import { bothWays, withoutLoss, type Station } from '../support/lab/stream';
import { until } from '../support/lab/until';

const PREFIX = '/second/network';
const WORDS = [`--etcd-prefix=${PREFIX}`];
const CONFIG = { Network: '10.6.0.0/16', Backend: { Type: 'vxlan', VNI: 2, Port: 8473 } };

let lab: Lab;
let hosts: Host[];
/** The agents of the second overlay, host by host. */
let second: Agent[];
const traces: string[] = [];

beforeEach(async () => {
  lab = await Lab.start({ hosts: 2, agentOptions: ['--ip-masq', '--vxlan-admission=on'] });
  hosts = [...lab.hosts];
  await lab.etcd.put(`${PREFIX}/config`, JSON.stringify(CONFIG));
  second = hosts.map((host) => {
    const directory = join(lab.directory, `second${host.index}`);
    mkdirSync(directory);
    return host.agent.copy(directory);
  });
  traces.length = 0;
  for (const [n, host] of hosts.entries())
    for (const [m, agent] of [host.agent, second[n]!].entries()) {
      const trace = join(lab.directory, `trace-${n}-${m}`);
      traces.push(trace);
      agent.start({ args: m === 1 ? WORDS : [], under: traced(trace) });
    }
  for (const agent of [...hosts.map((host) => host.agent), ...second]) await agent.ready();
  for (const host of hosts) await host.attachContainer();
  for (const [n, host] of hosts.entries())
    await host.namespace.batch([
      'link add br2 type bridge',
      `address add ${gatewayOf(second[n]!)}/24 dev br2`,
      'link set br2 up',
    ]);
});

afterEach(() => lab?.end());

/** The first address of the bridge of the second overlay. */
function gatewayOf({ subnetFile }: Agent): string {
  return /^FLANNEL_SUBNET=(.*)\/24$/m.exec(readFileSync(subnetFile, 'utf8'))![1]!;
}

function stationOf(n: number): Station {
  const { namespace, name } = hosts[n]!;
  return { container: namespace, containerAddress: gatewayOf(second[n]!), name: `second overlay of ${name}` };
}

/** What the second overlay has on the first host: entries of its device, routes and rules. */
async function secondOverlay(): Promise<unknown> {
  const { namespace } = hosts[0]!;
  return {
    device: await hosts[0]!.vtepMac('flannel.2'),
    routes: (await hosts[0]!.routes()).filter(({ dst }) => dst.startsWith('10.6.')),
    fdb: await hosts[0]!.fdb('flannel.2'),
    tables: (await namespace.run('nft', ['list', 'tables']))
      .split('\n')
      .filter((line) => line.includes('flannel.2')),
    rules: (await namespace.run('iptables-save', []))
      .split('\n')
      .filter((line) => line.includes('flannel.2')),
  };
}

test('neither writes what the other has: after the start, and after one of them was tampered with', async () => {
  await allReachAll(hosts);
  const { namespace, agent } = hosts[0]!;
  const before = await secondOverlay();
  // Which subnets the hosts got is chance.
  const taken = hosts.map(({ subnet }) => subnet);
  const absent = ['10.5.251.0/24', '10.5.252.0/24', '10.5.253.0/24'].find((each) => !taken.includes(each))!;
  await withoutLoss(bothWays(stationOf(0), stationOf(1)), async (traffic) => {
    await namespace.ip('route', 'flush', 'proto', '84', 'dev', 'flannel.1');
    await until('the routes of the first overlay are back', async () =>
      (await hosts[0]!.routes()).some(
        ({ dst, gateway }) => dst === hosts[1]!.subnet && gateway !== undefined,
      ),
    );
    await traffic.sends();
    // An answer "nobody has it" is a route that hangs on no link.
    await namespace.ip('route', 'add', 'unreachable', absent, 'proto', '84', 'metric', '4294967295');
    await compared(agent.pid!, traces[0]!);
    await compared(second[0]!.pid!, traces[1]!);
    await traffic.sends();
  });
  expect((await hosts[0]!.routes()).filter(({ dst }) => dst === absent)).toEqual([]);
  expect(await secondOverlay()).toEqual(before);
  const writes = traces.slice(0, 2).map((trace) => netlinkWrites(trace).length);
  await compared(agent.pid!, traces[0]!);
  await compared(second[0]!.pid!, traces[1]!);
  expect(traces.slice(0, 2).map((trace) => netlinkWrites(trace).length)).toEqual(writes);
  await allReachAll(hosts);
});

test.each(['leave', 'cleanup'])(
  '%s of one is refused while it runs, and then leaves the other as it is',
  async (command) => {
    const { agent } = hosts[0]!;
    const before = await secondOverlay();
    expect(await agent.command(command)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('runs for flannel.1 already') as string,
    });
    await withoutLoss(bothWays(stationOf(0), stationOf(1)), async (traffic) => {
      await agent.end();
      expect(await agent.command(command)).toMatchObject({
        status: 0,
        stdout: expect.stringContaining("flannel.2 is another overlay's, and stays") as string,
      });
      await traffic.sends();
    });
    expect(await secondOverlay()).toEqual(before);
    expect(await hosts[0]!.vtepMac('flannel.1')).toBeUndefined();
    const rules = await hosts[0]!.namespace.run('iptables-save', []);
    expect(rules).not.toContain('flannel.1');
    expect((await hosts[0]!.routes()).filter(({ dst }) => dst === '10.5.0.0/16')).toEqual([]);
    // Also while its own agent does not run.
    await second[0]!.end();
    expect(await agent.command(command)).toMatchObject({ status: 0 });
    expect(await secondOverlay()).toEqual(before);
    expect(existsSync(second[0]!.subnetFile)).toBe(true);
  },
);

test('where nothing tells which of two is meant, neither is touched', async () => {
  const { agent } = hosts[0]!;
  await agent.end();
  await second[0]!.end();
  const before = await secondOverlay();
  const words = ['cleanup', '--subnet-file=', '--state-file='];
  const { status, stderr } = await hosts[0]!.agent.copy('/nowhere').command(...words);
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: expect.stringMatching(/several overlays on this host \(flannel\.1, flannel\.2\)/) as string,
  });
  expect(await secondOverlay()).toEqual(before);
});

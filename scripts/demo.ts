/** The demo: `demo.ts run HOSTS RESOLVE KEEP`, `demo.ts end`. Its options are scripts/demo's, and checked there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Capture } from '../test/support/lab/capture';
import type { Host } from '../test/support/lab/host';
import { Lab, NETWORK_CONFIG, PREFIX } from '../test/support/lab/lab';
import { keptLabs, removeLab } from '../test/support/lab/lifetime';
import { ping, unanswered, type RoundTrip } from '../test/support/lab/ping';
import { until } from '../test/support/lab/until';
import { bold, faint, heading, milliseconds, print, quote, table } from './print';

/** Beyond this many hosts tables show some of them only. */
const SHOWN_HOSTS = 12;

async function main([verb, ...words]: string[]): Promise<void> {
  if (verb === 'end') return end();
  const [hosts, resolve, keep] = words as [string, string, string];
  await demo(Number(hosts), resolve, keep !== '');
}

function end(): void {
  const labs = keptLabs();
  for (const id of labs) removeLab(id);
  print(
    labs.length === 0
      ? 'Nothing was left running.'
      : `Ended ${labs.length === 1 ? 'it' : `${labs.length} demos`}.`,
  );
}

async function demo(hostCount: number, resolve: string, keep: boolean): Promise<void> {
  print(
    bold(
      `An overlay of ${hostCount} hosts, peers resolved ${resolve === 'preload' ? 'ahead (preload)' : 'on demand'}`,
    ),
  );
  const made: { lab?: Lab } = {};
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      print(`\n${signal}: cleaning up`);
      // A lab that is only half made goes with this process.
      made.lab?.end();
      process.exit(signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 129);
    });
  }
  const lab = await Lab.start({ hosts: hostCount, agentOptions: [`--resolve=${resolve}`] });
  made.lab = lab;
  let isGood = false;
  try {
    await startAgents(lab);
    const isAnswered = await showFirstPacket(lab, resolve);
    const areAllAnswered = await showAllPairs(lab.hosts);
    if (resolve === 'preload') await showRepair(lab);
    isGood = isAnswered && areAllAnswered;
  } finally {
    if (keep && isGood) leaveRunning(lab);
    else lab.end();
  }
  if (!isGood) process.exitCode = 1;
  else if (!keep)
    print(
      `\nEverything is cleaned up. ${faint('Stay longer with --keep; see the other way with --resolve; more with --hosts.')}`,
    );
}

async function startAgents(lab: Lab): Promise<void> {
  const [first] = lab.hosts as [Host, ...Host[]];
  heading('The network');
  print(`  etcd at ${lab.etcd.endpoints} holds ${PREFIX}/config: ${JSON.stringify(NETWORK_CONFIG)}`);
  print(`  ${lab.hosts.length} hosts on one switch; on each:`);
  print(`  ${faint('$')} vtepd --etcd-endpoints=${lab.etcd.endpoints} --iface=eth0`);
  const start = performance.now();
  await lab.startAgents(lab.hosts, 60_000);
  const took = performance.now() - start;

  heading(
    `Who got which subnet ${faint(`(all ${lab.hosts.length} agents ready ${milliseconds(took)} after their start)`)}`,
  );
  const rows = lab.hosts.slice(0, SHOWN_HOSTS).map(async (host) => {
    const { FLANNEL_MTU: mtu } = host.environment;
    return [
      host.name,
      host.publicIp,
      host.subnet,
      host.containerAddress,
      (await host.vtepMac()) ?? '-',
      mtu ?? '-',
    ];
  });
  table(['', 'underlay', 'subnet', 'container', 'VTEP MAC', 'MTU'], await Promise.all(rows));
  if (lab.hosts.length > SHOWN_HOSTS) print(faint(`  … and ${lab.hosts.length - SHOWN_HOSTS} more`));
  print();
  quote(
    `cat ${first.agent.subnetFile}`,
    Object.entries(first.environment)
      .map((pair) => pair.join('='))
      .join('\n'),
  );
}

/** True if the packet was answered. */
async function showFirstPacket(lab: Lab, resolve: string): Promise<boolean> {
  const [from, to] = lab.hosts as [Host, Host];
  // In preload mode a host that was ready early still learns of those that came after it.
  if (resolve === 'preload')
    await until('host 1 knows all', async () => (await from.fdb()).length >= lab.hosts.length - 1, {
      withinMilliseconds: 10_000,
    });
  heading(
    `Host 1 before the first packet ${faint(resolve === 'preload' ? '(all peers are there)' : '(it knows its peers, its kernel does not)')}`,
  );
  await showKernel(from);

  const capture = await Capture.start(from.namespace, 'eth0', 'udp port 8472', `${lab.directory}/first.pcap`);
  const [trip] = (await ping(from.container, [to.containerAddress])).values();
  heading('The first packet: container 1 pings container 2');
  print(`  round trip ${trip === undefined ? 'NEVER: no answer came' : bold(milliseconds(trip))}`);
  for (const host of [from, to]) showMisses(host);
  if (resolve === 'preload')
    print('  no miss: with every peer in the kernel beforehand it had nothing to ask');
  const [second] = (await ping(from.container, [to.containerAddress])).values();
  if (second !== undefined) print(`  the second round trip: ${milliseconds(second)}`);

  heading('Host 1 after it');
  await showKernel(from);

  heading('The same packet on the wire (tcpdump -T vxlan on eth0 of host 1)');
  const packets = await capture.take(2);
  for (const packet of packets.slice(0, 2)) {
    const [outer, inner] = packet.split('\n');
    print(`  ${outer!.replace(/^[\d.]+ /, '').replace(/vni \d+/, (vni) => bold(vni))}`);
    print(`    ${(inner ?? '').trim()}`);
  }
  return trip !== undefined;
}

async function showKernel({ namespace }: Host): Promise<void> {
  quote('ip neigh show dev flannel.1', await namespace.ip('neigh', 'show', 'dev', 'flannel.1'), 6);
  quote(
    'bridge fdb show dev flannel.1',
    await namespace.run('bridge', ['fdb', 'show', 'dev', 'flannel.1']),
    6,
  );
  quote('ip route show dev flannel.1', await namespace.ip('route', 'show', 'dev', 'flannel.1'), 6);
}

/** What the agent's log says about questions of the kernel. */
function showMisses(host: Host): void {
  for (const line of host.agent.log()) {
    if (line.message !== 'miss answered' && line.message !== 'miss answered by etcd') continue;
    const { layer, address, vtepMac, subnet, publicIp, microseconds } = line as Record<
      string,
      string | undefined
    >;
    const question = layer === 'l3' ? `who has ${address}?` : `where is ${vtepMac}?`;
    const answer = `${subnet} is at ${publicIp}`;
    const how = microseconds === undefined ? 'after a look into etcd' : `in ${bold(`${microseconds} µs`)}`;
    print(`  the kernel of ${host.name} asked "${question}"; vtepd answered "${answer}" ${how}`);
  }
}

async function showAllPairs(hosts: readonly Host[]): Promise<boolean> {
  const trips: RoundTrip[] = [];
  for (const from of hosts) {
    for (const to of hosts.length <= SHOWN_HOSTS ? hosts : []) {
      if (to === from) continue;
      // One at a time: pings that wait for each other's processor time say nothing about the network.
      const answers = await ping(from.container, [to.containerAddress]);
      trips.push({ from, to, milliseconds: answers.get(to.containerAddress) });
    }
    if (hosts.length <= SHOWN_HOSTS) continue;
    const others = hosts.filter((to) => to !== from);
    const answers = await ping(
      from.container,
      others.map((to) => to.containerAddress),
      2000,
    );
    for (const to of others) trips.push({ from, to, milliseconds: answers.get(to.containerAddress) });
  }
  heading(
    `Round trips between all ${trips.length} pairs of containers ${faint('(in ms, first contact included)')}`,
  );
  const shown = hosts.slice(0, SHOWN_HOSTS);
  const cell = (from: Host, to: Host) => {
    if (from === to) return '·';
    return trips.find((trip) => trip.from === from && trip.to === to)?.milliseconds?.toFixed(2) ?? 'LOST';
  };
  table(
    ['from \\ to', ...shown.map(({ index }) => String(index))],
    shown.map((from) => [from.name, ...shown.map((to) => cell(from, to))]),
  );
  const lost = unanswered(trips);
  print(
    lost.length === 0
      ? `  all ${trips.length} answered`
      : `  ${bold(`${lost.length} of ${trips.length} NOT answered`)}: ${lost.slice(0, 10).join(', ')}`,
  );
  return lost.length === 0;
}

/** Takes an entry away behind the agent's back, under traffic, and shows how it comes back. */
async function showRepair(lab: Lab): Promise<void> {
  const [from, to] = lab.hosts as [Host, Host];
  const mac = (await to.vtepMac())!;
  heading(
    'Damage: somebody deletes the FDB entry of host 2 from the kernel of host 1, while 500 pings a second go there',
  );
  print(`  ${faint('$')} bridge fdb del ${mac} dev flannel.1 dst ${to.publicIp} self`);
  const traffic = from.container.attempt('ping', [
    '-n',
    '-q',
    '-i',
    '0.002',
    '-c',
    '500',
    to.containerAddress,
  ]);
  await sleep(300);
  const seen = from.agent.log().length;
  const start = performance.now();
  await from.namespace.run('bridge', ['fdb', 'del', mac, 'dev', 'flannel.1', 'dst', to.publicIp, 'self']);
  await until('the entry is back', async () => (await from.fdb()).some((row) => row.mac === mac), {
    withinMilliseconds: 10_000,
    everyMilliseconds: 1,
  });
  print(`  it was back within ${milliseconds(performance.now() - start)}; what the agent's log says:`);
  const { stdout } = await traffic;
  for (const { message, ...fields } of from.agent.log().slice(seen)) {
    const facts = Object.entries(fields).filter(([name]) => name !== 'level' && name !== 'time');
    print(
      `    ${message} ${faint(facts.map(([name, fact]) => `${name}=${JSON.stringify(fact)}`).join(' '))}`,
    );
  }
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? [];
  print(`  of ${sent} pings ${Number(sent) - Number(received)} got lost meanwhile`);
}

function leaveRunning(lab: Lab): void {
  lab.keep();
  const [first, second] = lab.hosts as [Host, Host];
  const [member] = lab.etcd.members;
  heading('It is still running. Look around:');
  const ways = [
    [
      'a ping from container 1 to container 2',
      `ip netns exec ${first.container.name} ping ${second.containerAddress}`,
    ],
    ['the kernel of host 1: neighbors, FDB, and its questions as they come', ''],
    ['', `ip -n ${first.namespace.name} neigh show dev flannel.1`],
    ['', `bridge -n ${first.namespace.name} fdb show dev flannel.1`],
    ['', `ip -n ${first.namespace.name} monitor neigh`],
    ['the log of its agent, and a shell there', `tail -f ${first.agent.logFile}`],
    ['', `nsenter --net=${first.namespace.path} bash`],
    [
      'the leases',
      `ip netns exec ${member!.namespace.name} etcdctl --endpoints=${lab.etcd.endpoints} get --prefix ${PREFIX}`,
    ],
    ['the end', 'scripts/demo --end'],
  ] as const;
  for (const [what, command] of ways) {
    if (what) print(`  ${what}:`);
    if (command) print(`    ${faint('$')} ${command}`);
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  print(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
});

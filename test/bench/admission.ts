/** What it costs that only peers may send to the VXLAN port, and whether who joins is admitted in time. */
import { Lab } from '../support/lab/lab';
import type { Host } from '../support/lab/host';
import { ping } from '../support/lab/ping';
import type { Namespace } from '../support/lab/namespace';
import { exitOf } from '../support/lab/command';
import { until } from '../support/lab/until';
import { figure, type Figure } from './figures';

const TABLE = 'inet vtepd-admission-flannel.1';
/** So much of the throughput, at most. */
const REACH_PERCENT = 2;

/** One sample of what is better when it is more. */
interface Sample {
  readonly gigabits: number;
  readonly kilopackets: number;
  readonly roundTripsPerSecond: number;
}

/**
 * Each run measures without and with the guard, one right after the other, in either order by turns, so that what else
 * happens on the machine meets both. The agents are away meanwhile: the kernel does all of it.
 */
export async function benchAdmission(runs: number, joins: number): Promise<Figure[]> {
  const lab = await Lab.start({ hosts: 3, agentOptions: ['--vxlan-admission=on'] });
  try {
    const [host, peer, joiner] = lab.hosts as [Host, Host, Host];
    await lab.startAgents([host, peer]);
    const lost = await joinAgainAndAgain(joiner, host, joins);
    await Promise.all([host, peer].map(({ agent }) => agent.end()));
    const server = peer.container.start('iperf3', ['-s'], { stdio: 'ignore' });
    const pairs: { off: Sample; on: Sample }[] = [];
    for (let run = 0; run < runs; run++) {
      const samples: Partial<Record<'off' | 'on', Sample>> = {};
      for (const mode of run % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
        for (const { namespace } of [host, peer]) await setGuard(namespace, mode);
        samples[mode] = await measure(host.container, peer.containerAddress);
      }
      pairs.push(samples as { off: Sample; on: Sample });
    }
    server.kill('SIGKILL');
    await exitOf(server);
    const cost = (name: string, of: keyof Sample, reach?: number) =>
      figure(
        `admission: ${name}, less than without`,
        '%',
        pairs.map(({ off, on }) => (1 - on[of] / off[of]) * 100),
        reach === undefined ? {} : { reach },
      );
    return [
      cost('TCP throughput', 'gigabits', REACH_PERCENT),
      cost('UDP packets of 64 bytes', 'kilopackets'),
      cost('round trips per second', 'roundTripsPerSecond'),
      figure(
        'admission: TCP throughput without',
        'Gbit/s',
        pairs.map(({ off }) => off.gigabits),
      ),
      figure(
        'admission: UDP packets without',
        'kpps',
        pairs.map(({ off }) => off.kilopackets),
      ),
      figure(`first packets of ${joins} joining hosts: lost`, 'count', [lost], { reach: 0 }),
    ];
  } finally {
    lab.end();
  }
}

/** Whether the kernel enters the table's chains. */
function setGuard(namespace: Namespace, mode: 'off' | 'on'): Promise<string> {
  const flags = mode === 'off' ? '{ flags dormant; }' : '';
  return namespace.run('nft', ['-f', '-'], { input: `add table ${TABLE} ${flags}\n` });
}

async function measure(from: Namespace, to: string): Promise<Sample> {
  interface Report {
    readonly end: {
      readonly sum_received: { readonly bits_per_second: number };
      readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
    };
  }
  const iperf = async (...args: string[]) =>
    (JSON.parse(await from.run('iperf3', ['-J', '-c', to, '-t', '1', ...args])) as Report).end;
  const tcp = await iperf();
  const { packets, lost_packets: lost, seconds } = (await iperf('-u', '-b', '0', '-l', '64')).sum;
  const text = await from.run('ping', ['-q', '-f', '-c', '5000', to]);
  const average = Number(/= [\d.]+\/([\d.]+)\//.exec(text)![1]);
  return {
    gigabits: tcp.sum_received.bits_per_second / 1e9,
    kilopackets: (packets - lost) / seconds / 1000,
    roundTripsPerSecond: 1000 / average,
  };
}

/** How many of its first packets, sent the moment its subnet is announced, are not answered. */
async function joinAgainAndAgain(joiner: Host, host: Host, times: number): Promise<number> {
  let lost = 0;
  for (let time = 0; time < times; time++) {
    joiner.agent.start();
    await joiner.agent.ready();
    await joiner.attachContainer();
    if ((await ping(joiner.container, [host.containerAddress])).size === 0) lost++;
    await joiner.agent.end();
    await joiner.agent.command('leave');
    const { publicIp } = joiner;
    const isForgotten = async () => !(await host.fdb()).some(({ dst }) => dst === publicIp);
    await until('the host that left is forgotten', isForgotten);
  }
  return lost;
}

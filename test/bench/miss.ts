/** How fast a miss is answered in on-demand mode: alone, in a burst, and in a storm. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../support/lab/lab';
import { raiseNeighborLimits } from '../support/lab/neighbor-limits';
import { until } from '../support/lab/until';
import { calibrateWaking } from './calibration';
import { figure, type Figure } from './figures';
import { BENCH_CONFIG, leaseOfPeer, subnetOfPeer } from './leases';
import { NeighborTrace } from './neighbor-trace';
import { Helper } from './talk';
import { atExitOrBefore } from './undo';
import { memoryOf } from './usage';

/** Peers with leases; each is asked for once, for then it is programmed. */
const PEERS = 6_000;
/** After this an agent has done what it does once after its start. */
const SETTLED_MILLISECONDS = 10_000;
const STORM_NETWORK = '10.250';

export async function benchMiss(singles: number): Promise<Figure[]> {
  const restoreLimits = atExitOrBefore(raiseNeighborLimits());
  let trace: NeighborTrace | undefined;
  const lab = await Lab.start({
    hosts: 1,
    config: BENCH_CONFIG,
    agentOptions: ['--resolve=on-demand', '-v=0'],
  });
  try {
    const host = lab.host(1);
    await lab.etcd.putAll(Array.from({ length: PEERS }, (_, n) => leaseOfPeer(n)));
    const sender = await Helper.start(host.namespace, 'sender');
    trace = new NeighborTrace(sender.pid);
    const stormer = await Helper.start(host.namespace, 'sender');
    host.agent.start();
    await host.agent.ready();
    const addresses = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => `${subnetOfPeer(from + n)}.5`);

    const young = await ask(trace, sender, addresses(0, singles), 200);
    await sleep(SETTLED_MILLISECONDS);
    const waking = await calibrateWaking(host.namespace, singles, 200);
    const alone = await ask(trace, sender, addresses(singles, singles), 200);
    const burst = await ask(trace, sender, addresses(2 * singles, 2_000), 0);
    const absent = Array.from({ length: 65_536 }, (_, n) => `${STORM_NETWORK}.${n >> 8}.${n & 255}`);
    const storm = stormer.ask<{ milliseconds: number }>({ addresses: absent, perSecond: 0 });
    const amid = await ask(trace, sender, addresses(2 * singles + 2_000, 400), 200);
    const { milliseconds } = await storm;
    const peakMegabytes = memoryOf(host.agent.pid!, 'VmHWM');
    for (const helper of [sender, stormer]) helper.end();
    return [
      figure('miss to answer in the first seconds, one at a time', 'ms', young.delays),
      waking,
      figure('miss to answer, one at a time: median', 'ms', alone.delays, {
        reach: 0.3,
        remark: 'flannel 0.5.5: 0.48',
      }),
      figure('miss to answer, one at a time: p99', 'ms', alone.delays, { reach: 2, judged: 'p99' }),
      figure('burst of 2000 packets to 2000 peers: unanswered', 'count', [burst.unanswered], {
        reach: 0,
        judged: 'max',
      }),
      figure('burst of 2000 packets to 2000 peers: miss to answer', 'ms', burst.delays),
      figure('miss to answer in a storm over a /16', 'ms', amid.delays, {
        reach: 5,
        judged: 'p99',
        remark: `65536 absent addresses in ${Math.round(milliseconds)} ms; ${amid.unanswered} unanswered`,
      }),
      figure('peak memory after the storm', 'MB', [peakMegabytes]),
    ];
  } finally {
    trace?.end();
    lab.end();
    restoreLimits();
  }
}

/** Sends one packet to each address; for each, the milliseconds from its miss to the answer. */
async function ask(trace: NeighborTrace, sender: Helper, addresses: readonly string[], perSecond: number) {
  trace.forget();
  await sender.ask({ addresses, perSecond });
  const answers = () => {
    const all = trace.delays();
    return addresses.flatMap((address) => all.get(address) ?? []);
  };
  await until('every miss is answered', () => answers().length === addresses.length, {
    withinMilliseconds: 4_000,
    everyMilliseconds: 200,
  }).catch(() => undefined);
  const delays = answers();
  return { delays, unanswered: addresses.length - delays.length };
}

/** What an agent costs while nothing happens. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';
import { figure, type Figure } from './figures';
import { BENCH_CONFIG, leasesOfPeers } from './leases';
import { cpuOf, memoryOf } from './usage';

const PEERS = 5_000;
/** After this an agent has done what it does once after its start. */
const SETTLED_MILLISECONDS = 10_000;

/** One window of so many seconds, in which no lease changes and nothing is asked. */
export async function benchIdle(seconds: number): Promise<Figure[]> {
  const lab = await Lab.start({ hosts: 1, config: BENCH_CONFIG });
  try {
    const host = lab.host(1);
    await lab.etcd.putAll(leasesOfPeers(0, PEERS));
    host.agent.start();
    await host.agent.ready();
    await until('every peer has its route', async () => (await host.routes()).length > PEERS, {
      everyMilliseconds: 500,
    });
    await sleep(SETTLED_MILLISECONDS);
    const pid = host.agent.pid!;
    const [before, began] = [cpuOf(pid), performance.now()];
    await sleep(seconds * 1000);
    const used = cpuOf(pid) - before;
    const elapsedSeconds = (performance.now() - began) / 1000;
    return [
      figure(`idle with ${PEERS} peers: CPU`, 'ms/s', [used / elapsedSeconds]),
      figure(`idle with ${PEERS} peers: resident memory`, 'MB', [memoryOf(pid, 'VmRSS')]),
    ];
  } finally {
    lab.end();
  }
}

/** What an agent costs while nothing happens. */
import { setTimeout as sleep } from 'node:timers/promises';
import { figure, type Figure } from './figures';
import { PEERS, withSettledHost } from './settled';
import { cpuOf, memoryOf } from './usage';

/** One window of so many seconds, in which no lease changes and nothing is asked. */
export function benchIdle(seconds: number): Promise<Figure[]> {
  return withSettledHost(async ({ agent }) => {
    const pid = agent.pid!;
    const [before, began] = [cpuOf(pid), performance.now()];
    await sleep(seconds * 1000);
    const used = cpuOf(pid) - before;
    const elapsedSeconds = (performance.now() - began) / 1000;
    return [
      figure(`idle with ${PEERS} peers: CPU`, 'ms/s', [used / elapsedSeconds]),
      figure(`idle with ${PEERS} peers: resident memory`, 'MB', [memoryOf(pid, 'VmRSS')]),
    ];
  });
}

/** What an agent costs while another program changes its own routes a thousand times a second. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../support/lab/host';
import { figure, type Figure } from './figures';
import { PEERS, withSettledHost } from './settled';
import { cpuOf } from './usage';

const PER_SECOND = 1_000;
const STEP_MILLISECONDS = 20;

/** For so many seconds routes outside of the network, and then one inside of it that covers no peer's subnet. */
export function benchForeign(seconds: number): Promise<Figure[]> {
  return withSettledHost(async (host) => {
    const figures: Figure[] = [];
    for (const [where, prefix] of [
      ['outside of the network', '203.0.113.0/24'],
      ['inside the network', '10.254.254.0/24'],
    ] as const) {
      const { used, changes, elapsedSeconds } = await change(host, prefix, seconds);
      figures.push(
        figure(`foreign routes ${where}: CPU`, 'ms/s', [used / elapsedSeconds], {
          reach: 10,
          remark: `${Math.round(changes / elapsedSeconds)} changes a second, ${PEERS} peers`,
        }),
      );
    }
    return figures;
  });
}

async function change(host: Host, prefix: string, seconds: number) {
  const ip = host.namespace.start('ip', ['-force', '-batch', '-'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const pid = host.agent.pid!;
  const [before, began] = [cpuOf(pid), performance.now()];
  const elapsed = () => (performance.now() - began) / 1000;
  let changes = 0;
  while (elapsed() < seconds) {
    const due = Math.floor(elapsed() * PER_SECOND);
    let lines = '';
    for (; changes < due; changes += 2)
      lines += `route add ${prefix} dev eth0 metric 77\nroute del ${prefix} dev eth0 metric 77\n`;
    ip.stdin!.write(lines);
    await sleep(STEP_MILLISECONDS);
  }
  const [used, elapsedSeconds] = [cpuOf(pid) - before, elapsed()];
  ip.stdin!.end();
  await new Promise((resolve) => ip.once('exit', resolve));
  return { used, changes, elapsedSeconds };
}

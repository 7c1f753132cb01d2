/** A host with thousands of peers, whose agent has done what it does once after its start. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';
import { BENCH_CONFIG, leasesOfPeers } from './leases';

export const PEERS = 5_000;
/**
 * After this an agent has done what it does once after its start: it wrote its state file, V8 gave memory back, and the kernel was
 * asked about all peers (after half a minute).
 */
const SETTLED_MILLISECONDS = 40_000;

export async function withSettledHost<T>(measure: (host: Host) => Promise<T>): Promise<T> {
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
    return await measure(host);
  } finally {
    lab.end();
  }
}

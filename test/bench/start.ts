/** How long an agent takes from its start, on stores of different sizes, and what it costs. */
import { existsSync, rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';
import { figure, type Figure } from './figures';
import { BENCH_CONFIG, leasesOfPeers } from './leases';
import { Helper, type ProbeReport } from './talk';
import { cpuOf, memoryOf } from './usage';

/** Flannel 0.22 on such a machine: to subnet.env, to the last entry (seconds as milliseconds). */
const FLANNEL = new Map([
  [1, [80, 100]],
  [1000, [620, 1400]],
  [4000, [2300, 5400]],
]);

interface Start {
  readonly subnetFile: number;
  readonly lastEntry: number;
  readonly cpu: number;
  readonly peakMegabytes: number;
}

/** Starts an agent on a fresh host so many times, with a store of `leases` other leases. */
export async function benchStart(leases: number, runs: number): Promise<Figure[]> {
  const lab = await Lab.start({ hosts: 1, config: BENCH_CONFIG });
  try {
    await lab.etcd.putAll(leasesOfPeers(0, leases));
    const probe = await Helper.start(lab.host(1).namespace, 'probe');
    const starts: Start[] = [];
    for (let run = 0; run <= runs; run++) {
      const start = await startOnce(lab, probe, leases);
      // The first warms up the machine's file cache.
      if (run > 0) starts.push(start);
    }
    probe.end();
    const [subnetFile, lastEntry] = FLANNEL.get(leases) ?? [];
    const name = `start with ${leases} ${leases === 1 ? 'lease' : 'leases'}`;
    const reachOf = (flannel: number | undefined) =>
      flannel === undefined ? {} : { reach: leases === 1 ? 450 : flannel / 2, remark: `flannel ${flannel}` };
    return [
      figure(
        `${name}: to subnet.env`,
        'ms',
        starts.map((start) => start.subnetFile),
        reachOf(subnetFile),
      ),
      figure(
        `${name}: to the last entry`,
        'ms',
        starts.map((start) => start.lastEntry),
        reachOf(lastEntry),
      ),
      figure(
        `${name}: CPU`,
        'ms',
        starts.map((start) => start.cpu),
      ),
      figure(
        `${name}: peak memory`,
        'MB',
        starts.map((start) => start.peakMegabytes),
        leases === 4000 ? { reach: 80 } : {},
      ),
    ];
  } finally {
    lab.end();
  }
}

async function startOnce(lab: Lab, probe: Helper, leases: number): Promise<Start> {
  const host = lab.host(1);
  await probe.ask<ProbeReport>('forget');
  const began = Number(process.hrtime.bigint());
  host.agent.start();
  const { pid } = host.agent;
  await until('subnet.env is written', () => existsSync(host.agent.subnetFile), {
    withinMilliseconds: 60_000,
    everyMilliseconds: 1,
  });
  const seen = Number(process.hrtime.bigint());
  await until('every peer has its route', async () => (await host.routes()).length > leases, {
    withinMilliseconds: 60_000,
    everyMilliseconds: 100,
  });
  // The file's own time of change is of the wall clock: what was seen is corrected by how long ago that was.
  const age =
    Date.now() - statSync(host.agent.subnetFile).mtimeMs - (Number(process.hrtime.bigint()) - seen) / 1e6;
  await sleep(300);
  const { events, overruns } = await probe.ask<ProbeReport>('report');
  if (overruns > 0) throw new Error('the probe lost notifications');
  const entries = events.filter(([, kind]) => kind === 'route' || kind === 'neighbor' || kind === 'fdb');
  const usage = { cpu: cpuOf(pid!), peakMegabytes: memoryOf(pid!, 'VmHWM') };
  await host.agent.end();
  await host.agent.command('leave');
  rmSync(host.agent.subnetFile, { force: true });
  return {
    subnetFile: (seen - began) / 1e6 - Math.max(0, age),
    lastEntry: (entries.at(-1)![0] - began) / 1e6,
    ...usage,
  };
}

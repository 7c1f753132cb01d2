/** How long a new lease takes from etcd into the kernel. */
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';
import { figure, type Figure } from './figures';
import { BENCH_CONFIG, leaseOfPeer, leasesOfPeers, macOfPeer, subnetOfPeer } from './leases';
import { Helper, type KernelEvent, type ProbeReport } from './talk';

export async function benchJoin(leases: number, singles: number, bursts: number): Promise<Figure[]> {
  const lab = await Lab.start({ hosts: 1, config: BENCH_CONFIG });
  try {
    await lab.etcd.putAll(leasesOfPeers(0, leases));
    const host = lab.host(1);
    const probe = await Helper.start(host.namespace, 'probe');
    const writer = await Helper.start(lab.etcd.members[0]!.namespace, 'writer', lab.etcd.endpoints);
    host.agent.start();
    await host.agent.ready();
    const single: number[] = [];
    for (let n = 0; n < singles; n++) single.push(await join(probe, writer, leases + n, 1));
    const burst: number[] = [];
    for (let n = 0; n < bursts; n++) burst.push(await join(probe, writer, leases + singles + n * 1000, 1000));
    writer.end();
    probe.end();
    const name = `new lease in a store of ${leases}`;
    return [
      figure(`${name}: put to its three entries`, 'ms', single, { reach: 3, remark: 'flannel 2.5' }),
      ...(bursts > 0
        ? [
            figure(`1000 new leases at once: put to the last entry`, 'ms', burst, {
              reach: 300,
              judged: 'max',
              remark: 'flannel 740–830, none missing',
            }),
          ]
        : []),
    ];
  } finally {
    lab.end();
  }
}

/** Puts so many leases at once; milliseconds from the first put until all entries of all of them are in the kernel. */
async function join(probe: Helper, writer: Helper, from: number, count: number): Promise<number> {
  await probe.ask<ProbeReport>('forget');
  const puts = Array.from({ length: count }, (_, index) => leaseOfPeer(from + index));
  const wanted = new Set(
    Array.from({ length: count }, (_, index) => from + index).flatMap((n) => [
      `route ${subnetOfPeer(n)}.0`,
      `neighbor ${subnetOfPeer(n)}.0`,
      `fdb ${macOfPeer(n).replaceAll(':', '')}`,
    ]),
  );
  const { before } = await writer.ask<{ before: number }>(puts);
  let last = 0;
  await until(
    () => `all entries are there; ${wanted.size} are missing`,
    async () => {
      const { events, overruns } = await probe.ask<ProbeReport>('report');
      if (overruns > 0) throw new Error('the probe lost notifications');
      for (const [nanoseconds, kind, key] of events as KernelEvent[]) {
        if (wanted.delete(`${kind} ${key}`)) last = nanoseconds;
      }
      return wanted.size === 0;
    },
    { everyMilliseconds: 20 },
  );
  return (last - before) / 1e6;
}

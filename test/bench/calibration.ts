/** How fast this machine is now: what figures of different machines, or of a busy one, can be compared by. */
import { spawnSync } from 'node:child_process';
import type { Namespace } from '../support/lab/namespace';
import { figure, type Figure } from './figures';
import { Helper } from './talk';

/** Node itself, started to do nothing: the part of every start that is not ours. */
export function calibrate(runs: number): Figure[] {
  const script = 'process.stdout.write(JSON.stringify(process.cpuUsage()))';
  const times: number[] = [];
  const cpus: number[] = [];
  for (let run = 0; run <= runs; run++) {
    const began = performance.now();
    const { stdout } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    const milliseconds = performance.now() - began;
    const { user, system } = JSON.parse(stdout) as NodeJS.CpuUsage;
    // The first warms up the machine's file cache.
    if (run === 0) continue;
    times.push(milliseconds);
    cpus.push((user + system) / 1000);
  }
  return [
    figure('for measure, a Node that does nothing: time', 'ms', times, { aside: true }),
    figure('for measure, a Node that does nothing: CPU', 'ms', cpus, { aside: true }),
  ];
}

/** Two processes that do nothing but wake each other, now and then: what an answer takes at least, and how uneven this machine is. */
export async function calibrateWaking(
  namespace: Namespace,
  times: number,
  perSecond: number,
): Promise<Figure> {
  const echo = await Helper.start(namespace, 'echo');
  const asker = await Helper.start(namespace, 'echo');
  const { port } = await echo.ask<{ port: number }>({});
  const milliseconds = await asker.ask<number[]>({ port, times, perSecond });
  for (const helper of [echo, asker]) helper.end();
  return figure('for measure, a packet to an idle Node and back', 'ms', milliseconds, { aside: true });
}

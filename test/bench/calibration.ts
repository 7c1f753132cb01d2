/** How fast this machine is now: what figures of different machines, or of a busy one, can be compared by. */
import { spawnSync } from 'node:child_process';
import { figure, type Figure } from './figures';

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
    figure('for measure, a Node that does nothing: time', 'ms', times),
    figure('for measure, a Node that does nothing: CPU', 'ms', cpus),
  ];
}

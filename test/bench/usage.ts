/** What a process has used of the machine. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Milliseconds of processor time of all threads that it has, user and system. From schedstat, which counts nanoseconds; stat counts
 * hundredths of a second, and an agent that idles uses less than that.
 */
export function cpuOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return Number(nanoseconds);
  });
  return threads.reduce((sum, each) => sum + each, 0) / 1e6;
}

/** Its resident set in megabytes: now (`VmRSS`), or the largest that it ever was (`VmHWM`). */
export function memoryOf(pid: number, which: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${which}:\\s+(\\d+) kB`, 'm').exec(status)?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has ended`);
  return Number(kilobytes) / 1024;
}

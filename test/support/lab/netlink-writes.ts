/** Which changes of the kernel a program asked for: the messages it sent, whether they changed anything or not. */
import { existsSync, readFileSync } from 'node:fs';
import { until } from './until';

/** Runs a program so that {@link netlinkWrites} can tell what it asked the kernel for. */
export function traced(file: string): string[] {
  // Whole messages, or a long batch would hide what is at its end.
  return [
    'strace',
    // As a process of its own, so that the program is our child, and hears our signals.
    '-D',
    '-f',
    '-qq',
    '-v',
    '-s',
    '0',
    '-e',
    'trace=sendto,sendmsg,sendmmsg',
    '-e',
    'signal=none',
    '-o',
    file,
  ];
}

/** The requests in a trace that change something: `RTM_NEWROUTE`, `RTM_DELNEIGH`, `RTM_SETLINK`, …, in order. */
export function netlinkWrites(file: string): string[] {
  if (!existsSync(file)) throw new Error(`there is no trace ${file}`);
  return Array.from(
    readFileSync(file, 'utf8').matchAll(/nlmsg_type=(RTM_(?:NEW|DEL|SET)\w+)/g),
    ([, type]) => type!,
  );
}

/** The requests in a trace that only ask. A trace without any has seen nothing, and proves nothing. */
export function netlinkReads(file: string): string[] {
  return Array.from(readFileSync(file, 'utf8').matchAll(/nlmsg_type=(RTM_GET\w+)/g), ([, type]) => type!);
}

/** How often a traced agent has begun to read the whole kernel state: it reads the neighbor parameters once each time. */
export function readings(file: string): number {
  return netlinkReads(file).filter((type) => type === 'RTM_GETNEIGHTBL').length;
}

/**
 * Has a traced agent compare everything, and returns once it has done what it does about it: it reads a second time only when
 * the first comparison's changes are written.
 */
export async function compared(pid: number, file: string): Promise<void> {
  for (let time = 1; time <= 2; time++) {
    const before = readings(file);
    process.kill(pid, 'SIGHUP');
    await until('the agent reads the kernel state', () => readings(file) > before);
  }
}

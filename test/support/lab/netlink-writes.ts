/** Which changes of the kernel a program asked for: the messages it sent, whether they changed anything or not. */
import { existsSync, readFileSync } from 'node:fs';

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

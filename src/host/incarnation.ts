/** What tells one life of one host from all others. */
import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

/**
 * A text that is the same for every process of this network namespace until the host is booted anew, and differs from that of
 * every other host: a clone shares the machine ID, the disk and the addresses, but was booted by itself.
 */
export function incarnation(): string {
  try {
    const { ino } = statSync('/proc/self/ns/net', { bigint: true });
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${ino}`;
  } catch {
    // Without /proc every process is a stranger to those before it: they claim our lease anew, which costs one write.
    return randomUUID();
  }
}

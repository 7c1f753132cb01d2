/** Which machine this is: machine-id(5). */
import { createHash } from 'node:crypto';
import { readRegularFile } from '../regular-file';

/** A container has the one of its host only where it is given it. */
export const MACHINE_ID_FILE = '/etc/machine-id';
/** The second is where D-Bus keeps it without systemd. */
const FILES = [MACHINE_ID_FILE, '/var/lib/dbus/machine-id'];

/**
 * An ID of this machine for our own use, undefined where the machine has none: 32 hexadecimal digits that say nothing of the machine's
 * own ID, which machine-id(5) wants kept from others.
 */
export function readMachineId(files: readonly string[] = FILES): string | undefined {
  for (const file of files) {
    const text = read(file);
    // While the machine is set up, the file says `uninitialized`.
    if (text !== undefined && /^[\da-f]{32}$/.test(text))
      return createHash('sha256').update(`vtepd ${text}`).digest('hex').slice(0, 32);
  }
  return undefined;
}

function read(file: string): string | undefined {
  try {
    return readRegularFile(file).content.toString().trim();
  } catch {
    return undefined;
  }
}

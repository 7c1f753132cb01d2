/** Whom this host asks for names. */
import type { IpAddress } from '../model/address';
import { parseNameServers } from '../model/resolv-conf';
import { readRegularFile } from '../regular-file';

/** The second is where systemd-resolved has the servers that it asks itself, while the first names only itself: systemd-resolved.service(8). */
const FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** Each once. A file that is not there, or is none, names nobody. */
export function readNameServers(files: readonly string[] = FILES): IpAddress[] {
  return [...new Set(files.flatMap(read))];
}

function read(file: string): IpAddress[] {
  try {
    return parseNameServers(readRegularFile(file).content.toString());
  } catch {
    return [];
  }
}

/** Which etcd runs on some data. */
import { readFileSync, readdirSync } from 'node:fs';

/** The process; undefined while there is none. */
export function pidOfEtcdOn(directory: string): number | undefined {
  const found = readdirSync('/proc').find((name) => {
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words[0]!.endsWith('etcd') && words.includes(directory);
    } catch {
      return false;
    }
  });
  return found === undefined ? undefined : Number(found);
}

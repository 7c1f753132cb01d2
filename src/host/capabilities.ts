/** What this process may do. */
import { readFileSync } from 'node:fs';
import { UnsupportedError } from '../model/errors';

/** capabilities(7): the number of CAP_NET_ADMIN. */
const CAP_NET_ADMIN = 12n;

/** Throws an {@link UnsupportedError} without CAP_NET_ADMIN: no link, route or neighbor can be written without it. */
export function requireNetAdmin(status = readFileSync('/proc/self/status', 'utf8')): void {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (effective === undefined || (BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) return;
  throw new UnsupportedError(
    'the capability CAP_NET_ADMIN is needed to write links, routes and neighbors: run vtepd as root, or grant it (setpriv, systemd)',
  );
}

/** What this process may do. */
import { readFileSync } from 'node:fs';
import { setAmbient } from '../../native';
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

/**
 * For the time of `start` a program that is started does not inherit what a service may do (its ambient capabilities). What
 * root may do it does: without any capability it could still write root's files.
 */
export function withoutAmbientCapabilities<T>(start: () => T): T {
  const [, ambient] = /^CapAmb:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8')) ?? [];
  const mask = BigInt(`0x${ambient ?? '0'}`);
  const raised = Array.from({ length: 64 }, (_, number) => number).filter(
    (number) => (mask >> BigInt(number)) & 1n,
  );
  for (const capability of raised) setAmbient(capability, false);
  try {
    return start();
  } finally {
    for (const capability of raised) setAmbient(capability, true);
  }
}

/** Which interfaces lead out of the overlay. */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Outside } from './forward-path';

/** include/uapi/linux/route.h */
const RTF_REJECT = 0x0200;
/** /proc/net/route begins with the default routes. Of thousands of routes of peers behind them no line is read. */
const FIRST_BYTES = 4096;

/** The interfaces with a default route in our network namespace: no container is behind them. */
export function outsideLinks(): Outside {
  try {
    return readDefaultRoutes(readBeginning('/proc/self/net/route'));
  } catch {
    // Then none counts as outside: our rules go before what may drop the overlay's packets.
    return new Set();
  }
}

/** From lines of /proc/net/route: `Iface Destination Gateway Flags RefCnt Use Metric Mask …`. */
export function readDefaultRoutes(text: string): Outside {
  const links = text.split('\n').flatMap((line) => {
    const [link, destination, , flags = '', , , , mask] = line.split(/\s+/);
    const isReject = (Number.parseInt(flags, 16) & RTF_REJECT) !== 0;
    return destination === '00000000' && mask === '00000000' && !isReject ? [link!] : [];
  });
  return new Set(links.sort());
}

function readBeginning(path: string): string {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(FIRST_BYTES);
    return bytes.toString('latin1', 0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}

/** Serving those who ask about us: wanted, but not worth a packet. */
import { backoffMilliseconds } from '../core/backoff';
import { HostError } from '../model/errors';
import type { Clock, Log } from '../ports';
import { Trouble } from './trouble';

const BACKOFF = { minMilliseconds: 1_000, maxMilliseconds: 30_000 };

/**
 * Has a server from `start` until the signal aborts, and closes it then. While it cannot listen (the port is somebody else's, the
 * address not there yet), that is said, sparingly, and tried again: packets flow all the same. Never rejects with a {@link HostError}.
 */
export async function keepServing(
  start: () => Promise<{ close(): Promise<void> }>,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const trouble = new Trouble(clock, log);
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const server = await start();
      trouble.clear('health checks are answered again');
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve());
      });
      return await server.close();
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      trouble.report('health checks are not answered; trying again', error);
      await clock
        .sleep(backoffMilliseconds(failures, BACKOFF, clock.random()), signal)
        .catch(() => undefined);
    }
  }
}

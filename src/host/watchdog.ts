/** systemd's watchdog: it ends a service that hangs. Source: sd_watchdog_enabled(3), WatchdogSec= in systemd.service(5). */
import type { Clock } from '../ports';
import type { ServiceState } from './systemd';

export interface WatchdogOptions {
  /** The process's: WATCHDOG_USEC and WATCHDOG_PID. */
  readonly env: NodeJS.ProcessEnv;
  readonly pid: number;
  readonly clock: Pick<Clock, 'sleep'>;
  notify(state: ServiceState): void;
  /** What makes no progress, in a few words; undefined while all is well. */
  stuck(): string | undefined;
  /** Told once, when the beats stop: what {@link stuck} said. */
  silent(reason: string): void;
}

/**
 * Tells systemd twice in each of its periods that we turn, until the signal aborts; never rejects. A blocked event loop does
 * not come to it, nor do loops that are stuck: then systemd ends us with SIGABRT and starts another. Does nothing where the
 * unit has no WatchdogSec, or means another process.
 */
export async function beatWatchdog(options: WatchdogOptions, signal: AbortSignal): Promise<void> {
  const { env, clock } = options;
  const period = watchdogMilliseconds(env, options.pid);
  if (period === undefined) return;
  let wasSilent = false;
  while (!signal.aborted) {
    const reason = options.stuck();
    if (reason === undefined) {
      // Before READY=1 there is no watchdog, but a limit for the start, which may take as long as etcd does: we put it off.
      options.notify({ alive: true, patienceMilliseconds: period });
    } else if (!wasSilent) {
      options.silent(reason);
    }
    wasSilent = reason !== undefined;
    await clock.sleep(period / 2, signal).catch(() => undefined);
    await turnOfEventLoop();
  }
}

/** The watchdog's period; undefined where there is none for us. */
export function watchdogMilliseconds(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const microseconds = Number(env['WATCHDOG_USEC']);
  const isOurs = !env['WATCHDOG_PID'] || env['WATCHDOG_PID'] === String(pid);
  return isOurs && Number.isSafeInteger(microseconds) && microseconds > 0 ? microseconds / 1000 : undefined;
}

/** Past the timers to where sockets are read: a loop that only ever comes to its timers hears nobody. */
function turnOfEventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

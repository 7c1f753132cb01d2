/** What systemd wants to know of a service. Source: sd_notify(3). */
import { sdNotify } from '../../native';

export interface ServiceState {
  readonly ready?: boolean;
  /** The configuration is read anew; `ready` says when that is done. */
  readonly reloading?: boolean;
  readonly stopping?: boolean;
  /** A beat for the watchdog. */
  readonly alive?: boolean;
  /** While a start or a stop lasts: no other limit ends it sooner than after so long. */
  readonly patienceMilliseconds?: number;
  /** One line for `systemctl status`. */
  readonly status?: string;
}

/** Does nothing where systemd did not start us, or does not listen. Never throws. */
export function notifySystemd(env: NodeJS.ProcessEnv, state: ServiceState): void {
  const socket = env['NOTIFY_SOCKET'];
  const text = printServiceState(state);
  if (!socket || text === '') return;
  try {
    sdNotify(socket, text);
  } catch {
    // systemd restarts, or its socket is not in our mount namespace: nobody there to tell.
  }
}

/** `READY=1\nSTATUS=10.5.1.0/24 on flannel.1, 3 peers` */
export function printServiceState(state: ServiceState): string {
  const { ready, reloading, stopping, alive, patienceMilliseconds, status } = state;
  const lines: string[] = [];
  if (ready) lines.push('READY=1');
  // Newer systemd wants to know when, on its own clock, which is ours.
  if (reloading) lines.push('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  if (stopping) lines.push('STOPPING=1');
  if (alive) lines.push('WATCHDOG=1');
  if (patienceMilliseconds !== undefined)
    lines.push(`EXTEND_TIMEOUT_USEC=${Math.round(patienceMilliseconds * 1000)}`);
  if (status !== undefined) lines.push(`STATUS=${status.replace(/[\r\n]+/g, ' ')}`);
  return lines.join('\n');
}

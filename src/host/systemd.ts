/** What systemd wants to know of a service. Source: sd_notify(3). */
import { sdNotify } from '../../native';

export interface ServiceState {
  readonly ready?: boolean;
  readonly stopping?: boolean;
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
export function printServiceState({ ready, stopping, status }: ServiceState): string {
  const lines: string[] = [];
  if (ready) lines.push('READY=1');
  if (stopping) lines.push('STOPPING=1');
  if (status !== undefined) lines.push(`STATUS=${status.replace(/[\r\n]+/g, ' ')}`);
  return lines.join('\n');
}

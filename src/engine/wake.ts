/** Waiting for something to happen, or for time to pass. */
import type { Clock } from '../ports';
import { LinkedAbort } from '../linked-abort';

interface Waiting {
  readonly dueAt: number;
  resolve(): void;
  reject(reason: unknown): void;
}

interface Alarm {
  readonly dueAt: number;
  readonly signal: AbortSignal;
  readonly over: LinkedAbort;
}

/**
 * A flag that one loop waits for and anybody may raise; raising it often before the loop looks counts once. Its timer outlives a
 * wait that the flag ended, and serves the next ones that last as long or longer: to end one and to set another costs a tenth of
 * a millisecond, and packets to a new peer wait for it.
 */
export class Wake {
  #raised = false;
  #waiting: Waiting | undefined;
  #alarm: Alarm | undefined;

  raise(): void {
    this.#raised = true;
    this.#waiting?.resolve();
  }

  /**
   * Waits until the flag is raised or so many milliseconds have passed, and lowers it. Says whether it was raised; rejects
   * with the signal's reason when that aborts first.
   */
  async wait(clock: Clock, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#raised) await this.#until(clock, clock.now() + milliseconds, signal);
    const raised = this.#raised;
    this.#raised = false;
    return raised;
  }

  async #until(clock: Clock, dueAt: number, signal: AbortSignal): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting = { dueAt, resolve, reject };
        this.#setAlarm(clock, dueAt, signal);
      });
    } finally {
      this.#waiting = undefined;
    }
  }

  #setAlarm(clock: Clock, dueAt: number, signal: AbortSignal): void {
    const set = this.#alarm;
    if (set?.signal === signal && set.dueAt <= dueAt) return;
    const alarm = { dueAt, signal, over: new LinkedAbort(signal) };
    this.#alarm = alarm;
    set?.over.abort();
    clock.sleep(Math.max(0, dueAt - clock.now()), alarm.over.signal).then(
      () => this.#ring(clock, alarm),
      (reason: unknown) => {
        if (this.#alarm !== alarm) return;
        this.#alarm = undefined;
        this.#waiting?.reject(reason);
      },
    );
  }

  #ring(clock: Clock, alarm: Alarm): void {
    alarm.over.abort();
    if (this.#alarm !== alarm) return;
    this.#alarm = undefined;
    const waiting = this.#waiting;
    // It was set for an earlier wait.
    if (waiting && waiting.dueAt > alarm.dueAt) this.#setAlarm(clock, waiting.dueAt, alarm.signal);
    else waiting?.resolve();
  }
}

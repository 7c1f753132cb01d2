/** Waiting for something to happen, or for time to pass. */
import type { Clock } from '../ports';
import { LinkedAbort } from '../linked-abort';

/** A flag that one loop waits for and anybody may raise; raising it often before the loop looks counts once. */
export class Wake {
  #raised = false;
  #resolve: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#resolve?.();
  }

  /**
   * Waits until the flag is raised or so many milliseconds have passed, and lowers it. Says whether it was raised; rejects
   * with the signal's reason when that aborts first.
   */
  async wait(clock: Clock, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#raised) {
      const timer = new LinkedAbort(signal);
      const raised = new Promise<void>((resolve) => (this.#resolve = resolve));
      const elapsed = clock.sleep(milliseconds, timer.signal);
      try {
        await Promise.race([raised, elapsed]);
      } finally {
        this.#resolve = undefined;
        elapsed.catch(() => undefined);
        timer.abort();
      }
    }
    const raised = this.#raised;
    this.#raised = false;
    return raised;
  }
}

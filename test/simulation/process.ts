/** One life of an agent: from its start until it is killed. */
import type { Clock } from '../../src/ports';
import type { Random } from './random';
import type { Appointment, Scheduler } from './scheduler';

/**
 * What a process waits for reaches it only while it lives. Killed, it is neither told nor aborted: whatever it awaits never
 * comes, so that its code stops for good at the very await it had reached, as under kill -9.
 */
export class Process implements Clock {
  #isAlive = true;

  constructor(
    readonly name: string,
    private readonly scheduler: Scheduler,
    readonly chance: Random,
    /** By how many milliseconds the host's wall clock is ahead. */
    private readonly wallOffset: () => number = () => 0,
  ) {}

  get isAlive(): boolean {
    return this.#isAlive;
  }

  kill(): void {
    this.#isAlive = false;
  }

  now(): number {
    return this.scheduler.now;
  }

  wallTime(): number {
    return this.now() + this.wallOffset();
  }

  random(): number {
    return this.chance.next();
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return this.wait(signal, (resolve) => this.later(milliseconds, 'wakes', resolve));
  }

  /** Does something later, if it still lives then. */
  later(milliseconds: number, what: string, work: () => void): Appointment {
    return this.scheduler.after(milliseconds, `${this.name} ${what}`, () => {
      if (this.#isAlive) work();
    });
  }

  /**
   * A promise as the ports give: rejects as soon as the signal aborts, and the appointment that `begin` made, if any, is taken
   * back; never settles once the process is dead.
   */
  wait<T>(
    signal: AbortSignal,
    begin: (resolve: (value: T) => void, reject: (error: Error) => void) => Appointment | void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#isAlive) return;
      if (signal.aborted) return reject(signal.reason as Error);
      let appointment: Appointment | void = undefined;
      const abort = () => {
        appointment?.cancel();
        if (this.#isAlive) reject(signal.reason as Error);
      };
      const settle = (deliver: () => void) => {
        if (!this.#isAlive) return;
        signal.removeEventListener('abort', abort);
        deliver();
      };
      signal.addEventListener('abort', abort, { once: true });
      appointment = begin(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(error)),
      );
    });
  }

  /** The promise while it lives, and nothing any more afterwards. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.#isAlive && resolve(value),
        (error: Error) => this.#isAlive && reject(error),
      );
    });
  }
}

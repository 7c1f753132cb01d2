/** One life of an agent: from its start until it is killed. */
import type { Clock } from '../../src/ports';
import type { Random } from './random';
import type { Appointment, Scheduler } from './scheduler';

/** The clocks of one host. */
export interface HostClocks {
  /** By how many milliseconds its wall clock is ahead of the others. */
  wallOffset: number;
  /** How fast its monotonic clock goes, compared with the store's. */
  rate: number;
}

/** Sums of fractions of milliseconds are not exact: who sleeps wakes a little later, never before it wanted to. */
const ROUNDING_MILLISECONDS = 1e-3;
const GOOD_CLOCKS: HostClocks = { wallOffset: 0, rate: 1 };

/**
 * What a process waits for reaches it only while it lives. Killed, it is neither told nor aborted: whatever it awaits never
 * comes, so that its code stops for good at the very await it had reached, as under kill -9. Paused, it is told all of it
 * later: what it then does, it does by what it knew before.
 */
export class Process implements Clock {
  #isAlive = true;
  /** What came while it was paused, in order; undefined while it runs. */
  #held: (() => void)[] | undefined;
  /** Since when its monotonic clock stands still, if it does, and for how long it did so before. */
  #stoppedAt: number | undefined;
  #stoppedFor = 0;

  constructor(
    readonly name: string,
    private readonly scheduler: Scheduler,
    readonly chance: Random,
    private readonly clocks: HostClocks = GOOD_CLOCKS,
  ) {}

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isPaused(): boolean {
    return this.#held !== undefined;
  }

  kill(): void {
    this.#isAlive = false;
    this.#held = undefined;
  }

  /** SIGSTOP; or, `stopsClock`, the machine is suspended: then its monotonic clock stands still, too. */
  pause(stopsClock: boolean): void {
    this.#held ??= [];
    if (stopsClock) this.#stoppedAt ??= this.scheduler.now;
  }

  resume(): void {
    if (this.#stoppedAt !== undefined) this.#stoppedFor += this.scheduler.now - this.#stoppedAt;
    this.#stoppedAt = undefined;
    const held = this.#held ?? [];
    this.#held = undefined;
    // One by one, as from an event loop: what one of them does may cancel another.
    for (const step of held) this.scheduler.after(0, `${this.name} catches up`, step);
  }

  now(): number {
    return ((this.#stoppedAt ?? this.scheduler.now) - this.#stoppedFor) * this.clocks.rate;
  }

  /** The time of the whole run, which no host's clock need agree with. */
  trueNow(): number {
    return this.scheduler.now;
  }

  wallTime(): number {
    return this.scheduler.now + this.clocks.wallOffset;
  }

  random(): number {
    return this.chance.next();
  }

  sleep(duration: number, signal: AbortSignal): Promise<void> {
    // As Node's timers do: less than a millisecond is one.
    const due = this.now() + Math.max(duration, 1);
    return this.wait(signal, (resolve) => {
      let appointment: Appointment;
      // A clock that stood still meanwhile is not there yet.
      const look = () => {
        const left = due - this.now();
        if (left <= 0) resolve();
        else appointment = this.later(left / this.clocks.rate + ROUNDING_MILLISECONDS, 'sleeps on', look);
      };
      const milliseconds = (due - this.now()) / this.clocks.rate + ROUNDING_MILLISECONDS;
      appointment = this.later(milliseconds, 'wakes', look);
      return { cancel: () => appointment.cancel() };
    });
  }

  /** Does something later, if it still lives then. */
  later(milliseconds: number, what: string, work: () => void): Appointment {
    let isCancelled = false;
    const step = () => {
      if (!this.#isAlive || isCancelled) return;
      if (this.#held) this.#held.push(step);
      else work();
    };
    const appointment = this.scheduler.after(milliseconds, `${this.name} ${what}`, step);
    return {
      cancel: () => {
        isCancelled = true;
        appointment.cancel();
      },
    };
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

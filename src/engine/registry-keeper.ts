/** Keeps the registry running that this host carries for all. */
import { backoffMilliseconds } from '../core/backoff';
import { describeError, RegistryError } from '../model/errors';
import type { Clock, Log, RegistryServer, ServerPlace } from '../ports';
import { LinkedAbort } from '../linked-abort';
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 500, maxMilliseconds: 10_000 };
/** One that ran so long did start well: the next wait is the first again. */
const STEADY_MILLISECONDS = 60_000;
/** So long a question waits for a server that is just being started. */
const PATIENCE_MILLISECONDS = 5_000;
const LONG_MILLISECONDS = 3_600_000;

/** Owns where the server runs and whether it may be asked. One that ends is started again, after a growing wait. */
export class RegistryKeeper {
  readonly #trouble: Trouble;
  readonly #moved = new Wake();
  readonly #waiting = new Set<() => void>();
  #place: ServerPlace | undefined;
  #life: LinkedAbort | undefined;
  #isUp = false;

  constructor(
    private readonly server: RegistryServer,
    private readonly clock: Clock,
    log: Log,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** Where the other hosts reach us, from now on. A server that runs elsewhere is started anew. */
  settle(place: ServerPlace): void {
    if (this.#place?.address === place.address && this.#place.publicIp === place.publicIp) return;
    this.#place = place;
    this.#life?.abort();
    this.#moved.raise();
  }

  /** True while the server may be asked. */
  get isUp(): boolean {
    return this.#isUp;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Returns when the server may be asked: ours, and no other's. Throws a {@link RegistryError} when it cannot be for now. */
  async awaitUp(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#isUp && !this.trouble) await this.#rises(signal);
    if (this.#isUp) return;
    const complaint = this.trouble?.complaint ?? 'the embedded etcd has not started yet';
    throw new RegistryError('unavailable', complaint);
  }

  /** Runs the server until the signal aborts; returns when it is gone. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const place = this.#place;
      if (!place) {
        await this.#pause(LONG_MILLISECONDS, signal);
        continue;
      }
      const since = this.clock.now();
      const reason = await this.#serve(place, signal);
      if (signal.aborted || this.#place !== place) continue;
      if (this.clock.now() - since > STEADY_MILLISECONDS) failures = 0;
      this.#trouble.report('the embedded etcd does not run; trying on', reason);
      this.#release();
      await this.#pause(backoffMilliseconds(failures++, BACKOFF, this.clock.random()), signal);
    }
  }

  /** Returns why it ended. */
  async #serve(place: ServerPlace, signal: AbortSignal): Promise<string> {
    const life = new LinkedAbort(signal);
    this.#life = life;
    try {
      return await this.server.run(place, () => this.#rise(), life.signal);
    } catch (error) {
      return describeError(error);
    } finally {
      this.#isUp = false;
      this.#life = undefined;
      life.abort();
    }
  }

  #rise(): void {
    this.#isUp = true;
    this.#trouble.clear('the embedded etcd runs again');
    this.#release();
  }

  #release(): void {
    for (const go of this.#waiting) go();
  }

  /** Until it is up, or known not to be, or patience ends. */
  async #rises(signal: AbortSignal): Promise<void> {
    const timer = new LinkedAbort(signal);
    let go: () => void = () => undefined;
    const released = new Promise<void>((resolve) => this.#waiting.add((go = resolve)));
    const elapsed = this.clock.sleep(PATIENCE_MILLISECONDS, timer.signal);
    try {
      await Promise.race([released, elapsed]);
    } finally {
      this.#waiting.delete(go);
      elapsed.catch(() => undefined);
      timer.abort();
    }
  }

  /** Waits; a new place ends the wait. */
  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    await this.#moved.wait(this.clock, milliseconds, signal).catch(() => undefined);
  }
}

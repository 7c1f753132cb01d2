/** Notices when the registry would not let us write our lease, before that must be done. */
import { backoffMilliseconds } from '../core/backoff';
import { RegistryError } from '../model/errors';
import type { Clock, LeaseRegistry, Log } from '../ports';
import { Trouble } from './trouble';

/** Each look is a round of the store's consensus, though it writes nothing. */
const LOOK_MILLISECONDS = 600_000;
/** Until the rights are there, or the registry answers. */
const BACKOFF = { minMilliseconds: 5_000, maxMilliseconds: 60_000 };

/** Owns whether we may write. What the registry does not answer is told of by those who need it. */
export class AccessWatcher {
  readonly #trouble: Trouble;
  #isKnown = false;

  /** `leaseName` is asked anew for each look; undefined while we have no lease. */
  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    log: Log,
    private readonly leaseName: () => string | undefined,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True once the registry has answered. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Looks at once, and then now and then, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        const name = this.leaseName();
        if (name !== undefined) await this.#look(name, signal);
        failures = this.#trouble.current ? failures + 1 : 0;
        const rest =
          failures > 0
            ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random())
            : LOOK_MILLISECONDS * (0.75 + this.clock.random() / 2);
        await this.clock.sleep(rest, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof RegistryError)) throw error;
        const rest = backoffMilliseconds(failures++, BACKOFF, this.clock.random());
        await this.clock.sleep(rest, signal).catch(() => undefined);
      }
    }
  }

  async #look(name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.registry.checkAccess(name, signal);
    } catch (error) {
      if (!(error instanceof RegistryError) || error.code === 'unavailable') throw error;
      this.#isKnown = true;
      this.#trouble.report(
        'etcd does not let us write our lease; were it deleted, other hosts would drop us',
        error,
      );
      return;
    }
    this.#isKnown = true;
    this.#trouble.clear('etcd lets us write our lease');
  }
}

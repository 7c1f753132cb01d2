/** Tells the rest of the host that the overlay is there. */
import { backoffMilliseconds } from '../core/backoff';
import { mergeSubnetEnv } from '../model/subnet-env-codec';
import type { Clock, Host, Log } from '../ports';
import { LinkedAbort } from '../linked-abort';
import { Patience } from './patience';
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 500, maxMilliseconds: 30_000 };
/** Looked at this often, for what nobody told. */
const AUDIT_MILLISECONDS = 60_000;
/** Another program writes the same file: we give it time, for nobody wins that by being faster. */
const PATIENCE = {
  freeRepairs: 5,
  shortestRestMilliseconds: 500,
  longestRestMilliseconds: 60_000,
  calmMilliseconds: 10_000,
};

/**
 * Owns what subnet.env says. Writes it when it does not say what it should, whoever changed or removed it; tries on while the disk
 * refuses, and says READY=1 once it is written.
 */
export class Announcer {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  readonly #patience: Patience;
  #wanted: string | undefined;
  #written: string | undefined;
  #watching: LinkedAbort | undefined;
  #attempted = Promise.resolve();
  #endAttempt: () => void = () => undefined;

  constructor(
    private readonly host: Host,
    private readonly clock: Clock,
    private readonly log: Log,
    /** Told what another program has written in the place of what we wanted. */
    private readonly foreignText: (text: string) => void = () => undefined,
  ) {
    this.#trouble = new Trouble(clock, log);
    this.#patience = new Patience(clock, PATIENCE);
  }

  /** True once subnet.env says what it should. */
  get isAnnounced(): boolean {
    return this.#wanted !== undefined && this.#written === this.#wanted;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Somebody undoes what we write, again and again; undefined while nobody does. */
  get fight(): string | undefined {
    return this.#patience.isFight
      ? `another program changes or removes it again and again (${this.#patience.streak} times)`
      : undefined;
  }

  /** Resolves once what was announced so far is written, or could not be. Never rejects. */
  get attempted(): Promise<void> {
    return this.#attempted;
  }

  /** `text` is what subnet.env should say from now on. */
  announce(text: string): void {
    if (this.#wanted === text) return;
    this.#wanted = text;
    this.#endAttempt();
    this.#attempted = new Promise((resolve) => (this.#endAttempt = resolve));
    this.#wake.raise();
  }

  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        const wait =
          failures > 0 ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random()) : AUDIT_MILLISECONDS;
        await this.#wake.wait(this.clock, wait, signal);
        if (this.#wanted !== undefined) await this.#look(this.#wanted, signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.#trouble.report('cannot write the subnet file; trying again', error);
      }
      this.#endAttempt();
    }
  }

  async #look(text: string, signal: AbortSignal): Promise<void> {
    const existing = await this.host.readSubnetFile().catch(() => undefined);
    // Others write their own lines into it, or put theirs in the place of ours.
    const wanted = mergeSubnetEnv(existing, text);
    const isThere = existing === wanted;
    const isRepair = !isThere && this.#written === text;
    // While it cannot be written, it is still the same change that is to be undone.
    if (isRepair && !this.#trouble.current) {
      if (existing !== undefined) this.foreignText(existing);
      const { restMilliseconds } = this.#patience;
      if (restMilliseconds > 0) await this.clock.sleep(restMilliseconds, signal);
      this.#patience.count();
      this.#sayChanged(this.#patience.streak);
    }
    if (!isThere) await this.host.writeSubnetFile(wanted);
    // The directory may be a new one.
    if (!isThere || this.#written === undefined) this.#watch(signal);
    if (this.#written === text) return this.#trouble.clear('subnet file written after all');
    const isFirst = this.#written === undefined;
    this.#written = text;
    this.#trouble.clear('subnet file written after all');
    this.log.info(isThere ? 'subnet file is as it should be' : 'subnet file written');
    if (isFirst) this.host.notify({ ready: true });
  }

  /** Each time; in a fight less and less often. */
  #sayChanged(times: number): void {
    const isSaid = !this.#patience.isFight || this.#patience.isNewFight || Number.isInteger(Math.log2(times));
    const message = 'another program changed or removed the subnet file; writing it again';
    this.log[isSaid ? 'warn' : 'debug'](message, { times });
  }

  #watch(signal: AbortSignal): void {
    this.#watching?.abort();
    this.#watching = new LinkedAbort(signal);
    this.host.watchSubnetFile(() => this.#wake.raise(), this.#watching.signal);
  }
}

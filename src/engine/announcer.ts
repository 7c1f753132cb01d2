/** Tells the rest of the host that the overlay is there. */
import { backoffMilliseconds } from '../core/backoff';
import type { Clock, Host, Log } from '../ports';
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 500, maxMilliseconds: 30_000 };
const LONG_WAIT_MILLISECONDS = 3_600_000;

/**
 * Owns what subnet.env says. Writes it when it is told to and it does not say so already, tries on while the disk refuses,
 * and says READY=1 once it is written.
 */
export class Announcer {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  #wanted: string | undefined;
  #written: string | undefined;

  constructor(
    private readonly host: Host,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True once subnet.env says what it should. */
  get isAnnounced(): boolean {
    return this.#wanted !== undefined && this.#written === this.#wanted;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** `text` is what subnet.env should say from now on. */
  announce(text: string): void {
    if (this.#wanted === text) return;
    this.#wanted = text;
    this.#wake.raise();
  }

  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        const wait =
          failures > 0
            ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random())
            : LONG_WAIT_MILLISECONDS;
        await this.#wake.wait(this.clock, wait, signal);
        const text = this.#wanted;
        if (text !== undefined && text !== this.#written) await this.#write(text);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.#trouble.report('cannot write the subnet file; trying again', error);
      }
    }
  }

  async #write(text: string): Promise<void> {
    const isThere = (await this.host.readSubnetFile().catch(() => undefined)) === text;
    if (!isThere) await this.host.writeSubnetFile(text);
    const isFirst = this.#written === undefined;
    this.#written = text;
    this.#trouble.clear('subnet file written after all');
    this.log.info(isThere ? 'subnet file is as it should be' : 'subnet file written');
    if (isFirst) this.host.notify({ ready: true });
  }
}

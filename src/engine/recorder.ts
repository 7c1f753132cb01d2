/** Keeps on disk what a start without etcd needs. */
import { createHash } from 'node:crypto';
import { inTurns } from '../in-turns';
import { printMemoryInSteps, type Memory } from '../model/memory-codec';
import type { Clock, Host, Log } from '../ports';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** However often things change, the file is written no more often than this. */
const REST_MILLISECONDS = 10_000;
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** A disk that hangs must not hold up the end. */
const LAST_WRITE_MILLISECONDS = 500;

/** Owns whether the file is out of date. What it cannot write it says, and tries again with the next change. */
export class Recorder {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  /** Of the text in the file: with thousands of leases the text itself takes megabytes. */
  #written: string | undefined;
  #isDirty = false;

  /** `memory` is asked anew for each writing; undefined while there is nothing worth remembering. */
  constructor(
    private readonly host: Host,
    private readonly clock: Clock,
    log: Log,
    private readonly memory: () => Memory | undefined,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True once something has been written. */
  get isKnown(): boolean {
    return this.#written !== undefined;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Something changed. */
  trigger(): void {
    this.#isDirty = true;
    this.#wake.raise();
  }

  /** Writes what changes until the signal aborts, and then what has not been written yet. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#follow(signal);
    if (!this.#isDirty) return;
    const end = new AbortController();
    const last = this.#write().catch((error: unknown) =>
      this.#trouble.report('cannot remember the leases for a start without etcd', error),
    );
    const patience = this.clock.sleep(LAST_WRITE_MILLISECONDS, end.signal).catch(() => undefined);
    await Promise.race([last, patience]);
    end.abort();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#wake.wait(this.clock, LONG_WAIT_MILLISECONDS, signal);
        await this.#write();
        await this.clock.sleep(REST_MILLISECONDS, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble.report('cannot remember the leases for a start without etcd', error);
        await this.clock.sleep(REST_MILLISECONDS, signal).catch(() => undefined);
        this.#wake.raise();
      }
    }
  }

  async #write(): Promise<void> {
    this.#isDirty = false;
    const memory = this.memory();
    try {
      const text = memory && (await inTurns(printMemoryInSteps(memory), this.clock));
      if (text === undefined) return;
      const digest = createHash('sha256').update(text).digest('base64');
      if (digest === this.#written) return;
      await this.host.writeMemory(text);
      this.#written = digest;
    } catch (error) {
      this.#isDirty = true;
      throw error;
    }
    this.#trouble.clear('the leases are remembered again');
  }
}

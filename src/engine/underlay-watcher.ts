/** Follows the underlay interface through whatever happens to it. */
import type { Underlay } from '../model/overlay';
import { ConfigError } from '../model/errors';
import type { Clock, Kernel, Log } from '../ports';
import { lookForUnderlay, type SeenUnderlay, type UnderlayOptions } from './prerequisites';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** Looked at this often even when the kernel tells of no change. */
const AUDIT_MILLISECONDS = 60_000;
/** An interface that loses its address often gets it back in a moment (a flap, a DHCP renewal): no hurry to take another. */
const SETTLE_MILLISECONDS = 100;

export interface UnderlayListener {
  /** Called after each look at the network, before {@link moved}. */
  looked(seen: SeenUnderlay): void;
  /** Called after the underlay changed, with what it was before. */
  moved(before: Underlay): void;
}

/**
 * Owns what the underlay is: interface, index, address, MTU. Chooses anew, by the user's wish, whenever something changed;
 * while there is nothing to choose, the last choice stands.
 */
export class UnderlayWatcher {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;

  constructor(
    private readonly kernel: Kernel,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly options: UnderlayOptions,
    private underlay: Underlay,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  get current(): Underlay {
    return this.underlay;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Something changed: look again. */
  trigger(): void {
    this.#wake.raise();
  }

  /** Looks until the signal aborts. */
  async run(listener: UnderlayListener, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (await this.#wake.wait(this.clock, AUDIT_MILLISECONDS, signal)) {
          await this.clock.sleep(SETTLE_MILLISECONDS, signal);
        }
        await this.#look(listener, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble.report('the underlay interface is gone; waiting for it', error);
      }
    }
  }

  async #look(listener: UnderlayListener, signal: AbortSignal): Promise<void> {
    const { choice, hostNetwork } = await lookForUnderlay(this.kernel, this.options, signal);
    const before = this.underlay;
    if (choice.kind === 'chosen') this.#choose(choice.underlay, choice.because);
    // Where there is nothing to choose, gateways and addresses may have changed all the same.
    listener.looked({ underlay: this.underlay, hostNetwork });
    if (this.underlay !== before) listener.moved(before);
    if (choice.kind === 'none') throw new ConfigError(choice.reason);
  }

  #choose(chosen: Underlay, because: string): void {
    this.#trouble.clear('the underlay interface is back');
    if (isSameUnderlay(chosen, this.underlay)) return;
    const { name, index, address, publicIp, mtu } = chosen;
    this.log.info('underlay changed', { interface: name, index, address, publicIp, mtu, because });
    this.underlay = chosen;
  }
}

function isSameUnderlay(a: Underlay, b: Underlay): boolean {
  return (
    a.name === b.name &&
    a.index === b.index &&
    a.mtu === b.mtu &&
    a.address === b.address &&
    a.publicIp === b.publicIp
  );
}

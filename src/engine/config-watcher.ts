/** Notices when the network configuration in etcd is not the one we run by any more. */
import { readNetwork, type Network } from '../core/network';
import { sameSubnet } from '../model/address';
import { RegistryError, describeError } from '../model/errors';
import { whyNoOverlay } from '../model/special-addresses';
import type { Clock, LeaseRegistry, Log } from '../ports';
import { Trouble } from './trouble';

const LOOK_MILLISECONDS = 60_000;

/**
 * Owns whether the stored configuration still means what we run by. Another one is said, not followed: a running overlay must not
 * fall apart because somebody wrote a key; and a configuration that is gone or spoiled harms only those who start.
 */
export class ConfigWatcher {
  readonly #trouble: Trouble;

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    log: Log,
    private readonly network: Network,
    /** Etcd has just told it; it is not from memory. */
    private isKnownToBe = true,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True once etcd has told the configuration. */
  get isKnown(): boolean {
    return this.isKnownToBe;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.clock.sleep(LOOK_MILLISECONDS * (0.75 + this.clock.random() / 2), signal);
        const stored = await this.registry.readConfig(signal);
        this.isKnownToBe = true;
        this.#judge(stored?.text);
      } catch (error) {
        if (signal.aborted) return;
        // That etcd is away others say.
        if (!(error instanceof RegistryError)) throw error;
      }
    }
  }

  #judge(text: string | undefined): void {
    const difference =
      text === undefined ? 'it is gone; no host that starts anew can join' : this.#differenceTo(text);
    if (difference === undefined) this.#trouble.clear('the network configuration is the one we run by again');
    else this.#trouble.report('the network configuration in etcd is not the one we run by', difference);
  }

  #differenceTo(text: string): string | undefined {
    try {
      const network = readNetwork(text);
      if (meaningOf(network) === meaningOf(this.network)) return undefined;
      const { network: whole } = network.range;
      const objection = sameSubnet(whole, this.network.range.network) ? undefined : whyNoOverlay(whole);
      return objection === undefined
        ? 'it was changed; restart vtepd on every host to follow it'
        : `it was changed, and cannot be used: ${objection}`;
    } catch (error) {
      return `it was changed, and cannot be used: ${describeError(error)}`;
    }
  }
}

function meaningOf({ range, backend, enableNfTables }: Network): string {
  return JSON.stringify({ range, backend, enableNfTables });
}

/** Follows the addresses of etcd's servers where their endpoints are names: no lease may lead those into the overlay, either. */
import type { IpAddress } from '../model/address';
import type { Clock, Host } from '../ports';
import { LinkedAbort } from '../linked-abort';

const LOOK_MILLISECONDS = 60_000;
/** A name server that does not answer is not waited for. */
const PATIENCE_MILLISECONDS = 2_000;

/** Owns what the names led to last. A name that cannot be resolved any more keeps its addresses: etcd may still be there. */
export class EtcdAddresses {
  readonly #known = new Map<string, readonly IpAddress[]>();

  constructor(
    private readonly host: Pick<Host, 'addressesOf'>,
    private readonly clock: Clock,
    private readonly names: readonly string[],
    /** Called with the addresses of all names, whenever a name was resolved. */
    private readonly onKnown: (addresses: readonly IpAddress[]) => void,
  ) {}

  /** Looks for the first time; returns after a while also if a name server is silent. */
  async first(signal: AbortSignal): Promise<void> {
    if (this.names.length === 0) return;
    const over = new LinkedAbort(signal);
    try {
      await Promise.race([this.#look(signal), this.clock.sleep(PATIENCE_MILLISECONDS, over.signal)]);
    } finally {
      over.abort();
    }
  }

  /** Looks now and then until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (this.names.length > 0 && !signal.aborted) {
      await this.clock.sleep(LOOK_MILLISECONDS, signal).catch(() => undefined);
      await this.#look(signal);
    }
  }

  /** One name after the other: each keeps a thread of Node's pool while its name server is silent. */
  async #look(signal: AbortSignal): Promise<void> {
    for (const name of this.names) {
      if (signal.aborted) return;
      const addresses = await this.host.addressesOf(name);
      if (addresses.length === 0) continue;
      this.#known.set(name, addresses);
      this.onKnown([...new Set([...this.#known.values()].flat())]);
    }
  }
}

/** The peers whose keys are gone, and which are kept until it is known how they went, or until their grace is over. */
import type { IpAddress } from '../model/address';
import type { Lease } from '../model/lease';

export interface Departure {
  readonly lease: Lease;
  /** Monotonic milliseconds. */
  readonly since: number;
  /** How its key went, once that is known. */
  how: 'deleted' | 'expired' | undefined;
}

/** Found by the name of the lease and by its PublicIP. */
export class Departures implements Iterable<Departure> {
  readonly #byName = new Map<string, Departure>();
  readonly #byPublicIp = new Map<IpAddress | undefined, Set<Departure>>();

  [Symbol.iterator](): Iterator<Departure> {
    return this.#byName.values();
  }

  get(leaseName: string): Departure | undefined {
    return this.#byName.get(leaseName);
  }

  add(departure: Departure): void {
    const { name, attributes } = departure.lease;
    this.delete(name);
    this.#byName.set(name, departure);
    const ofHost = this.#byPublicIp.get(attributes.publicIp) ?? new Set();
    this.#byPublicIp.set(attributes.publicIp, ofHost.add(departure));
  }

  /** False if there was none. */
  delete(leaseName: string): boolean {
    const departure = this.#byName.get(leaseName);
    if (!departure) return false;
    const { publicIp } = departure.lease.attributes;
    this.#byName.delete(leaseName);
    const ofHost = this.#byPublicIp.get(publicIp)!;
    ofHost.delete(departure);
    if (ofHost.size === 0) this.#byPublicIp.delete(publicIp);
    return true;
  }

  /** Those of the host with this PublicIP. */
  ofHost(publicIp: IpAddress | undefined): readonly Departure[] {
    return [...(this.#byPublicIp.get(publicIp) ?? [])];
  }
}

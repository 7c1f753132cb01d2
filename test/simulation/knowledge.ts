import type { IpAddress } from '../../src/model/address';

/** What one process can know of the store: by what reached it, not by what its code makes of it. */

const REMEMBERED_LISTS = 16;

export class Knowledge {
  /** The moment of the first list that reached it. */
  #first: number | undefined;
  /** The moment its watch has reached for certain. */
  #low = 0;
  /** The latest moment of which anything has reached it. */
  #high = -1;
  readonly #moments = new Map<string, number>();
  /** At which {@link #low} it last put something for a subnet or MAC. */
  readonly #puts = new Map<string, number>();
  /** First addresses of the subnets that it has ever taken for its own. */
  readonly ownSubnets = new Set<IpAddress>();

  get isInSync(): boolean {
    return this.#first !== undefined;
  }

  get high(): number {
    return this.#high;
  }

  listed(revision: string, moment: number): void {
    if (this.#first === undefined) this.#first = this.#low = moment;
    this.#high = Math.max(this.#high, moment);
    // A restored store gives a revision twice: the earlier moment claims less.
    if (!this.#moments.has(revision)) this.#moments.set(revision, moment);
    const [oldest] = this.#moments.keys();
    if (this.#moments.size > REMEMBERED_LISTS) this.#moments.delete(oldest!);
  }

  /** A watch that begins where a list ended: from now on it knows at least that. */
  watches(afterRevision: string): void {
    this.#low = Math.max(this.#low, this.#moments.get(afterRevision) ?? 0);
  }

  told(moment: number): void {
    this.#low = Math.max(this.#low, moment);
    this.#high = Math.max(this.#high, moment);
  }

  puts(subnetOrMac: string): void {
    this.#puts.set(subnetOrMac, this.#low);
  }

  /** From which moment on news of this subnet or MAC can be a reason to remove what is there. */
  since(subnetOrMac: string): number {
    return Math.max(this.#first ?? 0, this.#puts.get(subnetOrMac) ?? 0);
  }
}

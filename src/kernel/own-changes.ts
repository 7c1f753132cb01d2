/** What the kernel will tell us that we did ourselves. */
import type { IpAddress } from '../model/address';
import type { MacAddress } from '../model/mac';
import { printLinkState, type LinkRecord } from './links';

/** More than one turn of the event loop can bring. Beyond it our own changes pass for those of others, and cost a pass. */
const MAX_EXPECTED = 20_000;

/**
 * For addresses, neighbors and routes the kernel names the author of a change, and ours are left out by that. For links and FDB
 * entries it does not (6.18): so each of our changes is noted here, and known again when the kernel tells of it. That is
 * soon: what it tells is in our receive buffer before the request that caused it returns.
 */
export class OwnChanges {
  #links: { readonly state: string; isOld: boolean }[] = [];
  #fdbEntries = new FdbEntries();
  #oldFdbEntries = new FdbEntries();

  get isEmpty(): boolean {
    return this.#links.length === 0 && this.#fdbEntries.size === 0 && this.#oldFdbEntries.size === 0;
  }

  /** A link will be reported in this state. */
  expectLink(record: LinkRecord): void {
    if (this.#links.length >= MAX_EXPECTED) return;
    this.#links.push({ state: printLinkState(record), isOld: false });
  }

  /** An FDB entry will be reported with this destination, or (undefined) as removed. */
  expectFdbEntry(mac: MacAddress, destination: IpAddress | undefined): void {
    if (this.#fdbEntries.size < MAX_EXPECTED) this.#fdbEntries.add(mac, destination);
  }

  /** True if we brought a link into this state. It is then expected no more, nor are the states that came before it. */
  takeLink(record: LinkRecord): boolean {
    const text = printLinkState(record);
    const at = this.#links.findIndex(({ state }) => state === text);
    this.#links = this.#links.slice(at + 1);
    return at >= 0;
  }

  /** True if we gave this FDB entry its destination, or removed it. */
  isFdbEntry(mac: MacAddress, destination: IpAddress | undefined): boolean {
    return this.#fdbEntries.has(mac, destination) || this.#oldFdbEntries.has(mac, destination);
  }

  /** The kernel had nothing more to tell: what was expected at the previous call is expected no more. */
  age(): void {
    this.#links = this.#links.filter(({ isOld }) => !isOld);
    for (const link of this.#links) link.isOld = true;
    this.#oldFdbEntries = this.#fdbEntries;
    this.#fdbEntries = new FdbEntries();
  }
}

type Destination = IpAddress | undefined;

/** Pairs of MAC and destination. A start expects thousands, almost always one for each MAC: texts and sets cost too much. */
class FdbEntries {
  readonly #destinations = new Map<MacAddress, Destination | Destination[]>();

  /** How many MACs there are. */
  get size(): number {
    return this.#destinations.size;
  }

  add(mac: MacAddress, destination: Destination): void {
    if (!this.#destinations.has(mac)) return void this.#destinations.set(mac, destination);
    const others = this.#destinations.get(mac);
    if (Array.isArray(others)) {
      if (!others.includes(destination)) others.push(destination);
    } else if (others !== destination) this.#destinations.set(mac, [others, destination]);
  }

  has(mac: MacAddress, destination: Destination): boolean {
    if (!this.#destinations.has(mac)) return false;
    const known = this.#destinations.get(mac);
    return Array.isArray(known) ? known.includes(destination) : known === destination;
  }
}

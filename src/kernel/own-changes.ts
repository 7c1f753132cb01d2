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
 *
 * Another program may have made the same change to an FDB entry as we did, before or after ours. So an entry of which the kernel told
 * something else last than what we wrote last is doubtful, until it tells that, too; one that stays so must be looked at.
 */
export class OwnChanges {
  #links: { readonly state: string; isOld: boolean }[] = [];
  #fdbEntries = new FdbEntries();
  #oldFdbEntries = new FdbEntries();
  readonly #doubtful = new Set<MacAddress>();

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

  /** True if we gave this FDB entry its destination, or removed it, or it may be so: then {@link age} names it. */
  isFdbEntry(mac: MacAddress, destination: IpAddress | undefined): boolean {
    const recent = this.#fdbEntries.find(mac, destination);
    const old = this.#oldFdbEntries.find(mac, destination);
    const isLast = recent === 'last' || (old === 'last' && !this.#fdbEntries.isNamed(mac));
    if (isLast || (!recent && !old)) this.#doubtful.delete(mac);
    else this.#doubtful.add(mac);
    return recent !== undefined || old !== undefined;
  }

  /** The kernel had nothing more to tell: what was expected at the previous call is expected no more. Names what is doubtful. */
  age(): MacAddress[] {
    this.#links = this.#links.filter(({ isOld }) => !isOld);
    for (const link of this.#links) link.isOld = true;
    this.#oldFdbEntries = this.#fdbEntries;
    this.#fdbEntries = new FdbEntries();
    const doubtful = [...this.#doubtful];
    this.#doubtful.clear();
    return doubtful;
  }
}

type Destination = IpAddress | undefined;

/** Pairs of MAC and destination. A start expects thousands, almost always one for each MAC: texts and sets cost too much. */
class FdbEntries {
  /** Of several destinations the one that was written last is the last. */
  readonly #destinations = new Map<MacAddress, Destination | Destination[]>();

  /** How many MACs there are. */
  get size(): number {
    return this.#destinations.size;
  }

  add(mac: MacAddress, destination: Destination): void {
    if (!this.#destinations.has(mac)) return void this.#destinations.set(mac, destination);
    const others = this.#destinations.get(mac);
    if (!Array.isArray(others) && others === destination) return;
    const earlier = (Array.isArray(others) ? others : [others]).filter((other) => other !== destination);
    this.#destinations.set(mac, [...earlier, destination]);
  }

  isNamed(mac: MacAddress): boolean {
    return this.#destinations.has(mac);
  }

  /** Whether it was written, and something else after it. */
  find(mac: MacAddress, destination: Destination): 'last' | 'earlier' | undefined {
    if (!this.#destinations.has(mac)) return undefined;
    const known = this.#destinations.get(mac);
    const all = Array.isArray(known) ? known : [known];
    if (all.at(-1) === destination) return 'last';
    return all.includes(destination) ? 'earlier' : undefined;
  }
}

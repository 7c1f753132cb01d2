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
  readonly #expected = new Set<string>();

  /** A link will be reported in this state. */
  expectLink(record: LinkRecord): void {
    this.#expect(printLinkState(record));
  }

  /** An FDB entry will be reported with this destination, or (undefined) as removed. */
  expectFdbEntry(mac: MacAddress, destination: IpAddress | undefined): void {
    this.#expect(`${mac} ${destination}`);
  }

  isLink(record: LinkRecord): boolean {
    return this.#expected.has(printLinkState(record));
  }

  isFdbEntry(mac: MacAddress, destination: IpAddress | undefined): boolean {
    return this.#expected.has(`${mac} ${destination}`);
  }

  #expect(what: string): void {
    if (this.#expected.size < MAX_EXPECTED) this.#expected.add(what);
  }
}

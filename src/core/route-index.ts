/** Routes of all tables, found by the address that a packet goes to. */
import { bitsOf, familyOf, printSubnet, subnetOf, type IpAddress } from '../model/address';
import type { RouteEntry } from '../model/routing';
import type { Steps } from '../model/steps';

/** By prefix length, then by destination: the one of the best metric. */
type Table = Map<number, Map<string, RouteEntry>>;

/** Made once for many questions: others may have a route for each of thousands of peers. */
export class RouteIndex {
  readonly #tables = new Map<number, Table>();

  private constructor() {}

  static *inSteps(routes: Iterable<RouteEntry>): Steps<RouteIndex> {
    const index = new RouteIndex();
    for (const route of routes) {
      yield;
      index.#add(route);
    }
    return index;
  }

  /** The route of that table which an address takes: the longest prefix, of that the lowest metric. */
  longest(table: number, address: IpAddress): RouteEntry | undefined {
    let found: RouteEntry | undefined;
    for (const [length, routes] of this.#tables.get(table) ?? []) {
      const isShorter = found && length <= found.destination.prefixLength;
      if (isShorter || length > bitsOf(familyOf(address))) continue;
      found = routes.get(printSubnet(subnetOf(address, length))) ?? found;
    }
    return found;
  }

  #add(route: RouteEntry): void {
    const { table, destination, metric } = route;
    const lengths: Table = this.#tables.get(table) ?? new Map<number, Map<string, RouteEntry>>();
    this.#tables.set(table, lengths);
    const routes = lengths.get(destination.prefixLength) ?? new Map<string, RouteEntry>();
    lengths.set(destination.prefixLength, routes);
    const key = printSubnet(destination);
    const other = routes.get(key);
    if (!other || metric < other.metric) routes.set(key, route);
  }
}

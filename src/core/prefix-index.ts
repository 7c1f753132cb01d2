/** Prefixes that are asked again and again which of them share an address with a subnet. */
import {
  addressToInteger,
  bitsOf,
  familyOf,
  offsetAddress,
  printSubnet,
  sizeOf,
  subnetOf,
  type IpAddress,
  type Subnet,
} from '../model/address';

/** Prefixes of one family. */
export class PrefixIndex {
  readonly #prefixes = new Set<string>();
  readonly #lengths: readonly number[];
  /** Where a prefix begins or has just ended, in order: between two of these all addresses are in the same prefixes. */
  readonly #edges: readonly { readonly at: bigint; readonly address: IpAddress }[];

  constructor(prefixes: readonly Subnet[]) {
    const edges = new Map<bigint, IpAddress>();
    const lengths = new Set<number>();
    for (const prefix of prefixes) {
      const { address, prefixLength } = prefix;
      const family = familyOf(address);
      this.#prefixes.add(printSubnet(prefix));
      lengths.add(prefixLength);
      const first = addressToInteger(address);
      const end = first + sizeOf(family, prefixLength);
      edges.set(first, address);
      if (end >> BigInt(bitsOf(family)) === 0n)
        edges.set(end, offsetAddress(address, sizeOf(family, prefixLength)));
    }
    this.#lengths = [...lengths];
    this.#edges = [...edges].map(([at, address]) => ({ at, address })).sort((a, b) => (a.at < b.at ? -1 : 1));
  }

  /** True where one of the prefixes holds the subnet, or lies in it. */
  overlaps(subnet: Subnet): boolean {
    if (this.#lengths.length === 0) return false;
    const { address, prefixLength } = subnet;
    for (const length of this.#lengths)
      if (length <= prefixLength && this.#prefixes.has(printSubnet(subnetOf(address, length)))) return true;
    return this.edgesIn(subnet, 1).length > 0;
  }

  /** The first so many addresses of the subnet, but for its first, from which on other prefixes count. */
  edgesIn({ address, prefixLength }: Subnet, most: number): IpAddress[] {
    const first = addressToInteger(address);
    const end = first + sizeOf(familyOf(address), prefixLength);
    const found: IpAddress[] = [];
    for (let at = this.#firstAfter(first); at < this.#edges.length && found.length < most; at++) {
      const edge = this.#edges[at]!;
      if (edge.at >= end) break;
      found.push(edge.address);
    }
    return found;
  }

  #firstAfter(value: bigint): number {
    let [low, high] = [0, this.#edges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#edges[middle]!.at > value) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Prefixes that are asked again and again which of them share an address with a subnet. */
import {
  addressToInteger,
  bitsOf,
  familyOf,
  integerToAddress,
  printSubnet,
  sizeOf,
  subnetOf,
  type Family,
  type IpAddress,
  type Subnet,
} from '../model/address';
import { complete, type Steps } from '../model/steps';

/** Prefixes of one family. */
export class PrefixIndex {
  readonly #prefixes = new Set<string>();
  readonly #lengths = new Set<number>();
  /** Where a prefix begins or has just ended, in order: between two of these all addresses are in the same prefixes. */
  #edges: readonly bigint[] | Float64Array = [];
  #family: Family = 'ipv4';

  private constructor() {}

  static of(prefixes: readonly Subnet[]): PrefixIndex {
    return complete(PrefixIndex.inSteps(prefixes));
  }

  static *inSteps(prefixes: Iterable<Subnet>): Steps<PrefixIndex> {
    const index = new PrefixIndex();
    const edges = new Set<bigint>();
    for (const prefix of prefixes) {
      yield;
      index.#add(prefix, edges);
    }
    index.#edges = sorted(edges, index.#family);
    return index;
  }

  #add(prefix: Subnet, edges: Set<bigint>): void {
    const { address, prefixLength } = prefix;
    this.#family = familyOf(address);
    this.#prefixes.add(printSubnet(prefix));
    this.#lengths.add(prefixLength);
    const first = addressToInteger(address);
    const end = first + sizeOf(this.#family, prefixLength);
    edges.add(first);
    if (end >> BigInt(bitsOf(this.#family)) === 0n) edges.add(end);
  }

  /** True where one of the prefixes holds the subnet, or lies in it. */
  overlaps(subnet: Subnet): boolean {
    if (this.#lengths.size === 0) return false;
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
      if (edge >= end) break;
      found.push(integerToAddress(this.#family, BigInt(edge)));
    }
    return found;
  }

  #firstAfter(value: bigint): number {
    let [low, high] = [0, this.#edges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#edges[middle]! > value) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Numbers of the machine are sorted ten times as fast as large ones, and in one turn: an IPv4 address is one. */
function sorted(edges: ReadonlySet<bigint>, family: Family): readonly bigint[] | Float64Array {
  if (family === 'ipv4') return Float64Array.from(edges, Number).sort();
  return [...edges].sort((a, b) => (a < b ? -1 : 1));
}

/** The believed leases, found by what another lease may conflict with: their subnets, VTEP MACs and PublicIPs. */
import { contains, printSubnet, subnetOf, type IpAddress, type Subnet } from '../model/address';
import type { MacAddress } from '../model/mac';
import type { Peer } from '../model/peer';
import { outranks, type Contender } from './contender';
import { SetsByKey } from './sets-by-key';

/**
 * A set of contenders of which no two conflict; the caller sees to that. So there is at most one of each subnet, and all of one VTEP
 * MAC have one PublicIP. A conflict is found without looking through all that share a subnet, a MAC or a PublicIP.
 */
export class Believed {
  /** By prefix length, then by subnet. */
  readonly #lengths = new Map<number, Map<string, Contender>>();
  /** Those of one VTEP MAC all name one place. */
  readonly #byMac = new SetsByKey<MacAddress, Contender>();
  /** Of those of one VTEP MAC, the one of the highest rank, while it is known: thousands may leave one after the other. */
  readonly #highest = new Map<MacAddress, Contender>();
  readonly #macsByPublicIp = new SetsByKey<IpAddress, MacAddress>();

  add(contender: Contender): void {
    const { subnet, vtepMac, publicIp } = contender.peer;
    const { prefixLength } = subnet;
    const ofLength = this.#lengths.get(prefixLength) ?? new Map<string, Contender>();
    this.#lengths.set(prefixLength, ofLength.set(printSubnet(subnet), contender));
    this.#byMac.add(vtepMac, contender);
    this.#macsByPublicIp.add(publicIp, vtepMac);
    const highest = this.#highest.get(vtepMac);
    if (highest && outranks(contender, highest)) this.#highest.set(vtepMac, contender);
  }

  /** False if it is not one of them. */
  remove(contender: Contender): boolean {
    const { subnet, vtepMac, publicIp } = contender.peer;
    const ofLength = this.#lengths.get(subnet.prefixLength);
    if (ofLength?.get(printSubnet(subnet)) !== contender) return false;
    ofLength.delete(printSubnet(subnet));
    if (ofLength.size === 0) this.#lengths.delete(subnet.prefixLength);
    this.#byMac.drop(vtepMac, contender);
    if (this.#byMac.sizeOf(vtepMac) === 0) this.#macsByPublicIp.drop(publicIp, vtepMac);
    if (this.#highest.get(vtepMac) === contender) this.#highest.delete(vtepMac);
    return true;
  }

  /** One of those that conflict with a contender and outrank it. */
  winnerOver(contender: Contender): Contender | undefined {
    for (const rival of this.#overlapping(contender.peer.subnet))
      if (outranks(rival, contender)) return rival;
    if (!this.#isElsewhere(contender.peer)) return undefined;
    const highest = this.#highestOf(contender.peer.vtepMac);
    return outranks(highest, contender) ? highest : undefined;
  }

  /** All that conflict with a contender. They may be removed while they are looked through. */
  *rivalsOf({ peer }: Contender): Iterable<Contender> {
    yield* this.#overlapping(peer.subnet);
    if (this.#isElsewhere(peer)) yield* [...this.#byMac.of(peer.vtepMac)];
  }

  /** One with the same PublicIP and another VTEP MAC. */
  otherHostAt({ publicIp, vtepMac }: Peer): Contender | undefined {
    for (const mac of this.#macsByPublicIp.of(publicIp)) if (mac !== vtepMac) return this.#byMac.firstOf(mac);
    return undefined;
  }

  *#overlapping(subnet: Subnet): Iterable<Contender> {
    const longer: Map<string, Contender>[] = [];
    for (const [length, ofLength] of [...this.#lengths]) {
      if (length > subnet.prefixLength) longer.push(ofLength);
      else {
        const outer = ofLength.get(printSubnet(subnetOf(subnet.address, length)));
        // They overlap each other nowhere: there is none inside.
        if (outer) {
          yield outer;
          return;
        }
      }
    }
    for (const ofLength of longer) yield* within(subnet, ofLength.values());
  }

  /** True where believed leases name another place for this VTEP MAC. */
  #isElsewhere({ vtepMac, publicIp }: Peer): boolean {
    const first = this.#byMac.firstOf(vtepMac);
    return first !== undefined && first.peer.publicIp !== publicIp;
  }

  #highestOf(vtepMac: MacAddress): Contender {
    let highest = this.#highest.get(vtepMac);
    if (highest) return highest;
    for (const each of this.#byMac.of(vtepMac)) if (!highest || outranks(each, highest)) highest = each;
    this.#highest.set(vtepMac, highest!);
    return highest!;
  }
}

function* within(subnet: Subnet, contenders: Iterable<Contender>): Iterable<Contender> {
  for (const contender of contenders) if (contains(subnet, contender.peer.subnet)) yield contender;
}

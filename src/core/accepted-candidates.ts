/** The accepted leases, found by what another lease may conflict with: their subnets, VTEP MACs and PublicIPs. */
import { contains, printSubnet, subnetOf, type IpAddress, type Subnet } from '../model/address';
import type { MacAddress } from '../model/mac';
import type { Peer } from '../model/peer';
import { outranks, type Candidate } from './candidate';
import { SetsByKey } from './sets-by-key';

/**
 * A set of candidates of which no two conflict; the caller sees to that. So there is at most one of each subnet, and all of one VTEP
 * MAC have one PublicIP. A conflict is found without looking through all that share a subnet, a MAC or a PublicIP.
 */
export class AcceptedCandidates {
  /** By prefix length, then by subnet. */
  readonly #lengths = new Map<number, Map<string, Candidate>>();
  /** Those of one VTEP MAC all name one place. */
  readonly #byMac = new SetsByKey<MacAddress, Candidate>();
  /** Of those of one VTEP MAC, the one of the highest rank, while it is known: thousands may leave one after the other. */
  readonly #highest = new Map<MacAddress, Candidate>();
  readonly #macsByPublicIp = new SetsByKey<IpAddress, MacAddress>();

  add(candidate: Candidate): void {
    const { subnet, vtepMac, publicIp } = candidate.peer;
    const { prefixLength } = subnet;
    const ofLength = this.#lengths.get(prefixLength) ?? new Map<string, Candidate>();
    this.#lengths.set(prefixLength, ofLength.set(printSubnet(subnet), candidate));
    this.#byMac.add(vtepMac, candidate);
    this.#macsByPublicIp.add(publicIp, vtepMac);
    const highest = this.#highest.get(vtepMac);
    if (highest && outranks(candidate, highest)) this.#highest.set(vtepMac, candidate);
  }

  /** False if it is not one of them. */
  remove(candidate: Candidate): boolean {
    const { subnet, vtepMac, publicIp } = candidate.peer;
    const ofLength = this.#lengths.get(subnet.prefixLength);
    if (ofLength?.get(printSubnet(subnet)) !== candidate) return false;
    ofLength.delete(printSubnet(subnet));
    if (ofLength.size === 0) this.#lengths.delete(subnet.prefixLength);
    this.#byMac.drop(vtepMac, candidate);
    if (this.#byMac.sizeOf(vtepMac) === 0) this.#macsByPublicIp.drop(publicIp, vtepMac);
    if (this.#highest.get(vtepMac) === candidate) this.#highest.delete(vtepMac);
    return true;
  }

  /** One of those that conflict with a candidate and outrank it. */
  winnerOver(candidate: Candidate): Candidate | undefined {
    return this.winnerBySubnet(candidate) ?? this.winnerByMac(candidate);
  }

  /** One whose subnet overlaps that of a candidate, and which outranks it. */
  winnerBySubnet(candidate: Candidate): Candidate | undefined {
    for (const other of this.#overlapping(candidate.peer.subnet))
      if (outranks(other, candidate)) return other;
    return undefined;
  }

  /** One that names another place for the VTEP MAC of a candidate, and outranks it. */
  winnerByMac(candidate: Candidate): Candidate | undefined {
    if (!this.#isElsewhere(candidate.peer)) return undefined;
    const highest = this.#highestOf(candidate.peer.vtepMac);
    return outranks(highest, candidate) ? highest : undefined;
  }

  /** All that conflict with a candidate. They may be removed while they are looked through. */
  *conflictsOf({ peer }: Candidate): Iterable<Candidate> {
    yield* this.#overlapping(peer.subnet);
    if (this.#isElsewhere(peer)) yield* [...this.#byMac.of(peer.vtepMac)];
  }

  /** One with the same PublicIP and another VTEP MAC. */
  otherHostAt({ publicIp, vtepMac }: Peer): Candidate | undefined {
    for (const mac of this.#macsByPublicIp.of(publicIp)) if (mac !== vtepMac) return this.#byMac.firstOf(mac);
    return undefined;
  }

  *#overlapping(subnet: Subnet): Iterable<Candidate> {
    const longer: Map<string, Candidate>[] = [];
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

  /** True where accepted leases name another place for this VTEP MAC. */
  #isElsewhere({ vtepMac, publicIp }: Peer): boolean {
    const first = this.#byMac.firstOf(vtepMac);
    return first !== undefined && first.peer.publicIp !== publicIp;
  }

  #highestOf(vtepMac: MacAddress): Candidate {
    let highest = this.#highest.get(vtepMac);
    if (highest) return highest;
    for (const each of this.#byMac.of(vtepMac)) if (!highest || outranks(each, highest)) highest = each;
    this.#highest.set(vtepMac, highest!);
    return highest!;
  }
}

function* within(subnet: Subnet, candidates: Iterable<Candidate>): Iterable<Candidate> {
  for (const candidate of candidates) if (contains(subnet, candidate.peer.subnet)) yield candidate;
}

/** The believed leases, found by what another lease may conflict with: their subnets, VTEP MACs and PublicIPs. */
import { contains, printSubnet, subnetOf, type IpAddress, type Subnet } from '../model/address';
import type { MacAddress } from '../model/mac';
import type { Peer } from '../model/peer';
import { outranks, type Contender } from './contender';
import { addTo, dropFrom } from './sets-by-key';

/** Believed leases of one VTEP MAC: they all name one place. */
interface Station {
  readonly publicIp: IpAddress;
  readonly members: Set<Contender>;
  /** The member of the highest rank; undefined while it is not known: thousands may leave one after the other. */
  top: Contender | undefined;
}

/**
 * A set of contenders of which no two conflict; the caller sees to that. So there is at most one of each subnet, and all of one VTEP
 * MAC have one PublicIP. A conflict is found without looking through all that share a subnet, a MAC or a PublicIP.
 */
export class Believed {
  /** By prefix length, then by subnet. */
  readonly #lengths = new Map<number, Map<string, Contender>>();
  readonly #byMac = new Map<MacAddress, Station>();
  /** By PublicIP, then by VTEP MAC. */
  readonly #byPublicIp = new Map<IpAddress, Map<MacAddress, Set<Contender>>>();

  add(contender: Contender): void {
    const { subnet, vtepMac, publicIp } = contender.peer;
    const { prefixLength } = subnet;
    const ofLength = this.#lengths.get(prefixLength) ?? new Map<string, Contender>();
    this.#lengths.set(prefixLength, ofLength.set(printSubnet(subnet), contender));
    const station = this.#byMac.get(vtepMac);
    if (!station) this.#byMac.set(vtepMac, { publicIp, members: new Set([contender]), top: contender });
    else {
      station.members.add(contender);
      if (station.top && outranks(contender, station.top)) station.top = contender;
    }
    const hosts = this.#byPublicIp.get(publicIp) ?? new Map<MacAddress, Set<Contender>>();
    this.#byPublicIp.set(publicIp, hosts);
    addTo(hosts, vtepMac, contender);
  }

  /** False if it is not one of them. */
  remove(contender: Contender): boolean {
    const { subnet, vtepMac, publicIp } = contender.peer;
    const ofLength = this.#lengths.get(subnet.prefixLength);
    if (ofLength?.get(printSubnet(subnet)) !== contender) return false;
    ofLength.delete(printSubnet(subnet));
    if (ofLength.size === 0) this.#lengths.delete(subnet.prefixLength);
    this.#leaveStation(contender);
    const hosts = this.#byPublicIp.get(publicIp)!;
    dropFrom(hosts, vtepMac, contender);
    if (hosts.size === 0) this.#byPublicIp.delete(publicIp);
    return true;
  }

  /** One of those that conflict with a contender and outrank it. */
  winnerOver(contender: Contender): Contender | undefined {
    for (const rival of this.#overlapping(contender.peer.subnet))
      if (outranks(rival, contender)) return rival;
    const station = this.#otherStation(contender.peer);
    if (!station) return undefined;
    const top = (station.top ??= highestOf(station.members));
    return outranks(top, contender) ? top : undefined;
  }

  /** All that conflict with a contender. They may be removed while they are looked through. */
  *rivalsOf({ peer }: Contender): Iterable<Contender> {
    yield* this.#overlapping(peer.subnet);
    const station = this.#otherStation(peer);
    if (station) yield* [...station.members];
  }

  /** One with the same PublicIP and another VTEP MAC. */
  otherHostAt({ publicIp, vtepMac }: Peer): Contender | undefined {
    for (const [mac, [first]] of this.#byPublicIp.get(publicIp) ?? []) if (mac !== vtepMac) return first;
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

  #otherStation({ vtepMac, publicIp }: Peer): Station | undefined {
    const station = this.#byMac.get(vtepMac);
    return station && station.publicIp !== publicIp ? station : undefined;
  }

  #leaveStation(contender: Contender): void {
    const { vtepMac } = contender.peer;
    const station = this.#byMac.get(vtepMac)!;
    station.members.delete(contender);
    if (station.members.size === 0) this.#byMac.delete(vtepMac);
    else if (station.top === contender) station.top = undefined;
  }
}

function highestOf(contenders: Iterable<Contender>): Contender {
  let top: Contender | undefined;
  for (const each of contenders) if (!top || outranks(each, top)) top = each;
  return top!;
}

function* within(subnet: Subnet, contenders: Iterable<Contender>): Iterable<Contender> {
  for (const contender of contenders) if (contains(subnet, contender.peer.subnet)) yield contender;
}

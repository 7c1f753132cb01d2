/** Who may send to our VXLAN port. */
import { printSubnet, type Family, type IpAddress, type Subnet } from './address';

export interface AdmittedPeer {
  /** The source of its outer packets. */
  readonly publicIp: IpAddress;
  /** Of the network's addresses, only these may be the source of its inner packets. */
  readonly subnet: Subnet;
}

/** All that is said about one link, but for the peers. */
export interface AdmissionTerms {
  readonly link: string;
  readonly port: number;
  readonly vni: number;
  readonly network: Subnet;
  /** The underlay's: that of all PublicIPs. */
  readonly family: Family;
  /** Every prefix length that peers' subnets have, in ascending order. */
  readonly lengths: readonly number[];
}

/** All that a table of our own says about one link. */
export interface Admission extends AdmissionTerms {
  readonly peers: readonly AdmittedPeer[];
}

/** What was found. */
export interface InstalledAdmission {
  /** {@link printAdmissionTerms} of what it was made for; undefined if somebody changed the rules. */
  readonly terms: string | undefined;
  readonly peers: readonly AdmittedPeer[];
  /** Some that were refused lately because no peer has their address. */
  readonly strangers: readonly IpAddress[];
}

/** Whom to admit and whom to refuse from now on; hosts are the addresses of outer packets, that peers may share. */
export interface AdmissionChange {
  readonly admitted: readonly AdmittedPeer[];
  readonly refused: readonly AdmittedPeer[];
  readonly admittedHosts: readonly IpAddress[];
  readonly refusedHosts: readonly IpAddress[];
}

/** Counted up with each change of the rules: an agent replaces those of another version. The first had no number. */
const RULES = 3;

/** All but the peers: `port 8472 vni 1 network 10.5.0.0/16 by /24 from ipv4 v3`. */
export function printAdmissionTerms({ port, vni, network, lengths, family }: AdmissionTerms): string {
  return `port ${port} vni ${vni} network ${printSubnet(network)} by /${lengths.join(',/')} from ${family} v${RULES}`;
}

/** `192.168.0.2 10.5.2.0/24` */
export function printAdmittedPeer({ publicIp, subnet }: AdmittedPeer): string {
  return `${publicIp} ${printSubnet(subnet)}`;
}

/** Those who are admitted, and by how many of them each address is used. */
export class AdmittedPeers implements Iterable<AdmittedPeer> {
  readonly #peers = new Map<string, AdmittedPeer>();
  readonly #uses = new Map<IpAddress, number>();

  constructor(peers: Iterable<AdmittedPeer> = []) {
    this.change(peers, []);
  }

  [Symbol.iterator](): Iterator<AdmittedPeer> {
    return this.#peers.values();
  }

  has(peer: AdmittedPeer): boolean {
    return this.#peers.has(printAdmittedPeer(peer));
  }

  /** Adds some, and then removes others; says what that changed. */
  change(added: Iterable<AdmittedPeer>, removed: Iterable<AdmittedPeer>): AdmissionChange {
    const admitted: AdmittedPeer[] = [];
    const newHosts = new Set<IpAddress>();
    for (const peer of added) {
      if (this.has(peer)) continue;
      admitted.push(peer);
      this.#peers.set(printAdmittedPeer(peer), peer);
      const uses = this.#uses.get(peer.publicIp) ?? 0;
      this.#uses.set(peer.publicIp, uses + 1);
      if (uses === 0) newHosts.add(peer.publicIp);
    }
    const refused = [...removed].filter((peer) => this.#peers.delete(printAdmittedPeer(peer)));
    const refusedHosts: IpAddress[] = [];
    for (const { publicIp } of refused) {
      const uses = this.#uses.get(publicIp)! - 1;
      if (uses > 0) this.#uses.set(publicIp, uses);
      else {
        this.#uses.delete(publicIp);
        if (!newHosts.delete(publicIp)) refusedHosts.push(publicIp);
      }
    }
    return { admitted, refused, admittedHosts: [...newHosts], refusedHosts };
  }
}

/** Who may send to our VXLAN port. */
import { printSubnet, type Family, type IpAddress, type Subnet } from './address';

export interface AdmittedPeer {
  /** The source of its outer packets. */
  readonly publicIp: IpAddress;
  /** Of the network's addresses, only these may be the source of its inner packets. */
  readonly subnet: Subnet;
}

/** All that a table of our own says about one link. */
export interface Admission {
  readonly link: string;
  readonly port: number;
  readonly vni: number;
  readonly network: Subnet;
  /** The underlay's: that of all PublicIPs. */
  readonly family: Family;
  /**
   * The one prefix length of all peers' subnets, where that is a number of whole bytes: it makes the cheaper kind of look-up
   * possible. Undefined: they may be of any length.
   */
  readonly prefixLength: number | undefined;
  readonly peers: readonly AdmittedPeer[];
}

/** What was found. */
export interface InstalledAdmission {
  /** {@link printAdmissionTerms} of what it was made for; undefined if somebody changed the rules. */
  readonly terms: string | undefined;
  /** {@link printAdmittedPeer} of each. */
  readonly peers: ReadonlySet<string>;
}

/** All but the peers: `port 8472 vni 1 network 10.5.0.0/16 by /24 from ipv4`. */
export function printAdmissionTerms({ port, vni, network, prefixLength, family }: Admission): string {
  const by = prefixLength === undefined ? 'any' : `/${prefixLength}`;
  return `port ${port} vni ${vni} network ${printSubnet(network)} by ${by} from ${family}`;
}

/** `192.168.0.2 10.5.2.0/24` */
export function printAdmittedPeer({ publicIp, subnet }: AdmittedPeer): string {
  return `${publicIp} ${printSubnet(subnet)}`;
}

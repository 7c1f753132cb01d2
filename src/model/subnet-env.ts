/** `/run/flannel/subnet.env`: how Docker and CNI learn of our subnet, and how we remember it across restarts. */
import type { Subnet } from './address';

/** What the file says. Either family's pair is there or not. */
export interface SubnetEnv {
  readonly ipv4: { readonly network: Subnet; readonly subnet: Subnet } | undefined;
  readonly ipv6: { readonly network: Subnet; readonly subnet: Subnet } | undefined;
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** The subnets of an older file; each undefined when the file names none, or more than one. */
export interface PreviousSubnets {
  readonly ipv4: Subnet | undefined;
  readonly ipv6: Subnet | undefined;
}

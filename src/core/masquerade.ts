/** What the packet filter does with the overlay's traffic: flannel's rules, in the meaning its iptables rules have. */
import { familyOf, subnet, type Family, type Subnet } from '../model/address';
import type { AddressMatch, FirewallRule } from '../model/firewall';
import type { Overlay } from '../model/overlay';

/** The overlay as rules see it. */
export type OverlayAddresses = Pick<Overlay, 'network' | 'subnet'>;

/** kube-proxy sets this bit on packets that it will masquerade itself. */
const MASQUERADE_MARK = { value: 0x4000, mask: 0x4000 };

const MULTICAST: Record<Family, Subnet> = { ipv4: subnet('224.0.0.0/4'), ipv6: subnet('ff00::/8') };

/**
 * Who is hidden behind this host's address, in this order (flannel 0.28's iptables rules; its nftables rules mean something
 * else, and are not followed): between containers nobody, whoever comes from outside to our own containers neither; what leaves the overlay
 * is, and so is what enters it on the way to another host, because the answer would not come back through us.
 */
export function masqueradeRules(
  { network, subnet: own }: OverlayAddresses,
  fullyRandom: boolean,
): FirewallRule[] {
  const masquerade = fullyRandom ? 'masquerade fully-random' : 'masquerade';
  const multicast = MULTICAST[familyOf(network.address)];
  return [
    { mark: MASQUERADE_MARK, verdict: 'return' },
    { source: within(own), destination: within(network), verdict: 'return' },
    { source: within(network), destination: within(own), verdict: 'return' },
    { source: outside(network), destination: within(own), verdict: 'return' },
    { source: within(network), destination: outside(multicast), verdict: masquerade },
    { source: outside(network), destination: within(network), verdict: masquerade },
  ];
}

/** Everything from and to the overlay may pass through this host. */
export function forwardRules(network: Subnet): FirewallRule[] {
  return [
    { source: within(network), verdict: 'accept' },
    { destination: within(network), verdict: 'accept' },
  ];
}

/** What comes out of the tunnel for our containers comes from another container, or from a host of the overlay. */
export function arrivalRules(link: string, own: Subnet): FirewallRule[] {
  return [{ destination: within(own), input: link, verdict: 'accept' }];
}

function within(range: Subnet): AddressMatch {
  return { subnet: range, negated: false };
}

function outside(range: Subnet): AddressMatch {
  return { subnet: range, negated: true };
}

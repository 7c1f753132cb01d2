/** How our rules are told from those of others, and real flannel's from both. */
import type { Family } from '../../model/address';
import type { FirewallRole } from '../../model/firewall';

/** A table of our own in nftables: `vtepd-flannel.1`. */
export function tableNameOf(link: string): string {
  return `vtepd-${link}`;
}

/** The link whose rules a table of nftables, or a chain of iptables, of this name holds; undefined if it is not ours. */
export function linkOfTable(table: string): string | undefined {
  return /^vtepd-(flannel\.\d+)$/.exec(table)?.[1];
}

/** Chains of our own in iptables, where names are global: at most 28 characters. */
export const CHAIN_PREFIX = {
  masquerade: 'VTEPD-MASQ-',
  forward: 'VTEPD-FWD-',
  arrival: 'VTEPD-RAW-',
} as const;

export function linkOfChain(chain: string): string | undefined {
  return /^VTEPD-(?:MASQ|FWD|RAW)-(flannel\.\d+)$/.exec(chain)?.[1];
}

/** The comment of what we put into chains of others. */
export function commentOf(link: string): string {
  return `vtepd ${link}`;
}

export function linkOfComment(comment: string | undefined): string | undefined {
  return /^vtepd (flannel\.\d+)$/.exec(comment ?? '')?.[1];
}

/** Real flannel's table in nftables. */
export const FLANNEL_TABLES: Record<Family, string> = { ipv4: 'flannel-ipv4', ipv6: 'flannel-ipv6' };

/** Real flannel's chains in iptables (`FLANNEL` is that of 0.5), and the comments of its rules in the built-in chains (those between 0.5 and 0.20 were all there). */
export const FLANNEL_CHAINS: Record<FirewallRole, readonly string[]> = {
  masquerade: ['FLANNEL-POSTRTG', 'FLANNEL'],
  forward: ['FLANNEL-FWD'],
  arrival: [],
};
export const FLANNEL_COMMENTS = {
  masquerade: 'flanneld masq',
  forward: 'flanneld forward',
  arrival: undefined,
} as const;

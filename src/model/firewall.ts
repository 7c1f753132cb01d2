/** Rules for the host's packet filter, and where they hang: values without any tool's syntax. */
import { familyOf, overlap, printSubnet, type Family, type Subnet } from './address';

/**
 * What can hold rules: nftables itself, or one of the two iptables, which do not see each other's rules.
 * All of them are in effect at the same time, and a packet must pass each.
 */
export type FilterTool = 'nftables' | 'iptables-nft' | 'iptables-legacy';

export interface AddressMatch {
  readonly subnet: Subnet;
  /** True: every address but these. */
  readonly negated: boolean;
}

/** All that is present must match. */
export interface FirewallRule {
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly source?: AddressMatch;
  readonly destination?: AddressMatch;
  /** The link that the packet came in by. */
  readonly input?: string;
  /** `return` leaves the packet to the rules of others. */
  readonly verdict: 'return' | 'accept' | 'masquerade' | 'masquerade fully-random';
}

/**
 * `masquerade`: source NAT behind the routing decision. `forward`: what passes through this host. `arrival`: what comes in, before
 * anybody knows where it goes, where Docker (since 28) drops what is for a container and does not come from its bridge.
 */
export type FirewallRole = 'masquerade' | 'forward' | 'arrival';

export interface FirewallPlace {
  readonly tool: FilterTool;
  readonly family: Family;
  readonly role: FirewallRole;
  /**
   * The chain of somebody else's nftables table that the rules stand in: `inet firewalld filter_FORWARD`. Undefined: a chain
   * of our own. Only nftables needs it: an `accept` in a chain of our own there leaves others free to drop.
   */
  readonly chain?: string;
}

/** Whose rules real flannel's are. */
export const FLANNELD = 'flanneld';

/** Rules of one owner in one place: they are put and removed together. */
export interface FirewallBlock {
  readonly place: FirewallPlace;
  /** The link they serve, or {@link FLANNELD}. */
  readonly owner: string;
  readonly rules: readonly FirewallRule[];
  /** Of {@link FLANNELD}, to be removed: our networks; what flannel has for others stays. */
  readonly networks?: readonly Subnet[];
}

/** A block as it was found. */
export interface InstalledBlock {
  readonly place: FirewallPlace;
  readonly owner: string;
  /** As {@link printFirewallRule} prints them, in order; a rule that we could not have written is in the tool's own words. */
  readonly rules: readonly string[];
  /** False if packets do not get there: the jump is missing, doubled, or stands behind what drops. */
  readonly inEffect: boolean;
  /** Of {@link FLANNELD}: the networks that its rules name. Absent: that cannot be told. */
  readonly networks?: readonly Subnet[];
}

/** Somebody else's chain that arriving or forwarded packets must pass. */
export interface ForwardGate {
  readonly place: FirewallPlace;
  /** True if traffic of the overlay would not get through without our rules. */
  readonly drops: boolean;
}

export interface ToolState {
  readonly version: string;
  /** False for an iptables before 1.6.2. */
  readonly hasFullyRandom: boolean;
  /** It is what the command `iptables` runs. */
  readonly isDefault: boolean;
  /** Somebody else has rules in it. */
  readonly isInUse: boolean;
}

export interface FirewallState {
  /** The tools that work on this host. */
  readonly tools: ReadonlyMap<FilterTool, ToolState>;
  /** Why the others do not, a sentence each. */
  readonly problems: readonly string[];
  /** What is ours, of whatever link, and real flannel's. */
  readonly blocks: readonly InstalledBlock[];
  readonly gates: readonly ForwardGate[];
}

export type FirewallOperation =
  | { readonly verb: 'put'; readonly block: FirewallBlock }
  | { readonly verb: 'remove'; readonly block: Pick<FirewallBlock, 'place' | 'owner' | 'networks'> };

export interface FailedFirewallOperation {
  readonly operation: FirewallOperation;
  readonly error: Error;
}

/** `from 10.5.0.0/16 to !224.0.0.0/4 masquerade fully-random` */
export function printFirewallRule(rule: FirewallRule): string {
  const { mark, source, destination, input, verdict } = rule;
  const parts: string[] = [];
  if (mark) parts.push(`mark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`);
  if (source) parts.push(`from ${printMatch(source)}`);
  if (destination) parts.push(`to ${printMatch(destination)}`);
  if (input !== undefined) parts.push(`by ${input}`);
  return [...parts, verdict].join(' ');
}

function printMatch({ subnet, negated }: AddressMatch): string {
  return `${negated ? '!' : ''}${printSubnet(subnet)}`;
}

/** `masquerade rules (ipv4, nftables)`; two places are the same exactly if their texts are. */
export function printFirewallPlace({ tool, family, role, chain }: FirewallPlace): string {
  return `${role} rules (${family}, ${tool}${chain ? `, in ${chain}` : ''})`;
}

/** `put masquerade rules (ipv4, nftables) of flannel.1` */
export function printFirewallOperation({ verb, block }: FirewallOperation): string {
  return `${verb} ${printFirewallPlace(block.place)} of ${block.owner}`;
}

/** True if rules that name these networks are of an overlay in one of ours; also if they name none of the same family. */
export function concernsNetworks(named: readonly Subnet[], ours: readonly Subnet[]): boolean {
  const families = new Set(ours.map(({ address }) => familyOf(address)));
  const comparable = named.filter(({ address }) => families.has(familyOf(address)));
  return comparable.length === 0 || comparable.some((each) => ours.some((own) => overlap(own, each)));
}

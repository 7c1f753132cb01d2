/** nftables' language, as far as we write it, and the JSON in which it answers. */
import { bitsOf, familyOf, parseIpAddress, subnetOf, type Family } from '../../model/address';
import { printFirewallRule, type AddressMatch, type FirewallRule } from '../../model/firewall';
import type { FilterRule, InterfaceMatch } from './forward-path';

/** The table family of our own tables. */
export const NFT_FAMILY: Record<Family, string> = { ipv4: 'ip', ipv6: 'ip6' };

/** One rule as `nft -a -j list` gives it. */
export interface NftRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
  readonly comment?: string;
  readonly expr?: readonly NftStatement[];
}

/** `{"match": …}`, `{"accept": null}`, …: one key each. */
export type NftStatement = Readonly<Record<string, unknown>>;

export interface NftChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly type?: string;
  readonly hook?: string;
  readonly prio?: number;
  readonly policy?: string;
}

/** `ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random` */
export function printNftRule(rule: FirewallRule, family: Family): string {
  const { mark, source, destination, input, verdict } = rule;
  const parts: string[] = [];
  if (mark) parts.push(`meta mark & 0x${mark.mask.toString(16)} == 0x${mark.value.toString(16)}`);
  const match = (field: string, { subnet, negated }: AddressMatch) =>
    `${NFT_FAMILY[family]} ${field} ${negated ? '!= ' : ''}${subnet.address}/${subnet.prefixLength}`;
  if (source) parts.push(match('saddr', source));
  if (destination) parts.push(match('daddr', destination));
  if (input !== undefined) parts.push(`iifname "${input}"`);
  return [...parts, verdict].join(' ');
}

/** A rule that was listed, as {@link printFirewallRule} prints it; as JSON if we could not have written it. */
export function readNftRule({ expr = [] }: NftRule): string {
  let rule: Partial<FirewallRule> = {};
  for (const statement of expr) {
    const part = readMatch(statement) ?? readVerdict(statement);
    if (!part || Object.keys(part).some((key) => key in rule)) return JSON.stringify(expr);
    rule = { ...rule, ...part };
  }
  return rule.verdict ? printFirewallRule(rule as FirewallRule) : JSON.stringify(expr);
}

interface Match {
  readonly op: string;
  readonly left: {
    readonly payload?: { readonly protocol: string; readonly field: string };
    readonly meta?: { readonly key: string };
    readonly '&'?: readonly [{ readonly meta?: { readonly key: string } }, number];
  };
  readonly right: unknown;
}

function readMatch(statement: NftStatement): Partial<FirewallRule> | undefined {
  const match = statement.match as Match | undefined;
  if (!match) return undefined;
  const { op, left, right } = match;
  if (left['&']) {
    const [operand, mask] = left['&'];
    const isMark = operand.meta?.key === 'mark' && op === '==' && typeof right === 'number';
    return isMark ? { mark: { value: right, mask } } : undefined;
  }
  if (left.meta?.key === 'iifname' && op === '==' && typeof right === 'string') return { input: right };
  const subnet = left.payload && readSubnet(right);
  if (!subnet || (op !== '==' && op !== '!=')) return undefined;
  const address = { subnet, negated: op === '!=' };
  if (left.payload.field === 'saddr') return { source: address };
  return left.payload.field === 'daddr' ? { destination: address } : undefined;
}

function readSubnet(value: unknown) {
  const prefix = (value as { prefix?: { addr: string; len: number } } | null)?.prefix;
  const address = parseIpAddress(String(prefix?.addr ?? value));
  return address && subnetOf(address, prefix?.len ?? bitsOf(familyOf(address)));
}

function readVerdict(statement: NftStatement): Pick<FirewallRule, 'verdict'> | undefined {
  if ('return' in statement) return { verdict: 'return' };
  if ('accept' in statement) return { verdict: 'accept' };
  if (!('masquerade' in statement)) return undefined;
  const { flags } = (statement.masquerade ?? {}) as { flags?: string | string[] };
  const printed = [flags ?? []].flat().join(',');
  if (printed === '') return { verdict: 'masquerade' };
  return printed === 'fully-random' ? { verdict: 'masquerade fully-random' } : undefined;
}

/** Statements that let a packet go on to the next one. */
const TRANSPARENT = new Set(['counter', 'log', 'comment']);

/** A rule of somebody's filter, as far as it matters to the way of the overlay's packets. */
export function readNftFilterRule({ expr = [] }: NftRule): FilterRule {
  let input: InterfaceMatch | undefined;
  let output: InterfaceMatch | undefined;
  let isSpecial = false;
  let action: FilterRule['action'] = 'other';
  for (const statement of expr) {
    const match = statement.match as Match | undefined;
    const key = match?.left.meta?.key;
    if (match) {
      const names = interfaceMatch(match);
      if (names && (key === 'iifname' || key === 'iif')) input = names;
      else if (names && (key === 'oifname' || key === 'oif')) output = names;
      else isSpecial = true;
      continue;
    }
    const [name] = Object.keys(statement);
    if (name === 'accept' || name === 'drop' || name === 'return') action = name;
    else if (name === 'reject') action = 'drop';
    else if (name === 'jump' || name === 'goto') {
      action = { jump: (statement[name] as { target: string }).target, isFinal: name === 'goto' };
    } else if (name === 'vmap' && isByInterface(statement)) {
      action = 'jump by map';
    } else if (!TRANSPARENT.has(name ?? '')) isSpecial = true;
  }
  return { input, output, isSpecial, action };
}

function isByInterface({ vmap }: NftStatement): boolean {
  const { key } = vmap as { key?: { meta?: { key?: string } } };
  return ['iifname', 'oifname', 'iif', 'oif'].includes(key?.meta?.key ?? '');
}

/** Docker's way (29, with nftables of its own) to keep everybody but its own bridge from a container: `ip daddr ADDRESS iifname != BRIDGE drop`. */
export function isBridgeGuard(rule: NftRule): boolean {
  const { input, action } = readNftFilterRule(rule);
  const hasDestination = (rule.expr ?? []).some(
    ({ match }) => (match as Match | undefined)?.left.payload?.field === 'daddr',
  );
  return input?.negated === true && action === 'drop' && hasDestination;
}

function interfaceMatch({ op, right }: Match): InterfaceMatch | undefined {
  const names = typeof right === 'string' ? [right] : (right as { set?: unknown } | null)?.set;
  // A named set (`@zone`) and anything but names are a special case.
  const isReadable =
    Array.isArray(names) && names.every((name) => typeof name === 'string' && !name.startsWith('@'));
  return isReadable ? { names: names as string[], negated: op === '!=' } : undefined;
}

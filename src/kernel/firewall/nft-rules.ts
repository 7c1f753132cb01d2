/** Our rules as expressions of nf_tables; nft(8) lists them in its own words, which are ours. */
import {
  addressToBytes,
  bitsOf,
  bytesToAddress,
  subnetOf,
  type Family,
  type Subnet,
} from '../../model/address';
import { printFirewallRule, type AddressMatch, type FirewallRule } from '../../model/firewall';
import { Base, RANDOM_FULLY, prefixMask, type RuleWriter } from '../nftables/expressions';
import { TableFamily, Verdict } from '../nftables/messages';
import type { Statement } from '../nftables/rule-reader';
import { NFT_FAMILY } from './nft-syntax';

/** Where the addresses are in a packet's header. */
const SOURCE: Readonly<Record<Family, number>> = { ipv4: 12, ipv6: 8 };
const DESTINATION: Readonly<Record<Family, number>> = { ipv4: 16, ipv6: 24 };
/** IFNAMSIZ */
const NAME_BYTES = 16;

/** The rule in a table of that family; in one of both families it first asks for packets of its own. */
export function writeFirewallRule(
  rule: FirewallRule,
  family: Family,
  table: TableFamily,
  to: RuleWriter,
): void {
  const { mark, source, destination, input, verdict } = rule;
  if (mark) to.meta('mark', 0).mask(0, hostOrder(mark.mask)).is(0, hostOrder(mark.value));
  if (table === 'inet') to.meta('nfproto', 0).is(0, Uint8Array.of(TableFamily[NFT_FAMILY[family]]));
  if (source) writeMatch(source, family, SOURCE[family], to);
  if (destination) writeMatch(destination, family, DESTINATION[family], to);
  if (input !== undefined) to.meta('iifname', 0).is(0, Buffer.from(input.padEnd(NAME_BYTES, '\0')));
  if (verdict === 'accept' || verdict === 'return') to.verdict(verdict);
  else to.masquerade(verdict === 'masquerade fully-random');
}

function writeMatch({ subnet, negated }: AddressMatch, family: Family, offset: number, to: RuleWriter): void {
  const bits = bitsOf(family);
  to.load('network', offset, bits / 8, 0);
  if (subnet.prefixLength < bits) to.mask(0, prefixMask(family, subnet.prefixLength));
  if (negated) to.isNot(0, addressToBytes(subnet.address));
  else to.is(0, addressToBytes(subnet.address));
}

/** As the kernel has a packet's mark. */
function hostOrder(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** A rule of ours as {@link printFirewallRule} prints it, whoever wrote it; else the names of what it does. */
export function readFirewallRule(statements: readonly Statement[], family: Family): string {
  const rule = readParts(statements, family);
  if (rule?.verdict) return printFirewallRule(rule as FirewallRule);
  const names = statements.map((each) => (each.kind === 'other' ? each.name : each.kind));
  return `unknown rule: ${names.join(' ')}`;
}

function readParts(statements: readonly Statement[], family: Family): Partial<FirewallRule> | undefined {
  let rule: Partial<FirewallRule> = {};
  let loaded: Loaded | undefined;
  let mask: Buffer | undefined;
  for (const statement of statements) {
    if (statement.kind === 'meta' || statement.kind === 'payload') {
      [loaded, mask] = [statement, undefined];
      continue;
    }
    if (statement.kind === 'mask') {
      mask = statement.mask;
      continue;
    }
    const part =
      statement.kind === 'compare'
        ? loaded && readMatch(loaded, mask, statement, family)
        : readEnd(statement);
    if (!part || rule.verdict || Object.keys(part).some((key) => key in rule)) return undefined;
    rule = { ...rule, ...part };
  }
  return rule;
}

type Loaded = Extract<Statement, { kind: 'meta' | 'payload' }>;
type Compare = Extract<Statement, { kind: 'compare' }>;

function readMatch(
  loaded: Loaded,
  mask: Buffer | undefined,
  { value, isEqual }: Compare,
  family: Family,
): Partial<FirewallRule> | undefined {
  if (loaded.kind === 'payload') {
    const subnet = loaded.base === Base.network ? readPrefix(value, mask, loaded.length, family) : undefined;
    const match = subnet && { subnet, negated: !isEqual };
    if (match && loaded.offset === SOURCE[family]) return { source: match };
    return match && loaded.offset === DESTINATION[family] ? { destination: match } : undefined;
  }
  if (!isEqual) return undefined;
  if (loaded.key === 'mark' && mask)
    return { mark: { value: fromHostOrder(value), mask: fromHostOrder(mask) } };
  if (loaded.key === 'iifname' && !mask) return { input: value.toString('utf8').replace(/\0+$/, '') };
  return undefined;
}

/** nft(8) loads no more bytes of an address than the prefix has, where it has whole ones. */
function readPrefix(
  value: Buffer,
  mask: Buffer | undefined,
  length: number,
  family: Family,
): Subnet | undefined {
  const bytes = bitsOf(family) / 8;
  if (length > bytes || value.length < length) return undefined;
  const address = Buffer.alloc(bytes);
  value.copy(address, 0, 0, length);
  const prefixLength = mask ? prefixLengthOf(mask.subarray(0, length)) : length * 8;
  return prefixLength === undefined ? undefined : subnetOf(bytesToAddress(address), prefixLength);
}

function prefixLengthOf(mask: Uint8Array): number | undefined {
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, '').length : undefined;
}

function readEnd(statement: Statement): Pick<FirewallRule, 'verdict'> | undefined {
  if (statement.kind === 'masquerade') {
    if (statement.flags === 0) return { verdict: 'masquerade' };
    return statement.flags === RANDOM_FULLY ? { verdict: 'masquerade fully-random' } : undefined;
  }
  if (statement.kind !== 'verdict') return undefined;
  if (statement.code === Verdict.accept) return { verdict: 'accept' };
  return statement.code === Verdict.return ? { verdict: 'return' } : undefined;
}

function fromHostOrder(bytes: Uint8Array): number {
  return new Uint32Array(Uint8Array.from(bytes).buffer)[0]!;
}

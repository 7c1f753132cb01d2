/** Our rules as expressions of nf_tables; nft(8) lists them in its own words, which are ours. */
import { addressToBytes, bitsOf, type Family } from '../../model/address';
import type { AddressMatch, FirewallRule } from '../../model/firewall';
import { prefixMask, type RuleWriter } from '../nftables/expressions';
import { TableFamily } from '../nftables/messages';
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

/** The sets and rules by which only peers get in at the VXLAN port. */
import { addressToBytes, bitsOf, familyOf, type Family } from '../../model/address';
import type { AdmissionTerms } from '../../model/admission';
import { putChain } from '../nftables/chains';
import { prefixMask, type Register, type RuleWriter } from '../nftables/expressions';
import { CREATE, CREATE_LAST, NftMessage } from '../nftables/messages';
import type { Put } from '../nftables/nfnetlink';
import { putRule } from '../nftables/rules';
import type { SetSpec } from '../nftables/sets';

/** Before other filters: what they accept must not be more than we do, and what we drop need not be looked at. */
const PRIORITY = -5;
/** In bytes: Linux keeps 256 of user data for a rule. All IPv4 terms are shorter. */
const LONGEST_COMMENT = 250;
const UDP = 17;
/**
 * Where things are behind the first byte of the UDP header: UDP 8 bytes, VXLAN 8, Ethernet 14, then the inner packet. Packets
 * are whole at the input hook: fragments were put together before.
 */
const DESTINATION_PORT = 2;
const VNI = 12;
const INNER_PROTOCOL = 28;
const INNER = 30;
interface Sender {
  readonly protocol: number;
  readonly at: number;
}
/** The protocols of inner packets that name a sender, and where. ARP is how hosts without our entries resolve peers. */
const SENDERS: Readonly<Record<Family, readonly Sender[]>> = {
  ipv4: [
    { protocol: 0x0800, at: INNER + 12 },
    { protocol: 0x0806, at: INNER + 14 },
  ],
  ipv6: [{ protocol: 0x86dd, at: INNER + 8 }],
};
const NFPROTO: Readonly<Record<Family, number>> = { ipv4: 2, ipv6: 10 };
const OUTER_SOURCE: Readonly<Record<Family, number>> = { ipv4: 12, ipv6: 8 };
const OUTER_DESTINATION: Readonly<Record<Family, number>> = { ipv4: 16, ipv6: 24 };
/** The set of those who were refused. */
export const STRANGERS = { name: 'strangers', size: 64, milliseconds: 600_000 };
/** The set of those who may send at all. */
export const HOSTS = 'hosts';

/** The set of those whose subnets have that length: who sends what, the outer source and the inner one's prefix. */
export function sourcesOf(prefixLength: number): string {
  return `sources${prefixLength}`;
}

export function setsOf({ network, family, lengths }: AdmissionTerms): SetSpec[] {
  const inner = familyOf(network.address);
  const part = { offset: SENDERS[inner][0]!.at, length: bitsOf(inner) / 8 };
  const { name, size, milliseconds } = STRANGERS;
  return [
    ...lengths.map((length) => ({ name: sourcesOf(length), source: family, part })),
    { name: HOSTS, source: family },
    { name, source: family, learned: { size, milliseconds } },
  ];
}

export interface Rule {
  readonly chain: 'guard' | 'input' | 'forward';
  readonly write: (rule: RuleWriter) => void;
}

export function writeRules(put: Put, table: string, text: string, rules: readonly Rule[]): void {
  put(NftMessage.NEWCHAIN, CREATE, (writer) => putChain(writer, table, 'guard'));
  for (const chain of ['input', 'forward'] as const) {
    const entry = { type: 'filter', hook: chain, priority: PRIORITY } as const;
    put(NftMessage.NEWCHAIN, CREATE, (writer) => putChain(writer, table, chain, entry));
  }
  for (const [i, { chain, write }] of rules.entries()) {
    put(NftMessage.NEWRULE, CREATE_LAST, (writer) =>
      putRule(writer, { table, chain }, commentOf(text, i, rules.length), write),
    );
  }
}

/**
 * Only packets of our VXLAN network are looked at: the bytes of others mean something else there. The common case comes first
 * and costs one look-up; what remains is from a stranger, or from a peer but not from its subnet. Frames of other protocols than
 * those that are looked into are dropped: the kernel would take the tag off a frame of 802.1Q, and what is behind it was not checked.
 * Nor is anything forwarded to a peer's VXLAN port, but from peers, and by an interface by which they are reached: a container's packet
 * would be masqueraded and come from this host, and who may open raw sockets, as in Docker's containers, can forge a peer's address.
 * As `nft list` has it:
 *
 *     chain guard {
 *       @th,224,16 0x0800 ip saddr . @th,336,32 & 0xffffff00 @sources24 accept
 *       ip saddr != @hosts update @strangers { ip saddr timeout 10m }
 *       ip saddr != @hosts counter drop
 *       @th,224,16 0x0806 ip saddr . @th,352,32 & 0xffffff00 @sources24 accept      an ARP sender
 *       @th,224,16 0x0800 @th,336,32 & 0xffff0000 == 0xa050000 counter drop                               ours, or another peer's
 *       @th,224,16 0x0806 @th,352,32 & 0xffff0000 == 0xa050000 counter drop
 *       @th,224,16 != 0x0800 @th,224,16 != 0x0806 counter drop
 *     }
 *     chain input { meta nfproto ipv4 udp dport 8472 @th,96,24 1 jump guard }
 *     chain forward {
 *       udp dport 8472 ip daddr @hosts ip saddr != @hosts counter drop
 *       udp dport 8472 ip daddr @hosts fib saddr . iif oif 0 counter drop
 *     }
 */
export function rulesOf(terms: AdmissionTerms, hasFib = true): Rule[] {
  return [...guardRules(terms), inputRule(terms), ...forwardRules(terms, hasFib)];
}

function guardRules({ network, family, lengths }: AdmissionTerms): Rule[] {
  const inner = familyOf(network.address);
  const [first, ...others] = SENDERS[inner];
  const guard = (write: Rule['write']): Rule => ({ chain: 'guard', write });
  const acceptPeers = (sender: Sender): Rule[] =>
    lengths.map((length) => guard((rule) => acceptPeer(rule, sender, family, inner, length)));
  return [
    ...acceptPeers(first!),
    guard((rule) =>
      loadSource(rule, family).isNotIn(0, HOSTS).remember(0, STRANGERS.name, STRANGERS.milliseconds),
    ),
    guard((rule) => loadSource(rule, family).isNotIn(0, HOSTS).count().verdict('drop')),
    ...others.flatMap(acceptPeers),
    ...SENDERS[inner].map(({ protocol, at }) =>
      guard((rule) => {
        isInner(rule, protocol).load('transport', at, bitsOf(inner) / 8, 0);
        if (network.prefixLength < bitsOf(inner)) rule.mask(0, prefixMask(inner, network.prefixLength));
        rule.is(0, addressToBytes(network.address)).count().verdict('drop');
      }),
    ),
    guard((rule) => {
      for (const { protocol } of SENDERS[inner])
        rule.load('transport', INNER_PROTOCOL, 2, 0).isNot(0, bigEndian(protocol, 2));
      rule.count().verdict('drop');
    }),
  ];
}

function acceptPeer(rule: RuleWriter, sender: Sender, family: Family, inner: Family, length: number): void {
  const register: Register = bitsOf(family) / 8 / 4;
  loadSource(isInner(rule, sender.protocol), family).load(
    'transport',
    sender.at,
    bitsOf(inner) / 8,
    register,
  );
  if (length < bitsOf(inner)) rule.mask(register, prefixMask(inner, length));
  rule.isIn(0, sourcesOf(length)).verdict('accept');
}

function inputRule({ port, vni }: AdmissionTerms): Rule {
  const write = (rule: RuleWriter) =>
    toPort(rule, port).load('transport', VNI, 3, 0).is(0, bigEndian(vni, 3)).jump('guard');
  return { chain: 'input', write };
}

function forwardRules({ port, family }: AdmissionTerms, hasFib: boolean): Rule[] {
  const toPeer = (rule: RuleWriter) =>
    ofFamily(toPort(rule, port), family)
      .load('network', OUTER_DESTINATION[family], bitsOf(family) / 8, 0)
      .isIn(0, HOSTS);
  const fromStranger = (rule: RuleWriter) =>
    toPeer(rule)
      .load('network', OUTER_SOURCE[family], bitsOf(family) / 8, 0)
      .isNotIn(0, HOSTS)
      .count()
      .verdict('drop');
  const byOtherInterface = (rule: RuleWriter) =>
    toPeer(rule).returnInterface(0).is(0, bigEndian(0, 4)).count().verdict('drop');
  return (hasFib ? [fromStranger, byOtherInterface] : [fromStranger]).map((write) => ({
    chain: 'forward',
    write,
  }));
}

function loadSource(rule: RuleWriter, family: Family): RuleWriter {
  return ofFamily(rule, family).load('network', OUTER_SOURCE[family], bitsOf(family) / 8, 0);
}

function toPort(rule: RuleWriter, port: number): RuleWriter {
  return rule
    .meta('l4proto', 0)
    .is(0, Buffer.from([UDP]))
    .load('transport', DESTINATION_PORT, 2, 0)
    .is(0, bigEndian(port, 2));
}

function ofFamily(rule: RuleWriter, family: Family): RuleWriter {
  return rule.meta('nfproto', 0).is(0, Buffer.from([NFPROTO[family]]));
}

function isInner(rule: RuleWriter, protocol: number): RuleWriter {
  return rule.load('transport', INNER_PROTOCOL, 2, 0).is(0, bigEndian(protocol, 2));
}

/** Each rule says what it is one of, and which: so a missing, moved or strange one is seen without reading expressions. */
function commentOf(terms: string, index: number, count: number): string {
  return `${index + 1}/${count} ${terms}`.slice(0, LONGEST_COMMENT);
}

/** What the rules with these comments are for, all of them, in order; undefined where one is missing, moved or strange. */
export function termsOf(comments: readonly string[]): string | undefined {
  const [, count, terms] = /^1\/(\d+) (.*)$/.exec(comments[0] ?? '') ?? [];
  if (terms === undefined || comments.length !== Number(count)) return undefined;
  return comments.every((comment, i) => comment === commentOf(terms, i, comments.length)) ? terms : undefined;
}

function bigEndian(value: number, bytes: number): Uint8Array {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

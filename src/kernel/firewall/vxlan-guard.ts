/** Keeps strangers from our VXLAN port: a table of our own in nftables. */
import {
  addressToInteger,
  bitsOf,
  familyOf,
  integerToAddress,
  printSubnet,
  sizeOf,
  subnet,
  type Subnet,
} from '../../model/address';
import {
  printAdmissionTerms,
  printAdmittedPeer,
  type Admission,
  type AdmittedPeer,
  type InstalledAdmission,
} from '../../model/admission';
import { HostError } from '../../model/errors';
import type { VxlanGuard } from '../../ports';
import type { Execute } from './execute';
import { NFT_FAMILY, type NftRule } from './nft-syntax';

/**
 * Where things are behind the UDP header's first byte, in bits: UDP 8 bytes, VXLAN 8, Ethernet 14, then the inner packet.
 * Packets are whole at the input hook: fragments were put together before.
 */
const VNI = '@th,96,24';
const INNER_PROTOCOL = '@th,224,16';
const INNER = {
  ipv4: { protocol: '0x0800', source: 240 + 96 },
  ipv6: { protocol: '0x86dd', source: 240 + 64 },
} as const;
/** Before other filters: what they accept must not be more than we do, and what we drop need not be looked at. */
const PRIORITY = -5;
/** Linux takes no longer comment. */
const LONGEST_COMMENT = 128;

/** A set's element: an address, or an address and a range of numbers (a number alone where it has but one). */
type Element =
  string | { readonly concat: readonly [string, Value | { readonly range: readonly [Value, Value] }] };
/** 128 bits are told as text. */
type Value = number | string;

export class NftVxlanGuard implements VxlanGuard {
  constructor(private readonly execute: Execute) {}

  async observe(link: string, signal: AbortSignal): Promise<InstalledAdmission | undefined> {
    const table = tableOf(link);
    if (!(await this.#isThere(table, signal))) return undefined;
    const objects = await this.#list<{ rule?: NftRule; set?: { name: string; elem?: Element[] } }>(
      `table inet ${table}`,
      signal,
    );
    const elements = (name: string) => objects.find(({ set }) => set?.name === name)?.set?.elem ?? [];
    const comments = objects.flatMap(({ rule }) => (rule ? [rule.comment ?? ''] : []));
    const terms = termsOf(comments);
    if (!terms) return { terms: undefined, peers: new Set() };
    const peers = elements('sources').map((element) => printElement(element, terms));
    const outer = new Set(peers.map((peer) => peer.split(' ')[0]));
    const isWhole =
      elements('peers').length === outer.size && elements('peers').every((ip) => outer.has(ip as string));
    return { terms: isWhole ? terms : undefined, peers: new Set(peers) };
  }

  async install(admission: Admission, signal: AbortSignal): Promise<void> {
    const { link, peers, family } = admission;
    const table = tableOf(link);
    const outer = [...new Set(peers.map(({ publicIp }) => publicIp))];
    const elements = (texts: readonly string[]) =>
      texts.length > 0 ? [`    elements = { ${texts.join(', ')} }`] : [];
    const terms = printAdmissionTerms(admission);
    const { guard, input } = rulesOf(admission);
    await this.#run(
      [
        `add table inet ${table}`,
        `delete table inet ${table}`,
        `table inet ${table} {`,
        '  set peers {',
        `    type ${family}_addr`,
        ...elements(outer),
        '  }',
        '  set sources {',
        `    typeof ${keyOf(admission)}`,
        // Ranges cost half a microsecond for each packet.
        ...(admission.prefixLength === undefined ? ['    flags interval'] : []),
        ...elements(peers.map((peer) => elementOf(peer, admission))),
        '  }',
        '  chain guard {',
        ...guard.map((rule, i) => `    ${rule} comment "${commentOf(terms, i)}"`),
        '  }',
        '  chain input {',
        `    type filter hook input priority ${PRIORITY}; policy accept;`,
        ...input.map((rule, i) => `    ${rule} comment "${commentOf(terms, guard.length + i)}"`),
        '  }',
        '}',
      ],
      signal,
    );
  }

  async change(
    admission: Admission,
    add: readonly AdmittedPeer[],
    remove: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const table = tableOf(admission.link);
    const kept = new Set(admission.peers.map(({ publicIp }) => publicIp));
    const gone = remove.map(readAdmittedPeer);
    const outerGone = new Set(gone.map(({ publicIp }) => publicIp).filter((publicIp) => !kept.has(publicIp)));
    const line = (verb: string, set: string, elements: readonly string[]) =>
      elements.length > 0 ? [`${verb} element inet ${table} ${set} { ${elements.join(', ')} }`] : [];
    await this.#run(
      [
        ...line('add', 'peers', [...new Set(add.map(({ publicIp }) => publicIp))]),
        ...line(
          'add',
          'sources',
          add.map((peer) => elementOf(peer, admission)),
        ),
        ...line(
          'delete',
          'sources',
          gone.map((peer) => elementOf(peer, admission)),
        ),
        ...line('delete', 'peers', [...outerGone]),
      ],
      signal,
    );
  }

  async remove(link: string, signal: AbortSignal): Promise<void> {
    await this.#run([`add table inet ${tableOf(link)}`, `delete table inet ${tableOf(link)}`], signal);
  }

  async #isThere(name: string, signal: AbortSignal): Promise<boolean> {
    try {
      const tables = await this.#list<{ table?: { family: string; name: string } }>('tables', signal);
      return tables.some(({ table }) => table?.family === 'inet' && table.name === name);
    } catch (error) {
      // Without nft nobody can have made it.
      if (error instanceof HostError && error.code === 'ENOENT') return false;
      throw error;
    }
  }

  async #run(lines: readonly string[], signal: AbortSignal): Promise<void> {
    await this.execute('nft', ['-f', '-'], lines.join('\n') + '\n', signal);
  }

  async #list<T>(what: string, signal: AbortSignal): Promise<T[]> {
    const text = await this.execute('nft', ['-j', 'list', ...what.split(' ')], undefined, signal);
    try {
      // JSON.parse would round numbers of 64 bits.
      const exact = text.replaceAll(/(?<=[[\s,:])-?\d{16,}(?=[\s,\]}])/g, '"$&"');
      return (JSON.parse(exact) as { nftables: T[] }).nftables;
    } catch (cause) {
      throw new HostError('FAILED', `cannot read the answer of 'nft -j list ${what}'`, { cause });
    }
  }
}

function tableOf(link: string): string {
  return `vtepd-admission-${link}`;
}

/**
 * Only packets of our VXLAN network are looked at: the bytes of others mean something else there. The common case comes first
 * and costs one look-up; what remains is from a stranger, or from a peer but not from its subnet.
 */
function rulesOf(admission: Admission): Record<'input' | 'guard', string[]> {
  const { port, vni, network, family } = admission;
  const { protocol, source } = INNER[familyOf(network.address)];
  return {
    input: [`udp dport ${port} ${VNI} ${vni} jump guard`],
    guard: [
      `${keyOf(admission)} @sources accept`,
      // The other family's packets are strangers', too.
      `meta nfproto != ${family} drop`,
      `${NFT_FAMILY[family]} saddr != @peers drop`,
      `${INNER_PROTOCOL} ${protocol} @th,${source},${network.prefixLength} ${prefixOf(network)} drop`,
    ],
  };
}

/** Who sends what: the outer source, and the inner one or as much of it as all subnets have in their prefix. */
function keyOf({ network, family, prefixLength }: Admission): string {
  const inner = familyOf(network.address);
  return `${NFT_FAMILY[family]} saddr . @th,${INNER[inner].source},${prefixLength ?? bitsOf(inner)}`;
}

/** Each rule says what it is one of, and which: so a missing, moved or strange one is seen without reading expressions. */
function commentOf(terms: string, index: number): string {
  return `${index} ${terms}`.slice(0, LONGEST_COMMENT);
}

const RULES = 5;

function termsOf(comments: readonly string[]): string | undefined {
  const terms = comments[0]?.slice(2);
  if (!terms || comments.length !== RULES) return undefined;
  return comments.every((comment, i) => comment === commentOf(terms, i)) ? terms : undefined;
}

function prefixOf(network: Subnet): string {
  const bits = bitsOf(familyOf(network.address));
  return hex(addressToInteger(network.address) >> BigInt(bits - network.prefixLength));
}

/** `192.168.0.2 . 0xa0502`, or `192.168.0.2 . 0xa050200-0xa0502ff` where lengths differ. */
function elementOf({ publicIp, subnet: range }: AdmittedPeer, { prefixLength }: Admission): string {
  if (prefixLength !== undefined) return `${publicIp} . ${prefixOf(range)}`;
  const first = addressToInteger(range.address);
  const last = first + sizeOf(familyOf(range.address), range.prefixLength) - 1n;
  return `${publicIp} . ${hex(first)}${last === first ? '' : `-${hex(last)}`}`;
}

/** An element, as {@link printAdmittedPeer} prints it; `terms` say how to read it. */
function printElement(element: Element, terms: string): string {
  if (typeof element === 'string') return element;
  const family = /network \S*:/.test(terms) ? 'ipv6' : 'ipv4';
  const bits = bitsOf(family);
  const [publicIp, value] = element.concat;
  const [first, last] = (typeof value === 'object' ? value.range : [value, value]).map(BigInt) as [
    bigint,
    bigint,
  ];
  const common = /by \/(\d+)/.exec(terms)?.[1];
  const prefixLength = common ? Number(common) : bits - ((last - first + 1n).toString(2).length - 1);
  // JSON has 64 bits with a sign.
  const prefix = BigInt.asUintN(prefixLength, first);
  const address = integerToAddress(family, common ? prefix << BigInt(bits - prefixLength) : first);
  return `${publicIp} ${printSubnet({ address, prefixLength })}`;
}

/** The inverse of {@link printAdmittedPeer}. */
function readAdmittedPeer(text: string): AdmittedPeer {
  const [publicIp, range] = text.split(' ') as [AdmittedPeer['publicIp'], string];
  const peer = { publicIp, subnet: subnet(range) };
  if (printAdmittedPeer(peer) !== text) throw new RangeError(`not an admitted peer: '${text}'`);
  return peer;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** Keeps strangers from our VXLAN port: a table of our own in nf_tables, written without any tool. */
import { openMonitor } from '../../../native';
import {
  addressToBytes,
  bitsOf,
  bytesToAddress,
  familyOf,
  integerToAddress,
  type Family,
  type IpAddress,
} from '../../model/address';
import {
  printAdmissionTerms,
  type Admission,
  type AdmissionChange,
  type AdmissionTerms,
  type AdmittedPeer,
  type InstalledAdmission,
} from '../../model/admission';
import { KernelError } from '../../model/errors';
import type { VxlanGuard } from '../../ports';
import type { Message } from '../message';
import { openNfnetlink, type Nfnetlink, type Put } from '../nfnetlink';
import { listenToTable } from './change-monitor';
import {
  CREATE,
  CREATE_LAST,
  ELEMENTS_PER_MESSAGE,
  NftMessage,
  eachKey,
  isDormant,
  putChain,
  putElements,
  putQuestion,
  putRule,
  putSet,
  putTable,
  readComment,
  readTable,
  Hook,
  type Key,
  type Register,
  type RuleWriter,
  type SetSpec,
} from './nft-messages';

const NFGENMSG_BYTES = 4;
/** A kernel without nf_tables, or without netfilter. */
const ABSENT = ['EOPNOTSUPP', 'EPROTONOSUPPORT', 'ENOENT'];
/** Ours, by its name. */
const TABLE_PREFIX = 'vtepd-admission-';
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
/** The protocols of inner packets that name a sender, and where. ARP is how hosts without our entries resolve peers. */
const SENDERS: Readonly<Record<Family, readonly { readonly protocol: number; readonly at: number }[]>> = {
  ipv4: [
    { protocol: 0x0800, at: INNER + 12 },
    { protocol: 0x0806, at: INNER + 14 },
  ],
  ipv6: [{ protocol: 0x86dd, at: INNER + 8 }],
};
const NFPROTO: Readonly<Record<Family, number>> = { ipv4: 2, ipv6: 10 };
const OUTER_SOURCE: Readonly<Record<Family, number>> = { ipv4: 12, ipv6: 8 };
const OUTER_DESTINATION: Readonly<Record<Family, number>> = { ipv4: 16, ipv6: 24 };
const STRANGERS = { name: 'strangers', size: 64, milliseconds: 600_000 };
/** Elements that fit into one transaction: the kernel takes it as one message of at most two megabytes. */
const ELEMENTS_AT_ONCE = 32_768;

/** The guards of our network namespace. Opens sockets when they are needed. */
export function openVxlanGuard(): VxlanGuard & { close(): void } {
  return new LinuxVxlanGuard();
}

class LinuxVxlanGuard implements VxlanGuard {
  #netlink: Nfnetlink | undefined;

  observe(link: string): InstalledAdmission | undefined {
    const table = tableOf(link);
    const found = this.#tables().find((each) => each.link === link);
    if (!found) return undefined;
    const rules = this.#dump(NftMessage.GETRULE, (writer) => putQuestion(writer, table));
    const terms = termsOf(
      rules.map(({ buffer, start, end }) => readComment(buffer, start + NFGENMSG_BYTES, end)),
    );
    if (terms === undefined || found.isDormant) return { terms: undefined, peers: [], strangers: [] };
    const peers: AdmittedPeer[] = [];
    const [, lengths = '', family = 'ipv4'] = / by (\S+) from (\S+) v\d+$/.exec(terms) ?? [];
    for (const length of lengths.split(',')) {
      const prefixLength = Number(length.slice(1));
      const split = bitsOf(family as Family) / 8;
      this.#eachKey(table, sourcesOf(prefixLength), (buffer, start, end) => {
        const address = addressAt(buffer, start + split, end);
        peers.push({ publicIp: addressAt(buffer, start, start + split), subnet: { address, prefixLength } });
      });
    }
    const hosts = this.#hosts(table, 'hosts');
    const wanted = new Set(peers.map(({ publicIp }) => publicIp));
    const isWhole = hosts.length === wanted.size && hosts.every((host) => wanted.has(host));
    const strangers = this.#hosts(table, STRANGERS.name);
    return { terms: isWhole ? terms : undefined, peers, strangers };
  }

  install(admission: Admission): void {
    const hosts = [...new Set(admission.peers.map(({ publicIp }) => publicIp))];
    const elements = [...keysOf(admission.peers), ...hostKeysOf(hosts)];
    const parts = Math.max(1, Math.ceil(elements.length / ELEMENTS_AT_ONCE));
    try {
      this.#install(admission, elements, parts, rulesOf(admission));
    } catch (error) {
      if (!(error instanceof KernelError && ABSENT.includes(error.code))) throw error;
      // Without nft_fib, forged sources are left to others, such as rp_filter.
      this.#install(admission, elements, parts, rulesOf(admission, false));
    }
  }

  #install(admission: Admission, elements: readonly Element[], parts: number, rules: readonly Rule[]): void {
    const table = tableOf(admission.link);
    // The rules come with the last part: until then anybody may send, and no peer is refused.
    for (let i = 0; i < parts; i++) {
      const part = elements.slice(i * ELEMENTS_AT_ONCE, (i + 1) * ELEMENTS_AT_ONCE);
      this.#transact((put) => {
        if (i === 0) {
          removeTable(put, table);
          put(NftMessage.NEWTABLE, CREATE, (writer) => putTable(writer, table));
          for (const [id, set] of setsOf(admission).entries()) {
            put(NftMessage.NEWSET, CREATE, (writer) => putSet(writer, table, set, id + 1));
          }
        }
        writeElements(put, NftMessage.NEWSETELEM, table, part);
        if (i === parts - 1) writeRules(put, table, printAdmissionTerms(admission), rules);
      });
    }
  }

  change({ link }: AdmissionTerms, change: AdmissionChange): void {
    const added = [...keysOf(change.admitted), ...hostKeysOf(change.admittedHosts)];
    const removed = [...keysOf(change.refused), ...hostKeysOf(change.refusedHosts)];
    if (added.length + removed.length === 0) return;
    this.#transact((put) => {
      writeElements(put, NftMessage.NEWSETELEM, tableOf(link), added);
      writeElements(put, NftMessage.DELSETELEM, tableOf(link), removed);
    });
  }

  remove(link: string): void {
    this.#transact((put) => removeTable(put, tableOf(link)));
  }

  links(): readonly string[] {
    return this.#tables().map(({ link }) => link);
  }

  listen(link: string, onChange: () => void, signal: AbortSignal): void {
    listenToTable(openMonitor, { table: tableOf(link), ours: this.#open().portId }, onChange, signal);
  }

  close(): void {
    this.#netlink?.close();
    this.#netlink = undefined;
  }

  #open(): Nfnetlink {
    return (this.#netlink ??= openNfnetlink());
  }

  #transact(write: (put: Put) => void): void {
    this.#open().transact('cannot write the rules of the VXLAN port', write);
  }

  #dump(type: number, write: Parameters<Nfnetlink['dump']>[2]): Message[] {
    return this.#open().dump('cannot read the rules of the VXLAN port', type, write);
  }

  #tables(): { readonly link: string; readonly isDormant: boolean }[] {
    try {
      return this.#dump(NftMessage.GETTABLE, () => undefined).flatMap(({ buffer, start, end }) => {
        const name = readTable(buffer, start + NFGENMSG_BYTES, end) ?? '';
        if (!name.startsWith(TABLE_PREFIX)) return [];
        const link = name.slice(TABLE_PREFIX.length);
        return [{ link, isDormant: isDormant(buffer, start + NFGENMSG_BYTES, end) }];
      });
    } catch (error) {
      // Without nf_tables nobody can have made one.
      if (error instanceof KernelError && ABSENT.includes(error.code)) return [];
      throw error;
    }
  }

  #hosts(table: string, set: string): IpAddress[] {
    const hosts: IpAddress[] = [];
    this.#eachKey(table, set, (buffer, start, end) => hosts.push(addressAt(buffer, start, end)));
    return hosts;
  }

  #eachKey(table: string, set: string, take: (buffer: Buffer, start: number, end: number) => void): void {
    for (const { buffer, start, end } of this.#dump(NftMessage.GETSETELEM, (writer) =>
      putQuestion(writer, table, set),
    )) {
      eachKey(buffer, start + NFGENMSG_BYTES, end, (from, to) => take(buffer, from, to));
    }
  }
}

interface Element extends Key {
  readonly set: string;
}

function tableOf(link: string): string {
  return `${TABLE_PREFIX}${link}`;
}

/** The set of those whose subnets have that length: who sends what, the outer source and the inner one's prefix. */
function sourcesOf(prefixLength: number): string {
  return `sources${prefixLength}`;
}

/** Whether or not it is there: to remove what is not would be refused. */
function removeTable(put: Put, table: string): void {
  put(NftMessage.NEWTABLE, CREATE, (writer) => putTable(writer, table));
  put(NftMessage.DELTABLE, 0, (writer) => putTable(writer, table));
}

function setsOf({ network, family, lengths }: AdmissionTerms): SetSpec[] {
  const inner = familyOf(network.address);
  const part = { offset: SENDERS[inner][0]!.at, length: bitsOf(inner) / 8 };
  const { name, size, milliseconds } = STRANGERS;
  return [
    ...lengths.map((length) => ({ name: sourcesOf(length), source: family, part })),
    { name: 'hosts', source: family },
    { name, source: family, learned: { size, milliseconds } },
  ];
}

function keysOf(peers: readonly AdmittedPeer[]): Element[] {
  return peers.map(({ publicIp, subnet }) => ({
    set: sourcesOf(subnet.prefixLength),
    source: publicIp,
    inner: subnet.address,
  }));
}

function hostKeysOf(hosts: readonly IpAddress[]): Element[] {
  return hosts.map((source) => ({ set: 'hosts', source }));
}

/** IPv4 without a copy: there may be thousands. */
function addressAt(buffer: Buffer, start: number, end: number): IpAddress {
  if (end - start !== 4) return bytesToAddress(buffer.subarray(start, end));
  return `${buffer[start]}.${buffer[start + 1]}.${buffer[start + 2]}.${buffer[start + 3]}` as IpAddress;
}

function writeElements(put: Put, type: number, table: string, elements: readonly Element[]): void {
  const bySet = new Map<string, Element[]>();
  for (const element of elements) {
    const keys = bySet.get(element.set);
    if (keys) keys.push(element);
    else bySet.set(element.set, [element]);
  }
  const flags = type === NftMessage.NEWSETELEM ? CREATE : 0;
  for (const [set, keys] of bySet) {
    for (let at = 0; at < keys.length; at += ELEMENTS_PER_MESSAGE) {
      const end = Math.min(at + ELEMENTS_PER_MESSAGE, keys.length);
      put(type, flags, (writer) => putElements(writer, table, set, keys, at, end));
    }
  }
}

interface Rule {
  readonly chain: 'guard' | 'input' | 'forward';
  readonly write: (rule: RuleWriter) => void;
}

function writeRules(put: Put, table: string, text: string, rules: readonly Rule[]): void {
  put(NftMessage.NEWCHAIN, CREATE, (writer) => putChain(writer, table, 'guard'));
  for (const chain of ['input', 'forward'] as const) {
    const entry = { hook: Hook[chain], priority: PRIORITY };
    put(NftMessage.NEWCHAIN, CREATE, (writer) => putChain(writer, table, chain, entry));
  }
  for (const [i, { chain, write }] of rules.entries()) {
    put(NftMessage.NEWRULE, CREATE_LAST, (writer) =>
      putRule(writer, table, chain, commentOf(text, i, rules.length), write),
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
function rulesOf({ port, vni, network, family, lengths }: AdmissionTerms, hasFib = true): Rule[] {
  const inner = familyOf(network.address);
  const [first, ...others] = SENDERS[inner];
  const source = bitsOf(family) / 8;
  const loadSource = (rule: RuleWriter) => ofFamily(rule).load('network', OUTER_SOURCE[family], source, 0);
  const toPort = (rule: RuleWriter) =>
    rule
      .meta('l4proto', 0)
      .is(0, Buffer.from([UDP]))
      .load('transport', DESTINATION_PORT, 2, 0)
      .is(0, bigEndian(port, 2));
  const ofFamily = (rule: RuleWriter) => rule.meta('nfproto', 0).is(0, Buffer.from([NFPROTO[family]]));
  const toHost = (rule: RuleWriter) =>
    ofFamily(toPort(rule)).load('network', OUTER_DESTINATION[family], source, 0).isIn(0, 'hosts');
  const isInner = (rule: RuleWriter, protocol: number) =>
    rule.load('transport', INNER_PROTOCOL, 2, 0).is(0, bigEndian(protocol, 2));
  const innerRegister: Register = source / 4;
  const acceptPeers = ({ protocol, at }: { protocol: number; at: number }): Rule[] =>
    lengths.map((length) => ({
      chain: 'guard',
      write: (rule) => {
        loadSource(isInner(rule, protocol)).load('transport', at, bitsOf(inner) / 8, innerRegister);
        if (length < bitsOf(inner)) rule.mask(innerRegister, maskOf(inner, length));
        rule.isIn(0, sourcesOf(length)).verdict('accept');
      },
    }));
  return [
    ...acceptPeers(first!),
    {
      chain: 'guard',
      write: (rule) =>
        loadSource(rule).isNotIn(0, 'hosts').remember(0, STRANGERS.name, STRANGERS.milliseconds),
    },
    { chain: 'guard', write: (rule) => loadSource(rule).isNotIn(0, 'hosts').count().verdict('drop') },
    ...others.flatMap(acceptPeers),
    ...SENDERS[inner].map(({ protocol, at }): Rule => ({
      chain: 'guard',
      write: (rule) => {
        isInner(rule, protocol).load('transport', at, bitsOf(inner) / 8, 0);
        if (network.prefixLength < bitsOf(inner)) rule.mask(0, maskOf(inner, network.prefixLength));
        rule.is(0, addressToBytes(network.address)).count().verdict('drop');
      },
    })),
    {
      chain: 'guard',
      write: (rule) => {
        for (const { protocol } of SENDERS[inner])
          rule.load('transport', INNER_PROTOCOL, 2, 0).isNot(0, bigEndian(protocol, 2));
        rule.count().verdict('drop');
      },
    },
    {
      chain: 'input',
      write: (rule) => toPort(rule).load('transport', VNI, 3, 0).is(0, bigEndian(vni, 3)).jump('guard'),
    },
    {
      chain: 'forward',
      write: (rule) =>
        toHost(rule)
          .load('network', OUTER_SOURCE[family], source, 0)
          .isNotIn(0, 'hosts')
          .count()
          .verdict('drop'),
    },
    ...(hasFib
      ? [
          {
            chain: 'forward' as const,
            write: (rule: RuleWriter) =>
              toHost(rule).returnInterface(0).is(0, bigEndian(0, 4)).count().verdict('drop'),
          },
        ]
      : []),
  ];
}

/** Each rule says what it is one of, and which: so a missing, moved or strange one is seen without reading expressions. */
function commentOf(terms: string, index: number, count: number): string {
  return `${index + 1}/${count} ${terms}`.slice(0, LONGEST_COMMENT);
}

function termsOf(comments: readonly string[]): string | undefined {
  const [, count, terms] = /^1\/(\d+) (.*)$/.exec(comments[0] ?? '') ?? [];
  if (terms === undefined || comments.length !== Number(count)) return undefined;
  return comments.every((comment, i) => comment === commentOf(terms, i, comments.length)) ? terms : undefined;
}

function maskOf(family: Family, prefixLength: number): Uint8Array {
  const bits = bitsOf(family);
  return addressToBytes(
    integerToAddress(family, ((1n << BigInt(prefixLength)) - 1n) << BigInt(bits - prefixLength)),
  );
}

function bigEndian(value: number, bytes: number): Uint8Array {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

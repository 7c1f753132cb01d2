/** Keeps strangers from our VXLAN port: a table of our own in nf_tables, written without any tool. */
import { openMonitor } from '../../../native';
import { bitsOf, bytesToAddress, type Family, type IpAddress } from '../../model/address';
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
import {
  CREATE,
  NFGENMSG_BYTES,
  NftMessage,
  isDormant,
  putQuestion,
  putTable,
  readTable,
} from '../nftables/messages';
import { openNfnetlink, type Nfnetlink, type Put } from '../nftables/nfnetlink';
import { readComment } from '../nftables/rules';
import { ELEMENTS_PER_MESSAGE, eachKey, putElements, putSet, type Key } from '../nftables/sets';
import { subscribeToTable } from '../nftables/subscription';
import {
  HOSTS,
  STRANGERS,
  rulesOf,
  setsOf,
  sourcesOf,
  termsOf,
  writeRules,
  type Rule,
} from './admission-rules';

/** A kernel without nf_tables, or without netfilter. */
const ABSENT = ['EOPNOTSUPP', 'EPROTONOSUPPORT', 'ENOENT'];
/** Ours, by its name. */
const TABLE_PREFIX = 'vtepd-admission-';
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
    const hosts = this.#hosts(table, HOSTS);
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
    subscribeToTable(openMonitor, { table: tableOf(link), ours: this.#open().portId }, onChange, signal);
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

/** Whether or not it is there: to remove what is not would be refused. */
function removeTable(put: Put, table: string): void {
  put(NftMessage.NEWTABLE, CREATE, (writer) => putTable(writer, table));
  put(NftMessage.DELTABLE, 0, (writer) => putTable(writer, table));
}

function keysOf(peers: readonly AdmittedPeer[]): Element[] {
  return peers.map(({ publicIp, subnet }) => ({
    set: sourcesOf(subnet.prefixLength),
    source: publicIp,
    inner: subnet.address,
  }));
}

function hostKeysOf(hosts: readonly IpAddress[]): Element[] {
  return hosts.map((source) => ({ set: HOSTS, source }));
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

/** A store that remembers who held what, and when: the truth that invariants are checked against. */
import { judgeLease } from '../../src/core/peers';
import { ipAddress, subnet, printSubnet, type IpAddress } from '../../src/model/address';
import type { Lease } from '../../src/model/lease';
import { parseLease, parseLeaseName, vxlanDataOf } from '../../src/model/lease-codec';
import { macAddress, type MacAddress } from '../../src/model/mac';
import { FakeStore, type Backup } from '../support/fake-registry';

export const SUBNETS = 'subnets/';

export interface Holder {
  /** Of its lease: the last part of its key. */
  readonly name: string;
  readonly mac: MacAddress;
  readonly publicIp: IpAddress;
  /** The first address of the subnet that is leased. */
  readonly subnet: IpAddress;
  /** Since this moment the value cannot be read: who knew the holder keeps him, who did not cannot learn of him. */
  readonly unreadableSince: number | undefined;
}

/** Who is behind a subnet or a MAC from a moment on. */
interface Chapter {
  readonly moment: number;
  readonly holders: readonly Holder[];
}

/** What the last readable value of a key says. */
interface Holding {
  readonly publicIp: IpAddress | undefined;
  readonly isUnreadable: boolean;
  /** undefined: nobody could send to it. */
  readonly peer: Holder | undefined;
}

/** Somebody who is none of the hosts: what is a peer to him is one to everybody. */
const ANYBODY = {
  leaseName: undefined,
  publicIp: ipAddress('203.0.113.1'),
  vtepMac: macAddress('02:ff:ff:ff:ff:ff'),
  vni: 1,
  network: subnet('0.0.0.0/0'),
  subnet: subnet('203.0.113.0/32'),
  guarded: [],
  isNetworkRouted: false,
  occupied: {},
};

/** Moments count the changes of the store; unlike its revisions they never go back. */
export class ObservedStore extends FakeStore {
  #moment = 0;
  readonly #chapters = new Map<string, Chapter[]>();
  /** By key. */
  readonly #holdings = new Map<string, Holding>();
  /** Every PublicIP that a key ever named. */
  readonly #pastHolders = new Map<string, Set<IpAddress>>();
  readonly #keysOfMac = new Map<MacAddress, Set<string>>();

  get moment(): number {
    this.expireLeases();
    return this.#moment;
  }

  override put(key: string, value: string, etcdLeaseId?: string) {
    const entry = super.put(key, value, etcdLeaseId);
    this.#moment++;
    this.#note(key, value);
    return entry;
  }

  override delete(...keys: readonly string[]): void {
    super.delete(...keys);
    this.#moment++;
    for (const key of keys) this.#note(key, undefined);
  }

  override restore(backup: Backup): void {
    const before = [...this.entries.keys()];
    super.restore(backup);
    this.#moment++;
    for (const key of before) if (!backup.entries.has(key)) this.#note(key, undefined);
    for (const [key, { value }] of backup.entries) this.#note(key, value);
  }

  /** The PublicIP of a key's last readable value; undefined when it does not exist, or never had one. */
  holderOf(key: string): IpAddress | undefined {
    return this.#holdings.get(key)?.publicIp;
  }

  isUnreadable(key: string): boolean {
    return this.#holdings.get(key)?.isUnreadable ?? false;
  }

  /** False where the key's value can be read, and is another's; of a value that nobody can read, any past holder may say so. */
  mayWrite(key: string, own: ReadonlySet<IpAddress>): boolean {
    const holding = this.#holdings.get(key);
    if (holding && !holding.isUnreadable) return holding.publicIp !== undefined && own.has(holding.publicIp);
    return [...(this.#pastHolders.get(key) ?? [])].some((holder) => own.has(holder));
  }

  /** True if at some moment between the two (both included) nobody was behind this subnet or MAC, but for those that do not count. */
  wasVacant(
    subnetOrMac: string,
    from: number,
    to: number,
    doesNotCount: (holder: Holder) => boolean,
  ): boolean {
    const chapters = this.#chapters.get(subnetOrMac) ?? [];
    let index = chapters.findLastIndex(({ moment }) => moment <= from);
    if (index < 0) return true;
    // Who cannot be read is somebody only to those who knew him when he could be.
    const readable = chapters[index]!.holders.filter(({ unreadableSince }) => unreadableSince === undefined);
    const known = new Set(readable.map(({ subnet }) => subnet));
    const isNobody = (holder: Holder) =>
      doesNotCount(holder) || (holder.unreadableSince !== undefined && !known.has(holder.subnet));
    for (; index < chapters.length && chapters[index]!.moment <= to; index++) {
      if (chapters[index]!.holders.every(isNobody)) return true;
    }
    return false;
  }

  /** True if at some moment between the two there were two places for one VTEP: then one of the leases need not be believed. */
  wasContested(subnetOrMac: string, from: number, to: number): boolean {
    const chapters = this.#between(subnetOrMac, from, to);
    const macs = new Set(chapters.flatMap(({ holders }) => holders.map(({ mac }) => mac)));
    return [...macs].some((mac) =>
      this.#between(mac, from, to).some(
        ({ holders }) => new Set(holders.map(({ publicIp }) => publicIp)).size > 1,
      ),
    );
  }

  /** What was true at the first of the moments, and what came until the second. */
  #between(subnetOrMac: string, from: number, to: number): readonly Chapter[] {
    const chapters = this.#chapters.get(subnetOrMac) ?? [];
    const first = Math.max(
      0,
      chapters.findLastIndex(({ moment }) => moment <= from),
    );
    const end = chapters.findIndex(({ moment }) => moment > to);
    return chapters.slice(first, end < 0 ? undefined : end);
  }

  #note(key: string, value: string | undefined): void {
    const name = key.startsWith(SUBNETS) ? key.slice(SUBNETS.length) : undefined;
    const subnets = name === undefined ? undefined : parseLeaseName(name);
    if (name === undefined || !subnets) return;
    const before = this.#holdings.get(key);
    const lease = value === undefined ? undefined : leaseOf(name, value);
    const after = value === undefined ? undefined : lease ? holdingOf(lease) : this.#spoiled(before);
    if (before?.peer) this.#keysOfMac.get(before.peer.mac)?.delete(key);
    if (after?.publicIp) {
      const past = this.#pastHolders.get(key);
      if (past) past.add(after.publicIp);
      else this.#pastHolders.set(key, new Set([after.publicIp]));
    }
    if (after) this.#holdings.set(key, after);
    else this.#holdings.delete(key);
    if (after?.peer) {
      const keys = this.#keysOfMac.get(after.peer.mac);
      if (keys) keys.add(key);
      else this.#keysOfMac.set(after.peer.mac, new Set([key]));
    }
    this.#append(printSubnet(subnets.subnet), after?.peer ? [after.peer] : []);
    for (const mac of new Set([before?.peer?.mac, after?.peer?.mac])) {
      if (mac === undefined) continue;
      const keys = [...(this.#keysOfMac.get(mac) ?? [])];
      const holders = keys.map((each) => this.#holdings.get(each)!.peer!);
      this.#append(mac, holders);
    }
  }

  #spoiled(before: Holding | undefined): Holding {
    const peer = before?.peer && {
      ...before.peer,
      unreadableSince: before.peer.unreadableSince ?? this.#moment,
    };
    return { publicIp: before?.publicIp, isUnreadable: true, peer };
  }

  #append(subnetOrMac: string, holders: readonly Holder[]): void {
    const chapter: Chapter = { moment: this.#moment, holders };
    const chapters = this.#chapters.get(subnetOrMac);
    if (chapters) chapters.push(chapter);
    else this.#chapters.set(subnetOrMac, [chapter]);
  }
}

function leaseOf(name: string, value: string): Lease | undefined {
  const parsed = parseLease({ name, value, etcdLeaseId: undefined, modRevision: '0', createRevision: '0' });
  return parsed.kind === 'lease' ? parsed.lease : undefined;
}

function holdingOf(lease: Lease): Holding {
  const { publicIp, backendData } = lease.attributes;
  const isPeer = judgeLease(lease, ANYBODY).kind === 'peer';
  const mac = vxlanDataOf(backendData)?.vtepMac;
  if (!isPeer || !publicIp || !mac) return { publicIp, isUnreadable: false, peer: undefined };
  const peer = { name: lease.name, mac, publicIp, subnet: lease.subnet.address, unreadableSince: undefined };
  return { publicIp, isUnreadable: false, peer };
}

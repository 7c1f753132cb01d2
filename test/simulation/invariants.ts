/** What must hold in every step. Each rule looks at what an agent does, never at what it thinks. */
import { printSubnet, subnetOf, type IpAddress } from '../../src/model/address';
import type { KernelObject } from '../../src/model/kernel-state';
import type { MacAddress } from '../../src/model/mac';
import { printOperation, type Operation } from '../../src/model/operation';
import type { RegistryMethod } from '../support/fake-registry';
import type { Knowledge } from './knowledge';
import { SUBNETS, type Holder, type ObservedStore } from './observed-store';
import type { Scheduler } from './scheduler';

export type Invariant =
  /** Two running agents use one subnet although both have been told otherwise long ago. */
  | 'one owner per subnet'
  /** Two running agents with one PublicIP use one subnet, and neither says so. */
  | 'twins are told'
  /** An agent changes or deletes a key that is another's. */
  | 'no key of another is written'
  /** An agent takes a peer's objects away, though nothing that ever reached it said that the lease has gone. */
  | 'no live peer is removed'
  /** An agent goes over to another subnet without an error in its log. */
  | 'a lost subnet is told'
  /** A host asks the store more often than any trouble can need. */
  | 'requests are bounded'
  /** Long after the last fault something is not as it should be. */
  | 'all converge'
  /** A converged system writes. */
  | 'quiet is quiet'
  /** An agent's code throws, or ends by itself. */
  | 'agents run on';

export interface Violation {
  readonly invariant: Invariant;
  readonly what: string;
  /** Virtual milliseconds. */
  readonly at: number;
  readonly step: number;
}

/** A host, as far as the rules need to know it. */
export interface Suspect {
  readonly name: string;
  /** In the underlay, and so its PublicIP. */
  readonly address: IpAddress;
  /** True while its agent says that another host claims its lease. */
  readonly tellsOfTwin: boolean;
  /** All underlay addresses it ever had. */
  readonly ownAddresses: ReadonlySet<IpAddress>;
  /** The overlay addresses on its link, if an agent is at work. */
  readonly overlayAddresses: readonly IpAddress[];
  /** That of its device, if it has one. */
  readonly vtepMac: MacAddress | undefined;
  /** True if its agent is shown the lease of this name. */
  isShown(name: string): boolean;
  /** True if its kernel holds a neighbor of this key that leads somewhere. */
  hasNeighbor(object: KernelObject): boolean;
  /** Since when nothing has kept its agent from learning and doing what it should, in virtual milliseconds. */
  readonly undisturbedSince: number;
}

/** So long two hosts may use one subnet: backoffs of half a minute in the lease's and the kernel's loop, and room. */
const DETECTION_MILLISECONDS = 90_000;

/** However bad things are for a host, it asks the store no more often than this in a minute. */
const REQUESTS_PER_MINUTE = 120;

export class Invariants {
  readonly violations: Violation[] = [];
  /** Overlay addresses that several running hosts have, and since when. */
  readonly #shared = new Map<IpAddress, number>();
  #users = new Map<IpAddress, Set<Suspect>>();
  readonly #addresses = new Map<Suspect, readonly IpAddress[]>();

  constructor(
    private readonly store: ObservedStore,
    private readonly scheduler: Scheduler,
    private readonly subnetLength: number,
    /** On demand, peers that nobody uses are dropped, too. */
    private readonly dropsIdlePeers: boolean,
  ) {}

  report(invariant: Invariant, what: string): void {
    const { now: at, steps: step } = this.scheduler;
    this.violations.push({ invariant, what, at, step });
    this.scheduler.note(`VIOLATION ${invariant}: ${what}`);
  }

  /** Before the operations that an agent asks for are carried out. */
  checkOperations(host: Suspect, knowledge: Knowledge, operations: readonly Operation[]): void {
    // Nobody can be sent to by a MAC that is our own: of a copied machine, until one of the two has another.
    const isNobody = ({ name, mac, publicIp, subnet }: Holder) =>
      host.ownAddresses.has(publicIp) ||
      mac === host.vtepMac ||
      knowledge.ownSubnets.has(subnet) ||
      !host.isShown(name);
    for (const operation of operations) {
      const { verb, object } = operation;
      if (verb === 'remove' && object.kind === 'link') {
        this.report('no live peer is removed', `${host.name} would ${printOperation(operation)}`);
        continue;
      }
      if (verb === 'put' && object.kind === 'address') knowledge.ownSubnets.add(object.address);
      const subject = this.#peerOf(operation);
      if (subject === undefined) continue;
      if (verb === 'put' && !(object.kind === 'neighbor' && object.state === 'failed')) {
        knowledge.puts(subject);
        continue;
      }
      // Saying "nobody" where the kernel knows of nobody takes nothing away.
      if (verb === 'put' && !host.hasNeighbor(object)) continue;
      const [from, to] = [knowledge.since(subject), knowledge.high];
      const isGone = () =>
        this.store.wasVacant(subject, from, to, isNobody) || this.store.wasContested(subject, from, to);
      const isJustified = knowledge.isInSync && (this.dropsIdlePeers || isGone());
      if (isJustified) continue;
      const why = knowledge.isInSync ? 'nothing told it so' : 'before it was in sync';
      this.report('no live peer is removed', `${host.name} would ${printOperation(operation)}; ${why}`);
    }
  }

  /** Around a call that may write: what returns is to be called after it. */
  watchWrite(host: Suspect, method: RegistryMethod, subject: string): () => void {
    const keys =
      method === 'create' || method === 'update' || method === 'remove'
        ? [SUBNETS + subject]
        : method === 'revoke'
          ? [...this.store.entries].flatMap(([key, entry]) => (entry.etcdLeaseId === subject ? [key] : []))
          : [];
    const before = keys.map((key) => ({
      key,
      entry: this.store.entries.get(key),
      holder: this.store.holderOf(key),
      isAllowed: this.store.mayWrite(key, host.ownAddresses),
    }));
    return () => {
      for (const { key, entry, holder, isAllowed } of before) {
        if (!entry || this.store.entries.get(key)?.modRevision === entry.modRevision) continue;
        if (isAllowed) continue;
        this.report(
          'no key of another is written',
          `${host.name}: ${method} of ${key}, which ${holder ?? 'nobody known'} holds`,
        );
      }
    };
  }

  /** After an agent has started or gone, or its overlay address has changed. */
  noteAddresses(host: Suspect): void {
    for (const address of this.#addresses.get(host) ?? []) this.#users.get(address)?.delete(host);
    const addresses = [...host.overlayAddresses];
    const before = this.#addresses.get(host) ?? [];
    this.#addresses.set(host, addresses);
    for (const address of addresses) {
      const users = this.#users.get(address);
      if (users) users.add(host);
      else this.#users.set(address, new Set([host]));
    }
    for (const address of new Set([...addresses, ...before])) {
      const isShared = this.#users.get(address)!.size > 1;
      if (!isShared) this.#shared.delete(address);
      else if (!this.#shared.has(address)) this.#shared.set(address, this.scheduler.now);
    }
  }

  /** With each request of a host, which makes so many of it in this minute. */
  checkRequests(host: Suspect, inThisMinute: number): void {
    if (inThisMinute !== REQUESTS_PER_MINUTE + 1) return;
    this.report('requests are bounded', `${host.name} made ${inThisMinute} within a minute`);
  }

  /** After every step. */
  checkOwners(): void {
    for (const [address, since] of this.#shared) {
      const users = [...this.#users.get(address)!];
      const settled = users.filter(
        ({ undisturbedSince }) =>
          this.scheduler.now - Math.max(since, undisturbedSince) > DETECTION_MILLISECONDS,
      );
      if (settled.length < 2) continue;
      if (settled.filter(({ tellsOfTwin }) => !tellsOfTwin).length < 2) {
        // Who waits for another to go uses nothing, whatever its kernel still holds. It is asked again later.
        this.#shared.set(address, this.scheduler.now);
        continue;
      }
      this.#shared.delete(address);
      const names = settled.map(({ name }) => name).join(' and ');
      // By what leases say, hosts with one PublicIP are one.
      const isOneToOthers = new Set(settled.map((host) => host.address)).size === 1;
      if (isOneToOthers) this.report('twins are told', `${names} both use ${address}, and neither knows`);
      else this.report('one owner per subnet', `${names} both use ${address}`);
    }
  }

  /** The subnet or MAC of the peer that an operation is about; undefined if it is about none. */
  #peerOf({ object }: Operation): string | undefined {
    switch (object.kind) {
      case 'route':
        return object.gateway === undefined ? undefined : printSubnet(object.destination);
      case 'fdb-entry':
        return object.mac;
      case 'neighbor': {
        const subnet = subnetOf(object.address, this.subnetLength);
        return subnet.address === object.address ? printSubnet(subnet) : undefined;
      }
      case 'link':
      case 'neighbor-parameters':
      case 'address':
        return undefined;
    }
  }
}

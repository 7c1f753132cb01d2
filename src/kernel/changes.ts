/** Operations as netlink requests, carried out at once. */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { familyOf } from '../model/address';
import { keyOf, type KernelObject, type Link, type VxlanParameters } from '../model/kernel-state';
import { printOperation, type FailedOperation, type Operation } from '../model/operation';
import type { OwnPlaces } from '../model/ownership';
import { writeAddress, writeAddressRemoval } from './addresses';
import {
  writeLinkMac,
  printLinkState,
  writeLinkArpOn,
  writeLinkFree,
  writeLinkProtodownOff,
  writeLinkMtu,
  writeLinkName,
  writeLinkRemoval,
  writeLinkUp,
  writeLinkVxlan,
  writeNewLink,
  type LinkRecord,
} from './links';
import type { MessageWriter } from './message-writer';
import { writeNeighborParameters } from './neighbor-parameters';
import { writeFdbEntry, writeFdbRemoval, writeNeighbor, writeNeighborRemoval } from './neighbors';
import { findLink, findLinkByAnyName } from './observation';
import type { Listening } from './listening';
import { errnoName, kernelErrorOf, type Refusal } from './refusal';
import { putBehind } from './route-places';
import { writeRoute, writeRouteRemoval } from './routes';
import type { Rtnetlink } from './rtnetlink';

/** How the kernel says that what should be removed is not there. */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'ENODEV', 'ENXIO', 'EADDRNOTAVAIL']);
const NO_SUCH_LINK: Refusal = { errno: constants.errno.ENODEV, detail: 'there is no such link' };

/** An object that hangs on a link, or on none: everything but the link itself. */
type LinkedObject = Exclude<KernelObject, Link>;

/** An operation that becomes one message of a batch, about the link with this index. */
interface Sent {
  readonly operation: Operation;
  readonly object: LinkedObject;
  readonly index: number | undefined;
}

/** Carries out operations; tells what it does to those who listen to the kernel. */
export class Changes {
  /** See `Observation.crowded`: what was observed last, but for what has been put alone since. */
  crowded = new Map<string, number>();
  /** Whose routes are ours or flannel's: what was observed last. */
  places: OwnPlaces | undefined;

  constructor(
    private readonly netlink: Rtnetlink,
    private readonly listenings: Iterable<Listening>,
  ) {}

  /** Blocks until all are done: some microseconds each. Returns those the kernel refused. */
  apply(operations: readonly Operation[]): FailedOperation[] {
    const failed: FailedOperation[] = [];
    const fail = (operation: Operation, refusal: Refusal) => {
      if (operation.verb === 'remove' && ABSENT.has(errnoName(refusal.errno))) return;
      failed.push({ operation, error: kernelErrorOf(`cannot ${printOperation(operation)}`, refusal) });
    };
    let batch: Operation[] = [];
    for (const operation of operations) {
      const { verb, object } = operation;
      if (object.kind !== 'link') {
        batch.push(operation);
        continue;
      }
      this.#applyBatch(batch, fail);
      batch = [];
      const refusal = verb === 'put' ? this.#putLink(object) : this.#removeLink(object);
      if (refusal) fail(operation, refusal);
    }
    this.#applyBatch(batch, fail);
    return failed;
  }

  #applyBatch(
    operations: readonly Operation[],
    fail: (operation: Operation, refusal: Refusal) => void,
  ): void {
    if (operations.length === 0) return;
    // Looked up anew for each batch: a link that was made anew has another index.
    const indexes = new Map<string, number | undefined>();
    const sent: Sent[] = [];
    for (const operation of operations) {
      const object = operation.object as LinkedObject;
      const { link } = object;
      if (link !== undefined && !indexes.has(link)) indexes.set(link, this.netlink.indexOf(link));
      const index = link === undefined ? undefined : indexes.get(link);
      if (link !== undefined && index === undefined) fail(operation, NO_SUCH_LINK);
      else if (operation.verb === 'put' || object.kind !== 'neighbor-parameters') {
        if (this.crowded.size > 0) sent.push(...this.#clearing(operation, object));
        sent.push({ operation, object, index });
      }
    }
    const refusals = this.netlink.execute((writer) => {
      for (const { operation, object, index } of sent) {
        if (operation.verb === 'put') writePut(writer, object, index);
        else writeRemoval(writer, object, index);
        if (object.kind === 'fdb-entry') this.#expectFdbEntry(operation, object);
      }
    });
    for (const [position, refusal] of refusals) {
      const { operation, object, index } = sent[position]!;
      const isTaken =
        operation.verb === 'put' && object.kind === 'route' && errnoName(refusal.errno) === 'EEXIST';
      const left = isTaken ? putBehind(this.netlink, object, index, this.places) : refusal;
      if (left) fail(operation, left);
    }
    // Else a look would never believe what it finds, and each put would remove it first.
    for (const { verb, object } of operations) if (verb === 'put') this.crowded.delete(keyOf(object));
  }

  /** Removes all routes that have the key of what is to be put, on whatever link, where there are several. */
  #clearing({ verb }: Operation, object: LinkedObject): Sent[] {
    const count = verb === 'put' ? (this.crowded.get(keyOf(object)) ?? 0) : 0;
    const operation: Operation = { verb: 'remove', object };
    return Array.from({ length: count }, () => ({ operation, object, index: undefined }));
  }

  #expectFdbEntry({ verb }: Operation, object: LinkedObject & { kind: 'fdb-entry' }): void {
    const destination = verb === 'put' ? object.destination : undefined;
    for (const listening of this.listenings) listening.expectFdbEntry(object.mac, destination);
  }

  #putLink(link: Link): Refusal | undefined {
    const existing = findLink(this.netlink, link.name);
    const refusal = existing ? this.#alterLink(link, existing) : this.#makeLink(link);
    return refusal && this.#explain(refusal, link);
  }

  #makeLink(link: Link): Refusal | undefined {
    const { name, vxlan } = link;
    if (!vxlan) return { errno: constants.errno.EINVAL, detail: 'only vxlan devices can be made' };
    const refusal = this.#execute((writer) => writeNewLink(writer, link, vxlan));
    const renamed =
      refusal && errnoName(refusal.errno) === 'EEXIST' ? this.#findRenamed(link, vxlan) : undefined;
    if (renamed) return this.#renameBack(link, renamed);
    if (refusal) return refusal;
    const made = findLink(this.netlink, name);
    if (!made) return NO_SUCH_LINK;
    this.#expectLink(made);
    forbidRouterAdvertisements(name);
    return link.up
      ? this.#step({ ...made, up: true }, (writer) => writeLinkUp(writer, made.index, true))
      : undefined;
  }

  /** Says what is in the way, and what to do about it. */
  #explain(refusal: Refusal, { name, vxlan }: Link): Refusal {
    const code = errnoName(refusal.errno);
    const port = vxlan?.port;
    if (code === 'EOPNOTSUPP')
      return { ...refusal, detail: `this kernel has no vxlan devices (${refusal.detail ?? 'module vxlan'})` };
    if (code !== 'EEXIST' && code !== 'EADDRINUSE') return refusal;
    const other = findLinkByAnyName(this.netlink, name);
    if (code === 'EEXIST' && other && other.name !== name) {
      const detail = `it is an alternative name of ${other.name}; ip link property del dev ${other.name} altname ${name}`;
      return { ...refusal, detail };
    }
    const rivals = this.#vxlanLinks().filter((link) => link.name !== name && link.vxlan!.port === port);
    const twin = rivals.find((link) => link.vxlan!.vni === vxlan?.vni);
    if (code === 'EEXIST') {
      if (!twin) return { ...refusal, detail: elsewhere(refusal, vxlan) };
      const detail = `${twin.name} has VNI ${twin.vxlan!.vni} on UDP port ${port}; remove it, or configure another Backend.VNI or Port`;
      return { ...refusal, detail };
    }
    // Devices share a port only if they agree on what its packets look like.
    const detail = rivals[0]
      ? `${rivals[0].name} has UDP port ${port} for VXLAN of another kind; remove it, or configure another Backend.Port`
      : `another program has UDP port ${port} ('ss -ulpn' names it); end it, or configure another Backend.Port`;
    return { ...refusal, detail };
  }

  #vxlanLinks(): LinkRecord[] {
    const links = linkNames().map((name) => findLink(this.netlink, name));
    return links.flatMap((link) => (link?.vxlan ? [link] : []));
  }

  /**
   * Our link under another name: one with its VNI and port, of which the kernel allows one only, and with our MAC, which
   * nobody else has. Any other is somebody else's, and stays.
   */
  #findRenamed(link: Link, vxlan: VxlanParameters): LinkRecord | undefined {
    return this.#vxlanLinks().find((found) => found.mac === link.mac && isSameDevice(found.vxlan!, vxlan));
  }

  #renameBack(link: Link, renamed: LinkRecord): Refusal | undefined {
    const { index } = renamed;
    const rename = (writer: MessageWriter) => writeLinkName(writer, index, link.name);
    let state: LinkRecord = { ...renamed, name: link.name };
    let refusal = this.#step(state, rename);
    if (refusal && errnoName(refusal.errno) === 'EBUSY') {
      // Older kernels rename only what is down.
      state = { ...state, up: false };
      refusal =
        this.#step({ ...renamed, up: false }, (writer) => writeLinkUp(writer, index, false)) ??
        this.#step(state, rename);
    }
    return refusal ?? this.#alterLink(link, state);
  }

  /** Changes what can be changed while packets flow. The MTU comes after the underlay, which bounds it. */
  #alterLink(link: Link, existing: LinkRecord): Refusal | undefined {
    const { index } = existing;
    const [want, have] = [link.vxlan, existing.vxlan];
    if (!want || !have || !isSameDevice(want, have))
      return { errno: constants.errno.EEXIST, detail: 'there is another device of this name' };
    let state = existing;
    const steps: [change: Partial<LinkRecord>, write: (writer: MessageWriter) => void][] = [];
    if (existing.master !== undefined)
      steps.push([{ master: undefined }, (writer) => writeLinkFree(writer, index)]);
    if (existing.protodown)
      steps.push([{ protodown: false }, (writer) => writeLinkProtodownOff(writer, index)]);
    if (existing.noarp) steps.push([{ noarp: false }, (writer) => writeLinkArpOn(writer, index)]);
    if (existing.mac !== link.mac)
      steps.push([{ mac: link.mac }, (writer) => writeLinkMac(writer, index, link.mac)]);
    const { local, underlayIndex, learning, ttl, dontFragment } = want;
    const vxlan = { ...have, local, underlayIndex, learning, ttl, dontFragment };
    if (printLinkState({ ...existing, vxlan }) !== printLinkState(existing))
      steps.push([{ vxlan }, (writer) => writeLinkVxlan(writer, index, have, want)]);
    if (existing.mtu !== link.mtu)
      steps.push([{ mtu: link.mtu }, (writer) => writeLinkMtu(writer, index, link.mtu)]);
    if (existing.up !== link.up)
      steps.push([{ up: link.up }, (writer) => writeLinkUp(writer, index, link.up)]);
    for (const [change, write] of steps) {
      const next = { ...state, ...change };
      const refusal = this.#step(next, write);
      if (refusal) return refusal;
      state = next;
    }
    return undefined;
  }

  #removeLink({ name }: Link): Refusal | undefined {
    const existing = findLink(this.netlink, name);
    if (!existing) return undefined;
    const refusal = this.#execute((writer) => writeLinkRemoval(writer, existing.index));
    if (!refusal) for (const listening of this.listenings) listening.forgetLink(existing.index);
    return refusal;
  }

  #step(state: LinkRecord, write: (writer: MessageWriter) => void): Refusal | undefined {
    const refusal = this.#execute(write);
    if (!refusal) this.#expectLink(state);
    return refusal;
  }

  #expectLink(state: LinkRecord): void {
    for (const listening of this.listenings) listening.expectLink(state);
  }

  #execute(write: (writer: MessageWriter) => void): Refusal | undefined {
    return this.netlink.execute(write).get(0);
  }
}

function writePut(writer: MessageWriter, object: LinkedObject, index: number | undefined): void {
  switch (object.kind) {
    case 'neighbor-parameters':
      return writeNeighborParameters(writer, object, index!);
    case 'address':
      return writeAddress(writer, object, index!);
    case 'fdb-entry':
      return writeFdbEntry(writer, object, index!);
    case 'neighbor':
      return writeNeighbor(writer, object, index!);
    case 'route':
      return writeRoute(writer, object, index, 'alone');
  }
}

function writeRemoval(writer: MessageWriter, object: LinkedObject, index: number | undefined): void {
  switch (object.kind) {
    case 'neighbor-parameters':
      throw new TypeError('neighbor parameters go with their link');
    case 'address':
      return writeAddressRemoval(writer, object, index!);
    case 'fdb-entry':
      return writeFdbRemoval(writer, object, index!);
    case 'neighbor':
      return writeNeighborRemoval(writer, object, index!);
    case 'route':
      return writeRouteRemoval(writer, object, index);
  }
}

/** What cannot be changed in a device that is there (6.18), but for its L2 misses, which we do not insist on. */
function isSameDevice(a: NonNullable<Link['vxlan']>, b: NonNullable<Link['vxlan']>): boolean {
  const family = ({ local }: typeof a) => (local === undefined ? 'ipv4' : familyOf(local));
  return a.vni === b.vni && a.port === b.port && a.gbp === b.gbp && family(a) === family(b);
}

/** Names of all links of this namespace; none where /proc is not there. */
function linkNames(): string[] {
  try {
    const lines = readFileSync('/proc/net/dev', 'utf8').split('\n').slice(2);
    return lines.flatMap((line) => /^\s*(\S+):/.exec(line)?.[1] ?? []);
  } catch {
    return [];
  }
}

/** As flannel does. A kernel without IPv6, or a /proc that is read-only, has or hears none. */
function forbidRouterAdvertisements(name: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, '0');
  } catch {
    return;
  }
}

/** A device that was moved to another network namespace keeps its underlay, and so its VNI and port here: there, we cannot see it. */
function elsewhere({ detail }: Refusal, vxlan: VxlanParameters | undefined): string | undefined {
  if (!detail?.includes('VNI')) return detail;
  return `a device of another network namespace has VNI ${vxlan?.vni} on UDP port ${vxlan?.port} of this one ('ip -all netns exec ip link show type vxlan' may show it); remove it there`;
}

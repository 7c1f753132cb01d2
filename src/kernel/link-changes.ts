/** Our device: made, changed in place as far as the kernel allows, renamed back, removed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { familyOf } from '../model/address';
import type { Link, VxlanParameters } from '../model/kernel-state';
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
import { errnoName, type NetlinkError } from './netlink-error';
import { findLink, findLinkByAnyName } from './observation';
import type { Rtnetlink } from './rtnetlink';
import type { Subscription } from './subscription';

export const NO_SUCH_LINK: NetlinkError = { errno: constants.errno.ENODEV, detail: 'there is no such link' };

/** Carries out what is to become of a link; tells subscriptions what it does. Each method returns the error, if the kernel refused. */
export class LinkChanges {
  constructor(
    private readonly netlink: Rtnetlink,
    private readonly subscriptions: Iterable<Subscription>,
  ) {}

  put(link: Link): NetlinkError | undefined {
    const existing = findLink(this.netlink, link.name);
    const error = existing ? this.#alter(link, existing) : this.#make(link);
    return error && this.#explain(error, link);
  }

  #make(link: Link): NetlinkError | undefined {
    const { name, vxlan } = link;
    if (!vxlan) return { errno: constants.errno.EINVAL, detail: 'only vxlan devices can be made' };
    const error = this.#execute((writer) => writeNewLink(writer, link, vxlan));
    const renamed = error && errnoName(error.errno) === 'EEXIST' ? this.#findRenamed(link, vxlan) : undefined;
    if (renamed) return this.#renameBack(link, renamed);
    if (error) return error;
    const made = findLink(this.netlink, name);
    if (!made) return NO_SUCH_LINK;
    this.#expectLink(made);
    forbidRouterAdvertisements(name);
    return link.up
      ? this.#step({ ...made, up: true }, (writer) => writeLinkUp(writer, made.index, true))
      : undefined;
  }

  /** Says what is in the way, and what to do about it. */
  #explain(error: NetlinkError, { name, vxlan }: Link): NetlinkError {
    const code = errnoName(error.errno);
    const port = vxlan?.port;
    if (code === 'EOPNOTSUPP')
      return { ...error, detail: `this kernel has no vxlan devices (${error.detail ?? 'module vxlan'})` };
    if (code !== 'EEXIST' && code !== 'EADDRINUSE') return error;
    const other = findLinkByAnyName(this.netlink, name);
    if (code === 'EEXIST' && other && other.name !== name) {
      const detail = `it is an alternative name of ${other.name}; ip link property del dev ${other.name} altname ${name}`;
      return { ...error, detail };
    }
    const rivals = this.#vxlanLinks().filter((link) => link.name !== name && link.vxlan!.port === port);
    const twin = rivals.find((link) => link.vxlan!.vni === vxlan?.vni);
    if (code === 'EEXIST') {
      if (!twin) return { ...error, detail: elsewhere(error, vxlan) };
      const detail = `${twin.name} has VNI ${twin.vxlan!.vni} on UDP port ${port}; remove it, or configure another Backend.VNI or Port`;
      return { ...error, detail };
    }
    // Devices share a port only if they agree on what its packets look like.
    const detail = rivals[0]
      ? `${rivals[0].name} has UDP port ${port} for VXLAN of another kind; remove it, or configure another Backend.Port`
      : `another program has UDP port ${port} ('ss -ulpn' names it); end it, or configure another Backend.Port`;
    return { ...error, detail };
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

  #renameBack(link: Link, renamed: LinkRecord): NetlinkError | undefined {
    const { index } = renamed;
    const rename = (writer: MessageWriter) => writeLinkName(writer, index, link.name);
    let state: LinkRecord = { ...renamed, name: link.name };
    let error = this.#step(state, rename);
    if (error && errnoName(error.errno) === 'EBUSY') {
      // Older kernels rename only what is down.
      state = { ...state, up: false };
      error =
        this.#step({ ...renamed, up: false }, (writer) => writeLinkUp(writer, index, false)) ??
        this.#step(state, rename);
    }
    return error ?? this.#alter(link, state);
  }

  /** Changes what can be changed while packets flow. The MTU comes after the underlay, which bounds it. */
  #alter(link: Link, existing: LinkRecord): NetlinkError | undefined {
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
      const error = this.#step(next, write);
      if (error) return error;
      state = next;
    }
    return undefined;
  }

  /** Nothing to do for a link that is not there. */
  remove({ name }: Link): NetlinkError | undefined {
    const existing = findLink(this.netlink, name);
    if (!existing) return undefined;
    const error = this.#execute((writer) => writeLinkRemoval(writer, existing.index));
    if (!error) for (const subscription of this.subscriptions) subscription.forgetLink(existing.index);
    return error;
  }

  #step(state: LinkRecord, write: (writer: MessageWriter) => void): NetlinkError | undefined {
    const error = this.#execute(write);
    if (!error) this.#expectLink(state);
    return error;
  }

  #expectLink(state: LinkRecord): void {
    for (const subscription of this.subscriptions) subscription.expectLink(state);
  }

  #execute(write: (writer: MessageWriter) => void): NetlinkError | undefined {
    return this.netlink.execute(write).get(0);
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
function elsewhere({ detail }: NetlinkError, vxlan: VxlanParameters | undefined): string | undefined {
  if (!detail?.includes('VNI')) return detail;
  return `a device of another network namespace has VNI ${vxlan?.vni} on UDP port ${vxlan?.port} of this one ('ip -all netns exec ip link show type vxlan' may show it); remove it there`;
}

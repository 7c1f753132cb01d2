/** Our link and its underlay, as notifications tell of them. */
import { MessageType } from './constants';
import { parseAddress, type AddressRecord } from './addresses';
import type { EventList } from './event-list';
import { parseLink, printLinkState, type LinkRecord } from './links';
import type { Message } from './message';
import type { OwnChanges } from './own-changes';

/** Addresses of the underlay whose refreshing is recognised. */
const KNOWN_ADDRESSES = 1_024;

/** Knows which link is ours and which is its underlay, by index, and tells what others do to them. `lookUp` finds a link in the kernel. */
export class WatchedLinks {
  #link: LinkRecord | undefined;
  /** Links that we removed, until the kernel says that they are gone. */
  readonly #forgotten = new Set<number>();
  #underlay: LinkRecord | undefined;
  /** The underlay is gone; whoever comes by its name takes its place. */
  #lostUnderlay: string | undefined;
  /** Underlay addresses with their flags: router advertisements refresh them again and again. */
  readonly #addresses = new Map<string, string>();

  constructor(
    private readonly linkName: string,
    private readonly lookUp: (link: string | number) => LinkRecord | undefined,
    private readonly ownChanges: OwnChanges,
    private readonly events: EventList,
  ) {
    this.#adopt(lookUp(linkName));
  }

  /** The index of our link, while it is there. */
  get index(): number | undefined {
    return this.#link?.index;
  }

  /** See {@link KernelEventReader.forgetLink}. */
  forget(index: number): void {
    this.#forgotten.add(index);
    if (this.#link?.index === index) this.#link = undefined;
  }

  isForgotten(index: number): boolean {
    return this.#forgotten.has(index);
  }

  /** Notifications were lost: looks anew. */
  recover(): void {
    this.#forgotten.clear();
    this.#adopt(this.lookUp(this.linkName));
  }

  /** Returns false for a message that makes no sense. */
  hearAddress(message: Message): boolean {
    const record = parseAddress(message);
    if (!record) return false;
    const isGone = message.type === MessageType.DELADDR;
    const isOnUnderlay = record.index === this.#underlay?.index;
    if (record.scope !== 'global' || this.#forgotten.has(record.index)) return true;
    if (!isOnUnderlay && record.index !== this.#link?.index) {
      // IPv6 addresses are refreshed by router advertisements, again and again, and no bridge is judged by them.
      if (!record.address.includes(':')) this.events.interfaces();
      return true;
    }
    if (isOnUnderlay && this.#isKnown(record, isGone)) return true;
    const where = isOnUnderlay ? this.#underlay!.name : this.linkName;
    this.events.change(
      `address ${record.address}/${record.prefixLength} of ${where} ${isGone ? 'removed' : 'changed'}`,
    );
    return true;
  }

  #isKnown(record: AddressRecord, isGone: boolean): boolean {
    const { index, address, prefixLength, deprecated, usable } = record;
    const key = `${index} ${address}/${prefixLength}`;
    const value = `${deprecated} ${usable}`;
    const known = this.#addresses.get(key);
    if (isGone || this.#addresses.size >= KNOWN_ADDRESSES) this.#addresses.delete(key);
    else this.#addresses.set(key, value);
    return !isGone && known === value;
  }

  /** Returns false for a message that makes no sense. */
  hearLink(message: Message): boolean {
    const record = parseLink(message);
    if (!record) return false;
    const isGone = message.type === MessageType.DELLINK;
    if (this.#forgotten.has(record.index)) {
      if (isGone) this.#forgotten.delete(record.index);
    } else if (record.index === this.#link?.index) this.#hearOfLink(record, isGone);
    else if (record.name === this.linkName && !isGone) {
      if (!this.ownChanges.takeLink(record))
        this.events.change(`link ${this.linkName} made anew`, undefined, true);
      this.#adopt(record);
    } else if (record.index === this.#underlay?.index) this.#hearOfUnderlay(record, isGone);
    else if (record.name === this.#lostUnderlay && !isGone) {
      this.events.change(`underlay ${record.name} is there again`);
      this.#underlay = record;
      this.#lostUnderlay = undefined;
    } else if (record.kind === 'bridge' && record.isSwitched) this.events.interfaces();
    return true;
  }

  #hearOfLink(record: LinkRecord, isGone: boolean): void {
    if (isGone || record.name !== this.linkName) {
      this.events.change(`link ${this.linkName} ${isGone ? 'removed' : `renamed to ${record.name}`}`);
      this.#link = undefined;
      return;
    }
    const difference = differenceOf(this.#link!, record);
    if (!this.ownChanges.takeLink(record) && difference)
      this.events.change(`link ${this.linkName} changed: ${difference}`);
    this.#adopt(record);
  }

  #hearOfUnderlay(record: LinkRecord, isGone: boolean): void {
    const before = this.#underlay!;
    if (isGone) {
      this.events.change(`underlay ${record.name} removed`);
      this.#underlay = undefined;
      this.#lostUnderlay = record.name;
      return;
    }
    const difference =
      differenceOf(before, record) ?? (before.carrier === record.carrier ? undefined : 'carrier');
    if (difference) this.events.change(`underlay ${before.name} changed: ${difference}`);
    this.#underlay = record;
  }

  /** Takes this for our link, and for the underlay the one it names. */
  #adopt(link: LinkRecord | undefined): void {
    this.#link = link;
    const index = link?.vxlan?.underlayIndex;
    if (!index || index === this.#underlay?.index) return;
    this.#underlay = this.lookUp(index);
    if (this.#underlay) this.#lostUnderlay = undefined;
    this.#addresses.clear();
  }
}

/** `mtu 1450 → 1300`; undefined where nothing differs that matters. */
function differenceOf(before: LinkRecord, after: LinkRecord): string | undefined {
  if (printLinkState(before) === printLinkState(after)) return undefined;
  for (const field of ['name', 'mac', 'mtu', 'up', 'master', 'protodown', 'noarp'] as const) {
    if (before[field] !== after[field]) return `${field} ${before[field]} → ${after[field]}`;
  }
  return 'vxlan parameters';
}

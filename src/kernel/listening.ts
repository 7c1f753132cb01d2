/** One listener: a monitor, and the reader that knows what its messages mean. */
import { openMonitor, type Monitor } from '../../native';
import type { IpAddress, Subnet } from '../model/address';
import type { MacAddress } from '../model/mac';
import type { KernelNotice, Scope } from '../ports';
import { MulticastGroups, Protocol } from './constants';
import type { LinkRecord } from './links';
import { NoticeReader } from './notices';
import { notificationFilter, type Instruction } from './notification-filter';
import { systemErrorOf } from './refusal';
import type { LinuxStandingAnswers } from './standing-answers';

/** Some 20 000 notifications. Beyond that an overrun is told, and everything read anew. */
const BUFFER_BYTES = 8 << 20;
const GROUPS = [
  MulticastGroups.LINK,
  MulticastGroups.NEIGH,
  MulticastGroups.IPV4_IFADDR,
  MulticastGroups.IPV4_ROUTE,
  MulticastGroups.IPV6_IFADDR,
  MulticastGroups.IPV6_ROUTE,
  MulticastGroups.IPV4_NETCONF,
  MulticastGroups.IPV4_RULE,
  MulticastGroups.IPV6_RULE,
];
/** Turns of the event loop, each with hundreds of notices: under a flood that does not end, an overrun is told about each second. */
const PATIENCE_TURNS = 512;

/**
 * Tells the notices about one link until it is closed. After an overrun the kernel drops everything until all that waits has been
 * read, and says so only once: so the overrun is told when there is nothing more to read, and what is read anew then is right.
 */
export class Listening {
  readonly #monitor: Monitor;
  #reader: NoticeReader | undefined;
  #hasHeard = false;
  #hasLost = false;
  #isWatching = false;
  #turns = 0;

  /** `ownPortId`: the socket whose changes are not told. Throws a KernelError. */
  constructor(
    { link, networks }: Scope,
    ownPortId: number,
    lookUp: (link: string | number) => LinkRecord | undefined,
    standing: Iterable<LinuxStandingAnswers>,
    private readonly listener: (notices: readonly KernelNotice[]) => void,
  ) {
    this.#monitor = open(notificationFilter(ownPortId, networks), (messages, isOverrun) =>
      this.#hear(messages, isOverrun),
    );
    try {
      // After the monitor was opened, so that nothing is lost between the two.
      this.#reader = new NoticeReader(link, lookUp, standing);
      this.#reader.networks = networks;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Networks whose routes are ours. */
  set networks(networks: readonly Subnet[]) {
    if (this.#reader) this.#reader.networks = networks;
  }

  /** See {@link OwnChanges.expectLink}. */
  expectLink(record: LinkRecord): void {
    this.#reader?.ownChanges.expectLink(record);
    this.#watch();
  }

  /** See {@link OwnChanges.expectFdbEntry}. */
  expectFdbEntry(mac: MacAddress, destination: IpAddress | undefined): void {
    this.#reader?.ownChanges.expectFdbEntry(mac, destination);
    this.#watch();
  }

  /** See {@link NoticeReader.forgetLink}. */
  forgetLink(index: number): void {
    this.#reader?.forgetLink(index);
  }

  close(): void {
    this.#reader = undefined;
    this.#monitor.close();
  }

  #hear(messages: Buffer | null, isOverrun: boolean): void {
    if (!this.#reader) return;
    this.#hasHeard = true;
    if (isOverrun) {
      this.#hasLost = true;
      this.#watch();
    }
    const notices = messages ? this.#reader.read(messages) : [];
    if (notices.length > 0) this.listener(notices);
  }

  /** While something is expected or lost: looks in each turn of the event loop whether the kernel still had something to tell. */
  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#turns = 0;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    if (!this.#reader) return;
    const isQuiet = !this.#hasHeard;
    this.#hasHeard = false;
    this.#turns++;
    const doubts = isQuiet ? this.#reader.settle() : [];
    if (doubts.length > 0) this.listener(doubts);
    // The listener may have closed us.
    if (!this.#reader) return;
    if (this.#hasLost && (isQuiet || this.#turns % PATIENCE_TURNS === 0)) {
      this.#hasLost = !isQuiet;
      this.listener(this.#reader.recover());
    }
    // The listener may have closed us.
    if (!this.#reader) return;
    this.#isWatching = this.#hasLost || !this.#reader.ownChanges.isEmpty;
    if (this.#isWatching) setImmediate(() => this.#turn());
  }
}

function open(
  filter: readonly Instruction[],
  hear: (messages: Buffer | null, isOverrun: boolean) => void,
): Monitor {
  try {
    return openMonitor(
      {
        protocol: Protocol.ROUTE,
        groups: GROUPS,
        receiveBufferBytes: BUFFER_BYTES,
        filter,
      },
      hear,
    );
  } catch (error) {
    throw systemErrorOf('cannot listen to the kernel', error);
  }
}

/** Answers to misses that a thread of the addon gives, without the event loop. */
import { openMissFastPath, type MissFastPathThread } from '../../../native';
import type { IpAddress } from '../../model/address';
import type { MacAddress } from '../../model/mac';
import type { Peer, PeerChange } from '../../model/peer';
import type { MissFastPath } from '../../ports';
import { systemErrorOf } from '../netlink-error';
import { isAnswered, recordsOf } from './peer-records';

/** Keeps the thread told of the peers. */
export class LinuxMissFastPath implements MissFastPath {
  readonly #thread: MissFastPathThread;
  /** Where each MAC is: what the thread may have told the kernel. */
  readonly #destinations = new Map<MacAddress, IpAddress>();
  #pauses = 0;

  /** Throws a KernelError. */
  constructor(linkName: string) {
    this.#thread = openThread(linkName);
  }

  peersChanged(changes: readonly PeerChange[]): void {
    const gone: Peer[] = [];
    const there: Peer[] = [];
    for (const { before, after } of changes) {
      if (after && isAnswered(after)) there.push(after);
      else if (before && isAnswered(before)) gone.push(before);
      if (before && this.leadsTo(before.vtepMac, before.publicIp)) this.#destinations.delete(before.vtepMac);
    }
    for (const { vtepMac, publicIp } of there) this.#destinations.set(vtepMac, publicIp);
    if (gone.length > 0) this.#thread.remove(recordsOf(gone));
    if (there.length > 0) this.#thread.put(recordsOf(there));
  }

  /** True of an FDB entry that may be an answer of the thread. */
  leadsTo(mac: MacAddress, destination: IpAddress | undefined): boolean {
    return destination !== undefined && this.#destinations.get(mac) === destination;
  }

  /** True for what the thread's socket did. */
  didCause(portId: number): boolean {
    return portId === this.#thread.portId;
  }

  /** When this returns, no answer is under way, and none will be until {@link resume} was called as often as this. */
  pause(): void {
    if (this.#pauses++ === 0) this.#thread.pause();
  }

  resume(): void {
    if (--this.#pauses === 0) this.#thread.resume();
  }

  close(): void {
    this.#thread.close();
  }
}

function openThread(linkName: string): MissFastPathThread {
  try {
    return openMissFastPath(linkName);
  } catch (error) {
    throw systemErrorOf('cannot answer the kernel on a thread', error);
  }
}

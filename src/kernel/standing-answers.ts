/** Answers to misses that are given without the event loop. */
import { openAnswerer, type Answerer } from '../../native';
import { familyOf, type IpAddress } from '../model/address';
import type { MacAddress } from '../model/mac';
import type { Peer, PeerChange } from '../model/peer';
import type { StandingAnswers } from '../ports';
import { systemErrorOf } from './refusal';
import { encodeAddress, encodeMac } from './wire';

/** See `Answerer.put`. */
const RECORD_BYTES = 16;
const LENGTH = 4;
const MAC = 6;
const DESTINATION = 12;

/** The peers that the thread of the addon answers for: those with addresses of IPv4. Others have the event loop. */
export class LinuxStandingAnswers implements StandingAnswers {
  readonly #answerer: Answerer;
  /** Where each MAC is: what the thread may have told the kernel. */
  readonly #destinations = new Map<MacAddress, IpAddress>();
  #pauses = 0;

  /** Throws a KernelError. */
  constructor(linkName: string) {
    try {
      this.#answerer = openAnswerer(linkName);
    } catch (error) {
      throw systemErrorOf('cannot answer the kernel on a thread', error);
    }
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
    if (gone.length > 0) this.#answerer.remove(recordsOf(gone));
    if (there.length > 0) this.#answerer.put(recordsOf(there));
  }

  /** True of an FDB entry that may be an answer of the thread. */
  leadsTo(mac: MacAddress, destination: IpAddress | undefined): boolean {
    return destination !== undefined && this.#destinations.get(mac) === destination;
  }

  /** True for what the thread's socket did. */
  didCause(portId: number): boolean {
    return portId === this.#answerer.portId;
  }

  /** When this returns, no answer is under way, and none will be until {@link resume} was called as often as this. */
  pause(): void {
    if (this.#pauses++ === 0) this.#answerer.pause();
  }

  resume(): void {
    if (--this.#pauses === 0) this.#answerer.resume();
  }

  close(): void {
    this.#answerer.close();
  }
}

function isAnswered({ subnet, publicIp }: Peer): boolean {
  return familyOf(subnet.address) === 'ipv4' && familyOf(publicIp) === 'ipv4';
}

function recordsOf(peers: readonly Peer[]): Uint8Array {
  const records = new Uint8Array(peers.length * RECORD_BYTES);
  peers.forEach(({ subnet, vtepMac, publicIp }, at) => {
    const start = at * RECORD_BYTES;
    encodeAddress(records, start, subnet.address);
    records[start + LENGTH] = subnet.prefixLength;
    encodeMac(records, start + MAC, vtepMac);
    encodeAddress(records, start + DESTINATION, publicIp);
  });
  return records;
}

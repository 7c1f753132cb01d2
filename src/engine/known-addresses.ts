/** Where peers are, and were: by their PublicIPs flannel's routes are told from those of others. */
import type { IpAddress } from '../model/address';
import type { Lease } from '../model/lease';
import type { PeerChange } from '../model/peer';

/** Those of before are as many as somebody writes into etcd. */
const MOST_FORMER = 10_000;

export class KnownAddresses {
  readonly #former = new Set<IpAddress>();

  /** `leases`: all that are there, also those of hosts that carry packets in another way. */
  constructor(private readonly leases: () => readonly Lease[]) {}

  peersChanged(changes: readonly PeerChange[]): void {
    for (const { before } of changes)
      if (before && this.#former.size < MOST_FORMER) this.#former.add(before.publicIp);
  }

  /** Those of this moment. They are gathered when one is asked for, which only routes as flannel's do. */
  now(): Pick<ReadonlySet<IpAddress>, 'has'> {
    let present: Set<IpAddress | undefined> | undefined;
    return {
      has: (address) => {
        present ??= new Set(this.leases().map(({ attributes }) => attributes.publicIp));
        return this.#former.has(address) || present.has(address);
      },
    };
  }
}

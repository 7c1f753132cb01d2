/** Whether etcd has our lease as we hold it, by the last that we know. */
import type { IpAddress } from '../model/address';
import type { Clock } from '../ports';

/** What etcd has in place of our lease. */
export type Deviation =
  /** No key. */
  | { readonly kind: 'missing' }
  /** The lease of another host. */
  | { readonly kind: 'taken'; readonly publicIp: IpAddress | undefined }
  /** A value that nobody can read. */
  | { readonly kind: 'spoiled' }
  /** A lease of ours that leads elsewhere. */
  | { readonly kind: 'changed' };

/**
 * Writing a lost lease again takes a moment, and peers keep a host whose key was deleted for two seconds: what is put right
 * within this harms nobody.
 */
const HARMLESS_MILLISECONDS = 2_000;

/** Owns what is known to differ, and since when. That etcd cannot be asked changes nothing here: it is no knowledge. */
export class Registration {
  #lost: { readonly deviation: Deviation; readonly since: number; readonly at: string } | undefined;

  constructor(private readonly clock: Pick<Clock, 'now' | 'wallTime'>) {}

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Etcd was seen to have something else. */
  lose(deviation: Deviation): void {
    const { since, at } = this.#lost ?? {
      since: this.clock.now(),
      at: new Date(this.clock.wallTime()).toISOString().replace(/\.\d+Z$/, 'Z'),
    };
    this.#lost = { deviation, since, at };
  }

  /** Etcd has our lease, as we hold it. */
  restore(): void {
    this.#lost = undefined;
  }

  /**
   * What is wrong, in words, once it does harm: what was noticed a while ago, or what a write has failed to put right.
   * `hasFailed`: the last try to write failed.
   */
  problem(hasFailed: boolean): { complaint: string; forMilliseconds: number } | undefined {
    if (!this.#lost) return undefined;
    const { deviation, since, at } = this.#lost;
    const forMilliseconds = this.clock.now() - since;
    if (!hasFailed && forMilliseconds <= HARMLESS_MILLISECONDS) return undefined;
    return { complaint: describeDeviation(deviation, at), forMilliseconds };
  }
}

function describeDeviation(deviation: Deviation, at: string): string {
  switch (deviation.kind) {
    case 'missing':
      return `our lease is not in etcd since ${at}: other hosts have dropped us`;
    case 'taken':
      return (
        `our subnet has been leased to another host (PublicIP ${deviation.publicIp ?? 'unknown'}) since ${at}: ` +
        'other hosts send its packets there'
      );
    case 'spoiled':
      return `our lease in etcd cannot be read since ${at}: hosts that start now do not know us`;
    case 'changed':
      return `our lease in etcd says something else since ${at}: other hosts may send our packets elsewhere`;
  }
}

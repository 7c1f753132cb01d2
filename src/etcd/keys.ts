/** Flannel's layout of keys, below a prefix. */
import { posix } from 'node:path';

/** A range of keys: from `key` up to, not including, `range_end`. */
export interface KeyRange {
  readonly key: Buffer;
  readonly range_end: Buffer;
}

/**
 * Names the keys below `--etcd-prefix`, which is joined as a path, as flannel does: double and trailing slashes collapse, and
 * a missing leading slash stays missing.
 */
export class Keys {
  readonly config: Buffer;
  /** Every lease. With the slash: flannel lists without it and so takes `subnets-foo/…` for its own. */
  readonly leases: KeyRange;
  readonly #subnets: string;

  constructor(prefix: string) {
    this.config = Buffer.from(posix.join(prefix, 'config'));
    this.#subnets = `${posix.join(prefix, 'subnets')}/`;
    this.leases = this.leasesFrom('');
  }

  lease(name: string): Buffer {
    return Buffer.from(this.#subnets + name);
  }

  /** All leases whose names begin so. */
  leasesFrom(beginning: string): KeyRange {
    const key = this.lease(beginning);
    return { key, range_end: endOfPrefix(key) };
  }

  /** The name of the lease with this key; the inverse of {@link lease}. */
  nameOf(key: string): string {
    return key.slice(this.#subnets.length);
  }
}

/** The first key after all that begin with `prefix`. Ours end in ASCII, so the last byte can be counted up. */
function endOfPrefix(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}

/** Flannel's layout of keys, below a prefix. */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';

/** The longest name of a lease of both families has 67 characters; flannel lets anything stand before it. */
const LONGEST_NAME = 255;
const PRINTABLE = /^[!-~]*$/;
/** Of a name that is not a lease's, so many bytes are shown. */
const SHOWN_BYTES = 40;

/** The last part of a key, and why it cannot be that of a lease. */
export interface LeaseName {
  readonly name: string;
  readonly reason?: string;
}

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

  /** The name of the lease with this key; the inverse of {@link lease}. A key that can be no lease gets a name to show. */
  nameOf(key: Buffer): LeaseName {
    const name = key.subarray(Buffer.byteLength(this.#subnets));
    if (name.length > LONGEST_NAME) {
      return {
        name: showable(name),
        reason: `its key has ${name.length} bytes, and no lease more than ${LONGEST_NAME}`,
      };
    }
    const text = name.toString('latin1');
    if (PRINTABLE.test(text)) return { name: text };
    return { name: showable(name), reason: 'its key holds more than printable ASCII characters' };
  }
}

/** The first key after all that begin with `prefix`. Ours end in ASCII, so the last byte can be counted up. */
function endOfPrefix(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}

/** Printable and short, and another one for each name. */
function showable(name: Buffer): string {
  const beginning = name.subarray(0, SHOWN_BYTES).toString('latin1');
  const escaped = beginning.replace(
    /[^!-~]/g,
    (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 16);
  return `${escaped}…(sha256:${hash})`;
}

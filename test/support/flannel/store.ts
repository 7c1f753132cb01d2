/** etcd as flannel uses it (since 0.18), by etcdctl: what it reads, what it writes, and what it makes of a watch. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { exitOf } from '../lab/command';
import type { Etcd } from '../lab/etcd';
import { PREFIX } from '../lab/lab';

/** flannel's prefix of lists and watches has no slash at its end: any key that begins with it is one of its leases. */
const LEASES = `${PREFIX}/subnets`;
const TTL_SECONDS = 86_400;

export interface Attributes {
  readonly PublicIP: string;
  readonly BackendType?: string;
  readonly BackendData?: { readonly VtepMAC?: string };
}

export interface StoredLease {
  readonly key: string;
  /** `10.5.7.0-24`, without an IPv6 part. */
  readonly subnet: string;
  readonly value: Attributes;
  readonly etcdLease: string;
}

export type StoreEvent =
  | { readonly kind: 'put'; readonly lease: StoredLease }
  | { readonly kind: 'delete'; readonly key: string; readonly subnet: string }
  /** Something that flannel since 0.21.3 cannot take: it forgets every peer because of it. */
  | { readonly kind: 'undecodable'; readonly key: string; readonly why: string };

interface Pair {
  readonly key: string;
  readonly value?: string;
  readonly lease?: string;
}

export class FlannelStore {
  readonly #watches = new Set<ChildProcess>();

  constructor(private readonly etcd: Etcd) {}

  /** All leases that flannel can read, and the revision at which it read them. */
  async list(): Promise<{ leases: StoredLease[]; revision: string }> {
    const text = await this.etcd.etcdctl('get', '--prefix', LEASES, '-w', 'json');
    const { header, kvs = [] } = parse(text) as { header: { revision: string }; kvs?: Pair[] };
    const leases = kvs.flatMap((pair) => {
      const event = decode(pair);
      return event.kind === 'put' ? [event.lease] : [];
    });
    return { leases, revision: header.revision };
  }

  /** A new etcd lease and a put that looks at nothing: how flannel takes a lease over, and how it renews one. */
  async put(subnet: string, value: string): Promise<string> {
    const etcdLease = await this.#grant();
    await this.etcd.etcdctl('put', `--lease=${etcdLease}`, `${LEASES}/${subnet}`, value);
    return etcdLease;
  }

  /** False if somebody has the key: flannel asks for its version to be 0. */
  async create(subnet: string, value: string): Promise<boolean> {
    const etcdLease = await this.#grant();
    const key = `${LEASES}/${subnet}`;
    const words = `ver(${JSON.stringify(key)}) = "0"\n\nput --lease=${etcdLease} ${JSON.stringify(key)} ${JSON.stringify(value)}\n\n\n`;
    const answer = await this.etcd.txn(words);
    if (answer.startsWith('SUCCESS')) return true;
    await this.etcd.etcdctl('lease', 'revoke', etcdLease);
    return false;
  }

  async delete(subnet: string): Promise<void> {
    await this.etcd.etcdctl('del', `${LEASES}/${subnet}`);
  }

  /** Tells of every event after that revision; flannel asks for the time to live of each lease that was put. */
  watch(revision: string, take: (event: StoreEvent) => void): void {
    const process = this.etcd.follow(
      ...['watch', '--prefix', LEASES, `--rev=${BigInt(revision) + 1n}`, '-w', 'json'],
    );
    this.#watches.add(process);
    createInterface({ input: process.stdout! }).on('line', (line) => {
      const { Events = [] } = parse(line) as { Events?: { type?: number; kv: Pair }[] };
      for (const { type = 0, kv } of Events) take(type === 1 ? decodeDeletion(kv) : decode(kv));
    });
  }

  async close(): Promise<void> {
    for (const process of this.#watches) {
      process.kill('SIGKILL');
      await exitOf(process);
    }
    this.#watches.clear();
  }

  async #grant(): Promise<string> {
    const [, id] = /lease (\w+) granted/.exec(
      await this.etcd.etcdctl('lease', 'grant', String(TTL_SECONDS)),
    )!;
    return id!;
  }
}

/** JSON with numbers of 64 bits, which become text. */
function parse(text: string): unknown {
  return JSON.parse(text.replaceAll(/(?<=[:[,])-?\d{16,}(?=[,}\]])/g, '"$&"'));
}

function textOf(base64 = ''): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

/** flannel's regular expression for keys: open to the left, the length of 5 bits (so that /32 is none), IPv6 in small letters. */
function subnetOf(key: string): string | undefined {
  const match = /(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/.exec(key);
  return match && Number(match[2]) < 32 && Number(match[4] ?? 0) < 128
    ? `${match[1]}-${match[2]}`
    : undefined;
}

function decode(pair: Pair): StoreEvent {
  const key = textOf(pair.key);
  const subnet = subnetOf(key);
  if (subnet === undefined) return { kind: 'undecodable', key, why: 'the key names no subnet' };
  let value: Attributes;
  try {
    value = JSON.parse(textOf(pair.value)) as Attributes;
  } catch {
    return { kind: 'undecodable', key, why: 'the value is not JSON' };
  }
  if (typeof value.PublicIP !== 'string') return { kind: 'undecodable', key, why: 'there is no PublicIP' };
  return { kind: 'put', lease: { key, subnet, value, etcdLease: String(pair.lease ?? '0') } };
}

function decodeDeletion(pair: Pair): StoreEvent {
  const key = textOf(pair.key);
  const subnet = subnetOf(key);
  if (subnet === undefined) return { kind: 'undecodable', key, why: 'the key names no subnet' };
  return { kind: 'delete', key, subnet };
}

/** Leases in etcd v3, in flannel's layout. */
import { createHash, randomBytes } from 'node:crypto';
import type { IKeyValue, ITxnResponse } from 'etcd3';
import { inTurns } from '../in-turns';
import { contains, familyOf, subnetOf } from '../model/address';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../model/lease';
import { printLeaseAttributes, printLeaseName, vxlanDataOf, type ParsedLease } from '../model/lease-codec';
import type { Miss } from '../model/miss';
import type { Steps } from '../model/steps';
import { monotonicMilliseconds } from '../monotonic';
import type {
  LeaseBatch,
  LeaseLife,
  LeaseRegistry,
  LeaseSnapshot,
  StoredConfig,
  WriteResult,
} from '../ports';
import { EtcdClient, type Attempt, type EtcdOptions } from './client';
import { CallError } from './errors';
import { Keys, type KeyRange } from './keys';
import { readRangeAnswer, type RangeAnswer, type StoredEntry } from './range-response';
import { parseEntry, parseStored } from './stored';
import { watchLeases } from './watch';

export interface EtcdRegistryOptions extends EtcdOptions {
  /** `--etcd-prefix`, for example `/coreos.com/network`. */
  readonly prefix: string;
  /** What tells this host from every other: marks the etcd leases that it gets. */
  readonly incarnation?: string;
}

const CLOCK = { now: monotonicMilliseconds };

/** How many of the 63 bits of an etcd lease's ID are chance; the others are the mark of who got it. */
const CHANCE_BITS = 32n;

/**
 * The {@link LeaseRegistry} that flannel's hosts share. Every call is one request to one server (a read of all leases too),
 * with a deadline. What fails without an answer is asked again of the next server; writes are such that this is right: they
 * compare before they write, and know their own work when they find it done.
 */
export class EtcdRegistry implements LeaseRegistry {
  readonly #client: EtcdClient;
  readonly #keys: Keys;
  readonly #mark: bigint;

  /** Connects to nobody yet. Throws a UsageError for options that can never work. */
  constructor(options: EtcdRegistryOptions) {
    this.#client = new EtcdClient(options);
    this.#keys = new Keys(options.prefix);
    this.#mark = markOf(options.incarnation ?? '');
  }

  async readConfig(signal: AbortSignal): Promise<StoredConfig | undefined> {
    const { kvs } = await this.#range('read the network configuration', { key: this.#keys.config }, signal);
    return kvs[0] && { text: kvs[0].value.toString(), modRevision: kvs[0].modRevision };
  }

  async writeConfig(
    text: string,
    expected: string | undefined,
    signal: AbortSignal,
  ): Promise<'written' | 'conflict'> {
    const outcome = await this.#put(
      'write the network configuration',
      { key: this.#keys.config, value: text, etcdLeaseId: undefined, expected },
      signal,
    );
    return outcome ? 'written' : 'conflict';
  }

  async list(signal: AbortSignal): Promise<LeaseSnapshot> {
    const { revision, kvs } = await this.#range('list the leases', this.#keys.leases, signal);
    return { revision, ...(await inTurns(parseInSteps(this.#keys, kvs), CLOCK)) };
  }

  /**
   * An IPv4 address is found by the key of its subnet. By MAC, or by an IPv6 address, there is no key to look for: all leases
   * are read.
   */
  async find(question: Miss, subnetLength: number, signal: AbortSignal): Promise<Lease | undefined> {
    let range = this.#keys.leases;
    if (question.layer === 'l3' && familyOf(question.address) === 'ipv4') {
      const subnet = subnetOf(question.address, subnetLength);
      // The beginning of a dual-stack name, too.
      range = this.#keys.leasesFrom(printLeaseName({ subnet, ipv6Subnet: undefined }));
    }
    const { kvs } = await this.#range('look for a lease', range, signal);
    for (const kv of kvs) {
      const parsed = parseEntry(this.#keys, kv);
      if (parsed.kind === 'lease' && answers(parsed.lease, question)) return parsed.lease;
    }
    return undefined;
  }

  async count(signal: AbortSignal): Promise<number> {
    const range = { ...this.#keys.leases, count_only: true };
    const { count } = await this.#client.call(
      'count the leases',
      ({ connection, limits }) => connection.unary<{ count: string }>('KV', 'range', range, limits),
      signal,
    );
    return Number(count);
  }

  watch(afterRevision: string, signal: AbortSignal): AsyncIterable<LeaseBatch> {
    return watchLeases(this.#client, this.#keys, afterRevision, signal);
  }

  grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    // The ID is ours to choose, so that a request whose answer was lost can be repeated without leaving a second lease.
    let id = this.#newLeaseId();
    return this.#client.call(
      'get an etcd lease',
      async ({ connection, limits, unclear }) => {
        for (;;) {
          try {
            await connection.unary('Lease', 'leaseGrant', { TTL: ttlSeconds, ID: id }, limits);
            return id;
          } catch (error) {
            if (!isCallError(error, 'lease-exists')) throw error;
            if (unclear) return id;
            id = this.#newLeaseId();
          }
        }
      },
      signal,
    );
  }

  isGrantedToUs(etcdLeaseId: string): boolean {
    return BigInt(etcdLeaseId) >> CHANCE_BITS === this.#mark;
  }

  async keepAlive(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'> {
    const answer = await this.#client.call(
      'keep the lease alive',
      ({ connection, limits }) =>
        connection.exchange<LifeAnswer>('Lease', 'leaseKeepAlive', { ID: etcdLeaseId }, limits),
      signal,
    );
    return lifeIn(answer);
  }

  async lifeOf(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'> {
    const answer = await this.#client.call(
      'ask for the lease',
      ({ connection, limits }) =>
        connection.unary<LifeAnswer>('Lease', 'leaseTimeToLive', { ID: etcdLeaseId }, limits),
      signal,
    );
    return lifeIn(answer);
  }

  async revoke(etcdLeaseId: string, signal: AbortSignal): Promise<void> {
    await this.#client.call(
      'revoke the lease',
      async ({ connection, limits }) => {
        try {
          await connection.unary('Lease', 'leaseRevoke', { ID: etcdLeaseId }, limits);
        } catch (error) {
          if (!isCallError(error, 'no-such-lease')) throw error;
        }
      },
      signal,
    );
  }

  create(
    subnets: LeaseSubnets,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.#write(printLeaseName(subnets), undefined, attributes, etcdLeaseId, signal);
  }

  update(
    lease: Lease,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.#write(lease.name, lease, attributes, etcdLeaseId, signal);
  }

  remove(lease: Lease, signal: AbortSignal): Promise<'removed' | 'conflict'> {
    const key = this.#keys.lease(lease.name);
    return this.#client.call(
      `delete the lease ${lease.name}`,
      async (attempt) => {
        const { succeeded, responses } = await transact(attempt, {
          compare: [isAt(key, lease.modRevision)],
          success: [{ request_delete_range: { key } }],
          failure: [{ request_range: { key, keys_only: true } }],
        });
        const isGone = succeeded || keysIn(responses).length === 0;
        return succeeded || (attempt.unclear && isGone) ? 'removed' : 'conflict';
      },
      signal,
    );
  }

  /** A transaction whose condition never holds: etcd checks the rights for both of its branches, and whether there is room. */
  async checkAccess(leaseName: string, signal: AbortSignal): Promise<void> {
    const key = this.#keys.lease(leaseName);
    await this.#client.call(
      `read all leases and write the lease ${leaseName}`,
      (attempt) =>
        transact(attempt, {
          compare: [{ key, result: 'Less', target: 'Version', version: '0' }],
          success: [{ request_put: { key, value: Buffer.alloc(0), lease: '0' } }],
          failure: [{ request_range: { ...this.#keys.leases, count_only: true } }],
        }),
      signal,
    );
  }

  reconnect(): void {
    this.#client.reconnect();
  }

  close(): void {
    this.#client.close();
  }

  /** A positive number of 63 bits, as etcd's own. */
  #newLeaseId(): string {
    return String((this.#mark << CHANCE_BITS) | BigInt(randomBytes(4).readUInt32BE()));
  }

  async #write(
    name: string,
    before: Lease | undefined,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    const key = this.#keys.lease(name);
    const value = printLeaseAttributes(attributes);
    const purpose = `write the lease ${name}`;
    const expected = before?.modRevision;
    const kv = await this.#put(purpose, { key, value, etcdLeaseId, expected }, signal);
    if (!kv) return { kind: 'conflict' };
    const { createRevision = kv.create_revision } = before ?? {};
    return {
      kind: 'written',
      lease: leaseOf(parseStored(this.#keys, { ...kv, create_revision: createRevision })),
    };
  }

  /**
   * Writes a key if it is at the expected revision (undefined: if it does not exist). Returns what is stored then, or
   * undefined if the key was not as expected. It counts as written if the very same value is found attached to the very same
   * etcd lease, for then an earlier attempt has done it; without an etcd lease, only if this call made such an attempt.
   */
  #put(purpose: string, write: PutIfUnchanged, signal: AbortSignal): Promise<IKeyValue | undefined> {
    const { key, etcdLeaseId } = write;
    const value = Buffer.from(write.value);
    const lease = etcdLeaseId ?? '0';
    return this.#client.call(
      purpose,
      async (attempt) => {
        const { succeeded, header, responses } = await transact(attempt, {
          compare: [isAt(key, write.expected)],
          success: [{ request_put: { key, value, lease } }],
          failure: [{ request_range: { key } }],
        });
        const mine = { key, value, lease, mod_revision: header.revision };
        // Of a key that was there before, the caller knows when it was created.
        if (succeeded) return { ...mine, create_revision: header.revision, version: '0' };
        const found = keysIn(responses)[0];
        const isOurs = found && found.value.equals(value) && found.lease === lease;
        return isOurs && (etcdLeaseId !== undefined || attempt.unclear) ? found : undefined;
      },
      signal,
    );
  }

  #range(
    purpose: string,
    range: KeyRange | { readonly key: Buffer },
    signal: AbortSignal,
  ): Promise<RangeAnswer> {
    return this.#client.call(
      purpose,
      ({ connection, limits }) => connection.unary('KV', 'range', range, limits, readRangeAnswer),
      signal,
    );
  }
}

interface PutIfUnchanged {
  readonly key: Buffer;
  readonly value: string;
  readonly etcdLeaseId: string | undefined;
  readonly expected: string | undefined;
}

/** What etcd answers of a lease: its TTL is 0 or -1 when there is none. */
interface LifeAnswer {
  readonly TTL: string;
  readonly header: { readonly raft_term: string };
}

/** etcd grants no longer ones (lessor.go, MaxLeaseTTL). */
const LONGEST_TTL_SECONDS = 9_000_000_000;

/** A new leader gives every lease its whole time again, and is elected for a new term. */
function lifeIn({ TTL, header }: LifeAnswer): LeaseLife | 'lost' {
  const remainingSeconds = Math.min(Number(TTL), LONGEST_TTL_SECONDS);
  return remainingSeconds > 0 ? { remainingSeconds, term: header.raft_term } : 'lost';
}

function transact({ connection, limits }: Attempt, request: object): Promise<ITxnResponse> {
  return connection.unary<ITxnResponse>('KV', 'txn', request, limits);
}

/** What the failed transaction read. Throws a {@link CallError} where the answer holds nothing of it. */
function keysIn(responses: ITxnResponse['responses']): readonly IKeyValue[] {
  const kvs = (responses[0] as { response_range?: { kvs?: readonly IKeyValue[] } } | undefined)
    ?.response_range?.kvs;
  if (!kvs) throw new CallError('unavailable', 'its answer to a transaction is incomplete; is it etcd?');
  return kvs;
}

/** The condition that a key has this revision, or that there is no such key (version 0, as flannel asks). */
function isAt(key: Buffer, modRevision: string | undefined): object {
  return modRevision === undefined
    ? { key, result: 'Equal', target: 'Version', version: '0' }
    : { key, result: 'Equal', target: 'Mod', mod_revision: modRevision };
}

function answers(lease: Lease, question: Miss): boolean {
  if (question.layer === 'l3') {
    const { address } = question;
    return [lease.subnet, lease.ipv6Subnet].some((subnet) => subnet && contains(subnet, address));
  }
  const { backendData, backendV6Data } = lease.attributes;
  return [backendData, backendV6Data].some((data) => vxlanDataOf(data)?.vtepMac === question.mac);
}

function leaseOf(parsed: ParsedLease): Lease {
  if (parsed.kind === 'lease') return parsed.lease;
  throw new Error(`wrote a lease that cannot be read: ${parsed.malformed.name}: ${parsed.malformed.reason}`);
}

/** 31 bits that are never all zero. */
function markOf(incarnation: string): bigint {
  const hash = createHash('sha256').update(incarnation).digest().readUInt32BE();
  return BigInt((hash >>> 1) | 1);
}

function* parseInSteps(keys: Keys, entries: readonly StoredEntry[]): Steps<Omit<LeaseSnapshot, 'revision'>> {
  const leases = [];
  const malformed = [];
  for (const entry of entries) {
    const parsed = parseEntry(keys, entry);
    if (parsed.kind === 'lease') leases.push(parsed.lease);
    else malformed.push(parsed.malformed);
    yield;
  }
  return { leases, malformed };
}

function isCallError(error: unknown, kind: CallError['kind']): boolean {
  return error instanceof CallError && error.kind === kind;
}

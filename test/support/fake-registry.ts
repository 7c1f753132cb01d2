/**
 * A LeaseRegistry in memory that keeps state as etcd does: one store with revisions, history, compaction and leases, used by
 * any number of clients, each with faults of its own. It passes the same contract suite as the real one.
 */
import { contains } from '../../src/model/address';
import { RegistryError } from '../../src/model/errors';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../../src/model/lease';
import {
  parseLease,
  printLeaseAttributes,
  printLeaseName,
  vxlanDataOf,
  type ParsedLease,
} from '../../src/model/lease-codec';
import type { Miss } from '../../src/model/miss';
import type {
  Clock,
  LeaseBatch,
  LeaseChange,
  LeaseLife,
  LeaseRegistry,
  LeaseSnapshot,
  StoredConfig,
  WriteResult,
} from '../../src/ports';

const SUBNETS = 'subnets/';

interface Entry {
  readonly value: string;
  readonly etcdLeaseId: string | undefined;
  readonly modRevision: number;
  readonly createRevision: number;
}

interface Event {
  readonly revision: number;
  readonly key: string;
  readonly entry: Entry | undefined;
}

interface EtcdLease {
  readonly ttlSeconds: number;
  expiresAt: number;
}

/** The whole store at one time, to go back to. */
export interface Backup {
  readonly revision: number;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly etcdLeases: ReadonlyMap<string, EtcdLease>;
}

/** The time a store lives by. With `sleep`, slow clients are slow in this time; else in real time. */
export type StoreClock = Pick<Clock, 'now'> & Partial<Pick<Clock, 'sleep'>>;

/** What all clients share. Keys are those below the prefix: `config`, `subnets/10.5.1.0-24`. */
export class FakeStore {
  #revision = 1;
  #compacted = 0;
  #term = 1;
  #entries = new Map<string, Entry>();
  #etcdLeases = new Map<string, EtcdLease>();
  /** No etcd lease ends before this: a thousand clients ask ten times a second. */
  #noneEndsBefore = 0;
  #history: Event[] = [];
  #nextEtcdLeaseId = 1;
  readonly #grantees = new Map<string, string>();
  readonly #clients = new Set<FakeRegistry>();

  constructor(readonly clock: StoreClock = { now: () => performance.now() }) {}

  /** `host`: whose; all clients of one host know its etcd leases as their own. */
  client(host = 'host'): FakeRegistry {
    const client = new FakeRegistry(this, host);
    this.#clients.add(client);
    return client;
  }

  get revision(): number {
    this.expireLeases();
    return this.#revision;
  }

  get entries(): ReadonlyMap<string, Entry> {
    this.expireLeases();
    return this.#entries;
  }

  /** The text below a key, or undefined. */
  valueOf(key: string): string | undefined {
    return this.entries.get(key)?.value;
  }

  /** IDs of the etcd leases that live. */
  get etcdLeaseIds(): readonly string[] {
    this.expireLeases();
    return [...this.#etcdLeases.keys()];
  }

  /** Writes any key, as another program might. Throws if there is no such etcd lease. */
  put(key: string, value: string, etcdLeaseId?: string): Entry {
    this.expireLeases();
    if (etcdLeaseId !== undefined && !this.#etcdLeases.has(etcdLeaseId)) {
      throw new RegistryError('protocol', 'the etcd lease does not exist (any more)');
    }
    const modRevision = ++this.#revision;
    const createRevision = this.#entries.get(key)?.createRevision ?? modRevision;
    const entry: Entry = { value, etcdLeaseId, modRevision, createRevision };
    this.#entries.set(key, entry);
    this.#record([{ revision: entry.modRevision, key, entry }]);
    return entry;
  }

  /** Deletes any keys, at one revision. */
  delete(...keys: readonly string[]): void {
    const present = keys.filter((key) => this.#entries.has(key));
    if (present.length === 0) return;
    const revision = ++this.#revision;
    for (const key of present) this.#entries.delete(key);
    this.#record(present.map((key) => ({ revision, key, entry: undefined })));
  }

  grant(ttlSeconds: number, host = 'host'): string {
    const id = String(this.#nextEtcdLeaseId++);
    this.#grantees.set(id, host);
    const expiresAt = this.clock.now() + ttlSeconds * 1000;
    this.#etcdLeases.set(id, { ttlSeconds, expiresAt });
    this.#noneEndsBefore = Math.min(this.#noneEndsBefore, expiresAt);
    return id;
  }

  /** Which host got an etcd lease, however long it has been gone. */
  granteeOf(id: string): string | undefined {
    return this.#grantees.get(id);
  }

  keepAlive(id: string): LeaseLife | 'lost' {
    this.expireLeases();
    const lease = this.#etcdLeases.get(id);
    if (lease) lease.expiresAt = this.clock.now() + lease.ttlSeconds * 1000;
    return this.lifeOf(id);
  }

  /** In whole seconds, as etcd tells it. */
  lifeOf(id: string): LeaseLife | 'lost' {
    this.expireLeases();
    const lease = this.#etcdLeases.get(id);
    if (!lease) return 'lost';
    const remainingSeconds = Math.floor((lease.expiresAt - this.clock.now()) / 1000);
    return { remainingSeconds, term: String(this.#term) };
  }

  /** Another member leads: every etcd lease has its whole time again. */
  elect(): void {
    this.#term++;
    for (const id of this.#etcdLeases.keys()) this.keepAlive(id);
  }

  /** Ends an etcd lease, with its keys, as if its time were over. */
  revoke(id: string): void {
    if (!this.#etcdLeases.delete(id)) return;
    this.delete(...[...this.#entries].filter(([, entry]) => entry.etcdLeaseId === id).map(([key]) => key));
  }

  /** Ends the etcd leases whose time is over. Every other use of the store does so too; watchers hear of it then. */
  expireLeases(): void {
    const now = this.clock.now();
    if (now < this.#noneEndsBefore) return;
    const due = [...this.#etcdLeases].filter(([, lease]) => lease.expiresAt <= now).map(([id]) => id);
    for (const id of due) this.revoke(id);
    this.#noneEndsBefore = [...this.#etcdLeases.values()].reduce(
      (earliest, { expiresAt }) => Math.min(earliest, expiresAt),
      Infinity,
    );
  }

  /** Forgets the history, so that no watch can begin in the past. */
  compact(): void {
    this.#compacted = this.#revision;
    this.#history = this.#history.filter(({ revision }) => revision >= this.#compacted);
  }

  backup(): Backup {
    return {
      revision: this.revision,
      entries: new Map(this.#entries),
      etcdLeases: new Map([...this.#etcdLeases].map(([id, lease]) => [id, { ...lease }])),
    };
  }

  /** Puts back an older state: the revision goes backwards, and every connection is cut. */
  restore(backup: Backup): void {
    this.#revision = backup.revision;
    this.#compacted = backup.revision;
    this.#history = [];
    this.#entries = new Map(backup.entries);
    this.#etcdLeases = new Map([...backup.etcdLeases].map(([id, lease]) => [id, { ...lease }]));
    this.#noneEndsBefore = 0;
    this.#term++;
    for (const client of this.#clients) client.cutWatches();
  }

  /** What happened after a revision. Throws 'compacted' if that is not known (any more), or not yet. */
  eventsAfter(revision: number): readonly Event[] {
    if (revision + 1 < this.#compacted) throw compacted(revision);
    if (revision > this.#revision) throw compacted(revision);
    const last = this.#history.findLastIndex((event) => event.revision <= revision);
    return this.#history.slice(last + 1);
  }

  #record(events: readonly Event[]): void {
    this.#history.push(...events);
    for (const client of this.#clients) client.wakeWatches();
  }
}

/** What a client can be asked to do, for faults and counts. */
export type RegistryMethod = Exclude<keyof LeaseRegistry, 'close' | 'reconnect' | 'isGrantedToUs'>;

/** Etcd leases belong to whoever knows their IDs. */
const EVERYBODYS: ReadonlySet<RegistryMethod> = new Set<RegistryMethod>([
  'grant',
  'keepAlive',
  'lifeOf',
  'revoke',
]);
const READS: ReadonlySet<RegistryMethod> = new Set<RegistryMethod>([
  'readConfig',
  'list',
  'count',
  'find',
  'watch',
]);

interface Failure {
  readonly error: RegistryError;
  readonly applied: boolean;
}

interface Watch {
  wake: () => void;
  cut: RegistryError | undefined;
}

/** One client of a {@link FakeStore}, and its faults. */
export class FakeRegistry implements LeaseRegistry {
  /** Every call takes this long. */
  slowMilliseconds = 0;
  /** While deaf, watches tell nothing. */
  deaf = false;
  /** What this client may do. Without the right to write it keeps etcd leases alive all the same, as in etcd. */
  rights: 'all' | 'read' | 'none' = 'all';
  /** How often all connections were given up. */
  reconnects = 0;
  readonly #calls: RegistryMethod[] = [];
  readonly #failures = new Map<RegistryMethod, Failure[]>();
  readonly #watches = new Set<Watch>();
  #down: RegistryError | undefined;
  #closed = false;

  constructor(
    private readonly store: FakeStore,
    private readonly host: string,
  ) {}

  /** While down nobody answers, and watches end. */
  set down(isDown: boolean) {
    this.#down = isDown ? unavailable('nobody answers') : undefined;
    if (isDown) this.cutWatches();
  }

  get down(): boolean {
    return this.#down !== undefined;
  }

  /** The next call of this method fails; with `applied` it has done its work, but the answer is lost. */
  failNext(
    method: RegistryMethod,
    { error = unavailable('the connection was lost'), applied = false }: Partial<Failure> = {},
  ): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), { error, applied }]);
  }

  /** How often a method was called. */
  countOf(method: RegistryMethod): number {
    return this.#calls.filter((call) => call === method).length;
  }

  /** All calls, in order. */
  get calls(): readonly RegistryMethod[] {
    return this.#calls;
  }

  /** How many watches are open. */
  get watchCount(): number {
    return this.#watches.size;
  }

  /** The connections of all watches are lost. */
  cutWatches(error = unavailable('the connection was lost')): void {
    for (const watch of this.#watches) {
      watch.cut ??= error;
      watch.wake();
    }
  }

  wakeWatches(): void {
    for (const watch of this.#watches) watch.wake();
  }

  readConfig(signal: AbortSignal): Promise<StoredConfig | undefined> {
    return this.#call('readConfig', signal, () => {
      const entry = this.store.entries.get('config');
      return entry && { text: entry.value, modRevision: String(entry.modRevision) };
    });
  }

  writeConfig(
    text: string,
    expected: string | undefined,
    signal: AbortSignal,
  ): Promise<'written' | 'conflict'> {
    return this.#call('writeConfig', signal, () => {
      if (this.#revisionOf('config') !== expected) return 'conflict';
      this.store.put('config', text);
      return 'written';
    });
  }

  list(signal: AbortSignal): Promise<LeaseSnapshot> {
    return this.#call('list', signal, () => {
      const parsed = this.#parseAll();
      return {
        revision: String(this.store.revision),
        leases: parsed.flatMap((each) => (each.kind === 'lease' ? [each.lease] : [])),
        malformed: parsed.flatMap((each) => (each.kind === 'malformed' ? [each.malformed] : [])),
      };
    });
  }

  count(signal: AbortSignal): Promise<number> {
    return this.#call('count', signal, () => this.#parseAll().length);
  }

  find(question: Miss, _subnetLength: number, signal: AbortSignal): Promise<Lease | undefined> {
    return this.#call('find', signal, () => {
      const leases = this.#parseAll().flatMap((each) => (each.kind === 'lease' ? [each.lease] : []));
      return leases.find((lease) => answers(lease, question));
    });
  }

  async *watch(afterRevision: string, signal: AbortSignal): AsyncGenerator<LeaseBatch> {
    const watch: Watch = { wake: () => undefined, cut: undefined };
    const onAbort = () => watch.wake();
    signal.addEventListener('abort', onAbort);
    this.#watches.add(watch);
    try {
      await this.#call('watch', signal, () => undefined);
      let revision = Number(afterRevision);
      this.store.eventsAfter(revision);
      yield { revision: afterRevision, changes: [] };
      for (;;) {
        signal.throwIfAborted();
        if (watch.cut) throw watch.cut;
        const news = new Promise<void>((resolve) => (watch.wake = resolve));
        const events = this.store.eventsAfter(revision);
        if (events.length === 0 || this.deaf) {
          await news;
          continue;
        }
        revision = events.at(-1)!.revision;
        const changes = events.filter(({ key }) => key.startsWith(SUBNETS)).map(changeOf);
        yield { revision: String(revision), changes };
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watches.delete(watch);
    }
  }

  grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    return this.#call('grant', signal, () => this.store.grant(ttlSeconds, this.host));
  }

  isGrantedToUs(etcdLeaseId: string): boolean {
    return this.store.granteeOf(etcdLeaseId) === this.host;
  }

  keepAlive(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'> {
    return this.#call('keepAlive', signal, () => this.store.keepAlive(etcdLeaseId));
  }

  lifeOf(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'> {
    return this.#call('lifeOf', signal, () => this.store.lifeOf(etcdLeaseId));
  }

  revoke(etcdLeaseId: string, signal: AbortSignal): Promise<void> {
    return this.#call('revoke', signal, () => this.store.revoke(etcdLeaseId));
  }

  create(
    subnets: LeaseSubnets,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.#call('create', signal, () =>
      this.#write(printLeaseName(subnets), undefined, attributes, etcdLeaseId),
    );
  }

  update(
    lease: Lease,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.#call('update', signal, () =>
      this.#write(lease.name, lease.modRevision, attributes, etcdLeaseId),
    );
  }

  remove(lease: Lease, signal: AbortSignal): Promise<'removed' | 'conflict'> {
    return this.#call('remove', signal, () => {
      if (this.#revisionOf(SUBNETS + lease.name) !== lease.modRevision) return 'conflict';
      this.store.delete(SUBNETS + lease.name);
      return 'removed';
    });
  }

  checkAccess(_leaseName: string, signal: AbortSignal): Promise<void> {
    return this.#call('checkAccess', signal, () => undefined);
  }

  reconnect(): void {
    this.reconnects++;
    this.cutWatches();
  }

  close(): void {
    this.#closed = true;
    this.cutWatches(unavailable('the client was closed'));
  }

  #write(
    name: string,
    expected: string | undefined,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
  ): WriteResult {
    const key = SUBNETS + name;
    const value = printLeaseAttributes(attributes);
    const present = this.store.entries.get(key);
    const isOurs =
      etcdLeaseId !== undefined && present?.etcdLeaseId === etcdLeaseId && present.value === value;
    if (this.#revisionOf(key) !== expected && !isOurs) return { kind: 'conflict' };
    const isAsExpected = this.#revisionOf(key) === expected;
    const entry = isAsExpected ? this.store.put(key, value, etcdLeaseId) : present!;
    const parsed = parseEntry(key, entry);
    if (parsed.kind !== 'lease') throw new Error(`the fake wrote what it cannot read: ${name} ${value}`);
    return { kind: 'written', lease: parsed.lease };
  }

  #revisionOf(key: string): string | undefined {
    return this.store.entries.get(key)?.modRevision.toString();
  }

  #parseAll(): ParsedLease[] {
    return [...this.store.entries]
      .filter(([key]) => key.startsWith(SUBNETS))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => parseEntry(key, entry));
  }

  /** What every call has in common: counts, faults, aborts. */
  async #call<T>(method: RegistryMethod, signal: AbortSignal, work: () => T): Promise<T> {
    this.#calls.push(method);
    signal.throwIfAborted();
    if (this.#closed) throw unavailable('the client was closed');
    if (this.slowMilliseconds > 0) await this.#sleep(this.slowMilliseconds, signal);
    // Nothing over a network is done at once.
    await Promise.resolve();
    signal.throwIfAborted();
    if (this.#down) throw this.#down;
    if (!this.#isAllowed(method)) throw new RegistryError('denied', `${method}: permission denied`);
    const failure = this.#failures.get(method)?.shift();
    if (!failure) return work();
    if (failure.applied) work();
    throw failure.error;
  }

  #isAllowed(method: RegistryMethod): boolean {
    if (this.rights === 'all' || EVERYBODYS.has(method)) return true;
    return this.rights === 'read' && READS.has(method);
  }

  async #sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.store;
    if (clock.sleep) return clock.sleep(milliseconds, signal);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, milliseconds);
      const abort = () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}

function answers(lease: Lease, question: Miss): boolean {
  if (question.layer === 'l3') {
    return [lease.subnet, lease.ipv6Subnet].some((subnet) => subnet && contains(subnet, question.address));
  }
  const { backendData, backendV6Data } = lease.attributes;
  return [backendData, backendV6Data].some((data) => vxlanDataOf(data)?.vtepMac === question.mac);
}

/** Entries never change, and are read by every client again and again. */
const parsedEntries = new WeakMap<Entry, ParsedLease>();

function parseEntry(key: string, entry: Entry): ParsedLease {
  const known = parsedEntries.get(entry);
  if (known) return known;
  const { value, etcdLeaseId } = entry;
  const name = key.slice(SUBNETS.length);
  const modRevision = String(entry.modRevision);
  const createRevision = String(entry.createRevision);
  const parsed = parseLease({ name, value, etcdLeaseId, modRevision, createRevision });
  parsedEntries.set(entry, parsed);
  return parsed;
}

function changeOf({ key, entry }: Event): LeaseChange {
  if (!entry) return { kind: 'removed', name: key.slice(SUBNETS.length) };
  const parsed = parseEntry(key, entry);
  return parsed.kind === 'lease' ? { kind: 'put', lease: parsed.lease } : parsed;
}

function unavailable(why: string): RegistryError {
  return new RegistryError('unavailable', `the registry cannot be reached: ${why}`);
}

function compacted(revision: number): RegistryError {
  return new RegistryError(
    'compacted',
    `the registry does not know what happened after revision ${revision}`,
  );
}

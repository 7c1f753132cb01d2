/** Follows the keys of one prefix in etcd: list, watch, audit, backoff. It knows nothing of what the keys mean. */
import { backoffMilliseconds } from '../core/backoff';
import { LinkedAbort } from '../linked-abort';
import { RegistryError } from '../model/errors';
import type { Clock, Log } from '../ports';
import { ProblemReporter, type Problem } from './problem';

/** After this long a watch that seems well is replaced by a full list and a new watch: the audit. */
const AUDIT_MILLISECONDS = 600_000;
const BACKOFF = { minMilliseconds: 100, maxMilliseconds: 10_000 };
/**
 * When the connections of all hosts are lost at once, all of them come back to read everything. With so much of the first wait for each
 * reader, a thousand come within two seconds instead of a twentieth of one.
 */
const SPREAD_MILLISECONDS_PER_READER = 4;
/**
 * A watch begins where a snapshot ended that is no older than this. Were the store restored from a backup between the two, and written
 * to until its revision is the same again, the watch would tell of another past, unnoticed.
 */
const FRESH_MILLISECONDS = 1_000;
/** How often the keys are counted. */
const COUNT_MILLISECONDS = 60_000;
/** A watch that has lasted so long works. */
const PROVEN_MILLISECONDS = 10_000;
/** So many watches in a row may fail without distrust of the next. */
const FORGIVEN_WATCHES = 2;
/** Logged when a watch goes on, not with the snapshot before it: else a watch that never begins would be called well each time. */
const RECOVERED = 'etcd answers again';

/** Where the keys of one prefix are read. Methods throw {@link RegistryError}. */
export interface PrefixSource<Snapshot, Change> {
  /** All keys, in one read. */
  list(signal: AbortSignal): Promise<Snapshot & { readonly revision: string }>;
  /** All changes after a revision, in order, none missing. Never ends by itself: any failure is thrown. */
  watch(
    afterRevision: string,
    signal: AbortSignal,
  ): AsyncIterable<{ readonly revision: string; readonly changes: readonly Change[] }>;
  /** How many keys there are, readable or not. */
  count(signal: AbortSignal): Promise<number>;
}

/** How the answers about one prefix are read. */
export interface PrefixCodec<Snapshot, Change> {
  /** What the keys are, for a person: `leases`. */
  readonly noun: string;
  /** The message to log while they cannot be read. */
  readonly failure: string;
  /** A snapshot as changes, one for each key in it. */
  changesOf(snapshot: Snapshot): readonly Change[];
  nameOf(change: Change): string;
  removalOf(name: string): Change;
}

/** What is done with the keys. */
export interface Receiver<Change> {
  /** The names of the keys that the receiver has: a snapshot without one of them removes it. */
  knownNames(): Set<string>;
  /** A key whose absence from a snapshot is told, whether the receiver has it or not. */
  expectedName(): string | undefined;
  /** About how many hosts follow this prefix. */
  readers(): number;
  /** Takes changes in order; the next ones come after it has resolved. */
  take(changes: readonly Change[]): Promise<void>;
  /** Called once, when the first snapshot has been taken. */
  inSync(): void;
}

/**
 * Knows only two ways to learn: a whole snapshot, and the watch that follows it. Whatever goes wrong with the watch ends in a new
 * snapshot. While etcd is away the receiver hears nothing, and keeps what it has.
 */
export class Follower<Snapshot, Change> {
  readonly #problem: ProblemReporter;
  #revision: string | undefined;
  #snapshotAt = -Infinity;
  /** How many watches in a row failed before they proved that they work. */
  #failedWatches = 0;
  /** How many batches the watches have told. */
  #batches = 0;

  constructor(
    private readonly source: PrefixSource<Snapshot, Change>,
    private readonly codec: PrefixCodec<Snapshot, Change>,
    private readonly receiver: Receiver<Change>,
    private readonly clock: Clock,
    log: Log,
  ) {
    this.#problem = new ProblemReporter(clock, log);
  }

  /** What is wrong with etcd, and for how long; undefined when the watch is well. */
  get problem(): Problem | undefined {
    return this.#problem.current;
  }

  /** True once etcd has told all keys. */
  get hasSnapshot(): boolean {
    return this.#snapshotAt > -Infinity;
  }

  /** Takes the first snapshot, trying until it succeeds or the signal aborts. */
  async sync(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#takeSnapshot(signal);
        this.#problem.clear(RECOVERED);
        return;
      } catch (error) {
        await this.#recover(error, attempt, signal);
      }
    }
  }

  /** Follows until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let failedReads = 0;
    while (!signal.aborted) {
      try {
        const isFresh = this.clock.now() - this.#snapshotAt <= FRESH_MILLISECONDS;
        if (this.#revision === undefined || !isFresh) await this.#takeSnapshot(signal);
        failedReads = 0;
        this.#failedWatches++;
        await this.#watchUntilAudit(signal);
        this.#failedWatches = 0;
        this.#revision = undefined;
      } catch (error) {
        this.#revision = undefined;
        const attempt = failedReads++ + Math.max(0, this.#failedWatches - 1);
        await this.#recover(error, attempt, signal).catch(() => undefined);
      }
    }
  }

  async #watchUntilAudit(signal: AbortSignal): Promise<void> {
    const audit = new LinkedAbort(signal);
    const timer = this.clock.sleep(AUDIT_MILLISECONDS * (0.75 + this.clock.random() / 2), audit.signal).then(
      () => audit.abort(),
      () => undefined,
    );
    const behind = this.#noticeBehind(audit);
    const proof = this.clock.sleep(PROVEN_MILLISECONDS, audit.signal).then(
      () => this.#trustWatch(),
      () => undefined,
    );
    try {
      for await (const { revision, changes } of this.source.watch(this.#revision!, audit.signal)) {
        // A server may accept each watch and end it at once. After some of them an empty batch proves nothing.
        if (changes.length > 0) this.#trustWatch();
        else if (this.#failedWatches <= FORGIVEN_WATCHES) this.#problem.clear(RECOVERED);
        this.#revision = revision;
        this.#batches++;
        await this.receiver.take(changes);
      }
    } catch (error) {
      if (signal.aborted || !audit.signal.aborted) throw error;
    } finally {
      audit.abort();
      await Promise.all([timer, proof, behind]);
    }
    if (audit.signal.reason instanceof RegistryError) throw audit.signal.reason;
  }

  /**
   * A server may answer everything else and fall behind with its watches. So the keys are counted now and then: where their number has
   * not been ours for a whole interval, in which the watch told nothing, the watch is given up.
   */
  async #noticeBehind(watch: LinkedAbort): Promise<void> {
    for (let suspectedAt: number | undefined; !watch.signal.aborted;) {
      try {
        await this.clock.sleep(COUNT_MILLISECONDS, watch.signal);
        const batches = this.#batches;
        const known = this.receiver.knownNames().size;
        const count = await this.source.count(watch.signal);
        const isOdd = count !== known && this.#batches === batches;
        if (isOdd && suspectedAt === batches) {
          const text = `the watch is behind: etcd has ${count} ${this.codec.noun}, and it told of ${known}`;
          watch.abort(new RegistryError('unavailable', text));
        }
        suspectedAt = isOdd ? batches : undefined;
      } catch {
        // That etcd does not answer is reported by whatever needs the answer.
      }
    }
  }

  /** The watch works. Only what it delivered, or that it lasted, makes earlier failures be forgotten. */
  #trustWatch(): void {
    this.#failedWatches = 0;
    this.#problem.clear(RECOVERED);
  }

  async #recover(error: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#problem.report(this.codec.failure, error);
    const spread = Math.min(
      this.receiver.readers() * SPREAD_MILLISECONDS_PER_READER,
      BACKOFF.maxMilliseconds,
    );
    const limits = { ...BACKOFF, minMilliseconds: Math.max(BACKOFF.minMilliseconds, spread) };
    await this.clock.sleep(backoffMilliseconds(attempt, limits, this.clock.random()), signal);
  }

  async #takeSnapshot(signal: AbortSignal): Promise<void> {
    const snapshot = await this.source.list(signal);
    const isFirst = !this.hasSnapshot;
    this.#revision = snapshot.revision;
    this.#snapshotAt = this.clock.now();
    await this.receiver.take(this.#differenceTo(snapshot));
    if (isFirst) this.receiver.inSync();
  }

  /** The snapshot as changes: what is in it no more, then every key in it. */
  #differenceTo(snapshot: Snapshot): Change[] {
    const present = this.codec.changesOf(snapshot);
    const removed = this.receiver.knownNames();
    const expected = this.receiver.expectedName();
    if (expected !== undefined) removed.add(expected);
    for (const change of present) removed.delete(this.codec.nameOf(change));
    return [...Array.from(removed, (name) => this.codec.removalOf(name)), ...present];
  }
}

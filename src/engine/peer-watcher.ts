/** Keeps the peer table as the leases in etcd say. */
import type { Self } from '../core/peers';
import { inTurns } from '../in-turns';
import type { Subnet } from '../model/address';
import type { Lease, MalformedLease } from '../model/lease';
import { printLeaseName } from '../model/lease-codec';
import type { SubnetRange } from '../model/network-config';
import type { Peer, PeerTable } from '../model/peer';
import type { Steps } from '../model/steps';
import type { Clock, LeaseChange, LeaseRegistry, LeaseSnapshot, Log } from '../ports';
import { LeaseProblems, type LeaseProblem } from './lease-problems';
import { Follower } from './follower';
import { GracePeriod } from './grace-period';
import { LEASE_PREFIX_CODEC } from './lease-prefix-codec';
import { PeerChangesLog } from './peer-changes-log';
import { PeerJudge, RESOLVED_AT_ONCE } from './peer-judge';
import { PeerStream, type PeerSubscribers, type WhenJudged } from './peer-stream';
import type { Problem } from './problem';

export interface PeerWatcherEvents {
  /** Called once, after the first snapshot. */
  inSync(): void;
  /** Who hears of changes of the peer table. */
  readonly peers: PeerSubscribers;
  /** Called when our own key was written or deleted, by whomever. */
  ownLeaseChanged(stored: Lease | MalformedLease | undefined): void;
  /** Called when a lease of another host names our VTEP MAC; peers send what is for that MAC to one of the two. */
  ownMacClaimed(lease: Lease): void;
}

/**
 * Owns the leases as last seen. The {@link Follower} tells what changed; the {@link PeerJudge} makes the peer table of it; the
 * {@link GracePeriod} keeps peers whose keys are gone. While etcd is away the table stays as it was.
 */
export class PeerWatcher {
  readonly #leases = new Map<string, Lease>();
  readonly #malformed = new Map<string, MalformedLease>();
  readonly #follower: Follower<LeaseSnapshot, LeaseChange>;
  readonly #grace: GracePeriod;
  readonly #judge: PeerJudge;
  readonly #problems: LeaseProblems;
  readonly #changes: PeerChangesLog;
  readonly #stream: PeerStream;
  #isJudged = false;

  constructor(
    registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly events: PeerWatcherEvents,
    /** For how long a peer is kept whose lease expired (it may be cut off from etcd, but not from us); 0: no longer than one whose key was deleted. */
    graceMilliseconds: number,
  ) {
    this.#changes = new PeerChangesLog(clock, log);
    const { atOnce, whenJudged } = events.peers;
    const changeLog: WhenJudged = (changes) => this.#changes.add(changes, this.peers.size);
    this.#stream = new PeerStream({ atOnce, whenJudged: { ...whenJudged, 'change log': changeLog } });
    this.#problems = new LeaseProblems(clock);
    this.#grace = new GracePeriod(registry, clock, log, graceMilliseconds, {
      dismissed: (name) => this.#judge.drop(name),
      lookedAtAll: () => this.#take([]),
    });
    this.#judge = new PeerJudge({
      problems: this.#problems,
      grace: this.#grace,
      ownMacClaimed: (lease) => events.ownMacClaimed(lease),
    });
    const receiver = {
      knownNames: () => new Set([...this.#leases.keys(), ...this.#malformed.keys()]),
      // Our own key may have come and gone unseen.
      expectedName: () => this.#judge.self?.leaseName,
      readers: () => this.#leases.size,
      take: (changes: readonly LeaseChange[]) => this.#take(changes),
      inSync: () => events.inSync(),
    };
    this.#follower = new Follower(registry, LEASE_PREFIX_CODEC, receiver, clock, log);
  }

  get peers(): PeerTable {
    return this.#judge.peers;
  }

  /** True once the peers are those of a snapshot: before, they come from the state file, or there are none yet. */
  get isInSync(): boolean {
    return this.#isJudged && this.hasSnapshot;
  }

  /** True once etcd has told all leases. */
  get hasSnapshot(): boolean {
    return this.#follower.hasSnapshot;
  }

  /** True once all leases have been judged: before, there are leases but not all of their peers. */
  get isJudged(): boolean {
    return this.#isJudged;
  }

  /** Every readable lease, our own too. */
  get leases(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  /** What a later start is to know: every readable lease, and those that are gone but whose peers are kept. */
  get remembered(): readonly Lease[] {
    return [...this.#leases.values(), ...this.#grace.leases];
  }

  /** Peers whose leases expired, and for how many milliseconds they have been kept. */
  get graced(): { lease: string; forMilliseconds: number }[] {
    return this.#grace.graced;
  }

  /** Leases that are not used, or not as they say, and why. */
  get leaseProblems(): readonly LeaseProblem[] {
    return this.#problems.all;
  }

  /** Peers that joined, left or changed since the start. */
  get changeCount(): number {
    return this.#changes.count;
  }

  /** What is wrong with the registry, and for how long; undefined when the watch is well. */
  get problem(): Problem | undefined {
    return this.#follower.problem;
  }

  /**
   * Says who we are, and which subnets the network gives to hosts: from now on every lease but our own is judged, and the good
   * ones are peers. Resolves when all have been judged.
   */
  async identify(self: Self, range: SubnetRange): Promise<void> {
    const before = this.#judge.self;
    // What happened to another key was not ours to tell until now.
    const isOtherKey = before !== undefined && before.leaseName !== self.leaseName;
    this.#judge.identify(self, range);
    await inTurns(this.#judgeAllInSteps(), this.clock);
    this.#isJudged = true;
    this.#publish(isOtherKey && self.leaseName !== undefined ? [this.#stored(self.leaseName)] : []);
  }

  *#judgeAllInSteps(): Steps<void> {
    for (const lease of this.#grace.leases) this.#judge.judge(lease, false);
    let judged = 0;
    for (const lease of [...this.#leases.values()]) {
      // It may have gone or changed meanwhile.
      if (this.#leases.get(lease.name) === lease) this.#judgeStored(lease);
      if (++judged % RESOLVED_AT_ONCE === 0) this.#resolve();
      yield;
    }
    yield* this.#resolveInSteps();
  }

  /** Judges the lease of a subnet before its turn, because a packet waits for it. */
  meet(subnet: Subnet): Peer | undefined {
    const lease = this.#leases.get(printLeaseName({ subnet, ipv6Subnet: undefined }));
    if (!this.#judge.self || !lease) return undefined;
    this.#judgeStored(lease);
    this.#resolve();
    this.#publish([]);
    return this.peers.bySubnet(subnet);
  }

  /** The peer that a lease would be which the watch has not told of yet. */
  peerOf(lease: Lease): Peer | undefined {
    return this.#judge.peerOf(lease);
  }

  /** Takes leases as they were last seen, for a start without the registry; the first snapshot corrects them. */
  restore(leases: readonly Lease[]): void {
    for (const lease of leases) this.#remember(lease);
  }

  /**
   * Takes leases as an earlier process last saw them, after the first snapshot and before {@link identify}. Those that have gone since
   * are treated as if they went now: their hosts may be cut off from etcd, but not from us.
   */
  restoreGone(leases: readonly Lease[]): void {
    const present = new Set(this.leases.map(({ attributes }) => attributes.publicIp));
    for (const lease of leases) {
      if (this.#leases.has(lease.name)) continue;
      if (this.#malformed.has(lease.name)) this.#leases.set(lease.name, lease);
      else if (!present.has(lease.attributes.publicIp)) this.#grace.keep(lease);
    }
  }

  /** Takes the first snapshot, trying until it succeeds or the signal aborts. */
  sync(signal: AbortSignal): Promise<void> {
    return this.#follower.sync(signal);
  }

  /** Follows the registry until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follower.run(signal), this.#grace.run(signal), this.#changes.run(signal)]);
  }

  #stored(name: string): Lease | MalformedLease | undefined {
    return this.#malformed.get(name) ?? this.#leases.get(name);
  }

  /** In turns: a packet that waits for an answer does not wait for ten thousand changes. */
  async #take(leaseChanges: readonly LeaseChange[]): Promise<void> {
    const own = await inTurns(this.#takeInSteps(leaseChanges), this.clock);
    this.#publish(own);
  }

  *#takeInSteps(leaseChanges: readonly LeaseChange[]): Steps<(Lease | MalformedLease | undefined)[]> {
    const own: (Lease | MalformedLease | undefined)[] = [];
    for (const change of leaseChanges) {
      yield;
      const name = LEASE_PREFIX_CODEC.nameOf(change);
      this.#takeOne(change);
      if (name === this.#judge.self?.leaseName) own.push(this.#stored(name));
    }
    yield* this.#resolveInSteps();
    return own;
  }

  #takeOne(change: LeaseChange): void {
    switch (change.kind) {
      case 'put':
        this.#malformed.delete(change.lease.name);
        this.#problems.withdraw('codec', change.lease.name);
        this.#remember(change.lease);
        this.#judge.judge(change.lease, true);
        break;
      case 'removed':
        this.#malformed.delete(change.name);
        this.#problems.withdraw('codec', change.name);
        this.#forget(change.name);
        break;
      case 'malformed': {
        const { name: lease, reason } = change.malformed;
        // What it said before it was spoiled still leads to a host that exists: kept until the key goes.
        this.#malformed.set(lease, change.malformed);
        // A lease that can be read is accepted rather than this one of before.
        const spoiled = this.#leases.get(lease);
        if (spoiled) this.#judge.judge(spoiled, false);
        this.#problems.put('codec', { lease, reason, isUsed: false });
        break;
      }
    }
  }

  /** Tells of every change of the table since the last time, and of what happened to our own key. */
  #publish(own: readonly (Lease | MalformedLease | undefined)[]): void {
    this.#stream.judged();
    if (own.length > 0) this.events.ownLeaseChanged(own.at(-1));
  }

  #remember(lease: Lease): void {
    this.#leases.set(lease.name, lease);
    this.#grace.present(lease);
  }

  #forget(name: string): void {
    const lease = this.#leases.get(name);
    this.#leases.delete(name);
    // Without any grace, too: a host that lives writes a deleted key again.
    if (lease && this.#judge.isPeer(name) && this.#grace.keep(lease)) this.#judge.judge(lease, false);
    else this.#judge.drop(name);
  }

  /** A lease whose key is spoiled is one of before. */
  #judgeStored(lease: Lease): void {
    this.#judge.judge(lease, !this.#malformed.has(lease.name));
  }

  *#resolveInSteps(): Steps<void> {
    do {
      this.#resolve();
      yield;
    } while (!this.#judge.isResolved);
    this.#problems.log(this.log);
  }

  #resolve(): void {
    this.#stream.changed(this.#judge.resolve());
  }
}

/** Keeps the peer table as the registry says. */
import { backoffMilliseconds } from '../core/backoff';
import { claimsOurMac, judgeLease, type Self } from '../core/peers';
import type { Contender } from '../core/contender';
import { Rivals } from '../core/rivals';
import { isLeasable } from '../core/subnets';
import { inTurns } from '../in-turns';
import { printSubnet, type Subnet } from '../model/address';
import { RegistryError } from '../model/errors';
import type { Lease, MalformedLease } from '../model/lease';
import { printLeaseName } from '../model/lease-codec';
import type { SubnetRange } from '../model/network-config';
import {
  MutablePeerTable,
  mergedChanges,
  samePeer,
  type Peer,
  type PeerChange,
  type PeerTable,
} from '../model/peer';
import type { Steps } from '../model/steps';
import type { Clock, LeaseChange, LeaseRegistry, LeaseSnapshot, Log } from '../ports';
import { Complaints, printSome, type Complainant, type Complaint } from './complaints';
import { Departures, type Departure } from './departures';
import { LinkedAbort } from '../linked-abort';
import { PeerChangesLog } from './peer-changes-log';
import { SummedLines } from './summed-lines';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** After this long a watch that seems well is replaced by a full list and a new watch: the audit. */
const AUDIT_MILLISECONDS = 600_000;
const BACKOFF = { minMilliseconds: 100, maxMilliseconds: 10_000 };
/**
 * When the connections of all hosts are lost at once, all of them come back to read everything. There are as many hosts as
 * leases: with so much of the first wait for each, a thousand come within two seconds instead of a twentieth of one.
 */
const SPREAD_MILLISECONDS_PER_LEASE = 4;
/**
 * A watch begins where a snapshot ended that is no older than this. Were the store put back to a backup between the two, and
 * written to until its revision is the same again, the watch would tell of another past, and nobody would notice.
 */
const FRESH_MILLISECONDS = 1_000;
/** A host whose key was deleted by hand has it back within this, and its peers need not lose a packet over it. */
const DELETION_MILLISECONDS = 2_000;
/** How often a registry that does not answer is asked again how a lease went. */
const EXAMINE_RETRY_MILLISECONDS = 5_000;
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** How often the leases are counted. */
const COUNT_MILLISECONDS = 60_000;
/** A watch that has lasted so long works. */
const PROVEN_MILLISECONDS = 10_000;
/** So many watches in a row may fail without distrust of the next. */
const FORGIVEN_WATCHES = 2;
/** So many leases are judged against each other at once, when all of them are. */
const SETTLED_AT_ONCE = 32;
/** Of leases that expired, so many are named in one line. */
const NAMED_LEASES = 3;
/** Said when a watch goes on, and not with the snapshot before it: one that never begins would else be said to be well each time. */
const BACK = 'etcd answers again';

export interface PeerWatcherEvents {
  /** Called once, after the first snapshot. */
  inSync(): void;
  /** Called whenever the table has changed, also while leases are still being judged: it may change again before others hear of it. */
  tableChanged(changes: readonly PeerChange[]): void;
  /**
   * Called after the table has changed, with all that changed since the last call: one change for each subnet; and each as it came, for
   * whoever has to know what the table said in between, too.
   */
  peersChanged(changes: readonly PeerChange[], each: readonly PeerChange[]): void;
  /** Called when our own key was written or deleted, by whomever. */
  ownLeaseChanged(stored: Lease | MalformedLease | undefined): void;
  /** Called when a lease of another host names our VTEP MAC; peers send what is for that MAC to one of the two. */
  ownMacClaimed(lease: Lease): void;
}

/**
 * Owns the leases as last seen and the peer table made of them. It knows only two ways to learn: a whole snapshot, and the
 * watch that follows it; whatever goes wrong with the watch ends in a new snapshot, compared by value. While the registry is
 * away the table stays as it was.
 */
export class PeerWatcher {
  readonly #leases = new Map<string, Lease>();
  readonly #malformed = new Map<string, MalformedLease>();
  readonly #peers = new MutablePeerTable();
  /** The leases that are good by themselves; those of them that are good together are the peers. */
  readonly #rivals = new Rivals();
  /** By lease name, what of the table comes from it. */
  readonly #believed = new Map<string, Peer>();
  /** By subnet, from which lease the table has its peer. Keys may name one subnet in several ways. */
  readonly #sources = new Map<string, string>();
  readonly #departed = new Departures();
  /** Changes of the table of which only `tableChanged` has told. */
  #unpublished: PeerChange[] = [];
  readonly #departureWake = new Wake();
  readonly #complaints: Complaints;
  readonly #trouble: Trouble;
  readonly #changes: PeerChangesLog;
  readonly #expired: SummedLines<Expired>;
  #self: Self | undefined;
  #isJudged = false;
  #range: SubnetRange | undefined;
  #revision: string | undefined;
  #snapshotAt = -Infinity;
  /** How many watches in a row failed before they proved that they work. */
  #failedWatches = 0;
  /** How many batches the watches have told. */
  #batches = 0;

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly events: PeerWatcherEvents,
    /** For how long a peer is kept whose lease expired (it may be cut off from etcd, but not from us); 0: no longer than one whose key was deleted. */
    private readonly graceMilliseconds: number,
  ) {
    this.#trouble = new Trouble(clock, log);
    this.#changes = new PeerChangesLog(clock, log);
    this.#expired = new SummedLines(clock, summedUp, (expired) => this.#sayExpired(expired));
    this.#complaints = new Complaints(clock);
  }

  get peers(): PeerTable {
    return this.#peers;
  }

  /** True once the peers are those of a snapshot: before, they come from memory, or there are none yet. */
  get isInSync(): boolean {
    return this.#isJudged && this.#snapshotAt > -Infinity;
  }

  /** True once etcd has told all leases. */
  get hasSnapshot(): boolean {
    return this.#snapshotAt > -Infinity;
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
    return [...this.#leases.values(), ...Array.from(this.#departed, ({ lease }) => lease)];
  }

  /** Leases that are not used, or not as they say, and why. */
  get complaints(): readonly Complaint[] {
    return this.#complaints.all;
  }

  /** Peers that joined, left or changed since the start. */
  get changeCount(): number {
    return this.#changes.count;
  }

  /** What is wrong with the registry, and for how long; undefined when the watch is well. */
  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /**
   * Says who we are, and which subnets the network gives to hosts: from now on every lease but our own is judged, and the good
   * ones are peers. Resolves when all have been judged.
   */
  async identify(self: Self, range: SubnetRange): Promise<void> {
    // What happened to another key was not ours to tell until now.
    const isOtherKey = this.#self !== undefined && this.#self.leaseName !== self.leaseName;
    this.#self = self;
    this.#range = range;
    await inTurns(this.#judgeAllInSteps(), this.clock);
    this.#isJudged = true;
    this.#publish(isOtherKey && self.leaseName !== undefined ? [this.#stored(self.leaseName)] : []);
  }

  *#judgeAllInSteps(): Steps<void> {
    for (const { lease } of this.#departed) this.#judge(lease, false);
    let judged = 0;
    for (const lease of [...this.#leases.values()]) {
      // It may have gone or changed meanwhile.
      if (this.#leases.get(lease.name) === lease) this.#judge(lease, !this.#malformed.has(lease.name));
      if (++judged % SETTLED_AT_ONCE === 0) this.#settle();
      yield;
    }
    yield* this.#settleInSteps();
  }

  /** Judges the lease of a subnet before its turn, because a packet waits for it. */
  meet(subnet: Subnet): Peer | undefined {
    const lease = this.#leases.get(printLeaseName({ subnet, ipv6Subnet: undefined }));
    if (!this.#self || !lease) return undefined;
    this.#judge(lease, !this.#malformed.has(lease.name));
    this.#settle();
    this.#publish([]);
    return this.#peers.bySubnet(subnet);
  }

  /** The peer that a lease would be which the watch has not told of yet. */
  peerOf(lease: Lease): Peer | undefined {
    const verdict = this.#self && judgeLease(lease, this.#self);
    if (verdict?.kind !== 'peer') return undefined;
    const { peer } = verdict;
    return this.#rivals.wouldBelieve(this.#contenderOf(lease, peer, true)) ? peer : undefined;
  }

  /** Takes leases as they were last seen, for a start without the registry; the first snapshot corrects them. */
  restore(leases: readonly Lease[]): void {
    for (const lease of leases) this.#remember(lease);
  }

  /**
   * Takes leases as a former process last saw them, after the first snapshot and before {@link identify}. Those that have gone since
   * are treated as if they went now: their hosts may be cut off from etcd, but not from us.
   */
  recall(leases: readonly Lease[]): void {
    const present = new Set(this.leases.map(({ attributes }) => attributes.publicIp));
    for (const lease of leases) {
      if (this.#leases.has(lease.name)) continue;
      if (this.#malformed.has(lease.name)) this.#leases.set(lease.name, lease);
      else if (!present.has(lease.attributes.publicIp)) this.#depart(lease);
    }
  }

  /** Takes the first snapshot, trying until it succeeds or the signal aborts. */
  async sync(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#takeSnapshot(signal);
        this.#trouble.clear(BACK);
        return;
      } catch (error) {
        await this.#recover(error, attempt, signal);
      }
    }
  }

  /** Follows the registry until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const lines = [this.#changes.run(signal), this.#expired.run(signal)];
    await Promise.all([this.#follow(signal), this.#dismiss(signal), ...lines]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
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
      for await (const batch of this.registry.watch(this.#revision!, audit.signal)) {
        // A server may accept each watch and end it at once. After some of them an empty batch proves nothing.
        if (batch.changes.length > 0) this.#trustWatch();
        else if (this.#failedWatches <= FORGIVEN_WATCHES) this.#trouble.clear(BACK);
        this.#revision = batch.revision;
        this.#batches++;
        await this.#take(batch.changes);
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
   * A server may answer everything else and fall behind with its watches. So the leases are counted now and then: where their number
   * has not been ours for a whole interval, in which the watch told nothing, the watch is given up.
   */
  async #noticeBehind(watch: LinkedAbort): Promise<void> {
    for (let suspectedAt: number | undefined; !watch.signal.aborted;) {
      try {
        await this.clock.sleep(COUNT_MILLISECONDS, watch.signal);
        const batches = this.#batches;
        const known = new Set([...this.#leases.keys(), ...this.#malformed.keys()]).size;
        const count = await this.registry.count(watch.signal);
        const isOdd = count !== known && this.#batches === batches;
        if (isOdd && suspectedAt === batches) {
          const text = `the watch is behind: etcd has ${count} leases, and it told of ${known}`;
          watch.abort(new RegistryError('unavailable', text));
        }
        suspectedAt = isOdd ? batches : undefined;
      } catch {
        // A registry that does not answer is told of by whoever needs it.
      }
    }
  }

  /** The watch works. Only what it delivered, or that it lasted, makes earlier failures be forgotten. */
  #trustWatch(): void {
    this.#failedWatches = 0;
    this.#trouble.clear(BACK);
  }

  async #recover(error: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#trouble.report('cannot read leases from etcd; peers stay as they are', error);
    const spread = Math.min(this.#leases.size * SPREAD_MILLISECONDS_PER_LEASE, BACKOFF.maxMilliseconds);
    const limits = { ...BACKOFF, minMilliseconds: Math.max(BACKOFF.minMilliseconds, spread) };
    await this.clock.sleep(backoffMilliseconds(attempt, limits, this.clock.random()), signal);
  }

  async #takeSnapshot(signal: AbortSignal): Promise<void> {
    const snapshot = await this.registry.list(signal);
    const isFirst = this.#snapshotAt === -Infinity;
    this.#revision = snapshot.revision;
    this.#snapshotAt = this.clock.now();
    const known = new Set([...this.#leases.keys(), ...this.#malformed.keys()]);
    // Our own key may have come and gone unseen.
    if (this.#self?.leaseName !== undefined) known.add(this.#self.leaseName);
    await this.#take(differenceTo(known, snapshot));
    if (isFirst) this.events.inSync();
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
      switch (change.kind) {
        case 'put':
          this.#malformed.delete(change.lease.name);
          this.#complaints.withdraw('codec', change.lease.name);
          this.#remember(change.lease);
          this.#judge(change.lease, true);
          if (change.lease.name === this.#self?.leaseName) own.push(change.lease);
          break;
        case 'removed':
          this.#malformed.delete(change.name);
          this.#complaints.withdraw('codec', change.name);
          this.#forget(change.name);
          if (change.name === this.#self?.leaseName) own.push(undefined);
          break;
        case 'malformed': {
          // What it said before it was spoiled still leads to a host that exists: kept until the key goes.
          this.#malformed.set(change.malformed.name, change.malformed);
          // But that is a memory: rather than it, a lease that can be read is believed.
          const spoiled = this.#leases.get(change.malformed.name);
          if (spoiled) this.#judge(spoiled, false);
          this.#complain('codec', change.malformed.name, change.malformed.reason);
          if (change.malformed.name === this.#self?.leaseName) own.push(change.malformed);
          break;
        }
      }
    }
    yield* this.#settleInSteps();
    return own;
  }

  /** Tells of every change of the table since the last time, and of what happened to our own key. */
  #publish(own: readonly (Lease | MalformedLease | undefined)[]): void {
    const each = this.#unpublished;
    this.#unpublished = [];
    if (each.length > 0) {
      const changes = mergedChanges(each);
      this.#changes.add(changes, this.#peers.size);
      this.events.peersChanged(changes, each);
    }
    if (own.length > 0) this.events.ownLeaseChanged(own.at(-1));
  }

  #remember(lease: Lease): void {
    this.#leases.set(lease.name, lease);
    this.#departed.delete(lease.name);
    // A host that has another subnet now does not come back to its old one.
    for (const departure of this.#departed.ofHost(lease.attributes.publicIp))
      this.#dismissNow(departure, 'its host has another');
  }

  #forget(name: string): void {
    const lease = this.#leases.get(name);
    this.#leases.delete(name);
    const peer = this.#believed.get(name);
    // Without any grace, too: a host that lives writes a deleted key again.
    if (lease && peer && this.#depart(lease)) this.#judge(lease, false);
    else this.#drop(name);
  }

  /** False for a reservation: there is no etcd lease to ask how it went. */
  #depart(lease: Lease): boolean {
    if (lease.etcdLeaseId === undefined) return false;
    this.#departed.add({ lease, since: this.clock.now(), how: undefined });
    this.#departureWake.raise();
    return true;
  }

  /** A lease that is not there any more: nothing is to be said of it. */
  #drop(name: string): void {
    this.#rivals.remove(name);
    this.#complaints.withdraw('judge', name);
  }

  /** Peers whose leases expired, and for how many milliseconds they have been kept. */
  get graced(): { lease: string; forMilliseconds: number }[] {
    const now = this.clock.now();
    return [...this.#departed]
      .filter(({ how }) => how === 'expired')
      .map(({ lease, since }) => ({ lease: lease.name, forMilliseconds: now - since }));
  }

  /**
   * Removes the peers whose leases went: after a moment those whose keys were deleted (their etcd lease lives on), after the
   * grace time those whose leases expired. Within that moment etcd is not asked which it was: were all leases of a thousand
   * hosts deleted, each host would ask a thousand times for those that are back at once.
   */
  async #dismiss(signal: AbortSignal): Promise<void> {
    let wait = LONG_WAIT_MILLISECONDS;
    while (!signal.aborted) {
      await this.#departureWake.wait(this.clock, wait, signal).catch(() => undefined);
      wait = LONG_WAIT_MILLISECONDS;
      for (const departure of [...this.#departed]) {
        if (signal.aborted) return;
        const rest = departure.since + DELETION_MILLISECONDS - this.clock.now();
        if (rest > 0) {
          wait = Math.min(wait, rest);
          continue;
        }
        // Without any grace it makes no difference.
        const isAsked = !departure.how && this.graceMilliseconds > 0;
        const answer = isAsked ? await this.#examine(departure.lease, signal) : undefined;
        // A lease that came back while etcd was asked about this one, or about another, is newer than the answer.
        if (this.#departed.get(departure.lease.name) !== departure) continue;
        if (answer === 'expired') this.#expired.add({ leases: 1, named: [departure.lease.name] });
        const how = (departure.how ??= answer);
        const { since } = departure;
        const left = how === 'expired' ? since + this.graceMilliseconds - this.clock.now() : 0;
        if (!how && this.graceMilliseconds > 0) wait = Math.min(wait, EXAMINE_RETRY_MILLISECONDS);
        else if (left > 0) wait = Math.min(wait, left);
        else {
          this.#dismissNow(
            departure,
            how === 'expired' ? 'the grace time of its expired lease is over' : 'its lease is gone',
          );
        }
      }
      await inTurns(this.#settleInSteps(), this.clock);
      this.#publish([]);
    }
  }

  /** How a key went; undefined while the registry does not answer. */
  async #examine({ etcdLeaseId }: Lease, signal: AbortSignal): Promise<Departure['how']> {
    const life = await this.registry.lifeOf(etcdLeaseId!, signal).catch(() => undefined);
    return life && (life === 'lost' ? 'expired' : 'deleted');
  }

  #sayExpired({ leases, named }: Expired): void {
    const seconds = Math.round(this.graceMilliseconds / 1000);
    if (leases === 1)
      this.log.warn('lease expired; its peer is kept for a while', { lease: named[0], seconds });
    else {
      const among = printSome(named, NAMED_LEASES);
      this.log.warn('leases expired; their peers are kept for a while', { leases, among, seconds });
    }
  }

  #dismissNow({ lease }: Departure, reason: string): void {
    this.#departed.delete(lease.name);
    this.#drop(lease.name);
    this.log.debug('peer dismissed', { lease: lease.name, reason });
  }

  /** Judges one lease by itself; {@link PeerWatcher.#settle} then judges it against the others. */
  #judge(lease: Lease, isLive: boolean): void {
    if (!this.#self) return;
    const { name } = lease;
    const verdict = judgeLease(lease, this.#self);
    if (verdict.kind === 'unusable') this.#complain('judge', name, verdict.reason);
    else if (verdict.kind === 'peer' && verdict.remark !== undefined)
      this.#complain('judge', name, verdict.remark, true);
    else this.#complaints.withdraw('judge', name);
    if (verdict.kind === 'peer') this.#rivals.put(this.#contenderOf(lease, verdict.peer, isLive));
    else this.#rivals.remove(name);
    if (isLive && claimsOurMac(lease, this.#self)) this.events.ownMacClaimed(lease);
  }

  #contenderOf({ name, subnet, createRevision }: Lease, peer: Peer, isLive: boolean): Contender {
    return { name, peer, isLive, isFitting: isLeasable(this.#range!, subnet), createRevision };
  }

  #complain(from: Complainant, lease: string, reason: string, isUsed = false): void {
    this.#complaints.put(from, { lease, reason, isUsed });
  }

  *#settleInSteps(): Steps<void> {
    do {
      this.#settle();
      yield;
    } while (!this.#rivals.isSettled);
    this.#complaints.log(this.log);
  }

  /** Brings the table in line with what the leases say together, for a part of those that are to be judged. */
  #settle(): void {
    const standings = this.#rivals.settle(SETTLED_AT_ONCE);
    const changes: (PeerChange | undefined)[] = [];
    // First away with what is not believed any more: another may have its subnet now.
    for (const [name, standing] of standings) {
      const peer = this.#believed.get(name);
      if (!peer || (standing?.kind === 'believed' && samePeer(peer, standing.peer))) continue;
      this.#believed.delete(name);
      const subnet = printSubnet(peer.subnet);
      // A lease of the same subnet, judged before this one, may have taken its place already.
      if (this.#sources.get(subnet) !== name) continue;
      this.#sources.delete(subnet);
      changes.push(this.#peers.remove(peer.subnet));
    }
    for (const [name, standing] of standings) {
      if (standing?.kind === 'believed') {
        this.#believed.set(name, standing.peer);
        this.#sources.set(printSubnet(standing.peer.subnet), name);
        changes.push(this.#peers.put(standing.peer));
        if (standing.remark !== undefined) this.#complain('rivals', name, standing.remark, true);
        else this.#complaints.withdraw('rivals', name);
      } else if (standing && !this.#departed.get(name)) {
        this.#complain('rivals', name, standing.reason);
      } else {
        this.#complaints.withdraw('rivals', name);
        // What a peer that was only kept had has passed to another.
        if (this.#departed.delete(name)) this.#drop(name);
      }
    }
    const merged = mergedChanges(changes.filter((change) => change !== undefined));
    if (merged.length === 0) return;
    this.#unpublished.push(...merged);
    this.events.tableChanged(merged);
  }
}

/** Leases that expired one after the other. One that does so again and again is among them once, and counted each time. */
interface Expired {
  readonly leases: number;
  /** Some of them. */
  readonly named: readonly string[];
}

function summedUp(a: Expired, b: Expired): Expired {
  const named = [...new Set([...a.named, ...b.named])].slice(0, NAMED_LEASES);
  return { leases: a.leases + b.leases, named };
}

/** The snapshot as changes: every lease in it, every malformed key, and what is in it no more. */
function differenceTo(known: Iterable<string>, snapshot: LeaseSnapshot): LeaseChange[] {
  const present = new Set<string>();
  for (const { name } of snapshot.leases) present.add(name);
  for (const { name } of snapshot.malformed) present.add(name);
  const removed = [...known].filter((name) => !present.has(name));
  return [
    ...removed.map((name) => ({ kind: 'removed' as const, name })),
    ...snapshot.leases.map((lease) => ({ kind: 'put' as const, lease })),
    ...snapshot.malformed.map((malformed) => ({ kind: 'malformed' as const, malformed })),
  ];
}

/** Answers the kernel's questions. */
import { answerWithNobody, answerWithNoSubnet, answerWithPeer, askedSubnet } from '../core/miss';
import { peerObjects, unreachableRoute } from '../core/desired';
import { printSubnet, type IpAddress, type Subnet } from '../model/address';
import { describeError } from '../model/errors';
import type { KernelObject } from '../model/kernel-state';
import type { Lease } from '../model/lease';
import type { Miss } from '../model/miss';
import type { Operation } from '../model/operation';
import type { Overlay } from '../model/overlay';
import type { Peer, PeerChange, PeerTable } from '../model/peer';
import type { Clock, Kernel, LeaseRegistry, Log } from '../ports';
import { LinkedAbort } from '../linked-abort';
import { Wake } from './wake';

/** Questions about known peers answered by one request to the kernel: the first of a burst does not wait for the last. */
const ANSWERS_AT_ONCE = 32;
/** Answers "nobody" given by one request to the kernel … */
const REFUSALS_AT_ONCE = 32;
/** … and for so long before other work, a real answer most of all, gets its turn. */
const REFUSING_MILLISECONDS = 1;
/** Absences that expire together, and are forgotten in one go. */
const RELEASES_AT_ONCE = 64;
/** Answers "nobody" that may wait for their turn; beyond that the kernel hears none, and asks again a second later. */
const WAITING_REFUSALS = 8_192;
/** Questions to the registry that may wait; a storm beyond that is answered "nobody" without asking. */
const WAITING_QUESTIONS = 256;
/** Addresses of one question that hear its answer, a /24 of them; for any other the kernel asks again a second later. */
const ASKERS_PER_QUESTION = 256;
/** For how long the registry is given to answer while packets wait. */
const QUESTION_MILLISECONDS = 2_000;
/** For how long "nobody has it" is remembered. */
const ABSENCE_MILLISECONDS = 5_000;
/** How long a loop without anything to do sleeps, unless woken. */
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** Subnets and MACs remembered as absent. */
const REMEMBERED_ABSENCES = 4_096;

export interface MissSituation {
  readonly overlay: Overlay;
  readonly subnetLength: number;
  readonly peers: PeerTable;
  /** False while a start judges the leases: who is not in the table may be a peer yet. */
  readonly isComplete: boolean;
  /** Judges the lease of a subnet now, before its turn. */
  readonly meet: (subnet: Subnet) => Peer | undefined;
  /** The peer that a lease would be which the table does not have (yet); undefined for one that is not to be believed. */
  readonly peerOf: (lease: Lease) => Peer | undefined;
}

/** A question that the peer table answers. */
interface Answered {
  readonly miss: Miss;
  readonly peer: Peer;
}

/** A question put to the registry, and who waits for the answer. */
interface Question {
  readonly key: string;
  readonly miss: Miss;
  /** The subnet a lease for the address would have; undefined for a MAC. */
  readonly subnet: Subnet | undefined;
  readonly askers: Set<IpAddress>;
}

/**
 * Owns the recent questions: those that wait for the registry, and those answered "nobody". A question about a known peer is
 * answered before the callback that told of it returns; one about an unknown peer reads the registry itself, because the
 * watch may be behind; the same question is never asked twice at a time, and nothing here grows with the number of questions.
 */
export class MissResponder {
  readonly #questionWake = new Wake();
  readonly #absenceWake = new Wake();
  readonly #questions = new Map<string, Question>();
  /** Until when (monotonic milliseconds) a subnet or MAC counts as absent. */
  readonly #absences = new Map<string, { readonly subnet: Subnet | undefined; readonly until: number }>();
  /** Addresses that nobody has, to be refused a few at a time. */
  readonly #refusals: IpAddress[] = [];
  readonly counters = { answered: 0, unknown: 0, absent: 0, dropped: 0, failed: 0 };

  constructor(
    private readonly kernel: Kernel,
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly situation: () => MissSituation | undefined,
    /** Something was damaged: a known peer was asked for although it should be in the kernel, or an answer was refused. */
    private readonly onDamage: (objects: readonly KernelObject[], what: string) => void,
    /** The registry told of a peer that the table may not have yet, or no more: it is answered with. */
    private readonly onFound: (peer: Peer) => void,
  ) {}

  /** The subnets answered for with an `unreachable` route. */
  *absentSubnets(): Iterable<Subnet> {
    for (const { subnet } of this.#absences.values()) if (subnet) yield subnet;
  }

  /**
   * Answers what can be answered at once: questions about known peers before this returns, the others a few at a time, so that
   * a storm of them delays no real one.
   */
  take(misses: readonly Miss[]): void {
    const situation = this.situation();
    if (!situation) return;
    const start = this.clock.now();
    const answered: Answered[] = [];
    const unknown: Miss[] = [];
    const asked = new Set<string>();
    for (const miss of misses) {
      const text = miss.layer === 'l3' ? miss.address : miss.mac;
      // Under a flood of L2 misses (one per lost packet) the same question fills the whole batch.
      if (asked.has(text)) continue;
      asked.add(text);
      const peer = findPeer(situation.peers, miss) ?? meetPeer(situation, miss);
      if (peer) answered.push({ miss, peer });
      // Those of a start are read again from the kernel's table when it is over.
      else if (situation.isComplete) unknown.push(miss);
    }
    for (let at = 0; at < answered.length; at += ANSWERS_AT_ONCE) {
      const some = answered.slice(at, at + ANSWERS_AT_ONCE);
      this.#apply(some.flatMap(({ miss, peer }) => answerWithPeer(situation.overlay, peer, miss)));
    }
    this.counters.unknown += unknown.length;
    for (const miss of unknown) this.#receiveUnknown(situation, miss);
    if (answered.length === 0) return;
    this.counters.answered += answered.length;
    this.#logAnswers(answered, start);
    if (situation.isComplete && situation.overlay.resolve.kind === 'preload') {
      const objects = answered.flatMap(({ peer }) => peerObjects(situation.overlay, peer));
      this.onDamage(objects, `miss for the known peer ${printSubnet(answered[0]!.peer.subnet)}`);
    }
  }

  /** A peer that was absent may have come: forget that it was. */
  peersChanged(changes: readonly PeerChange[]): void {
    for (const { after } of changes) {
      if (!after) continue;
      this.#absences.delete(after.vtepMac);
      const key = printSubnet(after.subnet);
      if (this.#absences.delete(key))
        this.#apply([{ verb: 'remove', object: unreachableRoute(after.subnet) }]);
    }
  }

  /** Asks the registry, and lets absences expire, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#askRegistry(signal), this.#expire(signal)]);
  }

  /** Nobody has these addresses. */
  #refuse(addresses: Iterable<IpAddress>): void {
    for (const address of addresses) {
      if (this.#refusals.length >= WAITING_REFUSALS) {
        this.counters.dropped++;
        continue;
      }
      if (this.#refusals.length === 0) setImmediate(() => this.#drainRefusals());
      this.#refusals.push(address);
    }
  }

  #drainRefusals(): void {
    const { overlay, peers } = this.situation()!;
    const end = this.clock.now() + REFUSING_MILLISECONDS;
    const answer = (address: IpAddress): Operation[] => {
      const miss: Miss = { layer: 'l3', address };
      // Somebody may have joined while it waited.
      const peer = findPeer(peers, miss);
      return peer ? answerWithPeer(overlay, peer, miss) : [answerWithNobody(overlay, address)];
    };
    do this.#apply(this.#refusals.splice(0, REFUSALS_AT_ONCE).flatMap(answer));
    while (this.#refusals.length > 0 && this.clock.now() < end);
    if (this.#refusals.length > 0) setImmediate(() => this.#drainRefusals());
  }

  #logAnswers(answered: readonly Answered[], start: number): void {
    if (!this.log.debugEnabled) return;
    const microseconds = Math.round((this.clock.now() - start) * 1000);
    for (const { miss, peer } of answered) {
      const asked = miss.layer === 'l3' ? { address: miss.address } : { vtepMac: miss.mac };
      const { publicIp, subnet } = peer;
      this.log.debug('miss answered', {
        layer: miss.layer,
        ...asked,
        subnet: printSubnet(subnet),
        publicIp,
        microseconds,
      });
    }
  }

  /** What can be said at once about a question no peer fits; otherwise it waits for the registry. */
  #receiveUnknown(situation: MissSituation, miss: Miss): void {
    const { overlay, subnetLength } = situation;
    const subnet = miss.layer === 'l3' ? askedSubnet(overlay, subnetLength, miss.address) : undefined;
    const askers = miss.layer === 'l3' ? [miss.address] : [];
    const key = miss.layer === 'l2' ? miss.mac : subnet && printSubnet(subnet);
    // No lease could be for it; or it was on its way when the route of its subnet was made.
    if (key === undefined || this.#isAbsent(key)) {
      this.counters.absent++;
      this.#refuse(askers);
      return;
    }
    const question = this.#questions.get(key);
    if (question) {
      for (const address of askers)
        if (question.askers.size < ASKERS_PER_QUESTION) question.askers.add(address);
      return;
    }
    if (this.#questions.size >= WAITING_QUESTIONS) {
      this.counters.dropped++;
      this.#settleAbsence(key, subnet, askers);
      return;
    }
    this.#questions.set(key, { key, miss, subnet, askers: new Set(askers) });
    this.#questionWake.raise();
  }

  /** Nobody has the subnet, or the MAC: the route first, which spares us further questions. */
  #settleAbsence(key: string, subnet: Subnet | undefined, askers: Iterable<IpAddress>): void {
    this.counters.absent++;
    this.#remember(key, subnet);
    if (subnet) this.#apply([answerWithNoSubnet(subnet)]);
    this.#refuse(askers);
  }

  async #askRegistry(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [question] = this.#questions.values();
      if (!question) {
        await this.#questionWake.wait(this.clock, LONG_WAIT_MILLISECONDS, signal).catch(() => undefined);
        continue;
      }
      await this.#resolve(question, signal);
      this.#questions.delete(question.key);
    }
  }

  async #resolve(question: Question, signal: AbortSignal): Promise<void> {
    let found: Peer | undefined;
    try {
      found = await this.#find(question.miss, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.log.debug('cannot ask etcd about a miss', { ...question.miss, error: describeError(error) });
    }
    const situation = this.situation();
    if (!situation) return;
    const { overlay, peers } = situation;
    const { miss, subnet, askers } = question;
    // The watch may have brought it meanwhile.
    found ??= findPeer(peers, miss);
    if (found) {
      const peer = found;
      const questions: Miss[] =
        miss.layer === 'l2' ? [miss] : [...askers].map((address) => ({ layer: 'l3', address }));
      this.counters.answered += questions.length;
      this.onFound(peer);
      this.#apply(questions.flatMap((asked) => answerWithPeer(overlay, peer, asked)));
      this.log.debug('miss answered by etcd', {
        ...miss,
        subnet: printSubnet(peer.subnet),
        publicIp: peer.publicIp,
      });
      return;
    }
    this.#settleAbsence(question.key, subnet, askers);
    this.log.debug('miss answered: nobody has it', { ...miss });
  }

  async #find(miss: Miss, signal: AbortSignal): Promise<Peer | undefined> {
    const situation = this.situation();
    if (!situation) return undefined;
    const deadline = new LinkedAbort(signal);
    const timer = this.clock.sleep(QUESTION_MILLISECONDS, deadline.signal).then(
      () => deadline.abort(new Error(`no answer within ${QUESTION_MILLISECONDS} ms`)),
      () => undefined,
    );
    try {
      const lease = await this.registry.find(miss, situation.subnetLength, deadline.signal);
      return lease && situation.peerOf(lease);
    } finally {
      deadline.abort();
      await timer;
    }
  }

  #isAbsent(key: string): boolean {
    const absence = this.#absences.get(key);
    return absence !== undefined && absence.until > this.clock.now();
  }

  #remember(key: string, subnet: Subnet | undefined): void {
    if (this.#absences.size >= REMEMBERED_ABSENCES) {
      const [oldest] = this.#absences.keys();
      this.#release([oldest!]);
    }
    this.#absences.delete(key);
    if (this.#absences.size === 0) this.#absenceWake.raise();
    this.#absences.set(key, { subnet, until: this.clock.now() + ABSENCE_MILLISECONDS });
  }

  /** Forgets absences, and lets the kernel ask about their subnets again. */
  #release(keys: readonly string[]): void {
    const removals: Operation[] = [];
    for (const key of keys) {
      const { subnet } = this.#absences.get(key)!;
      this.#absences.delete(key);
      if (subnet) removals.push({ verb: 'remove', object: unreachableRoute(subnet) });
    }
    this.#apply(removals);
  }

  async #expire(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // All live equally long, so the first remembered is the first to go.
      const [oldest] = this.#absences.values();
      const wait = oldest ? Math.max(0, oldest.until - this.clock.now()) : LONG_WAIT_MILLISECONDS;
      await this.#absenceWake.wait(this.clock, wait, signal).catch(() => undefined);
      const now = this.clock.now();
      const due: string[] = [];
      for (const [key, { until }] of this.#absences) {
        if (until > now || due.length >= RELEASES_AT_ONCE) break;
        due.push(key);
      }
      this.#release(due);
    }
  }

  /** The answer is lost if the kernel refuses it; it asks again, and a pass repairs what is wrong. */
  #apply(operations: readonly Operation[]): void {
    if (operations.length === 0) return;
    const failed = this.kernel.applyNow(operations);
    this.counters.failed += failed.length;
    if (failed.length === 0) return;
    const objects = failed.map(({ operation }) => operation.object);
    this.onDamage(objects, `an answer was refused: ${describeError(failed[0]!.error)}`);
  }
}

function findPeer(peers: PeerTable, miss: Miss): Peer | undefined {
  return miss.layer === 'l3' ? peers.byAddress(miss.address) : peers.byMac(miss.mac);
}

function meetPeer({ isComplete, overlay, subnetLength, meet }: MissSituation, miss: Miss): Peer | undefined {
  if (isComplete || miss.layer === 'l2') return undefined;
  const subnet = askedSubnet(overlay, subnetLength, miss.address);
  return subnet && meet(subnet);
}

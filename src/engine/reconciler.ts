/** Makes the kernel hold what it should. */
import { backoffMilliseconds } from '../core/backoff';
import { desiredStateInSteps, peerObjects, programmedPeersInSteps, unreachableRoute } from '../core/desired';
import { additionsOf, plan, planInSteps } from '../core/plan';
import { inTurns } from '../in-turns';
import { printSubnet, type Subnet } from '../model/address';
import { KernelError, describeError } from '../model/errors';
import { keyOf, printKernelObject, type KernelObject } from '../model/kernel-state';
import { printOperation, type FailedOperation, type Operation } from '../model/operation';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { PeerChange, PeerTable } from '../model/peer';
import type { Clock, Kernel, Log } from '../ports';
import { RepairLedger } from './repair-ledger';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** Without any trigger a pass is made this often: it catches what no notification told. */
const AUDIT_MILLISECONDS = 60_000;
const BACKOFF = { minMilliseconds: 100, maxMilliseconds: 30_000 };
/** Reasons for a whole pass that may well find work although nobody touched the kernel. */
export const START = 'start';
export const NEW_LEASE = 'our lease';
export const NEW_UNDERLAY = 'underlay changed';
export const IN_SYNC = 'in sync';
const SHARED_NEIGHBOR = 'peers that share a neighbor';
const OUR_REASONS = new Set([START, NEW_LEASE, NEW_UNDERLAY, IN_SYNC, SHARED_NEIGHBOR, 'retry']);
/** What changed in a pass is logged object by object up to so many. */
const LOGGED_OPERATIONS = 8;

/** Everything a pass needs to know, read anew for each. */
export interface Situation {
  readonly overlay: Overlay;
  readonly peers: PeerTable;
  /** False while the peers are not those that the registry tells of: it has not been read, or its leases not judged yet. */
  readonly isInSync: boolean;
  /** Where else than in the network an address on our link is ours: what an earlier agent had, in another network. */
  readonly former: readonly Subnet[];
  /** Subnets that were answered for with "nobody has it". */
  readonly absent: Iterable<Subnet>;
}

export interface PassReport {
  /** `whole`: everything was read and compared. `peers`: only what changed in the peer table was written. */
  readonly kind: 'whole' | 'peers';
  readonly operations: number;
  readonly failed: readonly FailedOperation[];
  /** True if our own link, its parameters, its address and the network route are as they should be. */
  readonly isBaseInPlace: boolean;
  /** Whether the peers were those that the registry tells of. */
  readonly isInSync: boolean;
}

/**
 * Owns what is dirty: reasons for a whole pass, and peers that changed. A whole pass is observe, plan, apply, and is right
 * whatever happened before; a pass for changed peers only is the same plan made from what the table says it was. What fails
 * makes the next pass a whole one.
 */
export class Reconciler {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  #reasons = new Set<string>();
  #changes = new Map<string, PeerChange>();
  readonly #ledger = new RepairLedger();
  /** When something that was held back may be repaired (monotonic milliseconds). */
  #heldUntil = Infinity;
  #converged = false;
  #passBegan: number | undefined;
  #baseInPlace = false;
  #operations = 0;
  #repairs = 0;
  #markTried: () => void = () => undefined;
  /** Resolves once a pass was made or has failed. Never rejects. */
  readonly tried = new Promise<void>((resolve) => (this.#markTried = resolve));

  constructor(
    private readonly kernel: Kernel,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly situation: () => Situation,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True after a pass that left nothing to do. */
  get isConverged(): boolean {
    const isIdle = this.#reasons.size === 0 && this.#changes.size === 0;
    return this.#converged && isIdle && this.#heldUntil === Infinity;
  }

  /** True if the last whole pass found or left our link, its parameters, its address and the network route in place. */
  get isBaseInPlace(): boolean {
    return this.#baseInPlace;
  }

  /** Kernel operations carried out since the start. */
  get operations(): number {
    return this.#operations;
  }

  /** Objects put back since the start that somebody else had changed or removed. */
  get repairs(): number {
    return this.#repairs;
  }

  /** What another program undoes again and again. */
  get fights(): readonly string[] {
    return this.#ledger.foughtAbout(this.clock.now());
  }

  /** For how long the pass under way has lasted; 0 between two. */
  get passMilliseconds(): number {
    return this.#passBegan === undefined ? 0 : this.clock.now() - this.#passBegan;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Asks for a whole pass. Ten triggers before it begins make one pass. */
  trigger(reason: string): void {
    // The reasons are for the log only: a flood of different ones must not grow without bound.
    if (this.#reasons.size < LOGGED_OPERATIONS) this.#reasons.add(reason);
    this.#wake.raise();
  }

  /** Asks for the changed peers to be written. */
  peersChanged(changes: readonly PeerChange[]): void {
    for (const change of changes) {
      const subnet = printSubnet((change.after ?? change.before)!.subnet);
      const earlier = this.#changes.get(subnet);
      const merged = earlier ? { before: earlier.before, after: change.after } : change;
      // Came and went before anybody wrote it.
      if (merged.before === undefined && merged.after === undefined) this.#changes.delete(subnet);
      else this.#changes.set(subnet, merged);
    }
    this.#wake.raise();
  }

  /** Makes passes until the signal aborts, `onPass` after each. The first is a whole one. */
  async run(onPass: (report: PassReport) => void, signal: AbortSignal): Promise<void> {
    this.trigger(START);
    for (let failures = 0; !signal.aborted;) {
      try {
        const retry =
          failures > 0 ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random()) : Infinity;
        const held = Math.max(0, this.#heldUntil - this.clock.now());
        if (!(await this.#wake.wait(this.clock, Math.min(retry, held, this.#auditMilliseconds()), signal))) {
          this.#reasons.add(failures > 0 ? 'retry' : 'audit');
        }
        const report = await this.#pass(signal);
        if (!report) continue;
        this.#report(report);
        failures = report.failed.length > 0 ? failures + 1 : 0;
        onPass(report);
        this.#markTried();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KernelError)) throw error;
        failures++;
        this.#markTried();
        this.#converged = false;
        this.#reasons.add('retry');
        this.#trouble.report('cannot read or write the kernel state; trying again', error);
      }
    }
  }

  #auditMilliseconds(): number {
    const { resolve } = this.situation().overlay;
    return resolve.kind === 'preload'
      ? AUDIT_MILLISECONDS
      : Math.min(AUDIT_MILLISECONDS, resolve.idleMilliseconds / 2);
  }

  async #pass(signal: AbortSignal): Promise<PassReport | undefined> {
    const reasons = this.#reasons;
    const changes = this.#changes;
    this.#reasons = new Set();
    this.#changes = new Map();
    this.#passBegan = this.clock.now();
    try {
      if (reasons.size > 0 || this.#needsWholePass(changes))
        return await this.#wholePass([...reasons], signal);
      if (changes.size > 0) return await this.#peersPass(changes, signal);
      return undefined;
    } catch (error) {
      // What was taken over but not done is covered by the whole pass that the caller asks for.
      this.#reasons.add('retry');
      throw error;
    } finally {
      this.#passBegan = undefined;
    }
  }

  /** On demand only the kernel knows who is programmed, and so who must be changed or removed. */
  #needsWholePass(changes: ReadonlyMap<string, PeerChange>): boolean {
    if (this.situation().overlay.resolve.kind === 'preload') return false;
    return [...changes.values()].some(({ before }) => before !== undefined);
  }

  async #wholePass(reasons: readonly string[], signal: AbortSignal): Promise<PassReport> {
    const start = this.clock.now();
    const { overlay, former } = this.situation();
    const scope = { link: linkNameOf(overlay.backend), networks: [overlay.network, ...former] };
    const actual = await this.kernel.observe(scope, signal);
    const { peers, absent, isInSync } = this.situation();
    // The miss responder puts these routes and takes them away; a pass only must not take them for strangers.
    const kept = [...absent].filter((subnet) => actual.has(keyOf(unreachableRoute(subnet))));
    // The peer table may change meanwhile. What changed is written by the next pass, as if it had changed after this one.
    const programmed = await inTurns(programmedPeersInSteps(overlay, peers, actual), this.clock);
    const desired = await inTurns(desiredStateInSteps(overlay, programmed, kept), this.clock);
    const whole = await inTurns(planInSteps(desired, actual), this.clock);
    const planned = isInSync ? whole : additionsOf(whole, actual);
    this.#heldUntil = Infinity;
    const operations = this.#isRepair(reasons) ? this.#admitRepairs(overlay, planned) : planned;
    const failed = await this.#apply(operations, signal);
    const milliseconds = Math.round(this.clock.now() - start);
    // Of what is only refused again the trouble speaks, and sparingly.
    if (operations.length > failed.length || reasons.includes(START)) {
      this.log.info('kernel state put in order', {
        because: reasons.join(', '),
        operations: operations.length,
        failed: failed.length,
        milliseconds,
        ...(operations.length <= LOGGED_OPERATIONS && operations.length > 0
          ? { changes: operations.map(printOperation).join('; ') }
          : {}),
      });
    }
    const isBaseInPlace = !failed.some(
      ({ operation }) => operation.verb === 'put' && isBase(operation.object),
    );
    return { kind: 'whole', operations: operations.length, failed, isBaseInPlace, isInSync };
  }

  /** After a pass that left nothing to do, only another program can have made work; unless it is we who want something new. */
  #isRepair(reasons: readonly string[]): boolean {
    return this.#converged && reasons.length > 0 && !reasons.some((reason) => OUR_REASONS.has(reason));
  }

  #admitRepairs(overlay: Overlay, planned: readonly Operation[]): Operation[] {
    // On demand, removals are mostly peers that nobody uses any more.
    const isRepair = ({ verb }: Operation) => verb === 'put' || overlay.resolve.kind === 'preload';
    const { operations, nextAt, notable } = this.#ledger.admit(planned.filter(isRepair), this.clock.now());
    this.#heldUntil = nextAt;
    this.#repairs += operations.length;
    for (const { operation, repairs, isFight } of notable) {
      const message = isFight
        ? 'another program undoes this again and again; repairing it more slowly'
        : 'another program keeps undoing this';
      this.log.warn(message, { object: printKernelObject(operation.object), repairs });
    }
    return [...operations, ...planned.filter((operation) => !isRepair(operation))];
  }

  async #peersPass(changes: ReadonlyMap<string, PeerChange>, signal: AbortSignal): Promise<PassReport> {
    const { overlay, peers, isInSync } = this.situation();
    const assumed = new Map<string, KernelObject>();
    const desired = new Map<string, KernelObject>();
    if (overlay.resolve.kind === 'preload') {
      for (const { before, after } of changes.values()) {
        for (const object of before ? peerObjects(overlay, before) : []) assumed.set(keyOf(object), object);
        const current = peers.bySubnet((after ?? before)!.subnet);
        for (const object of current ? peerObjects(overlay, current) : []) desired.set(keyOf(object), object);
      }
      // A VTEP MAC may have moved to another peer, or be claimed by two: its FDB entry is that of the peer the table names.
      for (const object of [...assumed.values(), ...desired.values()]) {
        if (object.kind === 'neighbor') {
          // Subnets of two lengths may begin with one address and share its neighbor: a whole pass knows whose it is.
          const holder = peers.byAddress(object.address);
          const isShared =
            holder?.subnet.address === object.address && !changes.has(printSubnet(holder.subnet));
          if (isShared) this.trigger(SHARED_NEIGHBOR);
        }
        if (object.kind !== 'fdb-entry') continue;
        const holder = peers.byMac(object.mac);
        if (holder) desired.set(keyOf(object), peerObjects(overlay, holder)[0]);
      }
    }
    const operations = plan(desired, assumed);
    const failed = await this.#apply(operations, signal);
    return { kind: 'peers', operations: operations.length, failed, isBaseInPlace: true, isInSync };
  }

  async #apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly FailedOperation[]> {
    if (operations.length === 0) return [];
    this.#operations += operations.length;
    return this.kernel.apply(operations, signal);
  }

  #report(report: PassReport): void {
    if (report.kind === 'whole') this.#baseInPlace = report.isBaseInPlace;
    this.#converged = report.failed.length === 0;
    const [first] = report.failed;
    if (first) {
      // Not triggered: the retry comes with its backoff, or with the next trigger.
      this.#reasons.add('retry');
      const fields = { object: printKernelObject(first.operation.object), failed: report.failed.length };
      this.#trouble.report('the kernel refused a change; trying again', describeError(first.error), fields);
      return;
    }
    this.#trouble.clear('kernel state is as it should be again');
  }
}

/** What must be there before anything can work: all but the peers' objects. */
function isBase(object: KernelObject): boolean {
  if (object.kind === 'route') return object.gateway === undefined;
  return object.kind !== 'fdb-entry' && object.kind !== 'neighbor';
}

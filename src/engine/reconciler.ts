/** Makes the kernel hold what it should. */
import { backoffMilliseconds } from '../core/backoff';
import { peerNames } from '../core/desired';
import { KernelError, describeError } from '../model/errors';
import { keyOf, nameOf, printKernelObject, type KernelObject, type ObjectName } from '../model/kernel-state';
import { printOperation, type FailedOperation, type Operation } from '../model/operation';
import type { PeerChange } from '../model/peer';
import type { Clock, Kernel, Log } from '../ports';
import { LinkedAbort } from '../linked-abort';
import { SummedLines } from './summed-lines';
import { PendingWork, type Cause, type Work } from './pending-work';
import { isTooMuch, planNamed, planWhole, type Planned, type Situation } from './planning';
import { RepairLedger } from './repair-ledger';
import { Trouble } from './trouble';
import { Wake } from './wake';

export type { Cause } from './pending-work';
export type { Situation } from './planning';

/** Everything is looked at this often without any cause: it catches what no notification told. */
const AUDIT_MILLISECONDS = 60_000;
const BACKOFF = { minMilliseconds: 100, maxMilliseconds: 30_000 };
/** What changed in a pass is logged object by object up to so many. */
const LOGGED_OPERATIONS = 8;
const HELD_BACK: Cause = { kind: 'external', what: 'held back for a while' };

export interface PassReport {
  /** `whole`: everything was read and compared. `named`: only what was named, and what belongs to it. */
  readonly kind: Planned['kind'];
  /** True where what was read may have changed without our hearing of it, or has changed in a way that has no name. */
  readonly isAudit: boolean;
  readonly operations: number;
  /** Objects that were read. */
  readonly looked: number;
  readonly failed: readonly FailedOperation[];
  /** True if our own link, its parameters, its address and the network route are as they should be. */
  readonly isBaseInPlace: boolean;
  /** What of these is not. */
  readonly missing: readonly string[];
  /** Whether the peers were those that the registry tells of. */
  readonly isInSync: boolean;
}

/** What is to be looked at later: everything, where it has no name. */
interface Later {
  readonly name: ObjectName | undefined;
  readonly dueAt: number;
  readonly cause: Cause;
}

/**
 * Owns what is to be looked at again: names of objects, or everything. A pass reads that from the kernel, compares it with what
 * should be there, and writes the difference (see planNamed for what is not read). So it is right whatever happened before, and whatever was written meanwhile by
 * whomever: nothing is remembered of what the kernel held. What fails makes everything be looked at again, after a while.
 */
export class Reconciler {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  readonly #pending = new PendingWork();
  readonly #ledger = new RepairLedger();
  readonly #lines: SummedLines<OrderLine>;
  /** By key: whose repair is held back, and what else is to be looked at in a while. */
  readonly #later = new Map<string, Later>();
  #laterAt = Infinity;
  #retryAt = Infinity;
  /** Whole passes since the last one that went well. */
  #attempts = 0;
  #auditAt = Infinity;
  #hasReadAll = false;
  #converged = false;
  #passBegan: number | undefined;
  #baseInPlace = false;
  #missing: readonly string[] = [];
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
    this.#lines = new SummedLines(clock, summedUp, (line) => this.#say(line));
  }

  /** True after a pass that left nothing to do. */
  get isConverged(): boolean {
    const isIdle = this.#pending.isEmpty && this.#passBegan === undefined;
    return isIdle && this.#converged && this.#later.size === 0;
  }

  /** True if our link, its parameters, its address and the network route were in place after the last pass that looked at them. */
  get isBaseInPlace(): boolean {
    return this.#baseInPlace;
  }

  /** True once everything has been looked at. */
  get hasReadAll(): boolean {
    return this.#hasReadAll;
  }

  /** What of the base is not in place, where that is known. */
  get missingBase(): readonly string[] {
    return this.#missing;
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

  /** Asks for everything to be looked at. Ten triggers before a pass begins make one pass. */
  trigger(cause: Cause): void {
    this.#pending.addAll(cause);
    this.#wake.raise();
  }

  /** Asks for these objects to be looked at, and what else belongs to their peers; for everything, if one has no name. */
  lookAt(objects: readonly (KernelObject | ObjectName)[], cause: Cause): void {
    const names = objects.flatMap((object) => nameOf(object) ?? []);
    if (names.length < objects.length) this.#pending.addAll(cause);
    else this.#pending.add(names, cause);
    this.#wake.raise();
  }

  /** Asks for these objects to be looked at after so many milliseconds. */
  lookLater(names: readonly ObjectName[], milliseconds: number, cause: Cause): void {
    for (const name of names) this.#postpone(keyOf(name), name, this.clock.now() + milliseconds, cause);
    this.#wake.raise();
  }

  /** Asks for the kernel to follow these changes, each as it came: what the peers were made of, and are made of now, is looked at. */
  peersChanged(changes: readonly PeerChange[]): void {
    const { overlay, peers } = this.situation();
    const cause: Cause = { kind: 'wanted', what: 'peers changed' };
    // Naming the thousands of peers of a start would take longer than to look at everything.
    if (isTooMuch(changes.length, peers)) this.#pending.addAll(cause);
    else {
      for (const { before, after } of changes)
        for (const peer of [before, after])
          if (peer) this.#pending.add(peerNames(overlay, peer), cause, before === undefined);
    }
    this.#wake.raise();
  }

  /** Makes passes until the signal aborts, `onPass` after each. The first is a whole one. */
  async run(onPass: (report: PassReport) => void, signal: AbortSignal): Promise<void> {
    const over = new LinkedAbort(signal);
    const said = this.#lines.run(over.signal);
    try {
      await this.#makePasses(onPass, signal);
    } finally {
      over.abort();
      await said;
    }
  }

  async #makePasses(onPass: (report: PassReport) => void, signal: AbortSignal): Promise<void> {
    this.trigger({ kind: 'start', what: 'start' });
    while (!signal.aborted) {
      try {
        const dueAt = Math.min(this.#retryAt, this.#laterAt, this.#auditAt);
        await this.#wake.wait(this.clock, Math.max(0, dueAt - this.clock.now()), signal);
        this.#takeUpDue();
        if (this.#pending.isEmpty) continue;
        const report = await this.#pass(this.#pending.take(), signal);
        this.#note(report);
        onPass(report);
        this.#markTried();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KernelError)) throw error;
        this.#markTried();
        this.#fail();
        this.#trouble.report('cannot read or write the kernel state; trying again', error);
      }
    }
  }

  /** Adds what is due now. */
  #takeUpDue(): void {
    const now = this.clock.now();
    if (now >= this.#retryAt) this.#pending.addAll({ kind: 'retry', what: 'retry' });
    else if (now >= this.#auditAt) this.#pending.addAll({ kind: 'audit', what: 'audit' });
    if (now < this.#laterAt) return;
    for (const [key, { name, dueAt, cause }] of this.#later) {
      if (dueAt > now) continue;
      this.#later.delete(key);
      if (name) this.#pending.add([name], cause);
      else this.#pending.addAll(cause);
    }
    this.#laterAt = Math.min(...[...this.#later.values()].map(({ dueAt }) => dueAt));
  }

  async #pass(work: Work, signal: AbortSignal): Promise<PassReport> {
    const start = this.clock.now();
    this.#passBegan = start;
    try {
      const planned = await this.#plan(work, signal);
      const { operations, repairs, held } = this.#admit(work, planned);
      this.#operations += operations.length;
      const failed = operations.length > 0 ? await this.kernel.apply(operations, signal) : [];
      this.#tell(work, planned.kind === 'whole' ? operations : repairs, failed, start);
      const missing = [...held, ...failed.map(({ operation }) => operation)]
        .filter(({ verb, object }) => verb === 'put' && isBase(object))
        .map(({ object }) => printKernelObject(object));
      return {
        kind: planned.kind,
        isAudit: work.whole.has('audit') || work.whole.has('external'),
        operations: operations.length,
        looked: planned.looked,
        failed,
        isBaseInPlace: missing.length === 0,
        missing,
        isInSync: planned.isInSync,
      };
    } finally {
      this.#passBegan = undefined;
    }
  }

  async #plan(work: Work, signal: AbortSignal): Promise<Planned> {
    const isWhole = work.whole.size > 0 || !this.#hasReadAll;
    const named = isWhole ? undefined : await planNamed(this.kernel, this.situation, work, signal);
    if (named) return named;
    this.#auditAt = this.clock.now() + this.#auditMilliseconds();
    this.#retryAt = Infinity;
    this.#attempts++;
    const whole = await planWhole(this.kernel, this.clock, this.situation, work, signal);
    this.#hasReadAll = true;
    return whole;
  }

  /** On demand, it is also what drops the peers that nobody uses any more. */
  #auditMilliseconds(): number {
    const { resolve } = this.situation().overlay;
    return resolve.kind === 'preload'
      ? AUDIT_MILLISECONDS
      : Math.min(AUDIT_MILLISECONDS, resolve.idleMilliseconds / 2);
  }

  /** Which of the planned operations may be carried out now; those of them that put right what another program did. */
  #admit(work: Work, planned: Planned): { operations: Operation[]; repairs: Operation[]; held: Operation[] } {
    const isRepair = (operation: Operation) => this.#isRepair(operation, work, planned);
    const { operations, held, nextAt, notable } = this.#ledger.admit(
      planned.operations.filter(isRepair),
      this.clock.now(),
    );
    // Of the base, only a whole pass can say that it is in place again.
    for (const { object } of held)
      this.#postpone(keyOf(object), isBase(object) ? undefined : nameOf(object), nextAt, HELD_BACK);
    this.#repairs += operations.length;
    for (const { operation, repairs, isFight } of notable) {
      const message = isFight
        ? 'another program undoes this again and again; repairing it more slowly'
        : 'another program keeps undoing this';
      this.log.warn(message, { object: printKernelObject(operation.object), repairs });
    }
    // In the order of the plan: what must be made anew is removed before it is put, and stays while that is held back.
    const heldKeys = new Set(held.map(({ object }) => keyOf(object)));
    const all = planned.operations.filter(({ object }) => !heldKeys.has(keyOf(object)));
    return { operations: all, repairs: operations, held };
  }

  /** What we do not want changed ourselves, only another program can have changed. */
  #isRepair({ verb, object }: Operation, { whole }: Work, { kind, overlay, wanted }: Planned): boolean {
    const isOurs = whole.has('start') || whole.has('wanted') || whole.has('retry');
    if (kind === 'whole' && (isOurs || !this.#converged)) return false;
    // On demand, removals are mostly peers that nobody uses any more.
    if (verb === 'remove' && overlay.resolve.kind !== 'preload') return false;
    return !wanted.has(keyOf(object)) && !this.#pending.isWanted(keyOf(object));
  }

  #postpone(key: string, name: ObjectName | undefined, dueAt: number, cause: Cause): void {
    this.#later.set(key, { name, dueAt, cause });
    this.#laterAt = Math.min(this.#laterAt, dueAt);
  }

  #note(report: PassReport): void {
    const isWhole = report.kind === 'whole';
    if (isWhole || !report.isBaseInPlace) {
      this.#baseInPlace = report.isBaseInPlace;
      this.#missing = report.missing;
    }
    const [first] = report.failed;
    if (first) {
      this.#fail();
      const fields = { object: printKernelObject(first.operation.object), failed: report.failed.length };
      this.#trouble.report('the kernel refused a change; trying again', describeError(first.error), fields);
      return;
    }
    if (!isWhole) return;
    this.#attempts = 0;
    this.#converged = true;
    this.#trouble.clear('kernel state is as it should be again');
  }

  /** Everything is looked at after a while, or when something else asks for it. */
  #fail(): void {
    this.#converged = false;
    const backoff = backoffMilliseconds(Math.max(0, this.#attempts - 1), BACKOFF, this.clock.random());
    this.#retryAt = Math.min(this.#retryAt, this.clock.now() + backoff);
  }

  /** Of what is only refused again the trouble speaks, and sparingly; of changes of peers, who saw them. */
  #tell(
    work: Work,
    operations: readonly Operation[],
    failed: readonly FailedOperation[],
    start: number,
  ): void {
    const isWhole = work.whole.size > 0;
    if (operations.length <= failed.length && !work.whole.has('start')) return;
    const causes = work.causes.filter(({ kind }) => isWhole || kind !== 'wanted');
    const line = {
      because: causes.map(({ what }) => what),
      operations: operations.length,
      failed: failed.length,
      milliseconds: this.clock.now() - start,
      changes: operations.length <= LOGGED_OPERATIONS ? operations.map(printOperation) : [],
    };
    if (isWhole) this.#say(line);
    else this.#lines.add(line);
  }

  #say({ because, milliseconds, changes, ...counts }: OrderLine): void {
    this.log.info('kernel state put in order', {
      because: because.join(', '),
      ...counts,
      milliseconds: Math.round(milliseconds),
      ...(changes.length > 0 ? { changes: changes.join('; ') } : {}),
    });
  }
}

/** What some passes did. */
interface OrderLine {
  readonly because: readonly string[];
  readonly operations: number;
  readonly failed: number;
  readonly milliseconds: number;
  /** Empty where they are too many. */
  readonly changes: readonly string[];
}

function summedUp(a: OrderLine, b: OrderLine): OrderLine {
  const isMuch = a.changes.length === 0 || a.operations + b.operations > LOGGED_OPERATIONS;
  const others = b.because.filter((what) => !a.because.includes(what));
  return {
    because: [...a.because, ...others].slice(0, LOGGED_OPERATIONS),
    operations: a.operations + b.operations,
    failed: a.failed + b.failed,
    milliseconds: a.milliseconds + b.milliseconds,
    changes: isMuch ? [] : [...a.changes, ...b.changes],
  };
}

/** What must be there before anything can work: all but the peers' objects. */
function isBase(object: KernelObject): boolean {
  if (object.kind === 'route') return object.gateway === undefined;
  return object.kind !== 'fdb-entry' && object.kind !== 'neighbor';
}

/** Keeps the VXLAN port open to peers, and to nobody else. */
import { planAdmission } from '../core/admission';
import { backoffMilliseconds } from '../core/backoff';
import {
  printAdmissionTerms,
  printAdmittedPeer,
  type Admission,
  type InstalledAdmission,
} from '../model/admission';
import type { Clock, Log, VxlanGuard } from '../ports';
import { Trouble } from './trouble';
import { Wake } from './wake';

const AUDIT_MILLISECONDS = 60_000;
/** However often audits are asked for: a Docker start changes rules a hundred times. */
const SHORTEST_AUDIT_MILLISECONDS = 1_000;
const BACKOFF = { minMilliseconds: 250, maxMilliseconds: 30_000 };

export interface AdmissionSituation {
  readonly link: string;
  /** Undefined: anybody may send. */
  readonly admission: Admission | undefined;
}

/**
 * Owns what is known of the guard: what we last read or wrote there. When peers change, only the difference is written, at
 * once; what fails, and every so often, is read anew. While nothing can be written, traffic flows as it did.
 */
export class AdmissionKeeper {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  #known: InstalledAdmission | undefined;
  #isAuditDue = true;
  #lastAudit = -Infinity;
  #isInPlace = false;

  /** `situation` is asked anew for each pass; undefined while peers, or our place among them, are not known. */
  constructor(
    private readonly guard: VxlanGuard,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly situation: () => AdmissionSituation | undefined,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True after a pass that left nothing to do. */
  get isInPlace(): boolean {
    return this.#isInPlace;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** The peers, or our place among them, changed. */
  peersChanged(): void {
    this.#wake.raise();
  }

  /** Somebody may have changed the rules: asks for all to be read anew. */
  audit(): void {
    this.#isAuditDue = true;
    this.#wake.raise();
  }

  /** Works until the signal aborts, and leaves the guard as it is. */
  async run(signal: AbortSignal): Promise<void> {
    this.#wake.raise();
    for (let failures = 0; !signal.aborted;) {
      try {
        const wait =
          failures > 0
            ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random())
            : this.#untilAudit(AUDIT_MILLISECONDS);
        if (!(await this.#wake.wait(this.clock, wait, signal))) this.#isAuditDue = true;
        const situation = this.situation();
        if (!situation) continue;
        await this.#pass(situation, signal);
        failures = 0;
        this.#isInPlace = true;
        this.#trouble.clear('the VXLAN port is guarded as it should be again');
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.#isInPlace = false;
        this.#isAuditDue = true;
        this.#lastAudit = -Infinity;
        this.#trouble.report('cannot guard the VXLAN port; trying again', error);
      }
    }
  }

  /** `otherwise` if no audit is asked for, or nothing can be compared yet. */
  #untilAudit(otherwise: number): number {
    if (!this.#isAuditDue || !this.situation()) return otherwise;
    return Math.max(0, this.#lastAudit + SHORTEST_AUDIT_MILLISECONDS - this.clock.now());
  }

  async #pass({ link, admission }: AdmissionSituation, signal: AbortSignal): Promise<void> {
    if (this.#isAuditDue && this.#untilAudit(0) === 0) {
      this.#isAuditDue = false;
      this.#lastAudit = this.clock.now();
      this.#known = await this.guard.observe(link, signal);
    }
    if (!admission) {
      if (!this.#known) return;
      await this.guard.remove(link, signal);
      this.#known = undefined;
      this.log.info('anybody may send to the VXLAN port', { link });
      return;
    }
    const step = planAdmission(admission, this.#known);
    if (step.kind === 'nothing') return;
    const { port, peers } = admission;
    if (step.kind === 'install') {
      await this.guard.install(admission, signal);
      this.log.info('only peers may send to the VXLAN port', { link, port, peers: peers.length });
    } else {
      await this.guard.change(admission, step.add, step.remove, signal);
    }
    this.#known = {
      terms: printAdmissionTerms(admission),
      peers: new Set(peers.map(printAdmittedPeer)),
    };
  }
}

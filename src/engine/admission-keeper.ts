/** Keeps the VXLAN port open to peers, and to nobody else. */
import { planAdmission, type AdmissionStep } from '../core/admission';
import { backoffMilliseconds } from '../core/backoff';
import { familyOf, type IpAddress } from '../model/address';
import {
  AdmittedPeers,
  printAdmissionTerms,
  printAdmittedPeer,
  type Admission,
  type AdmissionTerms,
} from '../model/admission';
import { KernelError, describeError } from '../model/errors';
import type { Peer, PeerChange } from '../model/peer';
import type { Clock, Log, LogFields, VxlanGuard } from '../ports';
import { Patience } from './patience';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** The kernel tells of changes; this is for what it did not tell, and for the strangers it refused. */
const AUDIT_MILLISECONDS = 60_000;
const BACKOFF = { minMilliseconds: 250, maxMilliseconds: 30_000 };
/** A repair is followed by a rest, and so is a failure. */
const REST_MILLISECONDS = 100;
/** While somebody undoes what we write, the rest grows. */
const PATIENCE = {
  freeRepairs: 5,
  shortestRestMilliseconds: 200,
  longestRestMilliseconds: 60_000,
  calmMilliseconds: 10_000,
};

export interface AdmissionSituation {
  readonly admission: Admission;
  /** False: peers may have joined that we do not know of; nobody who is admitted is refused. */
  readonly isInSync: boolean;
}

/** What we last read or wrote. */
interface Installed {
  readonly terms: AdmissionTerms;
  readonly peers: AdmittedPeers;
}

/**
 * Owns what is known of the guard. A change of peers is written before {@link peersChanged} returns, so that who joins is
 * admitted before anything is sent to it; a pass reads everything and puts right what differs, when somebody changed the
 * rules, something failed, and every so often. While nothing can be written, traffic flows as it did.
 */
export class AdmissionKeeper {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  #installed: Installed | undefined;
  #listening: { readonly link: string; readonly stop: AbortController } | undefined;
  #isInPlace = false;
  #isFirst = true;
  #repairs = 0;
  readonly #patience: Patience;
  /** Those that were refused when we last looked. */
  #strangers: ReadonlySet<IpAddress> = new Set();

  /** `situation` is asked anew for each pass; undefined while peers, or our place among them, are not known. */
  constructor(
    private readonly guard: VxlanGuard,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly situation: () => AdmissionSituation | undefined,
  ) {
    this.#trouble = new Trouble(clock, log);
    this.#patience = new Patience(clock, PATIENCE);
  }

  /** True after a pass that left nothing to do. */
  get isInPlace(): boolean {
    return this.#isInPlace;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Passes since the start that put back what somebody else had changed or removed. */
  get repairs(): number {
    return this.#repairs;
  }

  /** Asks for a pass: our place in the overlay changed, or somebody may have changed the rules. */
  trigger(): void {
    this.#wake.raise();
  }

  /** Admits who joined and refuses who left, at once. What cannot be written like this is left to a pass. */
  peersChanged(changes: readonly PeerChange[]): void {
    const present = ({ after }: PeerChange) => after ?? [];
    const past = ({ before }: PeerChange) => before ?? [];
    this.#change(changes.flatMap(present), changes.flatMap(past));
  }

  /** Admits peers who may be asked before {@link peersChanged} tells of them. */
  admit(peers: readonly Peer[]): void {
    this.#change(peers, []);
  }

  /** Makes passes until the signal aborts, and leaves the guard as it is. */
  async run(signal: AbortSignal): Promise<void> {
    this.trigger();
    try {
      await this.#makePasses(signal);
    } finally {
      this.#listening?.stop.abort();
    }
  }

  async #makePasses(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        const wait =
          failures > 0 ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random()) : AUDIT_MILLISECONDS;
        await this.#wake.wait(this.clock, wait, signal);
        const situation = this.situation();
        if (!situation) continue;
        const isRepair = this.#pass(situation);
        failures = 0;
        this.#trouble.clear('the VXLAN port is guarded as it should be again');
        const rest = Math.max(REST_MILLISECONDS, this.#patience.restMilliseconds);
        if (isRepair) await this.clock.sleep(rest, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KernelError)) throw error;
        failures++;
        this.#fail(error);
        await this.clock.sleep(REST_MILLISECONDS, signal).catch(() => undefined);
      }
    }
  }

  #change(present: readonly Peer[], past: readonly Peer[]): void {
    const installed = this.#installed;
    if (!installed) return this.trigger();
    const { family, lengths } = installed.terms;
    const wanted = new Set(present.map(printAdmittedPeer));
    const admitted = present.filter(({ publicIp }) => familyOf(publicIp) === family);
    const refused = past.filter((peer) => !wanted.has(printAdmittedPeer(peer)));
    // There is no rule for such a subnet yet.
    if (admitted.some(({ subnet }) => !lengths.includes(subnet.prefixLength))) return this.trigger();
    try {
      this.guard.change(installed.terms, installed.peers.change(admitted, refused));
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#fail(error);
      this.trigger();
    }
  }

  #fail(error: KernelError): void {
    this.#installed = undefined;
    this.#isInPlace = false;
    this.#trouble.report('cannot guard the VXLAN port; trying again', error);
  }

  /** True if it put right what somebody else had done. */
  #pass({ admission, isInSync }: AdmissionSituation): boolean {
    this.#listen(admission.link);
    const found = this.guard.observe(admission.link);
    const step = planAdmission(admission, found);
    const isRepair = this.#isRepair(admission, step);
    const peers = new AdmittedPeers(step.kind === 'install' ? admission.peers : found?.peers);
    this.#installed = { terms: admission, peers };
    if (step.kind === 'install') this.guard.install(admission);
    if (step.kind === 'change') {
      this.guard.change(admission, peers.change(step.add, isInSync ? step.remove : []));
    }
    this.#isInPlace = true;
    this.#sayStrangers(found?.strangers ?? [], admission);
    this.#report(admission, step.kind, isRepair);
    return isRepair;
  }

  /** We had written it, and want nothing new: a peer too many is one that the registry told of, and then did not. */
  #isRepair(admission: Admission, step: AdmissionStep): boolean {
    const before = this.#isInPlace && this.#installed?.terms;
    if (!before || printAdmissionTerms(before) !== printAdmissionTerms(admission)) return false;
    return step.kind === 'install' || (step.kind === 'change' && step.add.length > 0);
  }

  #report({ link, port, peers }: Admission, done: string, isRepair: boolean): void {
    const fields = { link, port, peers: peers.length };
    if (isRepair) this.#reportRepair(fields);
    else if (done === 'install' || this.#isFirst)
      this.log.info('only peers may send to the VXLAN port', fields);
    this.#isFirst = false;
  }

  #reportRepair(fields: LogFields): void {
    this.#repairs++;
    this.#patience.count();
    if (!this.#patience.isFight)
      this.log.info('the VXLAN port is guarded again after another program changed its rules', fields);
    else if (this.#patience.isNewFight)
      this.log.warn(
        'another program undoes the guard of the VXLAN port again and again; repairing more slowly',
        fields,
      );
  }

  #sayStrangers(strangers: readonly IpAddress[], { peers }: Admission): void {
    const fresh = strangers.filter((address) => !this.#strangers.has(address));
    for (const address of fresh) {
      // It has joined since.
      if (peers.some(({ publicIp }) => publicIp === address)) continue;
      this.log.warn('packets refused: no peer has the address they come from as its PublicIP', { address });
    }
    this.#strangers = new Set(strangers);
  }

  #listen(link: string): void {
    if (this.#listening?.link === link) return;
    this.#listening?.stop.abort();
    const stop = new AbortController();
    this.#listening = { link, stop };
    try {
      this.guard.listen(link, () => this.trigger(), stop.signal);
    } catch (error) {
      this.log.warn('nobody tells when the rules of the VXLAN port change; looking now and then', {
        error: describeError(error),
        everySeconds: AUDIT_MILLISECONDS / 1000,
      });
    }
  }
}

/** Lets anybody send to the VXLAN port again, where an earlier agent guarded it. */
export function removeGuard(guard: VxlanGuard, link: string, log: Log): void {
  try {
    if (!guard.links().includes(link)) return;
    guard.remove(link);
    log.info('anybody may send to the VXLAN port again', { link });
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    log.warn('cannot remove the guard of the VXLAN port', { link, error: describeError(error) });
  }
}

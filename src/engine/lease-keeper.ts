/** Does with the key of our lease what `core/lease-keeping` decides. */
import { decideConceded, decideKeeping, type KeepingStep, type StoredKey } from '../core/lease-keeping';
import { printSubnet, type IpAddress } from '../model/address';
import type { Lease } from '../model/lease';
import type { Clock, Log } from '../ports';
import type { LeaseRepairs } from './lease-repairs';
import type { OwnKey } from './own-key';
import type { OwnershipDispute } from './ownership-dispute';

export interface KeeperParts {
  readonly key: OwnKey;
  readonly dispute: OwnershipDispute;
  readonly repairs: LeaseRepairs;
  /** Ours, at the moment. */
  readonly publicIp: () => IpAddress;
  /** Told when a conceded lease is ours again: it may say of us what the other host said of itself. */
  readonly onRegained: () => void;
}

/** Each method tells whether the key is ours still, or another host's after we conceded; false: the lease must be acquired again. */
export class LeaseKeeper {
  constructor(
    private readonly clock: Pick<Clock, 'now'>,
    private readonly log: Log,
    private readonly parts: KeeperParts,
  ) {}

  /** Compares what is stored with what we hold, and acts. */
  async keep(stored: StoredKey, source: 'told' | 'read', signal: AbortSignal): Promise<boolean> {
    const held = this.parts.key.lease!;
    const { isOwn } = this.parts.key;
    const dispute = this.parts.dispute.history;
    const step = decideKeeping({ held, stored, source, isOwn, dispute, now: this.clock.now() });
    if (step.kind === 'read') return this.keep(await this.parts.key.read(held.name, signal), 'read', signal);
    this.parts.key.note(stored);
    return this.#act(step, signal);
  }

  async #act(step: Exclude<KeepingStep, { kind: 'read' }>, signal: AbortSignal): Promise<boolean> {
    switch (step.kind) {
      case 'keep':
        return true;
      case 'adopt':
        this.parts.key.hold(step.lease);
        return true;
      case 'claim':
        return this.#claim(step.lease, signal);
      case 'concede':
        this.parts.dispute.give('concede', step.to);
        return true;
      case 'write':
        return this.#write(step, signal);
      case 'retake':
        if (step.from) this.#reportTaken(step.from);
        return false;
    }
  }

  async #claim(stored: Lease, signal: AbortSignal): Promise<boolean> {
    const claimed = await this.parts.key.claim(stored, signal);
    if (claimed) this.parts.key.hold(claimed);
    return claimed !== undefined;
  }

  async #write({ over, why }: KeepingStep & { kind: 'write' }, signal: AbortSignal): Promise<boolean> {
    const lease = this.parts.key.lease!.name;
    if (why.kind === 'objection') this.parts.dispute.give(why.answer, over);
    await this.parts.repairs.rest(lease, signal);
    if (why.kind === 'garbage') {
      const { reason } = why;
      this.parts.repairs.report('warn', 'our lease was overwritten with garbage; writing it again', {
        lease,
        reason,
      });
    }
    if (why.kind === 'changed')
      this.parts.repairs.report('warn', 'our lease was changed by somebody else; writing it again', {
        lease,
      });
    return this.parts.key.write(over, signal);
  }

  #reportTaken({ attributes }: Lease): void {
    this.parts.repairs.report('error', 'our subnet was taken by another host', {
      subnet: printSubnet(this.parts.key.lease!.subnet),
      publicIp: attributes.publicIp,
    });
  }

  /** Keeps the etcd lease alive that our key hangs on. */
  async keepAlive(signal: AbortSignal): Promise<boolean> {
    const held = this.parts.key.lease!;
    if (held.etcdLeaseId === undefined) return true;
    const state = await this.parts.key.etcdLeases.check(held.etcdLeaseId, signal);
    if (state === 'shared') return this.#claimAgain(held, signal);
    if (state === 'renewed') {
      const seconds = Math.round(this.parts.key.remainingSeconds);
      this.log.debug('lease kept alive', { subnet: printSubnet(held.subnet), seconds });
    }
    return state !== 'lost';
  }

  /** Another host that shares our etcd lease sees by a new one that we live; if it lives, it objects. */
  async #claimAgain(held: Lease, signal: AbortSignal): Promise<boolean> {
    this.log.info('somebody else keeps our etcd lease alive; claiming our lease with another', {
      lease: held.name,
    });
    // It may be a copy of this very process: nothing that we got so far is ours alone.
    this.parts.key.etcdLeases.disown();
    if (await this.#claim(held, signal)) return true;
    return this.keep(await this.parts.key.read(held.name, signal), 'read', signal);
  }

  /** After we conceded: takes the lease if it has become free, or, when a retry is due, claims it again. */
  async retry(isTime: boolean, signal: AbortSignal): Promise<boolean> {
    const held = this.parts.key.lease!;
    const stored = await this.parts.key.read(held.name, signal);
    const step = decideConceded({ held, stored, isOwn: this.parts.key.isOwn }, this.parts.publicIp(), isTime);
    switch (step.kind) {
      case 'wait':
        return true;
      case 'retake':
        this.parts.dispute.settle();
        return false;
      case 'challenge':
        return this.#challenge(step.lease, signal);
      case 'regain':
        this.#regain();
        return stored !== undefined && this.keep(stored, 'read', signal);
    }
  }

  async #challenge(stored: Lease, signal: AbortSignal): Promise<boolean> {
    const claimed = await this.parts.key.claim(stored, signal);
    if (claimed && (await this.parts.key.isUndisputed(claimed, signal))) {
      this.parts.key.hold(claimed);
      this.#regain();
    } else this.parts.dispute.concede(stored);
    return true;
  }

  #regain(): void {
    this.parts.dispute.settle();
    this.parts.onRegained();
  }
}

/** Mistakes an adapter could make, one at a time: each stands between an agent and the truth, and must be found out. */
import { RegistryError } from '../../src/model/errors';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../../src/model/lease';
import { printLeaseName } from '../../src/model/lease-codec';
import type { LeaseBatch, LeaseRegistry, LeaseSnapshot } from '../../src/ports';
import { Adapter } from './adapter';
import type { Invariant } from './invariants';
import type { SimulationOptions } from './simulation';
import type { PlantedBug } from './simulated-host';

/** What is wrong, which rules may notice it, and how to plant it in one life of an agent. */
export interface Mistake {
  readonly name: string;
  readonly violates: readonly Invariant[];
  readonly plant: () => PlantedBug;
  /** Where it shows. */
  readonly scene?: Pick<SimulationOptions, 'spareSubnets' | 'emphasis' | 'only' | 'pace'>;
}

/** What is stored under a name, readable or not. */
async function storedAs(registry: LeaseRegistry, name: string, signal: AbortSignal) {
  const { leases, malformed } = await registry.list(signal);
  return [...leases, ...malformed].find((stored) => stored.name === name);
}

/** Writes over whatever is there. */
class BlindUpdate extends Adapter {
  override async update(
    lease: Lease,
    attributes: LeaseAttributes,
    id: string | undefined,
    signal: AbortSignal,
  ) {
    const stored = await storedAs(this.inner, lease.name, signal);
    if (!stored) return this.inner.create(lease, attributes, id, signal);
    return this.inner.update({ ...lease, modRevision: stored.modRevision }, attributes, id, signal);
  }
}

/** Creates a key that is there already. */
class BlindCreate extends Adapter {
  override async create(
    subnets: LeaseSubnets,
    attributes: LeaseAttributes,
    id: string | undefined,
    signal: AbortSignal,
  ) {
    const result = await this.inner.create(subnets, attributes, id, signal);
    if (result.kind === 'written') return result;
    const name = printLeaseName(subnets);
    const stored = await storedAs(this.inner, name, signal);
    if (!stored) return result;
    const { modRevision, etcdLeaseId } = stored;
    const createRevision = 'createRevision' in stored ? stored.createRevision : modRevision;
    const lease: Lease = { ...subnets, name, attributes, modRevision, createRevision, etcdLeaseId };
    return this.inner.update(lease, attributes, id, signal);
  }
}

/** Now and then a batch of events never arrives: every seventh with news. */
class LostEvent extends Adapter {
  #batches = 0;

  override async *watch(afterRevision: string, signal: AbortSignal): AsyncGenerator<LeaseBatch> {
    for await (const batch of this.inner.watch(afterRevision, signal)) {
      const isLost = batch.changes.length > 0 && ++this.#batches % 7 === 0;
      yield isLost ? { ...batch, changes: [] } : batch;
    }
  }
}

/**
 * Goes on with the watch after its connection was lost, from now: what happened in between is not told. The number of leases, by
 * which an agent notices a watch that is behind, is not to be had.
 */
class ForgetfulWatch extends Adapter {
  override count: LeaseRegistry['count'] = () =>
    Promise.reject(new RegistryError('unavailable', 'the leases cannot be counted'));

  override async *watch(afterRevision: string, signal: AbortSignal): AsyncGenerator<LeaseBatch> {
    let revision = afterRevision;
    for (;;) {
      try {
        for await (const batch of this.inner.watch(revision, signal)) yield batch;
      } catch {
        signal.throwIfAborted();
        const snapshot = await this.inner.list(signal);
        ({ revision } = snapshot);
      }
    }
  }
}

/** Takes a failed read for an empty registry. */
class FailureIsEmpty extends Adapter {
  #revision = '0';

  override async list(signal: AbortSignal): Promise<LeaseSnapshot> {
    try {
      const snapshot = await this.inner.list(signal);
      this.#revision = snapshot.revision;
      return snapshot;
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return { revision: this.#revision, leases: [], malformed: [] };
    }
  }
}

/** Says that it is in sync before it has read anything: the leases come a moment later, with the watch. */
class EarlySync extends Adapter {
  #isFirst = true;

  override async list(signal: AbortSignal): Promise<LeaseSnapshot> {
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    return isFirst ? { revision: '1', leases: [], malformed: [] } : this.inner.list(signal);
  }
}

/** Every second list is the one before: as from a member of the cluster that lags behind. */
class StaleList extends Adapter {
  #last: LeaseSnapshot | undefined;

  override async list(signal: AbortSignal): Promise<LeaseSnapshot> {
    const last = this.#last;
    this.#last = undefined;
    if (last) return last;
    return (this.#last = await this.inner.list(signal));
  }
}

const planted = (Mistaken: new (inner: LeaseRegistry) => LeaseRegistry) => () => ({
  registry: (registry: LeaseRegistry) => new Mistaken(registry),
});

export const MISTAKES: readonly Mistake[] = [
  {
    name: 'an update that ignores the revision it expects',
    violates: ['no key of another is written'],
    plant: planted(BlindUpdate),
    // Between the change of a host's own address and its write of it, its key must become another's.
    scene: { spareSubnets: 0, pace: 50, only: ['key given to another host', 'address changed'] },
  },
  {
    name: 'a create that writes over an existing key',
    violates: ['no key of another is written'],
    plant: planted(BlindCreate),
    scene: { spareSubnets: 0, emphasis: { 'power failure': 8, 'lease expired': 3 } },
  },
  {
    name: 'a watch that loses an event',
    violates: ['all converge', 'one owner per subnet'],
    plant: planted(LostEvent),
    scene: { only: ['lease expired', 'key deleted', 'address changed'] },
  },
  {
    name: 'a watch that goes on from now after it was cut',
    violates: ['all converge', 'one owner per subnet', 'no live peer is removed'],
    plant: planted(ForgetfulWatch),
    // What is lost is what happens between the cut and the list.
    scene: { pace: 500, only: ['watches cut', 'lease expired', 'address changed'] },
  },
  {
    name: 'a failed read that looks like an empty registry',
    violates: ['no live peer is removed'],
    plant: planted(FailureIsEmpty),
  },
  {
    name: 'a removal before the first snapshot is in',
    violates: ['no live peer is removed'],
    plant: planted(EarlySync),
  },
  {
    name: 'a list that is older than the last',
    violates: ['no live peer is removed', 'all converge'],
    plant: planted(StaleList),
  },
];

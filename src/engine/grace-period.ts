/** Keeps peers whose keys are gone: for a moment those whose keys were deleted, for the grace time those whose leases expired. */
import type { Lease } from '../model/lease';
import type { Clock, LeaseRegistry, Log } from '../ports';
import { Departures, type Departure } from './departures';
import { printSome } from './lease-problems';
import { SummedLines } from './summed-lines';
import { Wake } from './wake';

/** A host whose key was deleted by hand has it back within this, and its peers need not lose a packet over it. */
const DELETION_MILLISECONDS = 2_000;
/** How often a registry that does not answer is asked again how a lease went. */
const EXAMINE_RETRY_MILLISECONDS = 5_000;
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** Of leases that expired, so many are named in one line. */
const NAMED_LEASES = 3;

export interface GraceEvents {
  /** Called when a peer is kept no longer; several may follow each other. */
  dismissed(leaseName: string): void;
  /** Called after every peer whose time was over has been dismissed. */
  lookedAtAll(): Promise<void>;
}

/** Owns which peers are kept although their keys are gone. */
export class GracePeriod {
  readonly #departed = new Departures();
  readonly #wake = new Wake();
  readonly #expired: SummedLines<Expired>;

  constructor(
    private readonly registry: Pick<LeaseRegistry, 'lifeOf'>,
    private readonly clock: Clock,
    private readonly log: Log,
    /** For how long a peer is kept whose lease expired; 0: no longer than one whose key was deleted. */
    private readonly graceMilliseconds: number,
    private readonly events: GraceEvents,
  ) {
    this.#expired = new SummedLines(clock, summedUp, (expired) => this.#sayExpired(expired));
  }

  /** The last that was known of each lease whose peer is kept. */
  get leases(): Lease[] {
    return Array.from(this.#departed, ({ lease }) => lease);
  }

  /** Peers whose leases expired, and for how many milliseconds they have been kept. */
  get graced(): { lease: string; forMilliseconds: number }[] {
    const now = this.clock.now();
    return [...this.#departed]
      .filter(({ how }) => how === 'expired')
      .map(({ lease, since }) => ({ lease: lease.name, forMilliseconds: now - since }));
  }

  isKept(leaseName: string): boolean {
    return this.#departed.get(leaseName) !== undefined;
  }

  /** Keeps the peer of a lease whose key went. False for a reservation: there is no etcd lease to ask how it went. */
  keep(lease: Lease): boolean {
    if (lease.etcdLeaseId === undefined) return false;
    this.#departed.add({ lease, since: this.clock.now(), how: undefined });
    this.#wake.raise();
    return true;
  }

  /** A lease is there, again or new. Its host does not come back to another subnet of before. */
  present({ name, attributes }: Lease): void {
    this.#departed.delete(name);
    for (const departure of this.#departed.ofHost(attributes.publicIp))
      this.#dismiss(departure, 'its host has another');
  }

  /** Another lease has what this peer had. False if it was not kept. */
  replace(leaseName: string): boolean {
    return this.#departed.delete(leaseName);
  }

  /** Dismisses the peers whose time is over, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follow(signal), this.#expired.run(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let wait = LONG_WAIT_MILLISECONDS;
    while (!signal.aborted) {
      await this.#wake.wait(this.clock, wait, signal).catch(() => undefined);
      wait = LONG_WAIT_MILLISECONDS;
      for (const departure of [...this.#departed]) {
        if (signal.aborted) return;
        wait = Math.min(wait, await this.#lookAt(departure, signal));
      }
      await this.events.lookedAtAll();
    }
  }

  /**
   * Dismisses a peer if its time is over; else tells in how many milliseconds to look again. Etcd is not asked how a key went for a
   * moment: were all leases of a thousand hosts deleted, each host would ask a thousand times for those that are back at once.
   */
  async #lookAt(departure: Departure, signal: AbortSignal): Promise<number> {
    const { lease, since } = departure;
    const rest = since + DELETION_MILLISECONDS - this.clock.now();
    if (rest > 0) return rest;
    // Without any grace it makes no difference.
    const isAsked = !departure.how && this.graceMilliseconds > 0;
    const answer = isAsked ? await this.#examine(lease, signal) : undefined;
    // A lease that came back while etcd was asked about this one, or about another, is newer than the answer.
    if (this.#departed.get(lease.name) !== departure) return LONG_WAIT_MILLISECONDS;
    if (answer === 'expired') this.#expired.add({ leases: 1, named: [lease.name] });
    const how = (departure.how ??= answer);
    if (!how && this.graceMilliseconds > 0) return EXAMINE_RETRY_MILLISECONDS;
    const left = how === 'expired' ? since + this.graceMilliseconds - this.clock.now() : 0;
    if (left > 0) return left;
    const isExpired = how === 'expired';
    this.#dismiss(departure, isExpired ? 'the grace time of its expired lease is over' : 'its lease is gone');
    return LONG_WAIT_MILLISECONDS;
  }

  /** How a key went; undefined while the registry does not answer. */
  async #examine({ etcdLeaseId }: Lease, signal: AbortSignal): Promise<Departure['how']> {
    const life = await this.registry.lifeOf(etcdLeaseId!, signal).catch(() => undefined);
    return life && (life === 'lost' ? 'expired' : 'deleted');
  }

  #dismiss({ lease }: Departure, reason: string): void {
    this.#departed.delete(lease.name);
    this.events.dismissed(lease.name);
    this.log.debug('peer dismissed', { lease: lease.name, reason });
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

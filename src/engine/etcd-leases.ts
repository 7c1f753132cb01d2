/** The etcd leases that our key hangs on: which are ours alone, how long they live, and when to keep them alive. */
import { LEASE_TTL_SECONDS } from '../model/lease';
import type { Clock, LeaseLife, LeaseRegistry } from '../ports';

/** The first renewal comes soon after the start: of two that start together and share an etcd lease, the later one sees it. */
const FIRST_RENEWAL_MILLISECONDS = [10_000, 30_000] as const;
/** Whatever happens to our key, its etcd lease is asked for no more often than this. */
const REST_MILLISECONDS = 60_000;
/** Clocks of hosts differ by less, and etcd tells whole seconds. */
const CLOCK_TOLERANCE = 0.05;
const ROUNDING_SECONDS = 2;
/** A request that was given up may be carried out so much later. */
const LATE_MILLISECONDS = 30_000;

/** One key hangs on one of them at a time. Every call that asks the registry throws its errors. */
export class EtcdLeases {
  /** Those that none but this process has. */
  readonly #own = new Set<string>();
  /** Until the store has shown us our lease, those of an earlier process of this host count as ours, too. */
  #inherits = true;
  /** What was left when it was last kept alive, and when that was (monotonic milliseconds). */
  #remainingSeconds = LEASE_TTL_SECONDS;
  #keptAliveAt = 0;
  /** What was kept alive then; undefined when somebody else may have done so for us, or a request of ours may come late. */
  #kept: { readonly etcdLeaseId: string; readonly life: LeaseLife } | undefined;
  #renewalFailedAt = -Infinity;
  /** When it is to be kept alive again, whatever wakes us before (monotonic milliseconds). */
  #renewAt = Infinity;
  /** When we last asked how it stands. */
  #askedAt = -Infinity;

  constructor(
    private readonly registry: LeaseRegistry,
    private readonly clock: Clock,
    /** So much is always left of the one our key hangs on. */
    private readonly marginSeconds: number,
  ) {}

  /** How long the one our key hangs on is good without being kept alive. */
  get remainingSeconds(): number {
    return this.#remainingSeconds - (this.clock.now() - this.#keptAliveAt) / 1000;
  }

  get untilRenewalMilliseconds(): number {
    return this.#renewAt - this.clock.now();
  }

  /** False for an etcd lease of another host, or of this one before it was booted. */
  isOwn(etcdLeaseId: string): boolean {
    if (this.#own.has(etcdLeaseId)) return true;
    return this.#inherits && this.registry.isGrantedToUs(etcdLeaseId);
  }

  /** Our key hangs on it, as the store has shown; undefined: on none. */
  hold(etcdLeaseId: string | undefined): void {
    this.#inherits = false;
    if (etcdLeaseId !== undefined) this.#own.add(etcdLeaseId);
  }

  /** Another process may have all that this one has had so far. */
  disown(): void {
    this.#own.clear();
  }

  /** It is to be kept alive three times within its life, or more often if the margin asks for it. */
  keepFor(remainingSeconds: number): void {
    this.#remainingSeconds = remainingSeconds;
    this.#keptAliveAt = this.clock.now();
    const margin = Math.max(remainingSeconds - this.marginSeconds, remainingSeconds / 10);
    const intervalSeconds = Math.min(remainingSeconds / 3, margin) * (0.9 + this.clock.random() / 10);
    this.#renewAt = this.#keptAliveAt + intervalSeconds * 1000;
  }

  keepSoon(): void {
    const [least, most] = FIRST_RENEWAL_MILLISECONDS;
    const first = this.clock.now() + least + (most - least) * this.clock.random();
    this.#renewAt = Math.min(this.#renewAt, first);
  }

  /** Looks whether it lives, and lives by us alone, and prolongs it: all of it only when it is time. */
  async check(etcdLeaseId: string, signal: AbortSignal): Promise<'alive' | 'renewed' | 'shared' | 'lost'> {
    const asked = this.clock.now();
    if (asked < Math.min(this.#renewAt, this.#askedAt + REST_MILLISECONDS)) return 'alive';
    this.#askedAt = asked;
    const life = await this.registry.lifeOf(etcdLeaseId, signal);
    if (life === 'lost') return 'lost';
    if (this.#isProlonged(etcdLeaseId, life, asked)) return 'shared';
    if (this.#renewAt > this.clock.now()) return 'alive';
    return (await this.renew(etcdLeaseId, signal)) ? 'renewed' : 'lost';
  }

  /** Gives it its whole time again. False if it is gone. */
  async renew(etcdLeaseId: string, signal: AbortSignal): Promise<boolean> {
    this.#kept = undefined;
    try {
      const life = await this.registry.keepAlive(etcdLeaseId, signal);
      if (life === 'lost') return false;
      this.keepFor(life.remainingSeconds);
      this.#kept = { etcdLeaseId, life };
      return true;
    } catch (error) {
      this.#renewalFailedAt = this.clock.now();
      throw error;
    }
  }

  async grant(signal: AbortSignal): Promise<string> {
    const id = await this.registry.grant(LEASE_TTL_SECONDS, signal);
    this.#own.add(id);
    return id;
  }

  /** Ends one that nothing hangs on (or, after an unclear failure, only our own key). */
  async giveBack(etcdLeaseId: string, signal: AbortSignal): Promise<void> {
    await this.registry.revoke(etcdLeaseId, signal).then(
      () => this.#own.delete(etcdLeaseId),
      () => undefined,
    );
  }

  /** True if it has longer to live than we have left it: somebody else keeps it alive, too. */
  #isProlonged(etcdLeaseId: string, life: LeaseLife, asked: number): boolean {
    const kept = this.#kept;
    // A new leader of the store's gives every lease its whole time again.
    if (kept?.etcdLeaseId !== etcdLeaseId || kept.life.term !== life.term) return false;
    const since = Math.max(this.#keptAliveAt, this.#renewalFailedAt + LATE_MILLISECONDS);
    const elapsedSeconds = Math.max(0, asked - since) / 1000;
    const most = kept.life.remainingSeconds - elapsedSeconds * (1 - CLOCK_TOLERANCE) + ROUNDING_SECONDS;
    return life.remainingSeconds > most;
  }
}

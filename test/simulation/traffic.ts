/** Who asks the store how often, and for what. */
import type { RegistryMethod } from '../support/fake-registry';
import type { Scheduler } from './scheduler';

/** What changes the store, or could. */
const WRITES: ReadonlySet<RegistryMethod> = new Set([
  'writeConfig',
  'grant',
  'revoke',
  'create',
  'update',
  'remove',
] satisfies RegistryMethod[]);

const SECOND = 1_000;
const MINUTE = 60_000;

/** Counts requests in windows of time, by all hosts together and by each. */
export class Traffic {
  /** Requests that would write, since the beginning. */
  writes = 0;
  #fleetPeak = 0;
  #hostPeak = 0;
  #second = -1;
  #inSecond = 0;
  #minute = -1;
  readonly #inMinute = new Map<string, number>();

  constructor(private readonly scheduler: Scheduler) {}

  /** The most requests of all hosts in one second. */
  get fleetPerSecond(): number {
    return this.#fleetPeak;
  }

  /** The most requests of one host in one minute. */
  get hostPerMinute(): number {
    return this.#hostPeak;
  }

  /** Forgets the peaks: how hosts start is decided by whoever switches them on. */
  reset(): void {
    this.#fleetPeak = this.#hostPeak = 0;
    this.#second = this.#minute = -1;
  }

  /** Counts one; says how many of this host that makes in this minute. */
  count(host: string, method: RegistryMethod): number {
    const { now } = this.scheduler;
    if (WRITES.has(method)) this.writes++;
    const second = Math.floor(now / SECOND);
    if (second !== this.#second) this.#inSecond = 0;
    this.#second = second;
    this.#fleetPeak = Math.max(this.#fleetPeak, ++this.#inSecond);
    const minute = Math.floor(now / MINUTE);
    if (minute !== this.#minute) this.#inMinute.clear();
    this.#minute = minute;
    const count = (this.#inMinute.get(host) ?? 0) + 1;
    this.#inMinute.set(host, count);
    this.#hostPeak = Math.max(this.#hostPeak, count);
    return count;
  }
}

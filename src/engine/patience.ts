/** Repairing ever more slowly what somebody undoes again and again. */
import type { Clock } from '../ports';

export interface PatienceLimits {
  /** So many repairs in a row are made at once. */
  readonly freeRepairs: number;
  /** The rest before the next repair doubles from the one to the other. */
  readonly shortestRestMilliseconds: number;
  readonly longestRestMilliseconds: number;
  /** A repair this long after the last one and its rest has nothing to do with it. */
  readonly calmMilliseconds: number;
}

/** Owns how often something was repaired lately. */
export class Patience {
  #streak = 0;
  #lastAt = -Infinity;

  constructor(
    private readonly clock: Pick<Clock, 'now'>,
    private readonly limits: PatienceLimits,
  ) {}

  /** Counts a repair. */
  count(): void {
    this.#streak = this.streak + 1;
    this.#lastAt = this.clock.now();
  }

  /** Repairs that followed each other without calm between them. */
  get streak(): number {
    const sinceMilliseconds = this.clock.now() - this.#lastAt;
    return sinceMilliseconds > this.limits.calmMilliseconds + this.#rest ? 0 : this.#streak;
  }

  /** True while the same is undone again and again. */
  get isFight(): boolean {
    return this.streak > this.limits.freeRepairs;
  }

  /** True after the repair that made it a fight, until the next. */
  get isNewFight(): boolean {
    return this.streak === this.limits.freeRepairs + 1;
  }

  /** How long to wait before the next repair. */
  get restMilliseconds(): number {
    return this.isFight ? Math.max(0, this.#lastAt + this.#rest - this.clock.now()) : 0;
  }

  get #rest(): number {
    const { freeRepairs, shortestRestMilliseconds, longestRestMilliseconds } = this.limits;
    const excess = Math.min(30, Math.max(0, this.#streak - freeRepairs - 1));
    return Math.min(shortestRestMilliseconds * 2 ** excess, longestRestMilliseconds);
  }
}

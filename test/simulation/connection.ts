/** The way from one host to the store, and what can go wrong on it. */
import type { Random } from './random';

/** What becomes of one call. */
export type Fate =
  | 'answered'
  /** It never arrives. */
  | 'lost'
  /** It is carried out, but the answer is lost. */
  | 'unanswered'
  /** The caller gives up, and then it is carried out after all. */
  | 'late';

export interface ConnectionOptions {
  /** One way, in milliseconds. */
  readonly latency: readonly [number, number];
  /** How likely each of the odd fates is. */
  readonly odds: number;
}

/** Times at which the store answers nobody. */
export class Outage {
  #until = 0;

  constructor(private readonly now: () => number) {}

  get isDown(): boolean {
    return this.now() < this.#until;
  }

  /** Begins or prolongs it. */
  lasts(milliseconds: number): void {
    this.#until = Math.max(this.#until, this.now() + milliseconds);
  }

  end(): void {
    this.#until = 0;
  }
}

/** State that faults change; every host has its own, and all share the store's. */
export class Connection {
  /** This host is cut off. */
  isCut = false;
  odds: number;
  #latency: readonly [number, number];
  /** When something last went wrong here, in virtual milliseconds. */
  lastTrouble = 0;

  constructor(
    private readonly outage: Outage,
    private readonly chance: Random,
    options: ConnectionOptions,
  ) {
    this.odds = options.odds;
    this.#latency = options.latency;
  }

  get isDown(): boolean {
    return this.isCut || this.outage.isDown;
  }

  setLatency(latency: readonly [number, number]): void {
    this.#latency = latency;
  }

  latency(): number {
    return this.chance.between(...this.#latency);
  }

  /** How long a caller waits for an answer before it gives up. */
  patience(): number {
    return this.chance.between(1_000, 5_000);
  }

  /** How long a connection that carries nothing is believed to be alive. */
  timeToDetect(): number {
    return this.chance.between(100, 20_000);
  }

  /** How much later than its caller gave up a late call is carried out. */
  lateness(): number {
    return this.chance.between(0, 20_000);
  }

  fate(): Fate {
    if (!this.chance.chance(3 * this.odds)) return 'answered';
    return this.chance.pick(['lost', 'unanswered', 'late']);
  }

  chanceOf(probability: number): boolean {
    return this.chance.chance(probability);
  }
}

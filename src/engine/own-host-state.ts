/** Keeps what follows for this host in line with what is known of it. */
import type { ReservedSubnet } from '../core/acquisition';
import {
  ownHostOf,
  reservedSubnets,
  type Advice,
  type OwnHost,
  type OwnHostInputs,
  type OwnHostSettings,
} from '../core/own-host';
import type { Subnet } from '../model/address';
import type { Log } from '../ports';

/** What is derived, before and after something became known. */
export interface OwnHostChange {
  readonly now: OwnHost;
  /** Undefined the first time. */
  readonly before: OwnHost | undefined;
  /** Which parts differ; all of them the first time. */
  readonly differs: ReadonlySet<keyof OwnHost>;
}

export type OwnHostFacts = Omit<OwnHostInputs, 'settings'>;

/**
 * Owns what is known of this host. Whenever any of it changes, everything is derived again, so nothing that follows from it can
 * be out of date.
 */
export class OwnHostState {
  #facts: Partial<OwnHostFacts> = {};
  #current: OwnHost | undefined;
  readonly #listeners: ((change: OwnHostChange) => void)[] = [];

  constructor(
    private readonly log: Log,
    private readonly settings: OwnHostSettings,
  ) {}

  /** Undefined while too little is known. */
  get current(): OwnHost | undefined {
    return this.#current;
  }

  get facts(): Partial<OwnHostFacts> {
    return this.#facts;
  }

  /** What of the network cannot be leased; nothing while too little is known. */
  reserved(ownSubnets: readonly Subnet[]): ReservedSubnet[] {
    const { network, underlay, hostNetwork, etcdAddresses = [] } = this.#facts;
    if (!network || !underlay || !hostNetwork) return [];
    const inputs = { settings: this.settings, network, underlay, hostNetwork, etcdAddresses };
    return reservedSubnets(inputs, ownSubnets);
  }

  /** Calls back in the same turn in which something that is derived changed; those who listened first hear it first. */
  listen(listener: (change: OwnHostChange) => void): void {
    this.#listeners.push(listener);
  }

  /** From now on this is so; what is not named stays as it was. */
  set(facts: Partial<OwnHostFacts>): void {
    this.#facts = { ...this.#facts, ...facts };
    const { network, lease, underlay, hostNetwork, formerSubnets = [], etcdAddresses = [] } = this.#facts;
    if (!network || !lease || !underlay || !hostNetwork) return;
    const { settings } = this;
    const now = ownHostOf({ settings, network, lease, underlay, hostNetwork, formerSubnets, etcdAddresses });
    const before = this.#current;
    const parts = Object.keys(now) as (keyof OwnHost)[];
    const differs = new Set(parts.filter((part) => !before || !isSame(before[part], now[part])));
    if (differs.size === 0) return;
    this.#current = now;
    this.#say(before?.advice ?? [], now.advice);
    for (const listener of this.#listeners) listener({ now, before, differs });
  }

  /** Each advice once, while it holds. */
  #say(before: readonly Advice[], now: readonly Advice[]): void {
    for (const advice of now) {
      if (!before.some((other) => isSame(other, advice))) this.log.warn(advice.message, advice.fields);
    }
  }
}

/** The parts are plain values: arrays and records of text, numbers and truth. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

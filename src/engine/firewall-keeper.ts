/** Keeps the packet filter as it should be. */
import { backoffMilliseconds } from '../core/backoff';
import {
  chooseTool,
  desiredBlocks,
  planFirewall,
  planFirewallRemoval,
  type FirewallWish,
} from '../core/firewall';
import { familyOf, type Family } from '../model/address';
import { HostError, describeError } from '../model/errors';
import {
  FLANNELD,
  printFirewallOperation,
  printFirewallPlace,
  type FailedFirewallOperation,
  type FirewallOperation,
  type FirewallState,
} from '../model/firewall';
import type { Clock, Firewall, Log, LogFields } from '../ports';
import { Patience } from './patience';
import { Trouble } from './trouble';
import { Wake } from './wake';

const BACKOFF = { minMilliseconds: 500, maxMilliseconds: 30_000 };
/** A Docker start changes rules a hundred times: we look at once, and then once in so long. */
const REST_MILLISECONDS = 200;
/** While somebody undoes what we write, the rest grows. */
const PATIENCE = {
  freeRepairs: 5,
  shortestRestMilliseconds: 400,
  longestRestMilliseconds: 60_000,
  calmMilliseconds: 10_000,
};
/** Reasons for which we look; any other means that we want something new, and what is written then is no repair. */
const CHANGED = 'rules changed';
const RESYNC = 'resync';
const RETRY = 'retry';
const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

/**
 * Owns what is dirty in the packet filter. A pass is observe, plan, apply, and is right whatever happened before; it is made
 * when something may have changed, and every so often for what nobody tells. What this host cannot do is a warning: packets
 * flow meanwhile.
 */
export class FirewallKeeper {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  readonly #unmet: Trouble;
  readonly #obstacle: Trouble;
  #reasons = new Set<string>();
  #isFirst = true;
  #inPlace = false;
  #isTried = false;
  #repairs = 0;
  readonly #patience: Patience;

  /** `resyncMilliseconds`: `--iptables-resync`. `wish` is asked anew for each pass; undefined while we have no subnet. */
  constructor(
    private readonly firewall: Firewall,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly resyncMilliseconds: number,
    private readonly wish: () => FirewallWish | undefined,
    /** Told when rules of real flannel are there that were not before. */
    private readonly flannelSeen: () => void = () => undefined,
  ) {
    this.#trouble = new Trouble(clock, log);
    this.#unmet = new Trouble(clock, log);
    this.#obstacle = new Trouble(clock, log);
    this.#patience = new Patience(clock, PATIENCE);
  }

  /** True after a pass that left nothing to do, but for the {@link obstacle} of somebody else's. */
  get isInPlace(): boolean {
    return this.#inPlace;
  }

  /** True once a pass is over, well or not. */
  get isKnown(): boolean {
    return this.#isTried;
  }

  /** Passes since the start that put back what somebody else had changed or removed. */
  get repairs(): number {
    return this.#repairs;
  }

  /** Somebody else's chain that may drop what we forward, and that we may not write to. */
  get obstacle(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#obstacle.current;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Asks for a pass: our subnet, or something else that the wish depends on, changed. */
  trigger(reason: string): void {
    if (this.#reasons.size < 8) this.#reasons.add(reason);
    this.#wake.raise();
  }

  /** Makes passes until the signal aborts, `onPass` after each, and leaves the rules as they are. */
  async run(signal: AbortSignal, onPass: () => void = () => undefined): Promise<void> {
    this.#listen(signal);
    this.trigger('start');
    let restUntil = -Infinity;
    for (let failures = 0; !signal.aborted;) {
      try {
        const wait =
          failures > 0 ? backoffMilliseconds(failures - 1, BACKOFF, this.clock.random()) : Infinity;
        // Zero would be a busy loop.
        const resync = Math.max(this.resyncMilliseconds, REST_MILLISECONDS);
        if (!(await this.#wake.wait(this.clock, Math.min(wait, resync), signal)))
          this.#reasons.add(failures > 0 ? RETRY : RESYNC);
        const rest = restUntil - this.clock.now();
        if (rest > 0) await this.clock.sleep(rest, signal);
        const wish = this.wish();
        if (!wish) continue;
        const isDone = await this.#pass(wish, signal);
        failures = isDone ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.#inPlace = false;
        this.#trouble.report('cannot read or write the firewall rules; trying again', error);
      }
      this.#isTried = true;
      onPass();
      restUntil = this.clock.now() + Math.max(REST_MILLISECONDS, this.#patience.restMilliseconds);
    }
  }

  #listen(signal: AbortSignal): void {
    try {
      this.firewall.listen(() => this.trigger(CHANGED), signal);
    } catch (error) {
      this.log.warn('nobody tells when firewall rules change; looking now and then', {
        error: describeError(error),
        everySeconds: this.resyncMilliseconds / 1000,
      });
    }
  }

  /** True if nothing is left to do. */
  async #pass(wish: FirewallWish, signal: AbortSignal): Promise<boolean> {
    const reasons = [...this.#reasons];
    this.#reasons = new Set();
    // Real flannel leaves tables of both families, whatever it carries.
    const families = this.#isFirst ? FAMILIES : wish.overlays.map(({ network }) => familyOf(network.address));
    const state = await this.firewall.observe(families, signal);
    if (this.#inPlace && state.blocks.some(({ owner }) => owner === FLANNELD)) this.flannelSeen();
    const choice = chooseTool(wish, state);
    this.#complain(wish, choice?.unmet, state);
    if (!choice && wish.options.ipMasq) {
      throw new HostError('ENOENT', `no tool for masquerade rules: ${state.problems.join('; ')}`);
    }
    const desired = desiredBlocks(wish, choice?.tool ?? 'nftables', state);
    const { puts, removals } = planFirewall(
      wish.link,
      desired,
      state,
      wish.overlays.map(({ network }) => network),
    );
    const refused = await this.firewall.apply(puts, signal);
    const failed = refused.filter((failure) => !isObstacle(failure));
    this.#complainOf(refused.find(isObstacle));
    const isMasqueradePut = !failed.some(({ operation }) => operation.block.place.role === 'masquerade');
    if (isMasqueradePut) failed.push(...(await this.firewall.apply(removals, signal)));
    const notDone = new Set(refused.map(({ operation }) => operation));
    const done = [...puts, ...removals].filter((operation) => !notDone.has(operation));
    this.#report(done, failed, reasons, choice?.tool, choice?.because);
    this.#inPlace = failed.length === 0;
    this.#isFirst &&= failed.length > 0;
    return this.#inPlace;
  }

  #complain(wish: FirewallWish, unmet: string | undefined, state: FirewallState): void {
    if (unmet) this.#unmet.report('using another firewall tool than the one asked for', unmet);
    else this.#unmet.clear('using the firewall tool that was asked for');
    const isRandom = [...state.tools.values()].some(({ hasFullyRandom }) => hasFullyRandom);
    if (this.#isFirst && wish.options.fullyRandom && state.tools.size > 0 && !isRandom) {
      this.log.warn('this iptables cannot masquerade with random ports; update it to 1.6.2 or later');
    }
  }

  #complainOf(obstacle: FailedFirewallOperation | undefined): void {
    if (!obstacle) return this.#obstacle.clear('forwarded packets are let through again');
    const fields = { place: printFirewallPlace(obstacle.operation.block.place) };
    this.#obstacle.report('another firewall may drop what we forward', obstacle.error, fields);
  }

  #report(
    operations: readonly FirewallOperation[],
    failed: readonly FailedFirewallOperation[],
    reasons: readonly string[],
    tool: string | undefined,
    because: string | undefined,
  ): void {
    const [first] = failed;
    if (first) {
      const fields = { place: printFirewallPlace(first.operation.block.place), failed: failed.length };
      this.#trouble.report('a firewall rule could not be written; trying again', first.error, fields);
      return;
    }
    this.#trouble.clear('firewall rules are as they should be again');
    const isLook = reasons.every((reason) => [CHANGED, RESYNC, RETRY].includes(reason));
    const isRepair = this.#inPlace && isLook && operations.length > 0;
    const fields = {
      because: reasons.join(', '),
      tool,
      chosen: because,
      changes: operations.map(printFirewallOperation).join('; '),
    };
    const isFlannels = operations.some(({ block }) => block.owner === FLANNELD);
    if (isRepair) this.#reportRepair(fields, isFlannels);
    else if (operations.length > 0 || this.#isFirst) this.log.info('firewall rules put in order', fields);
  }

  /** `isFlannels`: flannel's own rules were there again; that it runs here is told by who knows more. */
  #reportRepair(fields: LogFields, isFlannels: boolean): void {
    this.#repairs++;
    this.#patience.count();
    if (isFlannels && this.#patience.streak > 1)
      this.log.debug('flannel put its firewall rules back; removed again', fields);
    else if (!this.#patience.isFight)
      this.log.info('firewall rules put in order after another program changed some', fields);
    else if (this.#patience.isNewFight)
      this.log.warn(
        'another program undoes our firewall rules again and again; repairing more slowly',
        fields,
      );
  }
}

/** A chain that its owner keeps to himself: he may let the overlay pass by a rule of his own, which we cannot judge. */
function isObstacle({ operation, error }: FailedFirewallOperation): boolean {
  return operation.block.place.chain !== undefined && error instanceof HostError && error.code === 'EPERM';
}

/** Removes all firewall rules of ours, but for those of `others`; says what it removed, and returns what it could not. */
export async function removeFirewallRules(
  firewall: Firewall,
  say: (line: string) => void,
  signal: AbortSignal,
  others?: ReadonlySet<string>,
): Promise<readonly FailedFirewallOperation[]> {
  const operations = planFirewallRemoval(await firewall.observe(FAMILIES, signal), others);
  const failed = await firewall.apply(operations, signal);
  const refused = new Set(failed.map(({ operation }) => operation));
  for (const operation of operations) {
    if (!refused.has(operation)) say(`removed ${printFirewallPlace(operation.block.place)}`);
  }
  for (const { operation, error } of failed)
    say(`could not ${printFirewallOperation(operation)}: ${describeError(error)}`);
  return failed;
}

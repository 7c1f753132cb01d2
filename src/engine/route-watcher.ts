/** Looks at whether packets for peers really go by our routes, and says what of others goes before them. */
import {
  doubtfulInSteps,
  hideable,
  inquiriesIn,
  inquiriesInSteps,
  originsInSteps,
  overridesInSteps,
  prefixesInSteps,
  printHidden,
  sendersOf,
  type Needed,
  type Override,
} from '../core/effective-routes';
import { printOverridesInSteps } from '../core/override-causes';
import { RouteIndex } from '../core/route-index';
import { bridgesOf } from '../core/surroundings';
import { inTurns } from '../in-turns';
import { printSubnet, type Subnet } from '../model/address';
import { KernelError } from '../model/errors';
import type { NetworkInterface } from '../model/network-interface';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { Peer, PeerTable } from '../model/peer';
import type { Routing } from '../model/routing';
import type { Steps } from '../model/steps';
import type { Clock, Kernel, Log, Scope } from '../ports';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** After a look nothing is looked at for so long, or for so many times as long as it took. */
const REST_MILLISECONDS = 500;
const REST_FACTOR = 150;
const LONGEST_REST_MILLISECONDS = 60_000;
/** While something is in the way: of routes that go with their interface the kernel does not tell. */
const AGAIN_MILLISECONDS = 5_000;
const LONG_WAIT_MILLISECONDS = 3_600_000;
/** Between two log lines. What comes and goes meanwhile is told by the next, if it is still so. */
const LINE_REST_MILLISECONDS = 10_000;

/** Asking about all peers costs as much as a whole pass, and tells hardly ever what rules and routes do not. */
const ALL_AGAIN_MILLISECONDS = 600_000;
/** A start has more urgent things to do. */
const ALL_FIRST_MILLISECONDS = 30_000;
/** Peers that the kernel is asked about before the next are. */
const TARGETS_AT_ONCE = 256;

/** What is asked about: nothing yet; peers in doubt, by what was read last or by what is there now; all of them. */
const Depth = { NONE: 0, PEERS: 1, ROUTING: 2, ALL: 3 } as const;
type Depth = (typeof Depth)[keyof typeof Depth];

export interface RoutedOverlay {
  readonly overlay: Overlay;
  readonly peers: Iterable<Peer> & Pick<PeerTable, 'byAddress'>;
  /** What this host needs by its underlay. */
  readonly needed: readonly Needed[];
}

/** What is known of what others have set. */
interface Known {
  readonly overlay: Overlay;
  readonly routing: Routing;
  readonly interfaces: readonly NetworkInterface[];
}

/**
 * Owns what was found last. Reads rules and routes when they changed, and asks the kernel about the peers that they may concern; now and
 * then about all, whatever was read.
 */
export class RouteWatcher {
  readonly #wake = new Wake();
  #depth: Depth = Depth.NONE;
  #askedAllAt: number;
  #known: Known | undefined;
  #overrides: readonly Override[] = [];
  #found: { readonly complaint: string; readonly since: number } | undefined;
  #said: string | undefined;
  #silentUntil = -Infinity;
  readonly #hidden: Trouble;

  /** `situation` is asked anew for each look; undefined while there is nothing in the kernel that could be overridden. */
  constructor(
    private readonly kernel: Kernel,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly situation: () => RoutedOverlay | undefined,
  ) {
    this.#askedAllAt = clock.now() - ALL_AGAIN_MILLISECONDS + ALL_FIRST_MILLISECONDS;
    this.#hidden = new Trouble(clock, log);
  }

  /** What leads packets for peers elsewhere, and what to do about it. */
  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    if (!this.#found) return undefined;
    const { complaint, since } = this.#found;
    return { complaint, forMilliseconds: this.clock.now() - since };
  }

  /** False until rules and routes have been read, and where they cannot be. */
  get isKnown(): boolean {
    return this.#known !== undefined;
  }

  /** What of this host's needs our network route hides. */
  get hidden(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#hidden.current;
  }

  /** Other peers: what is known of the routes of others stays as it is. */
  peersChanged(): void {
    this.#ask(Depth.PEERS);
  }

  /** Rules, routes of others or interfaces changed. */
  routingChanged(): void {
    this.#ask(Depth.ROUTING);
  }

  /** What others have is read again, and now and then all peers are asked about, whatever is known. */
  audit(): void {
    const isDue = this.clock.now() - this.#askedAllAt >= ALL_AGAIN_MILLISECONDS;
    this.#ask(isDue ? Depth.ALL : Depth.ROUTING);
  }

  #ask(depth: Depth): void {
    this.#deepen(depth);
    this.#wake.raise();
  }

  #deepen(depth: Depth): void {
    if (depth > this.#depth) this.#depth = depth;
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const wait =
          this.#overrides.length > 0 || this.#isUnsaid ? AGAIN_MILLISECONDS : LONG_WAIT_MILLISECONDS;
        if (!(await this.#wake.wait(this.clock, wait, signal))) this.#deepen(Depth.ROUTING);
        const start = this.clock.now();
        await this.#look(signal);
        const took = this.clock.now() - start;
        const rest = Math.min(Math.max(REST_MILLISECONDS, took * REST_FACTOR), LONGEST_REST_MILLISECONDS);
        await this.clock.sleep(rest, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KernelError)) throw error;
        // Those who need more of the kernel than we say what is wrong. The next audit asks again.
        this.#known = undefined;
      }
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const depth = this.#depth;
    this.#depth = Depth.NONE;
    const situation = this.situation();
    if (!situation || depth === Depth.NONE) return;
    const { overlay } = situation;
    if (depth === Depth.ALL) this.#askedAllAt = this.clock.now();
    if (depth > Depth.PEERS || this.#known?.overlay !== overlay)
      this.#known = await this.#read(overlay, signal);
    const { routing, interfaces } = this.#known;
    // From here on the table may change between the turns.
    const subnets = await inTurns(subnetsInSteps(situation.peers), this.clock);
    const targets =
      depth === Depth.ALL
        ? subnets
        : await inTurns(targetsInSteps(overlay, routing, subnets, this.#overrides), this.clock);
    this.#overrides = await this.#overridesOf(targets, subnets, { overlay, routing, interfaces }, signal);
    this.#say(await inTurns(printOverridesInSteps(this.#overrides, overlay), this.clock));
    await this.#lookForHidden(situation, signal);
  }

  /** Not in doubt, but a fact: said again when it is another one. */
  async #lookForHidden({ overlay, needed, peers }: RoutedOverlay, signal: AbortSignal): Promise<void> {
    const asked = hideable(overlay, needed, peers);
    const questions = asked.map(({ address }) => ({
      destination: address,
      source: undefined,
      input: undefined,
    }));
    const answers = questions.length > 0 ? await this.kernel.routesOf(questions, signal) : [];
    const hidden = printHidden(overlay, asked, answers);
    if (hidden === undefined)
      this.#hidden.clear('what this host needs is not looked for in the overlay any more');
    else this.#hidden.report('the network hides what this host needs', hidden);
  }

  async #read(overlay: Overlay, signal: AbortSignal): Promise<Known> {
    const scope: Scope = { link: linkNameOf(overlay.backend), networks: [overlay.network] };
    const interfaces = await this.kernel.interfaces(signal);
    return { overlay, interfaces, routing: await this.kernel.routing(scope, signal) };
  }

  /** A part of the targets at a time: what is asked and answered takes more memory than the peers. */
  async #overridesOf(
    targets: readonly Subnet[],
    peers: readonly Subnet[],
    { overlay, routing, interfaces }: Known,
    signal: AbortSignal,
  ): Promise<Override[]> {
    const senders = sendersOf(overlay, interfaces, routing.rules);
    const origins = await inTurns(originsInSteps(overlay, routing, peers), this.clock);
    const prefixes = await inTurns(prefixesInSteps(routing), this.clock);
    const routes = await inTurns(RouteIndex.inSteps(routing.routes), this.clock);
    const bridges = new Set(bridgesOf(overlay, interfaces).map(({ name }) => name));
    const overrides: Override[] = [];
    for (let at = 0; at < targets.length || at === 0; at += TARGETS_AT_ONCE) {
      const part = targets.slice(at, at + TARGETS_AT_ONCE);
      const inquiries = await inTurns(inquiriesInSteps(part, senders, prefixes), this.clock);
      if (at === 0) inquiries.push(...inquiriesIn(overlay, interfaces, origins, prefixes));
      const questions = inquiries.map(({ question }) => question);
      const answers = await this.kernel.routesOf(questions, signal);
      const found = overridesInSteps(overlay, routing.rules, routes, inquiries, answers, bridges);
      overrides.push(...(await inTurns(found, this.clock)));
    }
    return overrides;
  }

  get #isUnsaid(): boolean {
    return this.#found?.complaint !== this.#said;
  }

  #say(complaint: string | undefined): void {
    const now = this.clock.now();
    this.#found = complaint === undefined ? undefined : { complaint, since: this.#found?.since ?? now };
    if (!this.#isUnsaid || now < this.#silentUntil) return;
    this.#said = complaint;
    this.#silentUntil = now + LINE_REST_MILLISECONDS;
    if (complaint === undefined) this.log.info('packets for all peers go by our routes again');
    else this.log.warn('packets for peers do not go by our routes', { error: complaint });
  }
}

function* subnetsInSteps(peers: Iterable<Peer>): Steps<Subnet[]> {
  const subnets: Subnet[] = [];
  for (const { subnet } of peers) {
    yield;
    subnets.push(subnet);
  }
  return subnets;
}

/** Those in doubt; and what was named and is in no doubt any more is asked about once more. */
function* targetsInSteps(
  overlay: Overlay,
  routing: Routing,
  subnets: readonly Subnet[],
  named: readonly Override[],
): Steps<Subnet[]> {
  const targets = yield* doubtfulInSteps(overlay, routing, subnets);
  if (named.length === 0) return targets;
  const names = new Set<string>();
  for (const { target } of named) {
    yield;
    names.add(printSubnet(target));
  }
  const asked = new Set(targets);
  for (const subnet of subnets) {
    yield;
    if (!asked.has(subnet) && names.has(printSubnet(subnet))) targets.push(subnet);
  }
  return targets;
}

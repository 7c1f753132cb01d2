/** Follows the underlay interface through whatever happens to it. */
import { ASKED_PEERS, peersToAsk, stateOf, type UnderlayState } from '../core/underlay-state';
import type { KnownPast } from '../core/underlay-past';
import type { IpAddress, Subnet } from '../model/address';
import { ConfigError } from '../model/errors';
import type { HostNetwork, NetworkInterface } from '../model/network-interface';
import type { Underlay } from '../model/overlay';
import type { SavedLease } from '../model/saved-host';
import type { Clock, Kernel, Log } from '../ports';
import {
  lookForUnderlay,
  untilItWorks,
  type UnderlayLook,
  type UnderlayOptions,
  type Waiting,
} from './prerequisites';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** Looked at this often even when the kernel tells of no change. */
const AUDIT_MILLISECONDS = 60_000;
/** The kernel tells of no route or rule that peers' PublicIPs are reached by. */
const PEERS_MILLISECONDS = 15_000;
/** Before the host is settled, nothing may be listening to the kernel yet. */
const UNSETTLED_MILLISECONDS = 5_000;
/** An interface that loses its address often gets it back in a moment (a flap, a DHCP renewal): no hurry to take another. */
const SETTLE_MILLISECONDS = 100;
/** For so long a start waits for the interface that carried the overlay before: so long a DHCP server may need. */
const HOMECOMING_MILLISECONDS = 120_000;

/** The underlay, and the network that it was chosen from. */
export interface SeenUnderlay {
  readonly underlay: Underlay;
  readonly hostNetwork: HostNetwork;
}

/** What decides beside the user's wish. */
export interface UnderlaySituation {
  /** What the state file says. */
  readonly saved: SavedLease | undefined;
  /** The overlay's network, once it is known. */
  readonly network?: () => Subnet | undefined;
  /** Our subnets, now and before. */
  readonly subnets: () => readonly Subnet[];
  /** True once other hosts rely on our address. */
  readonly isSettled: () => boolean;
  /** PublicIPs of our peers. */
  readonly peers?: () => Iterable<IpAddress>;
}

interface Seen {
  readonly hostNetwork: HostNetwork;
  /** Why nothing could be chosen by the user's wish. */
  readonly unchosen: string | undefined;
  /** The peers that were asked for, where there are many: to choose them takes longer than to ask for them. */
  asked?: readonly IpAddress[];
}

export interface UnderlayListener {
  /** Called after each look at the network, before {@link moved}. */
  looked(seen: SeenUnderlay): void;
  /** Called after the underlay changed, with what it was before. */
  moved(before: Underlay): void;
}

/**
 * Owns what the underlay is: interface, index, address, MTU. Chooses again, by the user's wish, whenever something changed;
 * while there is nothing to choose, the last choice stands. Once the host is settled, so does an address in use that its interface
 * still has.
 */
export class UnderlayWatcher {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  #home: KnownPast['home'];
  #underlay: Underlay | undefined;
  /** An address that was lost while the one in use now was beside it: that may be a floating one. */
  #origin: Underlay | undefined;
  /** The last look at the whole network. */
  #seen: Seen | undefined;
  #auditAt = -Infinity;
  #outage: { readonly complaint: string; readonly since: number } | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly options: UnderlayOptions,
    private readonly situation: UnderlaySituation,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** Undefined before the first choice. */
  get current(): Underlay | undefined {
    return this.#underlay;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Why no packet of the overlay gets through, and for how long; undefined while some may. */
  get outage(): { complaint: string; forMilliseconds: number } | undefined {
    if (!this.#outage) return undefined;
    return { complaint: this.#outage.complaint, forMilliseconds: this.clock.now() - this.#outage.since };
  }

  /** Something changed: look again. */
  trigger(): void {
    this.#wake.raise();
  }

  /** The first choice, as soon as there is one. */
  first(waiting: Waiting, signal: AbortSignal): Promise<SeenUnderlay> {
    const since = this.clock.now();
    return untilItWorks('waiting for the underlay interface', waiting, signal, async () => {
      const { choice, hostNetwork } = await this.#look(signal);
      if (choice.kind === 'none') throw new ConfigError(choice.reason);
      const { underlay, because, missing } = choice;
      if (missing !== undefined && this.clock.now() - since < HOMECOMING_MILLISECONDS)
        throw new ConfigError(
          `${missing}, which carried the overlay before, cannot be chosen yet, and ${underlay.name} only could; another is taken at once if --iface names it`,
        );
      this.#seen = { hostNetwork, unchosen: undefined };
      this.#auditAt = this.clock.now() + AUDIT_MILLISECONDS;
      this.#choose(underlay, 'underlay chosen', because);
      return { underlay, hostNetwork };
    });
  }

  /** Looks until the signal aborts. There must have been a first choice. */
  async run(listener: UnderlayListener, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const isSettled = this.situation.isSettled();
        const interval = isSettled ? PEERS_MILLISECONDS : UNSETTLED_MILLISECONDS;
        const isTold = await this.#wake.wait(this.clock, interval, signal);
        if (isTold) await this.clock.sleep(SETTLE_MILLISECONDS, signal);
        else if (isSettled && this.#seen && this.clock.now() < this.#auditAt) {
          await this.#lookAtPeers(this.#seen, signal);
          continue;
        }
        await this.#follow(listener, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble.report('cannot look at the underlay; trying again', error);
      }
    }
  }

  async #follow(listener: UnderlayListener, signal: AbortSignal): Promise<void> {
    const { choice, hostNetwork } = await this.#look(signal);
    this.#auditAt = this.clock.now() + AUDIT_MILLISECONDS;
    const before = this.#underlay!;
    if (choice.kind === 'chosen' && !isSameUnderlay(choice.underlay, before)) {
      this.#origin = this.#originOf(choice.underlay, before);
      this.#choose(choice.underlay, 'underlay changed', choice.because);
    }
    // Where there is nothing to choose, gateways and addresses may have changed all the same.
    const underlay = this.#underlay!;
    listener.looked({ underlay, hostNetwork });
    if (underlay !== before) listener.moved(before);
    this.#seen = { hostNetwork, unchosen: choice.kind === 'none' ? choice.reason : undefined };
    await this.#lookAtPeers(this.#seen, signal);
  }

  /** Whether they are reached, by the network as it was seen last. */
  async #lookAtPeers(seen: Seen, signal: AbortSignal): Promise<void> {
    const underlay = this.#underlay!;
    this.#judge(await this.#stateOf(underlay, seen, signal), seen.unchosen, underlay, seen.hostNetwork);
  }

  /** What is to be gone back to once it is there again. */
  #originOf(after: Underlay, before: Underlay): Underlay | undefined {
    if (after.address === this.#origin?.address) return undefined;
    if (after.address === before.address) return this.#origin;
    const seen = this.#seen?.hostNetwork.interfaces.find(({ index }) => index === before.index);
    const wasBeside = seen?.addresses.some(({ address }) => address === after.address) ?? false;
    return wasBeside && after.index === before.index ? (this.#origin ?? before) : this.#origin;
  }

  async #stateOf(underlay: Underlay, seen: Seen, signal: AbortSignal): Promise<UnderlayState> {
    const { hostNetwork } = seen;
    const peers = seen.asked ?? peersToAsk(underlay, hostNetwork.interfaces, this.situation.peers?.() ?? []);
    if (peers.length >= ASKED_PEERS) seen.asked = peers;
    const routes = await Promise.all(
      peers.map(async (peer) => ({
        peer,
        route: await this.kernel.routeTo(peer, signal, underlay.address),
      })),
    );
    return stateOf(underlay, hostNetwork, routes);
  }

  /** `unchosen`: why nothing can be chosen now, by the user's wish. */
  #judge(
    { outage, remark }: UnderlayState,
    unchosen: string | undefined,
    { address, name }: Underlay,
    { interfaces }: HostNetwork,
  ): void {
    const since = this.#outage?.since ?? this.clock.now();
    this.#outage = outage === undefined ? undefined : { complaint: outage, since };
    const isThere = interfaces.some(({ addresses }) => addresses.some((own) => own.address === address));
    if (unchosen !== undefined && !isThere)
      this.#trouble.report('the underlay interface is gone; waiting for it', unchosen);
    else if (outage !== undefined) this.#trouble.report('the underlay carries no packets', outage);
    else if (unchosen !== undefined)
      this.#trouble.report(`nothing can be chosen for the underlay now; it stays ${name}`, unchosen);
    else if (remark !== undefined) this.#trouble.report('the underlay does not reach every peer', remark);
    else this.#trouble.clear('the underlay interface is back');
  }

  async #look(signal: AbortSignal): Promise<UnderlayLook> {
    const { saved, subnets, network, isSettled } = this.situation;
    const current = isSettled() ? this.#underlay : undefined;
    const origin = isSettled() ? this.#origin : undefined;
    const known = { saved, subnets: subnets(), current, origin, home: this.#home, network: network?.() };
    const look = await lookForUnderlay(this.kernel, this.options, signal, known);
    const { choice, hostNetwork, home } = look;
    // What carries the overlay from now on is waited for like what did before.
    if (choice.kind === 'chosen')
      this.#home ??=
        home ?? homeOf(hostNetwork.interfaces.find(({ index }) => index === choice.underlay.index));
    return look;
  }

  #choose(chosen: Underlay, message: string, because: string): void {
    const { name, index, address, publicIp, mtu } = chosen;
    this.log.info(message, { interface: name, index, address, publicIp, mtu, because });
    this.#underlay = chosen;
  }
}

function homeOf(nic: NetworkInterface | undefined): KnownPast['home'] {
  return nic && { name: nic.name, mac: nic.mac };
}

function isSameUnderlay(a: Underlay, b: Underlay): boolean {
  return (
    a.name === b.name &&
    a.index === b.index &&
    a.mtu === b.mtu &&
    a.address === b.address &&
    a.publicIp === b.publicIp
  );
}

/** Looks at what else on this host keeps containers' packets from flowing, and says so. */
import { bridgesOf, obstaclesIn, type Obstacles } from '../core/surroundings';
import { KernelError } from '../model/errors';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { Peer } from '../model/peer';
import type { Clock, Kernel, Log } from '../ports';
import { Trouble } from './trouble';
import { Wake } from './wake';

/** The kernel tells of addresses and of forwarding, but not which bridge has got a port. */
const LOOK_MILLISECONDS = 60_000;
/** Docker gives its bridge an address first, and switches forwarding on afterwards. */
const SETTLING_MILLISECONDS = 2_000;

const WORDS: Readonly<Record<keyof Obstacles, { readonly found: string; readonly over: string }>> = {
  forwarding: {
    found: 'packets of containers are not forwarded',
    over: 'packets of containers are forwarded again',
  },
  bridge: {
    found: 'a bridge does not fit the overlay',
    over: 'bridges fit the overlay again',
  },
};
const TOPICS = Object.keys(WORDS) as (keyof Obstacles)[];

/** Owns what was found last. Only looks: what is not ours is an administrator's to mend. */
export class SurroundingsWatcher {
  readonly #wake = new Wake();
  readonly #troubles: Readonly<Record<keyof Obstacles, Trouble>>;
  #said: Partial<Obstacles> = {};
  #hasTold = false;
  #isKnown = false;

  /** `overlay` and `peers` are asked anew for each look; no overlay while we have no subnet. */
  constructor(
    private readonly kernel: Kernel,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly overlay: () => Overlay | undefined,
    private readonly peers: () => Iterable<Peer>,
  ) {
    this.#troubles = { forwarding: new Trouble(clock, log), bridge: new Trouble(clock, log) };
  }

  /** True once it was looked at as long as we have a subnet. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** What is in the way, by topic. */
  trouble(topic: keyof Obstacles): { complaint: string; forMilliseconds: number } | undefined {
    return this.#troubles[topic].current;
  }

  /** Something may have changed: our subnet, the address of an interface, or forwarding. */
  trigger(): void {
    this.#wake.raise();
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (await this.#wake.wait(this.clock, LOOK_MILLISECONDS, signal)) {
          if (!this.#isKnown) await this.#look(signal, true);
          await this.clock.sleep(SETTLING_MILLISECONDS, signal);
        }
        await this.#look(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KernelError)) throw error;
        // Those who need more of the kernel than we say what is wrong.
      }
    }
  }

  /** `isEarly`: others may be in the middle of their work; what is not right yet is not said. */
  async #look(signal: AbortSignal, isEarly = false): Promise<void> {
    const interfaces = await this.kernel.interfaces(signal);
    const overlay = this.overlay();
    if (!overlay) return;
    const bridges = bridgesOf(overlay, interfaces).map(({ name }) => name);
    const settings = this.kernel.settings([linkNameOf(overlay.backend), ...bridges]);
    const obstacles = obstaclesIn(overlay, interfaces, settings, this.peers());
    if (isEarly && TOPICS.some((topic) => obstacles[topic] !== undefined)) return;
    this.#isKnown = true;
    this.#say(obstacles);
    if (this.#hasTold || bridges.length === 0 || settings.isBridgedFiltered) return;
    this.#hasTold = true;
    // Flannel refuses to start then. Nothing of the overlay needs it: what is routed passes the filters in any case.
    this.log.info('packets between two containers of this host do not pass iptables (no br_netfilter)', {
      needed: 'by kube-proxy and by Docker with --icc=false only',
    });
  }

  /** Each obstacle once, and not again before it has changed. */
  #say(obstacles: Obstacles): void {
    for (const topic of TOPICS) {
      const obstacle = obstacles[topic];
      if (obstacle === this.#said[topic] && this.#troubles[topic].isSaid) continue;
      if (obstacle !== undefined) this.#troubles[topic].report(WORDS[topic].found, obstacle);
      else this.#troubles[topic].clear(WORDS[topic].over);
    }
    this.#said = obstacles;
  }
}

/** `--embedded-etcd`: this host carries the etcd of a first few hosts. */
import { storeFirstConfig } from './engine/first-config';
import { LinkedAbort } from './linked-abort';
import { RegistryKeeper } from './engine/registry-keeper';
import { ETCD_PORTS, urlOf } from './host/embedded-etcd';
import type { Subnet } from './model/address';
import { describeError } from './model/errors';
import type { Invitation } from './model/status';
import type { Clock, LeaseRegistry, Log, RegistryServer, ServerPlace } from './ports';

export interface FirstHostPlan {
  /** For the configuration, if there is none. */
  readonly network: Subnet;
  /** The user named it. */
  readonly isNetworkAsked: boolean;
  /** What the next host needs besides where etcd is: `['--etcd-prefix=/other']`. */
  readonly joinOptions: readonly string[];
}

export interface FirstHostPorts {
  readonly server: RegistryServer;
  readonly clock: Clock;
  readonly log: Log;
  /** Says one line to a person who reads along, to be copied. */
  say(line: string): void;
}

const WELCOME_MILLISECONDS = 5_000;

/** The etcd, from the first {@link FirstHost.settle} to {@link FirstHost.stop}. Whatever goes wrong with it is no matter of packets. */
export class FirstHost {
  readonly #keeper: RegistryKeeper;
  readonly #stop = new AbortController();
  readonly #parts: Promise<void>[];
  #place: ServerPlace | undefined;
  #welcoming: Promise<void> | undefined;
  #isConfigured = false;

  constructor(
    private readonly plan: FirstHostPlan,
    private readonly ports: FirstHostPorts,
  ) {
    this.#keeper = new RegistryKeeper(ports.server, ports.clock, ports.log);
    this.#parts = [this.#keeper.run(this.#stop.signal)];
  }

  /** Returns once the etcd may be asked: by ourselves, about the configuration. Throws a RegistryError that says why it cannot be. */
  readonly reach = (signal: AbortSignal): Promise<void> => this.#keeper.awaitUp(signal);

  /** The same for all others: a configuration that is just being stored should not be found missing. */
  readonly permit = async (signal: AbortSignal): Promise<void> => {
    await this.reach(signal);
    if (!this.#welcoming) return;
    const timer = new LinkedAbort(signal);
    const elapsed = this.ports.clock.sleep(WELCOME_MILLISECONDS, timer.signal);
    try {
      await Promise.race([this.#welcoming, elapsed]);
    } finally {
      elapsed.catch(() => undefined);
      timer.abort();
    }
  };

  /** Where the other hosts reach us: at first, and whenever that changes. Before that no etcd is started. */
  settle(place: ServerPlace): void {
    const before = this.#place;
    this.#place = place;
    this.#keeper.settle(place);
    if (!before || before.publicIp === place.publicIp) return;
    this.ports.log.warn(
      'the embedded etcd has another address; the other hosts must be told by --etcd-endpoints',
      {
        before: before.publicIp,
        publicIp: place.publicIp,
      },
    );
    this.#invite();
  }

  /**
   * Stores the configuration if there is none, as soon as the etcd may be asked, and says what to run on the next host. The
   * registry is one that waits for {@link reach}; it is closed when that is done.
   */
  welcome(registry: LeaseRegistry): void {
    this.#welcoming = this.#configure(registry).finally(() => {
      registry.close();
      this.#welcoming = undefined;
    });
    this.#parts.push(this.#welcoming);
  }

  /** True while our etcd may be asked. */
  get isUp(): boolean {
    return this.#keeper.isUp;
  }

  /** How another host joins; undefined while there is nothing to join. */
  get invitation(): Invitation | undefined {
    return this.#place && this.#isConfigured ? invitationOf(this.#place, this.plan.joinOptions) : undefined;
  }

  get trouble() {
    return this.#keeper.trouble;
  }

  /** Ends the etcd; returns when it is gone. To be called when nobody of ours asks any more: it is the last to go. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#parts);
  }

  async #configure(registry: LeaseRegistry): Promise<void> {
    const { network, isNetworkAsked: isAsked } = this.plan;
    const underlay = () => (this.#place ? [this.#place.address, this.#place.publicIp] : []);
    const wish = { network, isAsked, underlay };
    try {
      this.#isConfigured = await storeFirstConfig(wish, { ...this.ports, registry }, this.#stop.signal);
      this.#invite();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.ports.log.error('no network configuration could be stored', { error: describeError(error) });
    }
  }

  #invite(): void {
    const { invitation } = this;
    if (!invitation) return;
    const { command, configLines } = invitation;
    this.ports.log.info('another host joins by this', { command });
    this.ports.say(`on the next host, as root: ${command}`);
    this.ports.say('or, as a service there, by these lines in /etc/vtepd/vtepd.conf:');
    for (const line of configLines) this.ports.say(line);
  }
}

/** What to run on the next host. Its underlay interface is the one that leads to us, whatever its name is there. */
export function invitationOf({ publicIp }: ServerPlace, options: readonly string[]): Invitation {
  const endpoint = `--etcd-endpoints=${urlOf(publicIp, ETCD_PORTS.clientPort)}`;
  const words = [endpoint, `--iface-can-reach=${publicIp}`, ...options];
  return {
    command: ['vtepd', ...words].join(' '),
    configLines: words.map((word) => word.replace(/^--/, '')),
  };
}

/** The whole agent of one host, with nothing real around it. */
import { Agent, type AgentOptions } from '../../src/agent';
import type { VxlanGuard } from '../../src/ports';
import type { Check } from '../../src/engine/conditions';
import { FakeClock } from './fake-clock';
import { FakeHost } from './fake-host';
import { FakeKernel } from './fake-kernel';
import { FakeLog } from './fake-log';
import { FakeStore } from './fake-registry';

export const NETWORK_CONFIG = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}';

export class AgentOnFakes {
  readonly clock = new FakeClock();
  readonly store = new FakeStore(this.clock);
  readonly registry = this.store.client();
  readonly kernel = new FakeKernel();
  readonly host = new FakeHost();
  readonly log = new FakeLog();
  readonly agent: Agent;
  readonly #stop = new AbortController();
  #running = Promise.resolve();

  constructor(options: Partial<AgentOptions> = {}, guard?: VxlanGuard) {
    this.store.put('config', NETWORK_CONFIG);
    const { clock, registry, kernel, host, log } = this;
    this.agent = new Agent(
      {
        configPlace: '/coreos.com/network/config',
        underlay: { iface: ['eth0'], ifaceRegex: [], canReach: undefined, publicIp: undefined },
        resolve: { kind: 'preload' },
        hasBlackholeRoute: false,
        admitsPeersOnly: false,
        etcdAddresses: [],
        renewMarginSeconds: 3600,
        mayRenumber: true,
        peerGraceMilliseconds: 0,
        firewallResyncSeconds: 5,
        firewall: { ipMasq: false, fullyRandom: true, forward: true },
        ...options,
      },
      { registry, kernel, firewall: undefined, guard, host, clock, log },
    );
  }

  async start(): Promise<this> {
    this.#running = this.agent.run(this.#stop.signal);
    await this.clock.advance(1_000);
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** One thing that /readyz tells of. */
  check(name: string): Check {
    return this.agent.readiness().find((check) => check.name === name)!;
  }
}

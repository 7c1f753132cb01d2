/** `--embedded-etcd`: this host carries the etcd of a first few hosts. */
import { lookForUnderlay, type UnderlayOptions } from './engine/prerequisites';
import { storeFirstConfig } from './engine/first-config';
import { joinCommand, runEmbeddedEtcd } from './host/embedded-etcd';
import type { Subnet } from './model/address';
import { describeError } from './model/errors';
import type { Underlay } from './model/overlay';
import type { Clock, Kernel, LeaseRegistry, Log } from './ports';

export interface FirstHostPlan {
  /** For the configuration, if there is none. */
  readonly network: Subnet;
  readonly underlay: UnderlayOptions;
  /** `/var/lib/vtepd/etcd` */
  readonly directory: string;
}

export interface FirstHostPorts {
  readonly kernel: Kernel;
  /** Of the endpoint `http://127.0.0.1:2379`, which `--embedded-etcd` makes the only one. */
  readonly registry: LeaseRegistry;
  readonly clock: Clock;
  readonly log: Log;
}

/** Stops the etcd; returns when it is gone. To be called when the agent has ended: it is the last to go. */
export type StopFirstHost = () => Promise<void>;

const CLIENT_PORT = 2379;
const PEER_PORT = 2380;
const LOOK_MILLISECONDS = 500;

/**
 * Starts an etcd on the underlay's address as soon as there is one, stores a configuration if there is none, and says what to
 * run on the next host. Returns at once, and never throws: whatever goes wrong here is said in the log, and no matter of packets.
 */
export function startFirstHost(plan: FirstHostPlan, ports: FirstHostPorts): StopFirstHost {
  const stop = new AbortController();
  const running = carry(plan, ports, stop.signal).catch((error: unknown) => {
    if (!stop.signal.aborted) ports.log.error('there is no embedded etcd', { error: describeError(error) });
  });
  return async () => {
    stop.abort();
    await running;
  };
}

async function carry(plan: FirstHostPlan, ports: FirstHostPorts, signal: AbortSignal): Promise<void> {
  const { address, publicIp } = await firstUnderlay(plan, ports, signal);
  const etcd = {
    ...{ directory: plan.directory, address, program: 'etcd' },
    ...{ clientPort: CLIENT_PORT, peerPort: PEER_PORT },
  };
  const configured = storeFirstConfig(plan.network, ports, signal).then(() =>
    ports.log.info('the next host joins by', { command: joinCommand({ ...etcd, address: publicIp }) }),
  );
  // Both: etcd is still to be stopped when the other has given up.
  const outcomes = await Promise.allSettled([runEmbeddedEtcd(etcd, ports, signal), configured]);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** The agent looks for the same, and says what is missing. */
async function firstUnderlay(
  plan: FirstHostPlan,
  { kernel, clock }: FirstHostPorts,
  signal: AbortSignal,
): Promise<Underlay> {
  for (;;) {
    const choice = await lookForUnderlay(kernel, plan.underlay, signal).catch(() => undefined);
    if (choice?.kind === 'chosen') return choice.underlay;
    await clock.sleep(LOOK_MILLISECONDS, signal);
  }
}

/** What a start begins with: from etcd, or, when that is away, from memory. */
import { readNetwork, type Network } from '../core/network';
import { contains, type Subnet } from '../model/address';
import { ConfigError, describeError } from '../model/errors';
import { isMemoryOf, parseMemory, type Memory } from '../model/memory-codec';
import { LinkedAbort } from '../linked-abort';
import { whyNoOverlay } from '../model/special-addresses';
import type { Clock, Host, LeaseRegistry, Log } from '../ports';
import type { PeerWatcher } from './peer-watcher';
import { awaitNetworkConfig, type Waiting } from './prerequisites';

/** So long a start waits for etcd before it begins from memory. */
const PATIENCE_MILLISECONDS = 3_000;

export interface Beginning {
  readonly network: Network;
  /** Undefined: etcd answered, and the watcher has its first snapshot. */
  readonly memory: Memory | undefined;
}

export interface BeginningPorts extends Waiting {
  readonly registry: LeaseRegistry;
  readonly host: Host;
  /** True for a network that this host had a place in. */
  readonly isInUse?: (network: Subnet) => boolean;
}

/**
 * The configuration and the first snapshot, as soon as etcd has given both; or what we remember, if etcd gives no leases for
 * a while and we remember enough of the same network. `place` is where the configuration is, in etcd and in memory. A network
 * that can be no overlay's is refused, unless hosts lease subnets of it, or this one did.
 */
export async function begin(
  ports: BeginningPorts,
  watcher: PeerWatcher,
  place: string,
  signal: AbortSignal,
): Promise<Beginning> {
  const { registry, host, clock, log, isInUse } = ports;
  const decided = new LinkedAbort(signal);
  const until = decided.signal;
  // The snapshot does not depend on the configuration: both are on their way at once.
  let isAnswered = false;
  const snapshot = watcher.sync(until).then(() => (isAnswered = true));
  const read = async (text: string): Promise<Network> => {
    const network = readNetwork(text);
    const { network: whole } = network.range;
    const objection = whyNoOverlay(whole);
    if (objection === undefined) return network;
    await snapshot;
    if (!isInUse?.(whole) && !watcher.leases.some(({ subnet }) => contains(whole, subnet)))
      throw new ConfigError(objection);
    return { ...network, remarks: [...network.remarks, `${objection}; it goes on because it is in use`] };
  };
  const config = awaitNetworkConfig(registry, ports, place, read, until);
  const fromEtcd = Promise.all([config, snapshot]).then(([network]) => ({ network, memory: undefined }));
  const fromMemory = clock
    .sleep(PATIENCE_MILLISECONDS, until)
    // An etcd that answers and has no configuration for us is not away.
    .then(() => (isAnswered ? undefined : recall(host, clock, log, place)))
    .then((beginning) => beginning ?? fromEtcd);
  try {
    return await Promise.race([fromEtcd, fromMemory]);
  } finally {
    decided.abort();
    await Promise.allSettled([fromEtcd, fromMemory]);
  }
}

async function recall(host: Host, clock: Clock, log: Log, place: string): Promise<Beginning | undefined> {
  try {
    const text = await host.readMemory();
    const memory = text === undefined ? undefined : parseMemory(text);
    if (memory && isMemoryOf(memory, place) && memory.expiresAt > clock.wallTime()) {
      const { leases, ownLease } = memory;
      log.warn('etcd does not answer; starting from memory', { lease: ownLease, leases: leases.length });
      return { network: readNetwork(memory.config), memory };
    }
    if (text !== undefined)
      log.warn('etcd does not answer, and what we remember is out of date; waiting for etcd');
  } catch (error) {
    log.warn('cannot use what we remember; waiting for etcd', { error: describeError(error) });
  }
  return undefined;
}

/** What must be known first: from etcd, or, when that is away, from the state file. */
import { readNetwork, type Network } from '../core/network';
import { contains, type Subnet } from '../model/address';
import { ConfigError, describeError } from '../model/errors';
import { isSavedStateOf, parseSavedState, type SavedState } from '../model/saved-state-codec';
import { LinkedAbort } from '../linked-abort';
import { whyNoOverlay } from '../model/special-addresses';
import type { Clock, Host, LeaseRegistry, Log } from '../ports';
import type { PeerWatcher } from './peer-watcher';
import { awaitNetworkConfig, type Waiting } from './bootstrap-waits';

/** So long a start waits for etcd before it begins from the state file. */
const ETCD_WAIT_MILLISECONDS = 3_000;

export interface Bootstrap {
  readonly network: Network;
  /** Undefined: etcd answered, and the watcher has its first snapshot. */
  readonly savedState: SavedState | undefined;
}

export interface BootstrapPorts extends Waiting {
  readonly registry: LeaseRegistry;
  readonly host: Host;
  /** True for a network that this host had a place in. */
  readonly isInUse?: (network: Subnet) => boolean;
}

/**
 * The configuration and the first snapshot, as soon as etcd has given both; or what we remember, if etcd gives no leases for
 * a while and we remember enough of the same network. `place` is where the configuration is, in etcd and in the state file. A network
 * that can be no overlay's is refused, unless hosts lease subnets of it, or this one did.
 */
export async function bootstrap(
  ports: BootstrapPorts,
  watcher: PeerWatcher,
  place: string,
  signal: AbortSignal,
): Promise<Bootstrap> {
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
  const fromEtcd = Promise.all([config, snapshot]).then(([network]) => ({ network, savedState: undefined }));
  const fromStateFile = clock
    .sleep(ETCD_WAIT_MILLISECONDS, until)
    // An etcd that answers and has no configuration for us is not away.
    .then(() => (isAnswered ? undefined : fromStateFileOf(host, clock, log, place)))
    .then((found) => found ?? fromEtcd);
  try {
    return await Promise.race([fromEtcd, fromStateFile]);
  } finally {
    decided.abort();
    await Promise.allSettled([fromEtcd, fromStateFile]);
  }
}

async function fromStateFileOf(
  host: Host,
  clock: Clock,
  log: Log,
  place: string,
): Promise<Bootstrap | undefined> {
  try {
    const text = await host.readMemory();
    const savedState = text === undefined ? undefined : parseSavedState(text);
    if (savedState && isSavedStateOf(savedState, place) && savedState.expiresAt > clock.wallTime()) {
      const { leases, ownLease } = savedState;
      log.warn('etcd does not answer; starting from memory', { lease: ownLease, leases: leases.length });
      return { network: readNetwork(savedState.config), savedState };
    }
    if (text !== undefined)
      log.warn('etcd does not answer, and what we remember is out of date; waiting for etcd');
  } catch (error) {
    log.warn('cannot use what we remember; waiting for etcd', { error: describeError(error) });
  }
  return undefined;
}

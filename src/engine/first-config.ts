/** The network configuration of a first host, whose etcd is new. */
import { printSubnet, type Subnet } from '../model/address';
import { RegistryError, describeError } from '../model/errors';
import type { Clock, LeaseRegistry, Log } from '../ports';

const WAIT_MILLISECONDS = 250;

/**
 * Stores a configuration with this network and the vxlan backend if there is none, as soon as the registry answers; one that is
 * there stays as it is. Returns when there is one.
 */
export async function storeFirstConfig(
  network: Subnet,
  { registry, clock, log }: { registry: LeaseRegistry; clock: Clock; log: Log },
  signal: AbortSignal,
): Promise<void> {
  const text = `{"Network": "${printSubnet(network)}", "Backend": {"Type": "vxlan"}}\n`;
  for (;;) {
    try {
      if (await registry.readConfig(signal)) return;
      // A conflict is somebody else's configuration: the next look finds it.
      if ((await registry.writeConfig(text, undefined, signal)) === 'written') {
        log.info('network configuration stored, for there was none', { network: printSubnet(network) });
        return;
      }
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      log.debug('no configuration could be stored yet', { error: describeError(error) });
      await clock.sleep(WAIT_MILLISECONDS, signal);
    }
  }
}

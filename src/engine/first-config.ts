/** The network configuration of a first host, whose etcd is new. */
import { backoffMilliseconds } from '../core/backoff';
import { contains, printSubnet, type IpAddress, type Subnet } from '../model/address';
import { ConfigError, RegistryError, describeError } from '../model/errors';
import { parseNetworkConfig, printFirstConfig } from '../model/network-config-codec';
import { whyNoOverlay } from '../model/special-addresses';
import type { Clock, LeaseRegistry, Log } from '../ports';

const BACKOFF = { minMilliseconds: 250, maxMilliseconds: 5_000 };

export interface FirstConfigWish {
  readonly network: Subnet;
  /** The user named it. */
  readonly isAsked: boolean;
  /** Addresses of the underlay, which must not lie in the network; asked when the registry has answered. */
  underlay(): readonly IpAddress[];
}

/**
 * Stores a configuration with this network and the vxlan backend if there is none, as soon as the registry answers; one that is
 * there stays as it is. Returns whether there is one; there is none when the network can be no
 * overlay's, or would take the underlay's own addresses.
 */
export async function storeFirstConfig(
  wish: FirstConfigWish,
  { registry, clock, log }: { registry: LeaseRegistry; clock: Clock; log: Log },
  signal: AbortSignal,
): Promise<boolean> {
  const network = printSubnet(wish.network);
  for (let failures = 0; ; failures++) {
    try {
      const stored = await registry.readConfig(signal);
      if (stored) {
        const other = wish.isAsked ? networkIn(stored.text) : undefined;
        if (other !== undefined && other !== network)
          log.warn(
            "--network is not used: there is a network configuration; 'vtepd config set' stores another",
            { network: other, asked: network },
          );
        return true;
      }
      const reason = whyNoOverlay(wish.network);
      if (reason !== undefined) {
        log.error('no network configuration is stored; start with another --network', { network, reason });
        return false;
      }
      const taken = wish.underlay().find((address) => contains(wish.network, address));
      if (taken !== undefined) {
        log.error(
          'no network configuration is stored: the network holds an address of the underlay; start with another --network',
          { network, address: taken },
        );
        return false;
      }
      // A conflict is somebody else's configuration: the next look finds it.
      if ((await registry.writeConfig(printFirstConfig(wish.network), undefined, signal)) === 'written') {
        log.info('network configuration stored, for there was none', { network });
        return true;
      }
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      log.debug('no configuration could be stored yet', { error: describeError(error) });
      await clock.sleep(backoffMilliseconds(failures, BACKOFF, clock.random()), signal);
    }
  }
}

/** Undefined: nobody can tell. */
function networkIn(text: string): string | undefined {
  try {
    const { ipv4 } = parseNetworkConfig(text);
    return ipv4 && printSubnet(ipv4.network);
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

import type { IpAddress } from '../model/address';

/** A registry that this host carries itself, for all hosts. */
export interface RegistryServer {
  /**
   * Runs one for hosts that reach us at this place, until the signal aborts or it ends by itself; calls `onUp` when it may be
   * asked. Returns why it ended, when it is gone. One that an agent left which was killed is taken over, if it fits. Throws a
   * {@link HostError} when none can be started.
   */
  run(place: ServerPlace, onUp: () => void, signal: AbortSignal): Promise<string>;
}

/** As in an underlay: our own address, and the one that others send to. */
export interface ServerPlace {
  readonly address: IpAddress;
  readonly publicIp: IpAddress;
}

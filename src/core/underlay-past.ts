/** What this host was before, from all that tells of it. */
import type { Subnet } from '../model/address';
import type { NetworkInterface } from '../model/network-interface';
import type { SavedLease } from '../model/saved-host';
import { OVERLAY_DEVICE, type UnderlayPast } from './underlay-candidates';

export interface KnownPast extends Pick<UnderlayPast, 'current' | 'origin' | 'home'> {
  /** What the state file says. */
  readonly saved?: SavedLease | undefined;
  readonly subnets?: readonly Subnet[] | undefined;
}

/** A device that is there knows best, for it is of this boot; then what was saved. */
export function pastOf(known: KnownPast, interfaces: readonly NetworkInterface[]): UnderlayPast {
  const { saved, current, origin, subnets } = known;
  const host = saved?.host;
  const vtep = deviceOf(host?.link, interfaces)?.vtep;
  const below = interfaces.find(({ index }) => index === vtep?.underlayIndex);
  const savedHome = host && { name: host.interface, mac: host.hardwareAddress };
  return {
    current,
    origin,
    addresses: [vtep?.local, host?.address, saved?.publicIp].filter((address) => address !== undefined),
    home: known.home ?? (below ? { name: below.name, mac: below.mac } : savedHome),
    subnets,
  };
}

/** While its name is not known: the only one there is. */
function deviceOf(link: string | undefined, interfaces: readonly NetworkInterface[]) {
  if (link !== undefined) return interfaces.find(({ name }) => name === link);
  const devices = interfaces.filter(({ name, vtep }) => vtep && OVERLAY_DEVICE.test(name));
  return devices.length === 1 ? devices[0] : undefined;
}

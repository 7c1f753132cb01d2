/** Devices that an earlier agent of this host left, because the network had another VNI then. */
import { backoffMilliseconds } from '../core/backoff';
import { contains, type Subnet } from '../model/address';
import { HostError, KernelError } from '../model/errors';
import type { Link } from '../model/kernel-state';
import type { NetworkInterface } from '../model/network-interface';
import { isOurLinkName, linkNameOf, type Overlay } from '../model/overlay';
import type { Clock, Host, Kernel, Log } from '../ports';
import { Trouble } from './trouble';

const BACKOFF = { minMilliseconds: 1_000, maxMilliseconds: 60_000 };

/**
 * Removes, one by one, every vxlan device that an agent of this host was locked for, that no agent holds now, and that has an
 * address of the overlay's network or of one of the `former` ones: the device of this host in this overlay is another one
 * today. A device of another overlay, whose agent may just be between two runs, has an address of another network. To be called
 * when the kernel holds what it should; calls back with the name of each device that went. Tries until it is done or the
 * signal aborts.
 */
export async function removeFormerLinks(
  kernel: Kernel,
  host: Host,
  clock: Clock,
  log: Log,
  overlay: Overlay,
  former: readonly Subnet[],
  onRemoved: (link: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const trouble = new Trouble(clock, log);
  const networks = [overlay.network, ...former];
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      for (const name of host.lockedLinks()) {
        if (name === linkNameOf(overlay.backend)) continue;
        const link = await formerLink(kernel, name, networks, signal);
        if (!link || !lock(host, name)) continue;
        try {
          const [failed] = await kernel.apply([{ verb: 'remove', object: link }], signal);
          if (failed) throw failed.error;
        } finally {
          host.unlock(name);
        }
        log.info('removed the device of another VNI that an earlier agent left', { link: name });
        onRemoved(name);
      }
      trouble.clear('what an earlier agent left is removed');
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof KernelError || error instanceof HostError)) throw error;
      trouble.report('cannot remove the device of another VNI that an earlier agent left', error);
      await clock
        .sleep(backoffMilliseconds(failures, BACKOFF, clock.random()), signal)
        .catch(() => undefined);
    }
  }
}

/**
 * Overlay devices of another name whose routes are ours, too: each has an address of one of these networks, and no agent runs for it. So an
 * earlier agent left it, because the network had another VNI then, or flannel.
 */
export function formerLinksOf(
  interfaces: readonly NetworkInterface[],
  host: Pick<Host, 'lock' | 'unlock' | 'lockedLinks'>,
  own: string,
  networks: readonly Subnet[],
): string[] {
  const locked = host.lockedLinks();
  return interfaces
    .filter(({ name, vtep }) => vtep && name !== own && isOurLinkName(name))
    .filter(({ addresses }) =>
      addresses.some(({ address }) => networks.some((each) => contains(each, address))),
    )
    .map(({ name }) => name)
    .filter((name) => !locked.includes(name) || hasNoAgent(host, name));
}

/** True while no agent runs for the link of that name. */
export function hasNoAgent(host: Pick<Host, 'lock' | 'unlock'>, link: string): boolean {
  const isFree = lock(host, link);
  if (isFree) host.unlock(link);
  return isFree;
}

/** The vxlan device of that name, if it has an address of one of these networks. */
async function formerLink(
  kernel: Kernel,
  name: string,
  networks: readonly Subnet[],
  signal: AbortSignal,
): Promise<Link | undefined> {
  const state = await kernel.observe({ link: name, networks }, signal);
  const link = state.get(`link ${name}`);
  const isAddressed = [...state.values()].some((object) => object.kind === 'address' && object.link === name);
  return link?.kind === 'link' && link.vxlan && isAddressed ? link : undefined;
}

/** False while another agent runs for it. */
function lock(host: Pick<Host, 'lock'>, link: string): boolean {
  try {
    host.lock(link);
    return true;
  } catch (error) {
    if (error instanceof HostError && error.code === 'EBUSY') return false;
    throw error;
  }
}

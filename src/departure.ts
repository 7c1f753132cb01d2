/** Leaving for good: what a stop of the agent does not do. */
import { hasNoAgent } from './engine/former-links';
import { isLeaseOfAnother, type Past } from './engine/past';
import { lookForUnderlay, type UnderlayOptions } from './engine/prerequisites';
import type { RememberedPlace } from './engine/remembered-place';
import { contains, subnet } from './model/address';
import { ConfigError, HostError, KernelError, UsageError } from './model/errors';
import { ROUTE_PROTOCOL, keyOf, type Link } from './model/kernel-state';
import { printOperation, type Operation } from './model/operation';
import { isOurLinkName } from './model/overlay';
import type { OwnPlaces } from './model/ownership';
import type { Host, Kernel, LeaseRegistry, VxlanGuard } from './ports';

/** Everything of ours, whatever the network was. */
const EVERYWHERE = [subnet('0.0.0.0/0'), subnet('::/0')];

/** What a command may touch on this host. */
export interface Reach {
  /** The device of its overlay, if that is known. */
  readonly link: string | undefined;
  /** What tells what is of its overlay from the rest. */
  readonly places: Omit<OwnPlaces, 'link'>;
  /** Devices of other overlays: nothing of theirs is touched. */
  readonly others: ReadonlySet<string>;
}

const WHOLE_HOST: Reach = { link: undefined, places: { networks: EVERYWHERE }, others: new Set() };

/**
 * What is of the overlay of that place. Where nothing tells which is meant, all overlays of this host; throws a UsageError if these are
 * several.
 */
export async function reachOf(
  kernel: Kernel,
  host: Host,
  place: RememberedPlace | undefined,
  signal: AbortSignal,
): Promise<Reach> {
  const interfaces = await kernel.interfaces(signal);
  const device = (link: string) => interfaces.find(({ name, vtep }) => vtep && name === link);
  const candidates = await candidatesOf(kernel, host, signal);
  if (!place) {
    const devices = candidates.filter((link) => (device(link)?.addresses.length ?? 0) > 0).sort();
    if (devices.length > 1)
      throw new UsageError(
        `there are several overlays on this host (${devices.join(', ')}): name the one that is meant by its --state-file or its --subnet-file`,
      );
    return WHOLE_HOST;
  }
  const isThis = (link: string) => {
    const addresses = device(link)?.addresses ?? [];
    const isWithin = addresses.some(({ address }) => place.networks.some((each) => contains(each, address)));
    return link === place.link || isWithin;
  };
  // What is left of a device that is gone, and has no agent, is no other overlay's.
  const isOther = (link: string) => !isThis(link) && (device(link) !== undefined || !hasNoAgent(host, link));
  const { link, ...places } = place;
  return { link, places, others: new Set(candidates.filter(isOther)) };
}

/** The links that vtepd has, or had, on this host. */
async function candidatesOf(kernel: Kernel, host: Host, signal: AbortSignal): Promise<string[]> {
  return [...new Set([...(await kernel.ownLinks(signal)), ...host.lockedLinks().filter(isOurLinkName)])];
}

/** Says one line to the person who asked. */
export type Say = (line: string) => void;

/**
 * From now on, and until this process ends, no agent of the overlay runs here: what it holds must not be taken from under it. Throws a HostError
 * (EBUSY) while one does; the lock is the truth, whether its device is there just now or not.
 */
export async function keepAgentsOut(
  kernel: Kernel,
  host: Host,
  signal: AbortSignal,
  { others }: Reach = WHOLE_HOST,
): Promise<void> {
  const links = await candidatesOf(kernel, host, signal);
  try {
    for (const link of links) if (!others.has(link)) host.lock(link);
  } catch (error) {
    if (!(error instanceof HostError) || error.code !== 'EBUSY') throw error;
    throw new HostError('EBUSY', 'stop the agent first; nothing was changed', { cause: error });
  }
}

/**
 * Gives back every lease with our PublicIP, but for reservations, which an administrator made, and for those of other hosts that
 * had our PublicIP. Throws a ConfigError when our PublicIP cannot be told, and what the registry throws.
 */
export async function giveBackLeases(
  registry: LeaseRegistry,
  kernel: Kernel,
  options: UnderlayOptions,
  say: Say,
  signal: AbortSignal,
  past: Past = { previous: undefined, saved: undefined },
): Promise<void> {
  const { choice, hostNetwork } = await lookForUnderlay(kernel, options, signal, { saved: past.saved });
  if (choice.kind === 'none') throw new ConfigError(`cannot tell which lease is ours: ${choice.reason}`);
  const { publicIp } = choice.underlay;
  const devices = hostNetwork.interfaces.flatMap(({ name, mac }) => (isOurLinkName(name) ? mac : []));
  const { leases } = await registry.list(signal);
  const own = leases.filter(({ attributes }) => attributes.publicIp === publicIp);
  if (own.length === 0) say(`no lease names our PublicIP ${publicIp}: nothing to give back`);
  for (const lease of own) {
    if (lease.etcdLeaseId === undefined) {
      say(`${lease.name} is a reservation, and stays one`);
      continue;
    }
    if (isLeaseOfAnother(lease, past, devices, registry)) {
      say(`${lease.name} is another host's, which had our PublicIP ${publicIp}, and stays`);
      continue;
    }
    const outcome = await registry.remove(lease, signal);
    if (outcome === 'conflict') {
      say(`${lease.name} was changed by somebody else meanwhile, and stays`);
      continue;
    }
    // Its etcd lease runs out by itself, without keys: while it lives, the others know that the key was deleted, and did not
    // expire, and forget us at once.
    say(`gave back ${lease.name}`);
  }
}

/**
 * Removes everything of ours from the kernel: our routes, and our links with all that is on them, unless they are to be kept, for flannel;
 * and what flannel left. Says each thing it removed, what of other overlays stays, and what the kernel refused; true if nothing of ours is left.
 */
export async function cleanUpKernel(
  kernel: Kernel,
  host: Host,
  keepsLinks: boolean,
  say: Say,
  signal: AbortSignal,
  { link: own, places, others }: Reach = WHOLE_HOST,
): Promise<boolean> {
  const marked = await kernel.ownLinks(signal);
  const present = new Set((await kernel.interfaces(signal)).map(({ name }) => name));
  const all = [...new Set([...marked, ...host.lockedLinks().filter((name) => present.has(name))])];
  const links = all.filter((link) => !others.has(link));
  // Routes that hang on no link (unreachable ones) are reported with any link, there or not.
  const removals = new Map<string, Operation>();
  for (const link of links.length > 0 ? links : [own ?? 'flannel.1']) {
    for (const object of (await kernel.observe({ ...places, link }, signal)).values()) {
      const isOurs =
        object.kind === 'route'
          ? !keepsLinks || object.protocol === ROUTE_PROTOCOL
          : object.kind === 'link' && !keepsLinks && links.includes(link) && isOurDevice(object, marked);
      if (isOurs) removals.set(keyOf(object), { verb: 'remove', object });
    }
  }
  // Routes first: a link takes its own routes with it, and would make their removal a surprise.
  const operations = [...removals.values()].sort((a) => (a.object.kind === 'route' ? -1 : 1));
  const failed = await kernel.apply(operations, signal);
  const refused = new Set(failed.map(({ operation }) => operation));
  const gone = operations.filter((operation) => operation.object.kind === 'link' && !refused.has(operation));
  say(
    `removed ${operations.length - failed.length} objects${gone.map(({ object }) => `, ${keyOf(object)}`).join('')}`,
  );
  for (const link of all) if (others.has(link)) say(`${link} is another overlay's, and stays`);
  for (const { operation, error } of failed) say(`could not ${printOperation(operation)}: ${error.message}`);
  return failed.length === 0;
}

/** Lets anybody send to our VXLAN ports again, but for those of `others`. Says what it removed; true if nothing of ours is left. */
export function removeGuards(guard: VxlanGuard, say: Say, others: ReadonlySet<string> = new Set()): boolean {
  try {
    for (const link of guard.links()) {
      if (others.has(link)) continue;
      guard.remove(link);
      say(`removed the guard of the VXLAN port of ${link}`);
    }
    return true;
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    say(`could not remove the guard of the VXLAN port: ${error.message}`);
    return false;
  }
}

/**
 * By the routes on it; or, for a device that is down and so has lost them, by the agent that ran for it. One that is up without
 * a route of ours may be flannel's by now.
 */
function isOurDevice({ name, up, vxlan }: Link, marked: readonly string[]): boolean {
  return marked.includes(name) || (!up && vxlan !== undefined);
}

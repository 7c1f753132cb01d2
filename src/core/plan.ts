/** The ordered difference between what should be and what is. */
import { printSubnet, type IpAddress } from '../model/address';
import { DETOUR, keyOf, type KernelObject, type KernelState, type Link } from '../model/kernel-state';
import type { Operation } from '../model/operation';
import { complete, type Steps } from '../model/steps';
import { alterations, misfits } from './vxlan';

/**
 * The order in which objects are put. FDB entries come before neighbors, because a packet that the neighbor releases is lost
 * without one; a peer's route comes last, because it makes the kernel use the other two. They are removed in reverse.
 */
function rankOf(object: KernelObject): number {
  switch (object.kind) {
    case 'link':
      return 0;
    case 'neighbor-parameters':
      return 1;
    case 'address':
      return 2;
    case 'route':
      return object.gateway ? 6 : 3;
    case 'fdb-entry':
      return 4;
    case 'neighbor':
      return 5;
  }
}

/** Among the puts there may be removals of addresses: right before the routes to peers. */
function placeOf({ verb, object }: Operation): number {
  return verb === 'remove' ? 5.5 : rankOf(object);
}

/** True where a peer's route is to lead by this address, which is still ours: another host has our former subnet. The kernel refuses that. */
function isGateway(address: IpAddress, puts: readonly Operation[]): boolean {
  return puts.some(({ object }) => object.kind === 'route' && object.gateway === address);
}

/**
 * The operations that turn `actual` into `desired`: puts first, so that a new way exists before an old one goes; then
 * removals. Nothing to do gives none. A link that must be made anew is removed first, and everything on it put again; so are
 * the neighbors of a link that gets another MAC.
 */
export function plan(desired: KernelState, actual: KernelState): Operation[] {
  return complete(planInSteps(desired, actual));
}

/** {@link plan}, a little at a time. */
export function* planInSteps(desired: KernelState, actual: KernelState): Steps<Operation[]> {
  const remakes: Operation[] = [];
  const gone = new Set<string>();
  const flushed = new Set<string>();
  for (const object of desired.values()) {
    yield;
    if (object.kind !== 'link') continue;
    const existing = actual.get(keyOf(object));
    if (existing?.kind !== 'link') continue;
    const reasons = misfits(object, existing);
    if (reasons.length > 0) {
      remakes.push({ verb: 'remove', object: existing, reason: reasons.join(', ') });
      gone.add(object.name);
    } else if (existing.mac !== object.mac || existing.noarp) flushed.add(object.name);
  }
  // A new MAC, or ARP on or off, costs a link all its neighbors, permanent ones too (neigh_changeaddr in net/core/neighbour.c).
  const isLost = (object: KernelObject) =>
    gone.has(linkOf(object) ?? '') || (object.kind === 'neighbor' && flushed.has(object.link));

  const puts: Operation[] = [];
  for (const [key, object] of desired) {
    yield;
    const existing = actual.get(key);
    const isThere = existing !== undefined && !isLost(existing);
    if (isThere && fits(object, existing)) continue;
    const reason = isThere ? reasonOf(object, existing) : undefined;
    puts.push(reason ? { verb: 'put', object, reason } : { verb: 'put', object });
    // The kernel (6.18) takes a destination for one that has a nexthop object, and changes nothing.
    if (isThere && existing.kind === 'fdb-entry' && existing.destination === DETOUR)
      remakes.push({ verb: 'remove', object: existing, reason: 'it sends elsewhere than its device' });
  }
  const removals: Operation[] = [];
  for (const [key, object] of actual) {
    yield;
    if (desired.has(key) || gone.has(linkOf(object) ?? '')) continue;
    const isInTheWay = object.kind === 'address' && isGateway(object.address, puts);
    (isInTheWay ? puts : removals).push({ verb: 'remove', object });
  }
  puts.sort((a, b) => placeOf(a) - placeOf(b));
  removals.sort((a, b) => rankOf(b.object) - rankOf(a.object));
  return [...remakes, ...puts, ...removals];
}

/**
 * What of a plan may be carried out before the registry has been read, when the peers are those of memory: what is missing is
 * added, but no peer is removed, and none is changed. What the kernel holds may be newer than what we remember.
 */
export function additionsOf(operations: readonly Operation[], actual: KernelState): Operation[] {
  if (operations.some(({ verb, object }) => verb === 'remove' && object.kind === 'link'))
    return [...operations];
  return operations.filter(({ verb, object }) => {
    const existing = actual.get(keyOf(object));
    const leadsToPeer =
      object.kind === 'fdb-entry' ||
      (object.kind === 'neighbor' && !(existing?.kind === 'neighbor' && existing.state === 'failed')) ||
      (object.kind === 'route' && object.gateway !== undefined);
    return !leadsToPeer || (verb === 'put' && (!existing || fits(object, existing)));
  });
}

/** True if the object that is there does what the desired one should. */
export function fits(desired: KernelObject, actual: KernelObject): boolean {
  switch (desired.kind) {
    case 'link':
      return (
        actual.kind === 'link' && misfits(desired, actual).length + alterations(desired, actual).length === 0
      );
    case 'neighbor-parameters':
      return (
        actual.kind === desired.kind &&
        actual.appSolicit === desired.appSolicit &&
        actual.queueBytes === desired.queueBytes
      );
    case 'address':
      return actual.kind === 'address';
    case 'fdb-entry':
      return actual.kind === desired.kind && actual.destination === desired.destination;
    case 'neighbor':
      return actual.kind === desired.kind && actual.mac === desired.mac && actual.state === desired.state;
    case 'route':
      return (
        actual.kind === desired.kind &&
        actual.type === desired.type &&
        actual.link === desired.link &&
        actual.gateway === desired.gateway &&
        actual.source === desired.source &&
        actual.protocol === desired.protocol &&
        printSubnet(actual.destination) === printSubnet(desired.destination)
      );
  }
}

/** The link whose removal takes this object with it. */
function linkOf(object: KernelObject): string | undefined {
  return object.kind === 'link' ? object.name : object.link;
}

function reasonOf(desired: KernelObject, actual: KernelObject): string | undefined {
  if (desired.kind === 'link') return alterations(desired, actual as Link).join(', ') || undefined;
  return 'changed';
}

/** The two ways to find out what the kernel lacks: by looking at everything, or at some objects only. */
import {
  absencesIn,
  desiredStateInSteps,
  desiredUnder,
  ownersOf,
  peerNames,
  programmedPeersInSteps,
} from '../core/desired';
import { additionsOf, plan, planInSteps } from '../core/plan';
import { inTurns } from '../in-turns';
import type { Subnet } from '../model/address';
import { keyOf, type KernelState, type ObjectName } from '../model/kernel-state';
import type { Operation } from '../model/operation';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { PeerTable } from '../model/peer';
import type { Clock, Kernel, Scope } from '../ports';
import type { Work } from './pending-work';

/** Everything a pass needs to know, read anew for each. */
export interface Situation {
  readonly overlay: Overlay;
  readonly peers: PeerTable;
  /** False while the peers are not those that the registry tells of: it has not been read, or its leases not judged yet. */
  readonly isInSync: boolean;
  /** Where else than in the network an address on our link is ours: what an earlier agent had, in another network. */
  readonly former: readonly Subnet[];
  /** What else tells ours, ours from before and flannel's leftovers from what is somebody else's. */
  readonly places?: Pick<Scope, 'formerLinks' | 'ownSubnets' | 'peerAddresses'>;
  /** Subnets that were answered for with "nobody has it". */
  readonly absent: Iterable<Subnet>;
}

export interface Planned {
  readonly kind: 'whole' | 'named';
  readonly operations: readonly Operation[];
  /** The situation that they were planned for. */
  readonly overlay: Overlay;
  readonly isInSync: boolean;
  /** Keys of what we want changed ourselves; the rest is what others have changed. */
  readonly wanted: ReadonlySet<string>;
  /** How many objects the kernel was asked about or told of. */
  readonly looked: number;
}

/** So many peers are looked at one by one, however few there are. */
const FEW_PEERS = 64;
const NAMES_OF_A_PEER = 3;
const NOTHING: KernelState = new Map();

/** True for so many peers that to look at everything takes less time. */
export function isTooMuch(count: number, peers: PeerTable): boolean {
  return count > Math.max(FEW_PEERS, peers.size / NAMES_OF_A_PEER);
}

/**
 * Reads everything, and compares it with the peers as they are after that: a table from before would remove what an answer to a miss
 * has just written for a peer that joined. A peer that changed while we read is still pending: its objects are looked at again.
 */
export async function planWhole(
  kernel: Kernel,
  clock: Clock,
  situation: () => Situation,
  { wanted }: Work,
  signal: AbortSignal,
): Promise<Planned> {
  const actual = await kernel.observe(scopeOf(situation()), signal);
  const { overlay, peers, absent, isInSync } = situation();
  // What follows takes many turns. All of it is of this moment.
  const frozen = peers.frozen();
  const kept = absencesIn(actual, absent);
  const programmed = await inTurns(programmedPeersInSteps(overlay, frozen, actual), clock);
  const desired = await inTurns(desiredStateInSteps(overlay, programmed, kept), clock);
  const operations = await inTurns(planInSteps(desired, actual), clock);
  return {
    kind: 'whole',
    operations: allowed(operations, actual, isInSync),
    overlay,
    isInSync,
    wanted,
    looked: actual.size,
  };
}

/**
 * Reads what is named, and what else their peers are made of, and compares it with the peers as they are after that. Undefined where
 * everything must be read instead: because it is too much, or the kernel cannot tell. What is fresh is written without being read: a
 * look is a third of the time from etcd's event to the entries (measured), and to write what is there changes nothing.
 */
export async function planNamed(
  kernel: Kernel,
  situation: () => Situation,
  work: Work,
  signal: AbortSignal,
): Promise<Planned | undefined> {
  const before = situation();
  const { names, wanted } = withPeers(before, work);
  if (isTooMuch(names.size / NAMES_OF_A_PEER, before.peers)) return undefined;
  const mayWriteUnread = before.isInSync && before.overlay.resolve.kind === 'preload';
  const asked = [...names].flatMap(([key, name]) => (mayWriteUnread && work.fresh.has(key) ? [] : [name]));
  const actual = asked.length > 0 ? await kernel.look(asked, scopeOf(before), signal) : NOTHING;
  if (!actual) return undefined;
  const { overlay, peers, isInSync } = situation();
  const operations = plan(desiredUnder(names, overlay, peers, actual), actual);
  return {
    kind: 'named',
    operations: allowed(operations, actual, isInSync),
    overlay,
    isInSync,
    wanted,
    looked: asked.length,
  };
}

/** All names of each peer of which one is named. */
function withPeers({ overlay, peers }: Situation, work: Work) {
  const names = new Map<string, ObjectName>(work.names);
  const wanted = new Set(work.wanted);
  for (const [key, named] of work.names) {
    for (const peer of ownersOf(peers, named)) {
      for (const name of peerNames(overlay, peer)) {
        names.set(keyOf(name), name);
        if (work.wanted.has(key)) wanted.add(keyOf(name));
      }
    }
  }
  return { names, wanted };
}

function scopeOf({ overlay, former, places }: Situation): Scope {
  return { ...places, link: linkNameOf(overlay.backend), networks: [overlay.network, ...former] };
}

/** Before the registry has been read, no peer is removed or changed. */
function allowed(
  operations: readonly Operation[],
  actual: KernelState,
  isInSync: boolean,
): readonly Operation[] {
  return isInSync ? operations : additionsOf(operations, actual);
}

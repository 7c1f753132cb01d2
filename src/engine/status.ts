/** What the agent says of itself: to `vtepd status`, and to systemd in a line. */
import { overlayMtu } from '../core/vxlan';
import { printSubnet } from '../model/address';
import type { Lease } from '../model/lease';
import { vtepMacOf } from '../model/lease-codec';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { Peer } from '../model/peer';
import type { AgentStatus, LeaseStatus, OverlayStatus, PeerStatus } from '../model/status';
import type { AdmissionKeeper } from './admission-keeper';
import { printSome } from './complaints';
import type { Check } from './conditions';
import type { FirewallKeeper } from './firewall-keeper';
import type { LeaseHolder } from './lease-holder';
import type { MissResponder } from './miss-responder';
import type { PeerWatcher } from './peer-watcher';
import type { Reconciler } from './reconciler';

/** The parts of the agent that have something to tell. Undefined: not there yet, or not wanted. */
export interface Witnesses {
  readonly overlay: Overlay | undefined;
  readonly holder:
    Pick<LeaseHolder, 'lease' | 'remainingSeconds' | 'contest' | 'hasGivenWay' | 'absence'> | undefined;
  readonly watcher: Pick<PeerWatcher, 'peers' | 'graced' | 'complaints' | 'changeCount'>;
  readonly reconciler: Pick<Reconciler, 'operations' | 'repairs'>;
  readonly responder: Pick<MissResponder, 'counters'>;
  readonly firewall: Pick<FirewallKeeper, 'repairs'> | undefined;
  readonly admission: Pick<AdmissionKeeper, 'repairs'> | undefined;
}

/** Everything that an administrator may want to know; `withPeers`: each of them, too. `now`: the time by which the checks say "since". */
export function statusOf(
  witnesses: Witnesses,
  checks: readonly Check[],
  now: number,
  withPeers: boolean,
): AgentStatus {
  const { overlay, holder, watcher, reconciler, responder, firewall, admission } = witnesses;
  return {
    isReady: checks.every(({ ok, advisory }) => ok || advisory),
    overlay: overlay && overlayStatusOf(overlay),
    lease: holder?.lease && leaseStatusOf(holder.lease, holder),
    peers: {
      count: watcher.peers.size,
      graced: watcher.graced.map(({ lease, forMilliseconds }) => ({
        lease,
        forSeconds: Math.round(forMilliseconds / 1000),
      })),
      ...(withPeers ? { list: [...watcher.peers].map(peerStatusOf) } : {}),
    },
    work: {
      kernelOperations: reconciler.operations,
      peerChanges: watcher.changeCount,
      repairs: reconciler.repairs,
      firewallRepairs: (firewall?.repairs ?? 0) + (admission?.repairs ?? 0),
      missesAnswered: responder.counters.answered,
      missesOfNobody: responder.counters.absent,
    },
    checks: checks.map(({ since, ...check }) => ({
      ...check,
      sinceSeconds: Math.max(0, Math.round((now - since) / 1000)),
    })),
  };
}

/** `10.5.7.0/24 on flannel.1, 3 peers`, and what an administrator should look at. */
export function statusLineOf({ subnet, backend }: Overlay, { watcher, holder }: Witnesses): string {
  const { peers, complaints } = watcher;
  return [
    `${printSubnet(subnet)} on ${linkNameOf(backend)}`,
    `${peers.size} peers`,
    ...(complaints.length > 0 ? [`${complaints.length} leases ignored or doubtful`] : []),
    ...(holder?.contest ? ['another host claims our lease'] : []),
  ].join(', ');
}

/** A line that systemd shows must not fill the screen. */
const LONGEST_LINE = 400;

/** What systemd is told at any time: what a start waits for, or how the overlay is, and what is not well. */
export function serviceLineOf(checks: readonly Check[], witnesses: Witnesses): string {
  const { overlay } = witnesses;
  const bad = checks.filter(({ state }) => state === 'failing');
  const reasons = bad
    .filter(({ name, advisory }) => !advisory || TOLD_ADVICE.has(name))
    .map(({ name, reason }) => (name === 'start' ? reason! : `${name}: ${reason}`));
  const isReady = checks.every(({ ok, advisory }) => ok || advisory);
  const line = overlay
    ? [...(isReady ? [] : ['NOT READY']), statusLineOf(overlay, witnesses), ...reasons].join('; ')
    : `starting: ${reasons.length > 0 ? reasons.join('; ') : `waiting for ${waitedFor(checks)}`}`;
  return line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE - 1)}…` : line;
}

/** Of what does no harm yet, that which an administrator should hear of without asking. */
const TOLD_ADVICE = new Set([
  'etcd',
  'etcd write access',
  'lease renewal',
  'underlay',
  'network configuration',
]);
/** What a start needs, in this order. */
const NEEDS: Readonly<Record<string, string>> = {
  underlay: 'the underlay interface',
  etcd: 'etcd',
  'network configuration': 'the network configuration',
  lease: 'a subnet lease',
  kernel: 'the kernel',
  'subnet file': 'the subnet file',
};

function waitedFor(checks: readonly Check[]): string {
  const open = Object.keys(NEEDS).filter((need) =>
    checks.some(({ name, state }) => name === need && state === 'unknown'),
  );
  return printSome(open.map((need) => NEEDS[need]!)) || 'the first look at everything';
}

function overlayStatusOf({ network, backend, underlay, resolve }: Overlay): OverlayStatus {
  return {
    network: printSubnet(network),
    link: linkNameOf(backend),
    vni: backend.vni,
    mtu: overlayMtu(backend, underlay),
    resolve: resolve.kind,
    underlay: underlay.name,
    underlayAddress: underlay.address,
  };
}

function leaseStatusOf(
  lease: Lease,
  {
    remainingSeconds,
    absence,
    hasGivenWay,
  }: Pick<LeaseHolder, 'remainingSeconds' | 'absence' | 'hasGivenWay'>,
): LeaseStatus {
  const lost = hasGivenWay ? 'another host holds it' : absence?.complaint;
  return {
    name: lease.name,
    subnet: printSubnet(lease.subnet),
    publicIp: lease.attributes.publicIp,
    vtepMac: vtepMacOf(lease),
    ...(lost !== undefined
      ? { remainingSeconds: 0, lost }
      : { remainingSeconds: remainingSeconds === Infinity ? undefined : Math.round(remainingSeconds) }),
  };
}

function peerStatusOf({ subnet, publicIp, vtepMac }: Peer): PeerStatus {
  return { subnet: printSubnet(subnet), publicIp, vtepMac };
}

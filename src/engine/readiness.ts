/** Whether the agent does what it should: everything that can be well or not, by name. */
import { mtuRemark } from '../core/vxlan';
import type { Overlay } from '../model/overlay';
import type { AccessWatcher } from './access-watcher';
import type { AdmissionKeeper } from './admission-keeper';
import type { Announcer } from './announcer';
import { printComplaints, printSome } from './complaints';
import type { Condition } from './conditions';
import type { ConfigWatcher } from './config-watcher';
import type { FirewallKeeper } from './firewall-keeper';
import type { FlannelWatcher } from './flannel-watcher';
import type { LeaseHolder } from './lease-holder';
import type { PeerWatcher } from './peer-watcher';
import type { Reconciler } from './reconciler';
import type { Recorder } from './recorder';
import type { RouteWatcher } from './route-watcher';
import type { SurroundingsWatcher } from './surroundings-watcher';
import type { Trouble } from './trouble';
import type { UnderlayWatcher } from './underlay-watcher';

/** What is wrong, and for how long if that is known; undefined while all is well. */
export type Grievance =
  { readonly complaint: string; readonly forMilliseconds?: number | undefined } | undefined;

/** The parts of the agent that can be unwell. Undefined: not there yet, or not wanted. */
export interface Patients {
  /** What a start is waiting for. */
  readonly waits: Iterable<Pick<Trouble, 'current'>>;
  readonly watcher: Pick<PeerWatcher, 'trouble' | 'complaints' | 'graced' | 'hasSnapshot' | 'isJudged'>;
  readonly holder:
    | Pick<
        LeaseHolder,
        | 'lease'
        | 'trouble'
        | 'contest'
        | 'hasGivenWay'
        | 'fight'
        | 'absence'
        | 'remainingSeconds'
        | 'goodUntil'
      >
    | undefined;
  readonly underlay: Pick<UnderlayWatcher, 'trouble' | 'outage' | 'current'> | undefined;
  readonly overlay: Overlay | undefined;
  readonly reconciler: Pick<Reconciler, 'isBaseInPlace' | 'trouble' | 'fights' | 'hasReadAll'> & {
    readonly missingBase?: readonly string[];
  };
  readonly announcer: Pick<Announcer, 'isAnnounced' | 'trouble'> & { readonly fight?: string | undefined };
  readonly configWatcher: Pick<ConfigWatcher, 'trouble' | 'isKnown'> | undefined;
  readonly access: Pick<AccessWatcher, 'trouble' | 'isKnown'>;
  readonly flannel: Pick<FlannelWatcher, 'trouble' | 'isKnown'>;
  readonly firewall: Pick<FirewallKeeper, 'trouble' | 'obstacle' | 'isKnown'> | undefined;
  readonly admission: Pick<AdmissionKeeper, 'trouble' | 'isInPlace'> | undefined;
  readonly surroundings: Pick<SurroundingsWatcher, 'trouble' | 'isKnown'>;
  readonly routes: Pick<RouteWatcher, 'trouble' | 'isKnown' | 'hidden'>;
  readonly recorder: Pick<Recorder, 'trouble' | 'isKnown'>;
  /** Why peers are written all at once although the user wants them on demand. */
  readonly unrouted?: string | undefined;
  readonly embeddedEtcd: { readonly trouble: Grievance; readonly isUp?: boolean } | undefined;
}

/** What packets need: where it is bad, they may be lost. Advisory: what the agent needs to follow changes. */
export function conditionsOf(patients: Patients): Condition[] {
  const { watcher, holder, reconciler, configWatcher, firewall, admission, surroundings } = patients;
  const { access, recorder, embeddedEtcd } = patients;
  const hasLease = holder?.lease !== undefined;
  return [
    waitCondition(patients),
    leaseCondition(holder),
    kernelCondition(reconciler),
    fileCondition(patients.announcer),
    advice('etcd', watcher.trouble && withRespite(watcher.trouble, holder), watcher.hasSnapshot),
    advice('etcd write access', access.trouble, access.isKnown),
    advice('network configuration', configWatcher?.trouble, configWatcher?.isKnown === true),
    advice('lease renewal', holder?.trouble, hasLease),
    advice('lease contest', holder?.contest ?? grievance(holder?.fight), hasLease),
    advice('other leases', grievance(oddLeases(watcher)), watcher.isJudged),
    advice('peers in grace', grievance(peersInGrace(watcher)), watcher.isJudged),
    underlayCondition(patients.underlay),
    mtuCondition(patients.overlay),
    advice('peers in the kernel', reconciler.trouble, reconciler.hasReadAll),
    advice('fights', grievance(fights(reconciler)), reconciler.hasReadAll),
    advice('firewall', firewall?.trouble ?? firewall?.obstacle, !firewall || firewall.isKnown),
    advice('flanneld', patients.flannel.trouble, patients.flannel.isKnown),
    advice('vxlan admission', admission?.trouble, !admission || admission.isInPlace),
    advice('forwarding', surroundings.trouble('forwarding'), surroundings.isKnown),
    advice('bridge', surroundings.trouble('bridge'), surroundings.isKnown),
    advice('routes to peers', patients.routes.trouble, patients.routes.isKnown),
    advice('hidden addresses', patients.routes.hidden, patients.routes.isKnown),
    advice('state file', recorder.trouble, recorder.isKnown),
    ...(patients.unrouted === undefined ? [] : [advice('network route', preloaded(patients.unrouted), true)]),
    ...(embeddedEtcd ? [advice('embedded etcd', embeddedEtcd.trouble, embeddedEtcd.isUp !== false)] : []),
  ];
}

function kernelCondition(reconciler: Patients['reconciler']): Condition {
  const found = condition('kernel', reconciler.isBaseInPlace ? undefined : missingBase(reconciler));
  return reconciler.hasReadAll ? found : unknown(found);
}

function fileCondition({ isAnnounced, trouble, fight }: Patients['announcer']): Condition {
  // Packets flow on after another program has put it away; only who starts now needs it.
  const harmless = trouble ?? grievance(fight);
  if (isAnnounced)
    return harmless ? advice('subnet file', harmless, true) : condition('subnet file', undefined);
  const found = condition('subnet file', 'it is not written', trouble);
  return trouble ? found : unknown(found);
}

function leaseCondition(holder: Patients['holder']): Condition {
  const trouble = holder?.contest ?? holder?.trouble;
  if (!holder?.lease) {
    const found = condition('lease', 'there is no subnet lease yet', trouble);
    return trouble ? found : unknown(found);
  }
  if (holder.hasGivenWay) return condition('lease', 'another host holds our lease', trouble);
  const problem = holder.absence ?? expiryOf(holder);
  return condition('lease', problem?.complaint, problem);
}

/** By our own clock, which is all there is while etcd does not answer. */
function expiryOf({ remainingSeconds, goodUntil, trouble }: NonNullable<Patients['holder']>): Grievance {
  if (remainingSeconds > 0) return undefined;
  const complaint =
    `our lease ran out at ${printTime(goodUntil)} by our own clock: other hosts have dropped us, ` +
    'and may get our subnet';
  return {
    complaint: trouble ? `${complaint}; ${trouble.complaint}` : complaint,
    forMilliseconds: -remainingSeconds * 1000,
  };
}

/** That etcd does not answer is no harm yet: says for how long it is none. */
function withRespite(trouble: NonNullable<Grievance>, holder: Patients['holder']): Grievance {
  if (!holder?.lease || holder.absence || holder.hasGivenWay || holder.remainingSeconds <= 0) return trouble;
  const respite =
    holder.remainingSeconds === Infinity
      ? 'our lease does not run out'
      : `our lease is good until ${printTime(holder.goodUntil)} without it`;
  return { ...trouble, complaint: `${trouble.complaint}; ${respite}` };
}

/** `2026-12-01T23:50Z`: by the minute, so that a text stays the same while its time does. */
function printTime(milliseconds: number): string {
  return new Date(Math.round(milliseconds / 60_000) * 60_000).toISOString().replace(/:00\.000Z$/, 'Z');
}

function missingBase({ missingBase: objects = [] }: Patients['reconciler']): string {
  const reason = 'device, address or network route are missing';
  return objects.length === 0 ? reason : `${reason}: ${printSome(objects)}`;
}

function underlayCondition(underlay: Patients['underlay']): Condition {
  const outage = underlay?.outage;
  if (outage) return condition('underlay', outage.complaint, outage);
  return advice('underlay', underlay?.trouble, underlay?.current !== undefined);
}

function mtuCondition(overlay: Overlay | undefined): Condition {
  const remark = overlay && mtuRemark(overlay.backend, overlay.underlay);
  return advice('mtu', grievance(remark), overlay !== undefined);
}

function oddLeases({ complaints }: Patients['watcher']): string | undefined {
  const ignored = complaints.filter(({ isUsed }) => !isUsed).length;
  if (complaints.length === 0) return undefined;
  return `${ignored} ignored, ${complaints.length - ignored} doubtful: ${printComplaints(complaints)}`;
}

function peersInGrace({ graced }: Patients['watcher']): string | undefined {
  const names = graced.map(
    ({ lease, forMilliseconds }) => `${lease} (for ${Math.round(forMilliseconds / 1000)} s)`,
  );
  if (names.length === 0) return undefined;
  return `${names.length} kept although their leases expired: ${printSome(names)}`;
}

function preloaded(unrouted: string): Grievance {
  const complaint = `left out, because ${unrouted}; so all peers are written at once, as with --resolve=preload`;
  return { complaint };
}

function fights({ fights: objects }: Patients['reconciler']): string | undefined {
  return objects.length === 0 ? undefined : `another program undoes again and again: ${printSome(objects)}`;
}

function grievance(complaint: string | undefined): Grievance {
  return complaint === undefined ? undefined : { complaint };
}

function condition(name: string, reason: string | undefined, trouble?: Grievance): Condition {
  if (reason === undefined) return { name, reason, advisory: false };
  return {
    name,
    reason: trouble?.complaint ?? reason,
    forMilliseconds: trouble?.forMilliseconds,
    advisory: false,
  };
}

/** What a start cannot go on without. */
function waitCondition({ waits, holder }: Patients): Condition {
  const troubles = [...waits].flatMap(({ current }) => current ?? []);
  const forMilliseconds = troubles.length > 0 ? Math.max(...troubles.map((each) => each.forMilliseconds)) : 0;
  const reason = troubles.map(({ complaint }) => complaint).join('; ') || undefined;
  const found = { name: 'start', reason, forMilliseconds, advisory: false };
  return holder?.lease || reason !== undefined ? found : unknown(found);
}

/** `isKnown`: it has been looked at; what was found bad is known in any case. */
function advice(name: string, trouble: Grievance, isKnown: boolean): Condition {
  const found = {
    name,
    reason: trouble?.complaint,
    forMilliseconds: trouble?.forMilliseconds,
    advisory: true,
  };
  return isKnown || trouble ? found : unknown(found);
}

function unknown(condition: Condition): Condition {
  return { ...condition, isUnknown: true };
}

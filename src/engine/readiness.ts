/** Whether the agent does what it should: everything that can be well or not, by name. */
import { mtuRemark } from '../core/vxlan';
import type { Overlay } from '../model/overlay';
import type { AccessWatcher } from './access-watcher';
import type { AdmissionKeeper } from './admission-keeper';
import type { SubnetFileWriter } from './subnet-file-writer';
import { printLeaseProblems, printSome } from './lease-problems';
import type { Condition } from './conditions';
import type { ConfigWatcher } from './config-watcher';
import type { FirewallKeeper } from './firewall-keeper';
import type { FlannelWatcher } from './flannel-watcher';
import type { LeaseHolder } from './lease-holder';
import type { PeerWatcher } from './peer-watcher';
import type { Reconciler } from './reconciler';
import type { StateFileWriter } from './state-file-writer';
import type { RouteWatcher } from './route-watcher';
import type { SurroundingsWatcher } from './surroundings-watcher';
import type { ProblemReporter } from './problem';
import type { UnderlayWatcher } from './underlay-watcher';

/** What is wrong, and for how long if that is known; undefined while all is well. */
export type Finding = { readonly text: string; readonly forMilliseconds?: number | undefined } | undefined;

/** The parts of the agent that can be unwell. Undefined: not there yet, or not wanted. */
export interface Patients {
  /** What a start is waiting for. */
  readonly waits: Iterable<Pick<ProblemReporter, 'current'>>;
  readonly watcher: Pick<PeerWatcher, 'problem' | 'leaseProblems' | 'graced' | 'hasSnapshot' | 'isJudged'>;
  readonly holder:
    | Pick<
        LeaseHolder,
        | 'lease'
        | 'problem'
        | 'dispute'
        | 'hasConceded'
        | 'repairLoop'
        | 'absence'
        | 'remainingSeconds'
        | 'goodUntil'
      >
    | undefined;
  readonly underlay: Pick<UnderlayWatcher, 'problem' | 'outage' | 'current'> | undefined;
  readonly overlay: Overlay | undefined;
  readonly reconciler: Pick<Reconciler, 'isBaseInPlace' | 'problem' | 'repairLoops' | 'hasReadAll'> & {
    readonly missingBase?: readonly string[];
  };
  readonly subnetFile: Pick<SubnetFileWriter, 'isWritten' | 'problem'> & {
    readonly repairLoop?: string | undefined;
  };
  readonly configWatcher: Pick<ConfigWatcher, 'problem' | 'isKnown'> | undefined;
  readonly access: Pick<AccessWatcher, 'problem' | 'isKnown'>;
  readonly flannel: Pick<FlannelWatcher, 'problem' | 'isKnown'>;
  readonly firewall: Pick<FirewallKeeper, 'problem' | 'obstacle' | 'isKnown'> | undefined;
  readonly admission: Pick<AdmissionKeeper, 'problem' | 'isInPlace'> | undefined;
  readonly surroundings: Pick<SurroundingsWatcher, 'problem' | 'isKnown'>;
  readonly routes: Pick<RouteWatcher, 'problem' | 'isKnown' | 'hidden'>;
  readonly stateFile: Pick<StateFileWriter, 'problem' | 'isKnown'>;
  /** Why peers are written all at once although the user wants them on demand. */
  readonly unrouted?: string | undefined;
  readonly embeddedEtcd: { readonly problem: Finding; readonly isUp?: boolean } | undefined;
}

/** What packets need: where it is bad, they may be lost. Advisory: what the agent needs to follow changes. */
export function conditionsOf(patients: Patients): Condition[] {
  const { watcher, holder, reconciler, configWatcher, firewall, admission, surroundings } = patients;
  const { access, stateFile, embeddedEtcd } = patients;
  const hasLease = holder?.lease !== undefined;
  return [
    waitCondition(patients),
    leaseCondition(holder),
    kernelCondition(reconciler),
    fileCondition(patients.subnetFile),
    advice('etcd', watcher.problem && withRespite(watcher.problem, holder), watcher.hasSnapshot),
    advice('etcd write access', access.problem, access.isKnown),
    advice('network configuration', configWatcher?.problem, configWatcher?.isKnown === true),
    advice('lease renewal', holder?.problem, hasLease),
    advice('lease contest', holder?.dispute ?? finding(holder?.repairLoop), hasLease),
    advice('other leases', finding(oddLeases(watcher)), watcher.isJudged),
    advice('peers in grace', finding(peersInGrace(watcher)), watcher.isJudged),
    underlayCondition(patients.underlay),
    mtuCondition(patients.overlay),
    advice('peers in the kernel', reconciler.problem, reconciler.hasReadAll),
    advice('fights', finding(repairLoops(reconciler)), reconciler.hasReadAll),
    advice('firewall', firewall?.problem ?? firewall?.obstacle, !firewall || firewall.isKnown),
    advice('flanneld', patients.flannel.problem, patients.flannel.isKnown),
    advice('vxlan admission', admission?.problem, !admission || admission.isInPlace),
    advice('forwarding', surroundings.problem('forwarding'), surroundings.isKnown),
    advice('bridge', surroundings.problem('bridge'), surroundings.isKnown),
    advice('routes to peers', patients.routes.problem, patients.routes.isKnown),
    advice('hidden addresses', patients.routes.hidden, patients.routes.isKnown),
    advice('state file', stateFile.problem, stateFile.isKnown),
    ...(patients.unrouted === undefined ? [] : [advice('network route', preloaded(patients.unrouted), true)]),
    ...(embeddedEtcd ? [advice('embedded etcd', embeddedEtcd.problem, embeddedEtcd.isUp !== false)] : []),
  ];
}

function kernelCondition(reconciler: Patients['reconciler']): Condition {
  const found = condition('kernel', reconciler.isBaseInPlace ? undefined : missingBase(reconciler));
  return reconciler.hasReadAll ? found : unknown(found);
}

function fileCondition({ isWritten, problem, repairLoop }: Patients['subnetFile']): Condition {
  // Packets flow on after another program has put it away; only who starts now needs it.
  const harmless = problem ?? finding(repairLoop);
  if (isWritten)
    return harmless ? advice('subnet file', harmless, true) : condition('subnet file', undefined);
  const found = condition('subnet file', 'it is not written', problem);
  return problem ? found : unknown(found);
}

function leaseCondition(holder: Patients['holder']): Condition {
  const reported = holder?.dispute ?? holder?.problem;
  if (!holder?.lease) {
    const found = condition('lease', 'there is no subnet lease yet', reported);
    return reported ? found : unknown(found);
  }
  if (holder.hasConceded) return condition('lease', 'another host holds our lease', reported);
  const problem = holder.absence ?? expiryOf(holder);
  return condition('lease', problem?.text, problem);
}

/** By our own clock, which is all there is while etcd does not answer. */
function expiryOf({ remainingSeconds, goodUntil, problem }: NonNullable<Patients['holder']>): Finding {
  if (remainingSeconds > 0) return undefined;
  const text =
    `our lease ran out at ${printTime(goodUntil)} by our own clock: other hosts have dropped us, ` +
    'and may get our subnet';
  return {
    text: problem ? `${text}; ${problem.text}` : text,
    forMilliseconds: -remainingSeconds * 1000,
  };
}

/** That etcd does not answer is no harm yet: says for how long it is none. */
function withRespite(problem: NonNullable<Finding>, holder: Patients['holder']): Finding {
  if (!holder?.lease || holder.absence || holder.hasConceded || holder.remainingSeconds <= 0) return problem;
  const respite =
    holder.remainingSeconds === Infinity
      ? 'our lease does not run out'
      : `our lease is good until ${printTime(holder.goodUntil)} without it`;
  return { ...problem, text: `${problem.text}; ${respite}` };
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
  if (outage) return condition('underlay', outage.text, outage);
  return advice('underlay', underlay?.problem, underlay?.current !== undefined);
}

function mtuCondition(overlay: Overlay | undefined): Condition {
  const remark = overlay && mtuRemark(overlay.backend, overlay.underlay);
  return advice('mtu', finding(remark), overlay !== undefined);
}

function oddLeases({ leaseProblems }: Patients['watcher']): string | undefined {
  const ignored = leaseProblems.filter(({ isUsed }) => !isUsed).length;
  if (leaseProblems.length === 0) return undefined;
  return `${ignored} ignored, ${leaseProblems.length - ignored} doubtful: ${printLeaseProblems(leaseProblems)}`;
}

function peersInGrace({ graced }: Patients['watcher']): string | undefined {
  const names = graced.map(
    ({ lease, forMilliseconds }) => `${lease} (for ${Math.round(forMilliseconds / 1000)} s)`,
  );
  if (names.length === 0) return undefined;
  return `${names.length} kept although their leases expired: ${printSome(names)}`;
}

function preloaded(unrouted: string): Finding {
  const text = `left out, because ${unrouted}; so all peers are written at once, as with --resolve=preload`;
  return { text };
}

function repairLoops({ repairLoops: objects }: Patients['reconciler']): string | undefined {
  return objects.length === 0 ? undefined : `another program undoes again and again: ${printSome(objects)}`;
}

function finding(text: string | undefined): Finding {
  return text === undefined ? undefined : { text };
}

function condition(name: string, reason: string | undefined, problem?: Finding): Condition {
  if (reason === undefined) return { name, reason, advisory: false };
  return {
    name,
    reason: problem?.text ?? reason,
    forMilliseconds: problem?.forMilliseconds,
    advisory: false,
  };
}

/** What a start cannot go on without. */
function waitCondition({ waits, holder }: Patients): Condition {
  const problems = [...waits].flatMap(({ current }) => current ?? []);
  const forMilliseconds = problems.length > 0 ? Math.max(...problems.map((each) => each.forMilliseconds)) : 0;
  const reason = problems.map(({ text }) => text).join('; ') || undefined;
  const found = { name: 'start', reason, forMilliseconds, advisory: false };
  return holder?.lease || reason !== undefined ? found : unknown(found);
}

/** `isKnown`: it has been looked at; what was found bad is known in any case. */
function advice(name: string, problem: Finding, isKnown: boolean): Condition {
  const found = {
    name,
    reason: problem?.text,
    forMilliseconds: problem?.forMilliseconds,
    advisory: true,
  };
  return isKnown || problem ? found : unknown(found);
}

function unknown(condition: Condition): Condition {
  return { ...condition, isUnknown: true };
}

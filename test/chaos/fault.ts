/** What a fault is, and what is known of one after it was provoked. */
import type { LabPlan } from '../support/lab/lab';
import type { Scene } from './scene';

export type Group = 'entries' | 'device' | 'underlay' | 'others' | 'agent' | 'etcd' | 'leases' | 'machine';

export interface Fault {
  /** As `--only` names it. */
  readonly name: string;
  readonly group: Group;
  /** What is done, as a sentence without subject: `deletes the route to a peer`. */
  readonly what: string;
  /** Part of the short form. */
  readonly short?: boolean;
  /** Runs only when it is named, and says why. */
  readonly onlyWhenNamed?: string;
  /** Where the lab is not three hosts and one etcd member. */
  readonly plan?: Partial<LabPlan>;
  /** The lab is not used again after it. */
  readonly spoilsLab?: boolean;
  /** `none`: the packets through the damaged host must all arrive, too. `counted`: they may be lost while it is damaged. */
  readonly throughLoss: 'none' | 'counted';
  /** Nothing tells the agent of it at the time: an audit may find it, or what the agent has put off. */
  readonly isLeftToAudits?: boolean;
  /** It must be repaired within so long, on a busy machine; where times are judged. */
  readonly withinMilliseconds: number;
  /** Provokes it, waits for the repair, and returns the milliseconds that took; undefined where there is nothing to repair. */
  readonly provoke: (scene: Scene) => Promise<number | undefined>;
}

export interface Loss {
  readonly sent: number;
  /** Of these, packets sent between the fault and its repair. */
  readonly sentMeanwhile: number;
  readonly lost: number;
  /** The longest time without a packet. */
  readonly silenceMilliseconds: number;
}

/** One line of the report. */
export interface Line {
  readonly name: string;
  readonly group: Group;
  readonly what: string;
  /** From host 2 to host 3, which nobody damages. */
  readonly untouched: Loss;
  /** From the damaged host to host 2, and from host 3 to the damaged host. */
  readonly through: Loss;
  readonly throughLoss: Fault['throughLoss'];
  readonly repairMilliseconds: number | undefined;
  readonly withinMilliseconds: number;
  readonly isGood: boolean;
  /** `good`, or what was wrong. */
  readonly verdict: string;
  /** Warnings and errors in the damaged host's log. */
  readonly said: readonly string[];
}

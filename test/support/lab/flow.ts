/** Packets in both directions between two containers, while something is done. */
import type { Host } from './host';
import { streaming, type StreamReport, type Traffic } from './stream';

export interface Flow {
  /** Returns once each direction has sent some packets more: what is the case meanwhile, they have met. */
  goesOn(packets?: number): Promise<void>;
}

/** Both directions while something is done, from before it begins until after it ended. */
export function duringFlow(
  one: Host,
  other: Host,
  act: (flow: Flow) => Promise<unknown>,
): Promise<StreamReport[]> {
  return streaming(
    [
      [one, other],
      [other, one],
    ],
    async (traffic: Traffic) => {
      const flow = { goesOn: (packets?: number) => traffic.sends(packets) };
      await flow.goesOn();
      await act(flow);
    },
  );
}

/** Why the flow was not what it should be, a line for each direction; empty when it met what was done, and no packet was lost. */
export function harmOf(reports: readonly StreamReport[]): string[] {
  return reports.flatMap((report) => {
    const { lost, failed, duplicates, sentMeanwhile } = report;
    return lost === 0 && failed === 0 && duplicates === 0 && sentMeanwhile > 0 ? [] : JSON.stringify(report);
  });
}

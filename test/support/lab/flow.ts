/** Packets in both directions between two containers, while something is done. */
import type { Host } from './host';
import { Stream, type StreamReport } from './stream';
import { until } from './until';

/** How many packets have to be under way for "while they flow" to be true. */
const FEW = 100;

/** Two streams, a thousand packets a second each. */
export class Flow {
  private constructor(private readonly streams: readonly Stream[]) {}

  /** When this returns, packets flow. */
  static async start(one: Host, other: Host): Promise<Flow> {
    return new Flow([await Stream.start(one, other), await Stream.start(other, one)]);
  }

  /** Returns once each direction has sent so many packets more: what is the case meanwhile, they have met. */
  async goesOn(count = FEW): Promise<void> {
    const before = await this.sent();
    await until(`${count} more packets are sent`, async () =>
      (await this.sent()).every((sent, n) => sent >= before[n]! + count),
    );
  }

  /** How many each direction has sent by now. */
  sent(): Promise<number[]> {
    return Promise.all(this.streams.map((stream) => stream.sent()));
  }

  end(): Promise<StreamReport[]> {
    return Promise.all(this.streams.map((stream) => stream.end()));
  }
}

/** What became of one direction, and how many of its packets were sent while something was done. */
export interface FlowReport extends StreamReport {
  readonly sentMeanwhile: number;
}

/** Both directions while something is done, from before it begins until after it ended. */
export async function duringFlow(
  one: Host,
  other: Host,
  act: (flow: Flow) => Promise<unknown>,
): Promise<FlowReport[]> {
  const flow = await Flow.start(one, other);
  let meanwhile: number[] = [];
  let reports: StreamReport[];
  try {
    await flow.goesOn();
    const before = await flow.sent();
    await act(flow);
    meanwhile = (await flow.sent()).map((sent, n) => sent - before[n]!);
    await flow.goesOn();
  } finally {
    // Also when that failed: the next could not listen.
    reports = await flow.end();
  }
  return reports.map((report, n) => ({ ...report, sentMeanwhile: meanwhile[n]! }));
}

/** Why the flow was not what it should be, a line for each direction; empty when it met what was done, and no packet was lost. */
export function harmOf(reports: readonly FlowReport[]): string[] {
  return reports.flatMap(({ lost, failed, duplicates, sentMeanwhile, ...rest }) =>
    lost === 0 && failed === 0 && duplicates === 0 && sentMeanwhile > FEW
      ? []
      : JSON.stringify({ lost, failed, duplicates, sentMeanwhile, ...rest }),
  );
}

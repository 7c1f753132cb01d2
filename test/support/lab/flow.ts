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
    await Promise.all(
      this.streams.map(async (stream) => {
        const before = await stream.sent();
        await until(`${count} more packets are sent`, async () => (await stream.sent()) >= before + count);
      }),
    );
  }

  async end(): Promise<StreamReport[]> {
    return Promise.all(this.streams.map((stream) => stream.end()));
  }
}

/** Both directions while something is done, from before it begins until after it ended. */
export async function duringFlow(
  one: Host,
  other: Host,
  act: (flow: Flow) => Promise<unknown>,
): Promise<StreamReport[]> {
  const flow = await Flow.start(one, other);
  let reports: StreamReport[];
  try {
    await flow.goesOn();
    await act(flow);
    await flow.goesOn();
  } finally {
    // Also when that failed: the next could not listen.
    reports = await flow.end();
  }
  return reports;
}

/** What a report says of a flow that nothing befell. */
export const UNHARMED = { lost: 0, failed: 0, duplicates: 0 } as const;

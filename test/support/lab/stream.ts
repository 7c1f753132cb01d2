/** A steady stream of numbered UDP packets between two containers, and the exact count of what became of them. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { Host } from './host';

const PORT = 7007;

export interface StreamReport {
  readonly sent: number;
  /** Of these, packets the sender's own kernel refused to send. */
  readonly failed: number;
  readonly received: number;
  readonly lost: number;
  readonly duplicates: number;
  /** Packets that came after one with a higher number. */
  readonly reordered: number;
  /** Runs of lost numbers. */
  readonly gaps: readonly { readonly from: number; readonly count: number }[];
  /** The longest time between two arrivals. */
  readonly longestSilenceMilliseconds: number;
  /** The longest way of one packet, from sender to receiver. */
  readonly slowestMilliseconds: number;
  /** Lost in the receiver's full socket buffer: not the network's fault; a test with any has proved nothing. */
  readonly droppedByReceiver: number;
  /** By how much the sender was behind its time at worst. */
  readonly latestMilliseconds: number;
}

/** A stream under way. */
export class Stream {
  private constructor(
    private readonly sender: ChildProcess,
    private readonly receiver: ChildProcess,
    private readonly fromReceiver: AsyncIterator<string>,
  ) {}

  /** Starts it from one host's container to another's; returns once packets flow or are lost. Rate: packets a second. */
  static async start(from: Host, to: Host, rate = 1000): Promise<Stream> {
    const receiver = to.container.start(
      'nice',
      ['-n', '-10', process.execPath, script('receiver'), String(PORT)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    const fromReceiver = linesOf(receiver);
    if ((await fromReceiver.next()).value !== 'listening')
      throw new Error('the stream receiver does not listen');
    const words = [
      '-n',
      '-10',
      process.execPath,
      script('sender'),
      to.containerAddress,
      String(PORT),
      String(rate),
    ];
    const sender = from.container.start('nice', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    return new Stream(sender, receiver, fromReceiver);
  }

  /** Ends the stream, lets the last packets arrive, and counts. */
  async end(): Promise<StreamReport> {
    const fromSender = linesOf(this.sender);
    this.sender.stdin?.end();
    const sending = await reportOf<Pick<StreamReport, 'sent' | 'failed' | 'latestMilliseconds'>>(
      fromSender,
      'sender',
    );
    this.receiver.stdin?.write(`${sending.sent}\n`);
    const receiving = await reportOf<Omit<StreamReport, keyof typeof sending | 'lost'>>(
      this.fromReceiver,
      'receiver',
    );
    return { ...sending, ...receiving, lost: sending.sent - receiving.received };
  }
}

/** The packets the network itself failed to carry. */
export function lostByNetwork(report: StreamReport): number {
  return report.lost - report.droppedByReceiver;
}

function script(name: 'sender' | 'receiver'): string {
  return join(__dirname, `stream-${name}.mjs`);
}

function linesOf(child: ChildProcess): AsyncIterator<string> {
  return createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
}

async function reportOf<T>(lines: AsyncIterator<string>, who: string): Promise<T> {
  const line = await lines.next();
  if (line.done) throw new Error(`the stream ${who} ended without a report`);
  return JSON.parse(line.value) as T;
}

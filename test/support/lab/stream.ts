/** A steady stream of numbered UDP packets between two containers, and the exact count of what became of them. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { Host } from './host';
import type { Namespace } from './namespace';

const PORT = '7007';
const NODE = process.execPath;

/** What became of numbered packets, as their receiver saw it. */
export interface Receipt {
  readonly received: number;
  /** Packets that never came, apart from those dropped by the receiver itself. */
  readonly lost: number;
  readonly duplicates: number;
  /** Packets that came after one with a higher number. */
  readonly reordered: number;
  /** Runs of missing numbers. */
  readonly gaps: readonly { readonly from: number; readonly count: number }[];
  /** The longest time between two arrivals. */
  readonly longestSilenceMilliseconds: number;
  /** The longest way of one packet, from sender to receiver. */
  readonly slowestMilliseconds: number;
  /** Reached the receiving host and found the receiver's buffer full: not the network's fault. */
  readonly droppedByReceiver: number;
}

export interface StreamReport extends Receipt {
  readonly sent: number;
  /** Of these, packets the sender's own kernel refused to send. */
  readonly failed: number;
  /** By how much the sender was behind its time at worst. */
  readonly latestMilliseconds: number;
}

/** A stream under way. */
export class Stream {
  private constructor(
    private readonly sender: ChildProcess,
    private readonly fromSender: AsyncIterator<string>,
    private readonly receiver: Receiver,
  ) {}

  /** Starts it from one host's container to another's; when this returns, packets flow. Rate: packets a second. */
  static async start(from: Host, to: Host, rate = 1000): Promise<Stream> {
    const receiver = await Receiver.start(to.container);
    const words = ['-n', '-10', NODE, script('stream-sender'), to.containerAddress, PORT, String(rate)];
    const sender = from.container.start('nice', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const fromSender = linesOf(sender);
    if ((await fromSender.next()).value !== 'sending') throw new Error('the stream sender does not send');
    return new Stream(sender, fromSender, receiver);
  }

  /** How many packets it has sent by now. */
  async sent(): Promise<number> {
    this.sender.stdin?.write('count\n');
    return Number((await this.fromSender.next()).value);
  }

  /** Ends the stream, lets the last packets arrive, and counts. */
  async end(): Promise<StreamReport> {
    this.sender.stdin?.end();
    const sending = await reportOf<Omit<StreamReport, keyof Receipt>>(this.fromSender, 'sender');
    return { ...sending, ...(await this.receiver.count(sending.sent)) };
  }
}

/** Takes numbered packets in one namespace. */
export class Receiver {
  private constructor(
    private readonly process: ChildProcess,
    private readonly lines: AsyncIterator<string>,
  ) {}

  /** Starts it; when this returns, it takes every packet. Ahead of other processes, so that its buffer is never full. */
  static async start(namespace: Namespace): Promise<Receiver> {
    const process = namespace.start('nice', ['-n', '-10', NODE, script('stream-receiver'), PORT], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = linesOf(process);
    if ((await lines.next()).value !== 'listening') throw new Error('the stream receiver does not listen');
    return new Receiver(process, lines);
  }

  /** Waits for the packets 0 … `sent` - 1, until none has come for so long, and counts. */
  async count(sent: number, patienceMilliseconds = 500): Promise<Receipt> {
    this.process.stdin?.write(`${sent} ${patienceMilliseconds}\n`);
    const receipt = await reportOf<Omit<Receipt, 'lost'>>(this.lines, 'receiver');
    return { ...receipt, lost: sent - receipt.received - receipt.droppedByReceiver };
  }
}

/**
 * Sends one packet to each address, as fast as it can. `number` is for the receiver: it expects numbers from 0 on.
 */
export async function sendBurst(
  from: Namespace,
  targets: readonly { readonly address: string; readonly number: number }[],
): Promise<{ sent: number; failed: number; milliseconds: number }> {
  const input = targets.map(({ address, number }) => `${address} ${number}`).join('\n');
  const report = await from.run(NODE, [script('burst-sender'), PORT], { input });
  return JSON.parse(report) as { sent: number; failed: number; milliseconds: number };
}

function script(name: string): string {
  return join(__dirname, `${name}.mjs`);
}

function linesOf(child: ChildProcess): AsyncIterator<string> {
  return createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
}

async function reportOf<T>(lines: AsyncIterator<string>, who: string): Promise<T> {
  const line = await lines.next();
  if (line.done) throw new Error(`the stream ${who} ended without a report`);
  return JSON.parse(line.value) as T;
}

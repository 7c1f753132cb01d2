/**
 * Steady streams of numbered UDP packets between containers, and the exact count of what became of them.
 *
 * A stream shows something only if packets were sent at the right time. So nothing here depends on how long a test takes: a
 * stream stays open until a fixed number of packets was sent after the disturbance, the packets sent during it are counted by
 * themselves, and the sender never catches up what it missed.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { Namespace } from './namespace';

const PORT = '7007';
const NODE = process.execPath;
/** So many packets show that a path carries packets: 200 ms of a stream, if its sender is never late. */
const ENOUGH = 200;

/** Where a stream begins or ends: a host of the lab, or any other container. */
export interface Station {
  readonly container: Namespace;
  readonly containerAddress: string;
  readonly name: string;
}

/** A time on the machine's monotonic clock, which all processes share (nanoseconds). */
export type Instant = bigint;

export function now(): Instant {
  return process.hrtime.bigint();
}

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

interface Sending {
  readonly sent: number;
  /** Of these, packets the sender's own kernel refused to send. */
  readonly failed: number;
  /** Of `sent`, those sent while the disturbance lasted. */
  readonly sentMeanwhile: number;
  /** The longest time within the disturbance in which nothing was sent: the sender was late, and nothing is known of that time. */
  readonly longestPauseMilliseconds: number;
}

export interface StreamReport extends Receipt, Sending {
  /** `host 1 → host 2` */
  readonly name: string;
}

/** Streams under way, as what happens meanwhile sees them. */
export interface Traffic {
  /** Resolves once every stream has sent so many more packets: a state of things that lasts until then has been tried. */
  sends(count?: number): Promise<void>;
}

export type Pair = readonly [from: Station, to: Station];

export function bothWays(one: Station, other: Station): Pair[] {
  return [
    [one, other],
    [other, one],
  ];
}

/** Sends packets between these pairs while something happens and for a while after it; what became of them, in the same order. */
export async function streaming(
  pairs: readonly Pair[],
  happen: (traffic: Traffic) => Promise<unknown>,
): Promise<StreamReport[]> {
  const streams: Stream[] = [];
  const traffic = {
    sends: async (count?: number) => void (await Promise.all(streams.map((stream) => stream.sends(count)))),
  };
  let from = now();
  let to = from;
  let reports: StreamReport[];
  try {
    for (const pair of pairs) streams.push(await Stream.start(...pair));
    from = now();
    await happen(traffic);
    to = now();
    await traffic.sends();
  } finally {
    // Also when that failed: the next test could not listen.
    reports = await Promise.all(streams.map((stream) => stream.end({ from, to })));
  }
  return reports;
}

/** The same; throws unless packets were sent on each path while it happened, and every packet arrived. */
export async function withoutLoss(
  pairs: readonly Pair[],
  happen: (traffic: Traffic) => Promise<unknown>,
): Promise<void> {
  const faults = (await streaming(pairs, happen)).flatMap(faultsOf);
  if (faults.length > 0) throw new Error(faults.join('\n'));
}

/** Why a stream does not show that nothing was lost: in words, each with the numbers. */
function faultsOf(report: StreamReport): string[] {
  const { name, sent, lost, failed, duplicates, sentMeanwhile, gaps } = report;
  const runs = gaps.slice(0, 5).map((gap) => `${gap.count} from number ${gap.from} on`);
  return [
    lost > 0 ? `${lost} of ${sent} packets were lost (missing: ${runs.join(', ')})` : '',
    failed > 0 ? `${failed} of ${sent} packets could not be sent` : '',
    duplicates > 0 ? `${duplicates} packets came twice` : '',
    sentMeanwhile === 0 ? 'no packet was sent while it happened, which shows nothing' : '',
  ]
    .filter((fault) => fault !== '')
    .map((fault) => `${name}: ${fault}; ${JSON.stringify({ ...report, gaps: gaps.length })}`);
}

/** One stream under way. */
export class Stream {
  private constructor(
    private readonly name: string,
    private readonly sender: ChildProcess,
    private readonly fromSender: AsyncIterator<string>,
    private readonly receiver: Receiver,
  ) {}

  /** Starts it from one container to another; when this returns, packets flow. Rate: packets a second, never more. */
  static async start(from: Station, to: Station, rate = 1000): Promise<Stream> {
    const receiver = await Receiver.start(to.container);
    const words = ['-n', '-10', NODE, script('stream-sender'), to.containerAddress, PORT, String(rate)];
    const sender = from.container.start('nice', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const fromSender = linesOf(sender);
    if ((await fromSender.next()).value !== 'sending') throw new Error('the stream sender does not send');
    return new Stream(`${from.name} → ${to.name}`, sender, fromSender, receiver);
  }

  /** Resolves once so many more packets were sent. One question at a time. */
  async sends(count = ENOUGH): Promise<void> {
    this.sender.stdin!.write(`sends ${count}\n`);
    await answerOf(this.fromSender, 'sender');
  }

  /** Ends the stream, lets the last packets arrive, and counts; those sent while the disturbance lasted also by themselves. */
  async end(disturbance: { readonly from: Instant; readonly to: Instant }): Promise<StreamReport> {
    this.sender.stdin!.write(`end ${disturbance.from} ${disturbance.to}\n`);
    const sending = JSON.parse(await answerOf(this.fromSender, 'sender')) as Sending;
    return { name: this.name, ...sending, ...(await this.receiver.count(sending.sent)) };
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
  async count(sent: number, patienceMilliseconds = 2_000): Promise<Receipt> {
    this.process.stdin?.write(`${sent} ${patienceMilliseconds}\n`);
    const receipt = JSON.parse(await answerOf(this.lines, 'receiver')) as Omit<Receipt, 'lost'>;
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

async function answerOf(lines: AsyncIterator<string>, who: string): Promise<string> {
  const line = await lines.next();
  if (line.done) throw new Error(`the stream ${who} ended without a report`);
  return line.value;
}

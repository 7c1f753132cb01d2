/** Requests to rtnetlink and their answers: batches of changes, single questions, and dumps that are whole or fail. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RequestSocket } from '../../native';
import { KernelError } from '../model/errors';
import { NLMSG_DONE, NLMSG_ERROR, eachMessage, parseRefusal, type Message } from './message';
import { MessageWriter } from './message-writer';
import { systemErrorOf, type Refusal } from './refusal';

const FLAG_DUMP = 0x300;
const FLAG_INTERRUPTED = 0x10;
/** How often a dump is asked for again that changes interrupted. Each costs milliseconds; changes do not go on for ever. */
const DUMP_ATTEMPTS = 20;

/** Writes one request into the writer it is given, `begin` … `end`, with these flags. */
export type RequestWriter = (writer: MessageWriter, flags: number) => void;

/** Collects the answers to one question. `restart` forgets what came so far: the answers come again. */
export interface Collector {
  restart(): void;
  take(message: Message): void;
}

/** One request socket. Its methods block until the kernel answered, those of a dump for a part at a time. */
export class Rtnetlink {
  readonly #writer = new MessageWriter();

  constructor(private readonly socket: RequestSocket) {}

  /** Whom the kernel names as the author of what this socket changes. */
  get portId(): number {
    return this.socket.portId;
  }

  /** The index of the interface of that name, or undefined: all that a change needs to know of its link, and quickly. */
  indexOf(link: string): number | undefined {
    try {
      return this.socket.interfaceIndex(link) || undefined;
    } catch (error) {
      throw systemErrorOf(`cannot ask the kernel about the interface ${link}`, error);
    }
  }

  /**
   * Sends the requests that `write` writes as one batch, and returns when the kernel has worked them off, with what it
   * refused by index. Throws a {@link KernelError} when it is not known what was done.
   */
  execute(write: (writer: MessageWriter) => void): ReadonlyMap<number, Refusal> {
    return this.askAll(write, () => undefined);
  }

  /**
   * Like {@link execute}, for questions: `take` sees the answers, with the index of the question. Few enough at a time that the
   * answers fit into the receive buffer.
   */
  askAll(
    write: (writer: MessageWriter) => void,
    take: (index: number, message: Message) => void,
  ): ReadonlyMap<number, Refusal> {
    const writer = this.#writer;
    writer.clear();
    write(writer);
    const refusals = new Map<number, Refusal>();
    if (writer.count === 0) return refusals;
    const first = writer.firstSequence;
    const last = writer.count - 1;
    this.#send(writer.finish());
    for (let isDone = false; !isDone;) {
      this.#receive((message) => {
        const index = (message.sequence - first) >>> 0;
        if (index > last) return;
        if (message.type !== NLMSG_ERROR) return take(index, message);
        const refusal = parseRefusal(message);
        if (refusal) refusals.set(index, refusal);
        if (index === last) isDone = true;
      });
    }
    return refusals;
  }

  /** Asks one question; `take` sees the answers. Returns the refusal, if it was refused. */
  ask(request: RequestWriter, take: (message: Message) => void): Refusal | undefined {
    const writer = this.#writer;
    writer.clear();
    request(writer, 0);
    const asked = writer.firstSequence;
    let refusal: Refusal | undefined;
    this.#send(writer.finish());
    for (let isDone = false; !isDone;) {
      this.#receive((message) => {
        if (message.sequence !== asked) return;
        if (message.type === NLMSG_ERROR) {
          isDone = true;
          refusal = parseRefusal(message);
        } else take(message);
      });
    }
    return refusal;
  }

  /**
   * Dumps, letting others have their turn between parts; again if it was interrupted. Never two at a time on one socket.
   * Returns the refusal, if the kernel refuses to dump.
   */
  async dump(
    request: RequestWriter,
    collector: Collector,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      signal.throwIfAborted();
      const dump = this.#beginDump(request, collector);
      // To its end even if the signal aborts: a dump left in progress would be in the way of the next.
      for (;;) {
        this.#receive(dump.take);
        if (dump.isDone) break;
        await nextTurn();
      }
      if (!dump.isInterrupted) return dump.refusal;
    }
    throw interrupted();
  }

  close(): void {
    this.socket.close();
  }

  #beginDump(request: RequestWriter, collector: Collector) {
    const writer = this.#writer;
    writer.clear();
    collector.restart();
    request(writer, FLAG_DUMP);
    const asked = writer.firstSequence;
    const dump = {
      isDone: false,
      isInterrupted: false,
      refusal: undefined as Refusal | undefined,
      take: (message: Message) => {
        if (message.sequence !== asked) return;
        if (message.flags & FLAG_INTERRUPTED) dump.isInterrupted = true;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          dump.isDone = true;
          dump.refusal = parseRefusal(message);
        } else collector.take(message);
      },
    };
    this.#send(writer.messages);
    return dump;
  }

  #send(messages: Buffer): void {
    try {
      this.socket.send(messages);
    } catch (error) {
      throw systemErrorOf('cannot ask the kernel', error);
    }
  }

  #receive(take: (message: Message) => void): void {
    let answers: Buffer;
    try {
      answers = this.socket.receive();
    } catch (error) {
      throw systemErrorOf('no answer from the kernel', error);
    }
    eachMessage(answers, take);
  }
}

function interrupted(): KernelError {
  return new KernelError('EINTR', `the kernel's tables changed during each of ${DUMP_ATTEMPTS} dumps`);
}

/** Requests to nf_tables: transactions, of which all or nothing is done, and dumps. */
import type { RequestSocket } from '../../native';
import { openRequestSocket } from '../../native';
import { KernelError } from '../model/errors';
import { Protocol } from './constants';
import { NLMSG_DONE, NLMSG_ERROR, eachMessage, parseRefusal, type Message } from './message';
import { MessageWriter } from './message-writer';
import { kernelErrorOf, systemErrorOf, type Refusal } from './refusal';

/** linux/netfilter/nfnetlink.h */
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFNL_SUBSYS_NFTABLES = 10;
/** struct nfgenmsg: family, version, and a number in network byte order. */
const HEADER = 4;
/** NFPROTO_INET: rules for both families. */
const FAMILY_INET = 1;
const FLAG_DUMP = 0x300;
const FLAG_INTERRUPTED = 0x10;
const DUMP_ATTEMPTS = 20;
const REQUEST_BUFFER_BYTES = 4 << 20;
const ANSWER_MILLISECONDS = 5_000;

/** Writes a message of this type, with what `write` writes into it. */
export type Put = (type: number, flags: number, write: (writer: MessageWriter) => void) => void;

/** Opens nf_tables of the network namespace this process is in. */
export function openNfnetlink(): Nfnetlink {
  try {
    return new Nfnetlink(
      openRequestSocket({
        protocol: Protocol.NETFILTER,
        receiveBufferBytes: REQUEST_BUFFER_BYTES,
        timeoutMilliseconds: ANSWER_MILLISECONDS,
      }),
    );
  } catch (error) {
    throw systemErrorOf('cannot open a netfilter socket', error);
  }
}

/** One request socket. Its methods block until the kernel answered, and throw a {@link KernelError}. */
export class Nfnetlink {
  readonly #writer = new MessageWriter();

  constructor(private readonly socket: RequestSocket) {}

  /** Whom the kernel names as the author of what this socket changes. */
  get portId(): number {
    return this.socket.portId;
  }

  /** Carries out all that `write` writes at once, or, when one of it is refused, nothing; `what` is for the error. */
  transact(what: string, write: (put: Put) => void): void {
    const writer = this.#writer;
    writer.clear();
    this.#bound(NFNL_MSG_BATCH_BEGIN);
    write((type, flags, content) => this.#put(type, flags, content));
    // Only newer kernels answer to the end of a batch.
    writer.acknowledge();
    const first = writer.firstSequence;
    const last = writer.count - 1;
    this.#bound(NFNL_MSG_BATCH_END);
    this.#send(writer.messages);
    let refusal: Refusal | undefined;
    for (let isDone = false; !isDone;) {
      this.#receive((message) => {
        const index = (message.sequence - first) >>> 0;
        if (message.type !== NLMSG_ERROR || index > last) return;
        const refused = parseRefusal(message);
        refusal ??= refused;
        // What is refused altogether is refused by its first message.
        if (index === last || (index === 0 && refused)) isDone = true;
      });
    }
    if (refusal) throw refusalOf(what, refusal);
  }

  /**
   * Dumps what `write` asks for. All at once, so that nothing of ours comes between its parts, and again if somebody else's
   * change did; a dump that is about nothing that exists is empty.
   */
  dump(what: string, type: number, write: (writer: MessageWriter) => void): Message[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const writer = this.#writer;
      writer.clear();
      this.#put(type, FLAG_DUMP, write);
      const asked = writer.firstSequence;
      const messages: Message[] = [];
      let isInterrupted = false;
      let refusal: Refusal | undefined;
      this.#send(writer.messages);
      for (let isDone = false; !isDone;) {
        this.#receive((message) => {
          if (message.sequence !== asked) return;
          if (message.flags & FLAG_INTERRUPTED) isInterrupted = true;
          if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
            isDone = true;
            refusal = parseRefusal(message);
          } else messages.push(message);
        });
      }
      const error = refusal && refusalOf(what, refusal);
      if (error?.code === 'ENOENT') return [];
      if (error && error.code !== 'EINTR') throw error;
      if (!error && !isInterrupted) return messages;
    }
    throw new KernelError('EINTR', `${what}: the rules changed during each of ${DUMP_ATTEMPTS} dumps`);
  }

  close(): void {
    this.socket.close();
  }

  #put(type: number, flags: number, write: (writer: MessageWriter) => void): void {
    this.#writer.begin((NFNL_SUBSYS_NFTABLES << 8) | type, flags, HEADER);
    this.#writer.headerU8(0, FAMILY_INET);
    write(this.#writer);
    this.#writer.end();
  }

  #bound(type: number): void {
    this.#writer.begin(type, 0, HEADER);
    this.#writer.headerU8(HEADER - 1, NFNL_SUBSYS_NFTABLES);
    this.#writer.end();
  }

  #send(messages: Buffer): void {
    try {
      this.socket.send(messages);
    } catch (error) {
      throw systemErrorOf('cannot ask nf_tables', error);
    }
  }

  #receive(take: (message: Message) => void): void {
    let answers: Buffer;
    try {
      answers = this.socket.receive();
    } catch (error) {
      throw systemErrorOf('no answer from nf_tables', error);
    }
    eachMessage(answers, take);
  }
}

function refusalOf(what: string, refusal: Refusal): KernelError {
  const error = kernelErrorOf(what, refusal);
  if (error.code !== 'EOPNOTSUPP') return error;
  return new KernelError(error.code, `${what}: this kernel has no nf_tables`, error.detail, { cause: error });
}

import type { RequestSocket } from '../../native';
import { MessageType } from '../../src/kernel/constants';
import type { MessageWriter } from '../../src/kernel/message-writer';
import type { Message } from '../../src/kernel/message';
import { Rtnetlink, type Collector } from '../../src/kernel/rtnetlink';
import { KernelError } from '../../src/model/errors';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const FLAG_INTERRUPTED = 0x10;
const FLAG_CAPPED_WITH_TEXT = 0x300;
const EEXIST = 17;

/** A kernel that answers what it is told to. */
class ScriptedSocket implements RequestSocket {
  readonly portId = 1;
  readonly sent: Buffer[] = [];
  isClosed = false;

  /** `answer` gets the sequence numbers of what was sent, and gives the datagrams that come back. */
  constructor(private readonly answer: (sequences: number[], round: number) => (Buffer | Error)[]) {}
  #waiting: (Buffer | Error)[] = [];

  send(messages: Uint8Array): void {
    const bytes = Buffer.from(messages);
    this.sent.push(bytes);
    const sequences: number[] = [];
    for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at))
      sequences.push(bytes.readUInt32LE(at + 8));
    this.#waiting.push(...this.answer(sequences, this.sent.length));
  }

  receive(): Buffer {
    const next = this.#waiting.shift();
    if (!next) throw Object.assign(new Error('recv: EAGAIN'), { code: 'EAGAIN' });
    if (next instanceof Error) throw next;
    return next;
  }

  interfaceIndex(): number {
    throw new Error('nobody asks for an interface here');
  }

  close(): void {
    this.isClosed = true;
  }
}

function messageOf(type: number, sequence: number, flags = 0, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + payload.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, payload]);
}

/** An error or acknowledgement: errno, the request's header, and perhaps a text. */
function errorOf(sequence: number, errno: number, text?: string): Buffer {
  const payload = Buffer.alloc(20);
  payload.writeInt32LE(-errno, 0);
  if (text === undefined) return messageOf(NLMSG_ERROR, sequence, 0x100, payload);
  const value = Buffer.from(`${text}\0`);
  const attribute = Buffer.alloc((4 + value.length + 3) & ~3);
  attribute.writeUInt16LE(4 + value.length, 0);
  attribute.writeUInt16LE(1, 2);
  value.copy(attribute, 4);
  return messageOf(NLMSG_ERROR, sequence, FLAG_CAPPED_WITH_TEXT, Buffer.concat([payload, attribute]));
}

function doneOf(sequence: number, errno = 0, flags = 0): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeInt32LE(-errno, 0);
  return messageOf(NLMSG_DONE, sequence, flags, payload);
}

const answerOf = (sequence: number, value: number, flags = 0) =>
  messageOf(MessageType.NEWLINK, sequence, flags, Buffer.from([value, 0, 0, 0]));

const question = (writer: MessageWriter, flags: number) => {
  writer.begin(MessageType.GETLINK, flags, 16);
  writer.end();
};

function collector(): Collector & { values: number[] } {
  const values: number[] = [];
  return {
    values,
    restart: () => void values.splice(0),
    take: ({ buffer, start }: Message) => void values.push(buffer[start]!),
  };
}

const signal = new AbortController().signal;

describe('a batch', () => {
  const write = (count: number) => (writer: MessageWriter) => {
    for (let n = 0; n < count; n++) question(writer, 0);
  };

  test('is sent at once, and is done when its last message is acknowledged', () => {
    const socket = new ScriptedSocket((sequences) => [errorOf(sequences.at(-1)!, 0)]);
    expect(new Rtnetlink(socket).execute(write(100)).size).toBe(0);
    expect(socket.sent).toHaveLength(1);
  });

  test('names by position what was refused, with the words of the kernel', () => {
    const socket = new ScriptedSocket((sequences) => [
      errorOf(sequences[1]!, EEXIST, 'it is there already'),
      errorOf(sequences[3]!, EEXIST),
    ]);
    const refusals = new Rtnetlink(socket).execute(write(4));
    expect([...refusals]).toEqual([
      [1, { errno: EEXIST, detail: 'it is there already' }],
      [3, { errno: EEXIST, detail: undefined }],
    ]);
  });

  test('without messages is not sent', () => {
    const socket = new ScriptedSocket(() => []);
    expect(new Rtnetlink(socket).execute(() => undefined).size).toBe(0);
    expect(socket.sent).toEqual([]);
  });

  test('does not take a late answer for its own', () => {
    const late = errorOf(1, EEXIST);
    const socket = new ScriptedSocket((sequences, round) =>
      round === 1 ? [] : [late, errorOf(sequences.at(-1)!, 0)],
    );
    const netlink = new Rtnetlink(socket);
    expect(() => netlink.execute(write(1))).toThrow(KernelError);
    expect(netlink.execute(write(1)).size).toBe(0);
  });

  test('without answer throws with the errno', () => {
    const lost = Object.assign(new Error('recv: ENOBUFS'), { code: 'ENOBUFS' });
    const netlink = new Rtnetlink(new ScriptedSocket(() => [lost]));
    expect(() => netlink.execute(write(1))).toThrow(expect.objectContaining({ code: 'ENOBUFS' }) as Error);
  });
});

describe('a dump', () => {
  test('is read in parts to its end', async () => {
    const socket = new ScriptedSocket(([sequence]) => [
      Buffer.concat([answerOf(sequence!, 1), answerOf(sequence!, 2)]),
      answerOf(sequence!, 3),
      doneOf(sequence!),
    ]);
    const found = collector();
    expect(await new Rtnetlink(socket).dump(question, found, signal)).toBeUndefined();
    expect(found.values).toEqual([1, 2, 3]);
  });

  test.each(['in a part', 'at its end'])(
    'that was interrupted, told %s, is asked for again',
    async (where) => {
      const socket = new ScriptedSocket(([sequence], round) => {
        if (round === 3) return [answerOf(sequence!, 7), doneOf(sequence!)];
        return where === 'in a part'
          ? [answerOf(sequence!, round, FLAG_INTERRUPTED), answerOf(sequence!, 9), doneOf(sequence!)]
          : [answerOf(sequence!, round), doneOf(sequence!, 0, FLAG_INTERRUPTED)];
      });
      const found = collector();
      await new Rtnetlink(socket).dump(question, found, signal);
      expect(found.values).toEqual([7]);
      expect(socket.sent).toHaveLength(3);
    },
  );

  test('that is interrupted each time fails in the end', async () => {
    const socket = new ScriptedSocket(([sequence]) => [doneOf(sequence!, 0, FLAG_INTERRUPTED)]);
    await expect(new Rtnetlink(socket).dump(question, collector(), signal)).rejects.toMatchObject({
      code: 'EINTR',
    });
    expect(socket.sent.length).toBeLessThan(100);
  });

  test('that fails says so, whether at its beginning or at its end', async () => {
    const refused = new Rtnetlink(
      new ScriptedSocket(([sequence]) => [errorOf(sequence!, 22, 'no such filter')]),
    );
    expect(await refused.dump(question, collector(), signal)).toEqual({
      errno: 22,
      detail: 'no such filter',
    });
    const failed = new Rtnetlink(
      new ScriptedSocket(([sequence]) => [answerOf(sequence!, 1), doneOf(sequence!, 12)]),
    );
    expect(await failed.dump(question, collector(), signal)).toEqual({ errno: 12, detail: undefined });
  });

  test('does not begin when the signal has aborted', async () => {
    const socket = new ScriptedSocket(() => []);
    const aborted = AbortSignal.abort(new Error('enough'));
    await expect(new Rtnetlink(socket).dump(question, collector(), aborted)).rejects.toThrow('enough');
    expect(socket.sent).toEqual([]);
  });
});

describe('a question', () => {
  test('is answered, and then acknowledged', () => {
    const socket = new ScriptedSocket(([sequence]) => [answerOf(sequence!, 5), errorOf(sequence!, 0)]);
    const answers: number[] = [];
    const refusal = new Rtnetlink(socket).ask(question, ({ buffer, start }) => answers.push(buffer[start]!));
    expect([refusal, answers]).toEqual([undefined, [5]]);
  });

  test('can be refused', () => {
    const socket = new ScriptedSocket(([sequence]) => [errorOf(sequence!, 19)]);
    expect(new Rtnetlink(socket).ask(question, () => undefined)).toEqual({ errno: 19, detail: undefined });
  });
});

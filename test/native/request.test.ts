import { execFileSync } from 'node:child_process';
import { openRequestSocket, type RequestSocket } from '../../native';
import { seedElse } from '../support/long';
import { sendForeign } from './support/foreigner';
import {
  NLMSG_DONE,
  NLMSG_ERROR,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  RTM_GETLINK,
  RTM_GETNEIGH,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  attribute,
  errorOf,
  getLink,
  getNeighbors,
  interfaceIndexOf,
  message,
  messagesOf,
  putNeighbor,
  type Message,
} from './support/messages';
import { addLink, removeLink, requirePrivateNamespace, resultOf } from './support/namespace';
import { thrownBy } from './support/thrown-by';

const LINK = 'vn-request';
const OPTIONS = { protocol: 0, receiveBufferBytes: 4 << 20, timeoutMilliseconds: 200 };
const EINVAL = 22;
let index: number;
let socket: RequestSocket;

beforeAll(() => {
  requirePrivateNamespace();
  index = addLink(LINK);
});
afterAll(() => removeLink(LINK));
beforeEach(() => {
  socket = openRequestSocket(OPTIONS);
});
afterEach(() => socket.close());

/** All answers up to the one that ends them for that sequence number. */
function answers(sequence: number, from = socket): Message[] {
  const received: Message[] = [];
  for (;;) {
    received.push(...messagesOf(from.receive()));
    const last = received.at(-1);
    if (last?.sequence === sequence && (last.type === NLMSG_DONE || last.type === NLMSG_ERROR))
      return received;
  }
}

/** Takes whatever is there; all of it must be whole messages. */
function drain(from: RequestSocket): void {
  const error = thrownBy(() => {
    for (;;) messagesOf(from.receive());
  });
  expect(error).toMatchObject({ code: 'EAGAIN' });
}

test('A question is answered to the port that the socket names', () => {
  socket.send(getLink(7, NLM_F_ACK, index));
  const [link, end] = answers(7);
  expect(link).toMatchObject({ type: RTM_NEWLINK, sequence: 7, portId: socket.portId });
  expect(interfaceIndexOf(link as Message)).toBe(index);
  expect(errorOf(end)).toBe(0);
});

test('One datagram may hold many requests, executed in order when send returns', () => {
  const count = 2000;
  socket.send(Buffer.concat(Array.from({ length: count }, (_, i) => putNeighbor(index, i, 1, i + 1, true))));
  const shown = execFileSync('ip', ['-4', 'neigh', 'show', 'dev', LINK, 'nud', 'permanent'], {
    encoding: 'utf8',
  });
  expect(shown.trim().split('\n')).toHaveLength(count);
  const received = answers(count);
  expect(received.map(({ sequence }) => sequence)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  expect(new Set(received.map(errorOf))).toEqual(new Set([0]));
});

test('A dump longer than what one receive takes arrives whole, in parts of whole messages', () => {
  const count = 6000;
  socket.send(Buffer.concat(Array.from({ length: count }, (_, i) => putNeighbor(index, i, 2))));
  socket.send(getNeighbors(9, index));
  const received: Message[] = [];
  let parts = 0;
  for (; received.at(-1)?.type !== NLMSG_DONE; parts++) {
    const part = socket.receive();
    expect(part.length).toBeLessThanOrEqual(512 << 10);
    received.push(...messagesOf(part));
  }
  expect(parts).toBeGreaterThan(1);
  const neighbors = received.filter(({ type, payload }) => type === RTM_NEWNEIGH && payload[0] === 2);
  expect(neighbors).toHaveLength(count);
});

test('A refusal carries the reason in words, and no copy of the request', () => {
  // Attribute 59 does not exist.
  socket.send(
    message(RTM_GETLINK, NLM_F_REQUEST, 3, Buffer.concat([Buffer.alloc(16), attribute(59, Buffer.alloc(4))])),
  );
  // Neighbor entry without a destination.
  const header = Buffer.alloc(12);
  header[0] = 2;
  header.writeInt32LE(index, 4);
  socket.send(message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK, 4, header));
  const refusal = answers(4).at(-1) as Message;
  expect(errorOf(refusal)).toBe(EINVAL);
  expect(refusal.flags & (NLM_F_CAPPED | NLM_F_ACK_TLVS)).toBe(NLM_F_CAPPED | NLM_F_ACK_TLVS);
  expect(refusal.payload.toString('latin1')).toContain('Network address not specified');
});

test('The kernel checks dump requests strictly', () => {
  const header = Buffer.alloc(12);
  header.writeUInt16LE(0x80, 8);
  socket.send(message(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 5, header));
  expect(errorOf(answers(5).at(-1))).toBe(EINVAL);
});

test('Without an answer, receive throws EAGAIN after the timeout', () => {
  const start = performance.now();
  expect(thrownBy(() => socket.receive())).toMatchObject({ code: 'EAGAIN', errno: -11, syscall: 'recvfrom' });
  expect(performance.now() - start).toBeGreaterThanOrEqual(199);
});

test('A timeout of 0 does not wait, and still takes what is there', () => {
  const impatient = openRequestSocket({ ...OPTIONS, timeoutMilliseconds: 0 });
  try {
    expect(thrownBy(() => impatient.receive())).toMatchObject({ code: 'EAGAIN' });
    impatient.send(getLink(1, NLM_F_ACK, index));
    expect(answers(1, impatient)).toHaveLength(2);
  } finally {
    impatient.close();
  }
});

test('Signals neither cut the wait short nor prolong it: it ends although they keep coming', async () => {
  const { code, milliseconds } = await resultOf('interrupted-wait');
  expect(code).toBe('EAGAIN');
  expect(milliseconds).toBeGreaterThanOrEqual(499);
});

test('Lost answers are ENOBUFS once, and the socket works on', () => {
  const small = openRequestSocket({ ...OPTIONS, receiveBufferBytes: 4096 });
  try {
    const count = 500;
    small.send(Buffer.concat(Array.from({ length: count }, (_, i) => putNeighbor(index, i, 3, i + 1, true))));
    expect(thrownBy(() => small.receive())).toMatchObject({ code: 'ENOBUFS', syscall: 'recvfrom' });
    const rest = messagesOf(small.receive());
    expect(rest.length).toBeLessThan(count);
    expect(thrownBy(() => small.receive())).toMatchObject({ code: 'EAGAIN' });
    small.send(getLink(900, NLM_F_ACK, index));
    expect(errorOf(answers(900, small).at(-1))).toBe(0);
  } finally {
    small.close();
  }
});

test('Two sockets have ports and answers of their own', () => {
  const other = openRequestSocket(OPTIONS);
  try {
    expect(other.portId).not.toBe(socket.portId);
    socket.send(getLink(1, NLM_F_ACK, index));
    other.send(getLink(2, NLM_F_ACK, index));
    const first = socket.receive();
    const second = other.receive();
    expect(new Set(messagesOf(first).map(({ sequence }) => sequence))).toEqual(new Set([1]));
    expect(new Set(messagesOf(second).map(({ sequence }) => sequence))).toEqual(new Set([2]));
  } finally {
    other.close();
  }
});

test('Protocol 16 is generic netlink', () => {
  const generic = openRequestSocket({ ...OPTIONS, protocol: 16 });
  try {
    const name = attribute(2, Buffer.from('nlctrl\0'));
    generic.send(message(16, NLM_F_REQUEST, 1, Buffer.concat([Buffer.from([3, 1, 0, 0]), name])));
    expect(messagesOf(generic.receive())[0]?.payload.toString('latin1')).toContain('nlctrl');
  } finally {
    generic.close();
  }
});

test('After close the methods throw EBADF, and closing again does nothing', () => {
  socket.close();
  socket.close();
  expect(thrownBy(() => socket.receive())).toMatchObject({ code: 'EBADF' });
  expect(thrownBy(() => socket.send(getLink(1, 0, index)))).toMatchObject({ code: 'EBADF' });
  expect(thrownBy(() => socket.interfaceIndex(LINK))).toMatchObject({ code: 'EBADF' });
});

test('An interface has its index by its name, and only by that', () => {
  execFileSync('ip', ['link', 'property', 'add', 'dev', LINK, 'altname', 'vn-other-name']);
  expect(socket.interfaceIndex(LINK)).toBe(index);
  const others = [
    'vn-other-name',
    'vn-nowhere',
    '',
    `${LINK}\0`,
    `${LINK}\0x`,
    'x'.repeat(16),
    'x'.repeat(5_000),
  ];
  for (const name of others) expect(socket.interfaceIndex(name)).toBe(0);
  expect(thrownBy(() => socket.interfaceIndex(7 as unknown as string))).toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
  });
});

test('An interface that takes the place or the name of another has the index of its own', () => {
  const [first, second, moved] = ['vn-first', 'vn-second', 'vn-moved'];
  const rename = (from: string, to: string) => execFileSync('ip', ['link', 'set', from, 'down', 'name', to]);
  const indexes = (...names: string[]) => names.map((name) => socket.interfaceIndex(name));
  const before = addLink(first);
  expect(indexes(first)).toEqual([before]);
  rename(first, moved);
  expect(indexes(first, moved)).toEqual([0, before]);
  const after = addLink(second);
  rename(second, first);
  expect(indexes(moved, first, moved)).toEqual([before, after, before]);
  removeLink(moved);
  expect(indexes(moved, first)).toEqual([0, after]);
  removeLink(first);
  expect(indexes(first)).toEqual([0]);
});

test('A protocol the kernel does not have is refused with the name of the call', () => {
  const error = thrownBy(() => openRequestSocket({ ...OPTIONS, protocol: 31 }));
  expect(error).toMatchObject({ code: 'EPROTONOSUPPORT', syscall: 'socket' });
  expect(String(error)).toBe('Error: EPROTONOSUPPORT: Protocol not supported, socket');
});

test.each([
  ['nothing', undefined],
  ['a number', 1],
  ['null', null],
  ['no protocol', { ...OPTIONS, protocol: undefined }],
  ['a protocol in words', { ...OPTIONS, protocol: 'route' }],
  ['half a protocol', { ...OPTIONS, protocol: 0.5 }],
  ['a negative protocol', { ...OPTIONS, protocol: -1 }],
  ['no number as protocol', { ...OPTIONS, protocol: NaN }],
  ['a receive buffer of nothing', { ...OPTIONS, receiveBufferBytes: 0 }],
  ['a receive buffer above 1 GiB', { ...OPTIONS, receiveBufferBytes: 2 ** 31 }],
  ['endless patience', { ...OPTIONS, timeoutMilliseconds: Infinity }],
  ['negative patience', { ...OPTIONS, timeoutMilliseconds: -1 }],
])('openRequestSocket refuses %s as options', (_what, options) => {
  expect(thrownBy(() => openRequestSocket(options as typeof OPTIONS))).toMatchObject({
    code: expect.stringMatching(/^ERR_(INVALID_ARG_TYPE|OUT_OF_RANGE)$/) as string,
  });
});

test('An exception of the options themselves comes through', () => {
  const options = {
    ...OPTIONS,
    get protocol(): number {
      throw new Error('mine');
    },
  };
  expect(() => openRequestSocket(options)).toThrow('mine');
});

test.each([
  ['nothing', undefined],
  ['a string', 'RTM_GETLINK'],
  ['an array', [1, 2, 3]],
  ['16-bit numbers', new Uint16Array(16)],
  ['a view', new DataView(new ArrayBuffer(16))],
])('send refuses %s', (_what, messages) => {
  expect(thrownBy(() => socket.send(messages as unknown as Uint8Array))).toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
  });
});

test('A method does not work on an object it does not belong to', () => {
  for (const other of [{}, undefined, 1, Object.create(socket) as object]) {
    expect(thrownBy(() => socket.receive.call(other))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  }
});

test('What is too long for one datagram is EMSGSIZE, what is empty ENODATA, and the socket works on', () => {
  expect(thrownBy(() => socket.send(Buffer.alloc(64 << 20)))).toMatchObject({
    code: 'EMSGSIZE',
    syscall: 'sendto',
  });
  expect(thrownBy(() => socket.send(Buffer.alloc(0)))).toMatchObject({ code: 'ENODATA', syscall: 'sendto' });
  socket.send(getLink(2, NLM_F_ACK, index));
  expect(errorOf(answers(2).at(-1))).toBe(0);
});

test('Requests that lie about their length or are cut off leave a working socket', () => {
  const impatient = openRequestSocket({ ...OPTIONS, timeoutMilliseconds: 0 });
  const types = [0, 1, 2, 3, 4, 15, RTM_GETLINK, RTM_GETNEIGH, 26, 22, 0x7ff0, 0xffff];
  const lengths = [0, 1, 15, 16, 17, 31, 64, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff];
  let seed = seedElse(1, 'native/request');
  const random = (below: number): number => (seed = (seed * 48271) % 0x7fffffff) % below;
  const pick = (values: readonly number[]): number => values[random(values.length)] ?? 0;
  for (let round = 1; round <= 5000; round++) {
    const header = message(pick(types), random(0x1000), round, Buffer.alloc(16));
    header.writeUInt32LE(pick(lengths));
    const datagram = Buffer.alloc(1 + random(200), random(256));
    header.copy(datagram);
    impatient.send(datagram);
    if (round % 100 === 0) drain(impatient);
  }
  impatient.send(getLink(0xfeed, NLM_F_ACK, index));
  expect(errorOf(answers(0xfeed, impatient).at(-1))).toBe(0);
  impatient.close();
});

test('Datagrams of other processes are not taken for answers', async () => {
  await sendForeign({ port: socket.portId }, 200);
  expect(thrownBy(() => socket.receive())).toMatchObject({ code: 'EAGAIN' });
  await sendForeign({ port: socket.portId }, 20);
  socket.send(getLink(1, NLM_F_ACK, index));
  const received = answers(1);
  expect(received.map(({ type }) => type)).toEqual([RTM_NEWLINK, NLMSG_ERROR]);
});

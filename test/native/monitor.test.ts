import { setImmediate as nextTurn } from 'node:timers/promises';
import { openMonitor, openRequestSocket, type Monitor, type RequestSocket } from '../../native';
import { until } from '../support/lab/until';
import { sendForeign } from './support/foreigner';
import {
  RTM_DELLINK,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  generationOf,
  interfaceIndexOf,
  messagesOf,
  putNeighbor,
} from './support/messages';
import { addLink, removeLink, requirePrivateNamespace, resultOf, runProgram } from './support/namespace';

const LINK = 'vn-monitor';
const OPTIONS = { protocol: 0, groups: [RTNLGRP_NEIGH], receiveBufferBytes: 8 << 20 };
/** Several times what this buffer holds: sent in one go, while the event loop stands still, this many surely overrun it. */
const SMALL_BUFFER_BYTES = 32 << 10;
const TOO_MANY = 2000;
let index: number;
let socket: RequestSocket;
let monitor: Monitor | undefined;

type Call = { readonly generations: readonly number[]; readonly bytes: number } | 'overrun';

beforeAll(() => {
  requirePrivateNamespace();
  index = addLink(LINK);
  socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 1 << 20, timeoutMilliseconds: 1000 });
});
afterAll(() => {
  socket.close();
  removeLink(LINK);
});
afterEach(() => monitor?.close());

/** Changes one neighbor that many times; each change is a notification. */
function change(count: number, firstGeneration: number): void {
  for (let done = 0; done < count; done += 1000) {
    const length = Math.min(1000, count - done);
    socket.send(
      Buffer.concat(Array.from({ length }, (_, i) => putNeighbor(index, 1, firstGeneration + done + i))),
    );
  }
}

/** A monitor that records its calls, as far as they are about changes of ours to our link. */
function record(
  options: Partial<typeof OPTIONS> & { filter?: Parameters<typeof openMonitor>[0]['filter'] } = {},
): Call[] {
  const calls: Call[] = [];
  monitor = openMonitor({ ...OPTIONS, ...options }, (buffer, overrun) => {
    expect(overrun).toBe(buffer === null);
    if (buffer === null) {
      calls.push('overrun');
      return;
    }
    const ours = messagesOf(buffer).filter(
      (m) => m.portId === socket.portId && interfaceIndexOf(m) === index,
    );
    if (ours.length > 0) calls.push({ generations: ours.map(generationOf), bytes: buffer.length });
  });
  return calls;
}

function generationsIn(calls: readonly Call[]): number[] {
  return calls.flatMap((call) => (call === 'overrun' ? [] : call.generations));
}

/** A matcher of errors with these properties. */
const errorLike = (properties: object): Error => expect.objectContaining(properties) as Error;

const numbers = (count: number, first: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i);

test('Changes are reported in order, whole, and marked with the port of their author', async () => {
  const calls = record();
  change(500, 100);
  await until('500 notifications', () => generationsIn(calls).length === 500);
  expect(generationsIn(calls)).toEqual(numbers(500, 100));
  // They were all waiting: one call brings them.
  expect(calls).toHaveLength(1);
});

test('More than 1 MiB comes in several calls, between which the event loop turns', async () => {
  const count = 40_000;
  const calls = record({ receiveBufferBytes: 128 << 20 });
  const turns: number[] = [];
  change(count, 1000);
  while (generationsIn(calls).length < count && !calls.includes('overrun')) {
    turns.push(calls.length);
    await nextTurn();
  }
  expect(generationsIn(calls)).toEqual(numbers(count, 1000));
  for (const call of calls) expect(call).toHaveProperty('bytes', expect.any(Number));
  expect(Math.max(...calls.map((call) => (call === 'overrun' ? Infinity : call.bytes)))).toBeLessThanOrEqual(
    1 << 20,
  );
  // Each turn of the loop saw at most one call more.
  expect(turns.every((seen, i) => seen - (turns[i - 1] ?? 0) <= 1)).toBe(true);
  expect(calls.length).toBeGreaterThan(2);
});

test('An overrun is reported after what came before it, and the monitor lives on', async () => {
  const calls = record({ receiveBufferBytes: SMALL_BUFFER_BYTES });
  for (let round = 0; round < 20; round++) {
    calls.length = 0;
    change(TOO_MANY, 10_000 * (round + 1));
    await until('an overrun', () => calls.includes('overrun'));
    expect(calls.indexOf('overrun')).toBe(1);
    const seen = generationsIn(calls);
    expect(seen.length).toBeLessThan(TOO_MANY);
    expect(seen).toEqual(numbers(seen.length, 10_000 * (round + 1)));
    change(1, 7);
    await until('the change after the overrun', () => generationsIn(calls).includes(7));
  }
});

test('A filter runs in the kernel: what it refuses does not even fill the buffer', async () => {
  // ldh [4] (nlmsg_type, read as big-endian); jeq RTM_NEWNEIGH; accept all of it, or nothing.
  const only = (type: number): [number, number, number, number][] => [
    [0x28, 0, 0, 4],
    [0x15, 0, 1, ((type & 0xff) << 8) | (type >> 8)],
    [0x06, 0, 0, 0xffffffff],
    [0x06, 0, 0, 0],
  ];
  const calls = record({ filter: only(RTM_NEWNEIGH) });
  const refused: Call[] = [];
  const deaf = openMonitor({ ...OPTIONS, receiveBufferBytes: SMALL_BUFFER_BYTES, filter: only(999) }, () => {
    refused.push('overrun');
  });
  change(TOO_MANY, 500);
  await until('the notifications', () => generationsIn(calls).length === TOO_MANY);
  deaf.close();
  expect(refused).toEqual([]);
});

test('Messages of other processes to the group are not reported', async () => {
  const types: number[] = [];
  const indexes = new Set<number>();
  let overruns = 0;
  monitor = openMonitor({ ...OPTIONS, groups: [RTNLGRP_LINK], receiveBufferBytes: 32 << 20 }, (buffer) => {
    if (buffer === null) overruns++;
    for (const each of messagesOf(buffer ?? Buffer.alloc(0))) {
      types.push(each.type);
      indexes.add(interfaceIndexOf(each));
    }
  });
  await sendForeign({ groups: 1 << (RTNLGRP_LINK - 1) }, 1000);
  // What the kernel tells comes after what they sent.
  const mark = addLink('vn-mark');
  removeLink('vn-mark');
  await until('the mark', () => indexes.has(mark));
  // Other test files' links come and go meanwhile: what there is must be the kernel's.
  expect(types.filter((type) => type !== RTM_NEWLINK && type !== RTM_DELLINK)).toEqual([]);
  expect(overruns).toBe(0);
});

test('Closed in its callback, it does not call again, even with an overrun to report', async () => {
  let calls = 0;
  const closing = openMonitor({ ...OPTIONS, receiveBufferBytes: SMALL_BUFFER_BYTES }, () => {
    calls++;
    closing.close();
  });
  change(TOO_MANY, 2);
  await until('a call', () => calls > 0);
  change(10, 1);
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  expect(calls).toBe(1);
});

test('Closed with messages waiting, it does not call at all; the methods then do nothing', async () => {
  let calls = 0;
  const closed = openMonitor(OPTIONS, () => calls++);
  change(100, 3);
  closed.close();
  closed.close();
  closed.ref();
  closed.unref();
  change(100, 3);
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  expect(calls).toBe(0);
});

test('A callback may open and close other monitors', async () => {
  const others: Monitor[] = [];
  monitor = openMonitor(OPTIONS, () => {
    others.push(openMonitor(OPTIONS, () => undefined));
    others.shift()?.close();
    const other: Monitor = openMonitor(OPTIONS, () => other.close());
    others.push(other);
  });
  for (let round = 0; round < 50; round++) {
    change(10, round * 10);
    await nextTurn();
  }
  for (const other of others) other.close();
  expect(others.length).toBeGreaterThan(0);
});

test('A group that does not exist is refused', () => {
  for (const group of [0, 5000, 2 ** 31 - 1]) {
    expect(() => openMonitor({ ...OPTIONS, groups: [group] }, () => undefined)).toThrow(
      errorLike({ code: 'EINVAL', syscall: 'setsockopt' }),
    );
  }
});

test('A filter that is no program is refused', () => {
  for (const filter of [[], [[0x28, 0, 0, 4]], [[0xffff, 255, 255, 0xffffffff]]] as [
    number,
    number,
    number,
    number,
  ][][]) {
    expect(() => openMonitor({ ...OPTIONS, filter }, () => undefined)).toThrow(
      errorLike({ code: 'EINVAL', syscall: 'setsockopt' }),
    );
  }
});

const nothing = (): void => undefined;

test.each([
  ['options that are none', undefined, nothing],
  ['no callback', OPTIONS, undefined],
  ['a callback that is an object', OPTIONS, {}],
  ['groups that are no array', { ...OPTIONS, groups: { length: 3 } }, nothing],
  ['too many groups', { ...OPTIONS, groups: new Array(5000).fill(1) }, nothing],
  ['an array with holes', { ...OPTIONS, groups: new Array(3) }, nothing],
  ['a negative group', { ...OPTIONS, groups: [-1] }, nothing],
  ['a group in words', { ...OPTIONS, groups: ['RTNLGRP_NEIGH'] }, nothing],
  ['a receive buffer of nothing', { ...OPTIONS, receiveBufferBytes: 0 }, nothing],
  ['a filter in words', { ...OPTIONS, filter: 'neigh' }, nothing],
  ['a filter of numbers', { ...OPTIONS, filter: [1, 2, 3, 4] }, nothing],
  ['an instruction that is too short', { ...OPTIONS, filter: [[6, 0, 0]] }, nothing],
  ['an instruction that is too long', { ...OPTIONS, filter: [[6, 0, 0, 0, 0]] }, nothing],
  ['a jump that is too far', { ...OPTIONS, filter: [[0x15, 256, 0, 0]] }, nothing],
  ['too long a filter', { ...OPTIONS, filter: new Array(4097).fill([6, 0, 0, 0]) }, nothing],
])('openMonitor refuses %s', (_what, options, callback) => {
  expect(() => openMonitor(options as typeof OPTIONS, callback as () => void)).toThrow(
    errorLike({
      code: expect.stringMatching(/^ERR_(INVALID_ARG_TYPE|OUT_OF_RANGE)$/) as string,
    }),
  );
});

test('An exception of the callback becomes an uncaughtException, and the monitor lives on', async () => {
  expect(await resultOf('throwing-callback')).toMatchObject({ caught: 4, calls: 4, ticks: 4 });
});

test('Without a listener for it, an exception of the callback ends the process as any other does', async () => {
  const { code, signal, stderr } = await runProgram('throwing-callback', 'uncaught');
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(stderr).toContain('Error: thrown by the callback');
});

test.each(['closed', 'unref', 'exit-in-callback', 'forgotten'])(
  'A process ends cleanly: %s',
  async (manner) => {
    expect(await runProgram('ending', manner)).toMatchObject({ code: 0, signal: null, stderr: '' });
  },
);

test('A monitor keeps the process alive, also after unref and ref', async () => {
  expect(await resultOf('ending', 'ref')).toEqual({ calls: 1 });
});

test('Worker threads end cleanly with open sockets, under a flood and in the middle of a callback', async () => {
  expect(await resultOf('ending-workers')).toMatchObject({ workers: 60, leakedDescriptors: 0 });
});

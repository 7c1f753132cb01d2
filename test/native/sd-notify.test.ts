import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { sdNotify } from '../../native';
import { thrownBy } from './support/thrown-by';

/** Plays systemd, for Node has no such sockets: prints each datagram's length and SHA-256. `deaf` never reads. */
const RECEIVER = `
import hashlib, os, socket, sys
address, manner = sys.argv[1:3]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
receiver.bind(address.replace('@', '\\0', 1) if address[0] == '@' else address)
print('ready', flush=True)
while manner == 'deaf': os.read(0, 1)
while True:
    datagram = receiver.recv(16 << 20)
    print(len(datagram), hashlib.sha256(datagram).hexdigest(), flush=True)
`;

const directory = mkdtempSync(path.join(tmpdir(), 'vn-notify-'));
let receiver: ChildProcess | undefined;
let lines: AsyncIterator<string>;

async function receiveAt(address: string, manner = 'reads'): Promise<void> {
  const child = spawn('python3', ['-c', RECEIVER, address, manner], { stdio: ['pipe', 'pipe', 'inherit'] });
  receiver = child;
  lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
}

async function expectReceived(text: string): Promise<void> {
  const bytes = Buffer.from(text);
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  expect((await lines.next()).value).toBe(`${bytes.length} ${Buffer.from(digest).toString('hex')}`);
}

afterEach(async () => {
  if (!receiver) return;
  const exit = once(receiver, 'exit');
  receiver.kill('SIGKILL');
  await exit;
  receiver = undefined;
});
afterAll(() => rmSync(directory, { recursive: true }));

/** The longest path a socket can have: 107 bytes and a NUL. */
const longestPath = path.join(directory, 'x'.repeat(107 - directory.length - 1));

test.each([
  ['a path', path.join(directory, 'notify')],
  ['the longest path', longestPath],
  ['an abstract name', `@vn-notify-${process.pid}`],
  ['the longest abstract name', `@vn-notify-${process.pid}-`.padEnd(107, 'x')],
])('A text arrives as one datagram at %s', async (_what, address) => {
  await receiveAt(address);
  for (const text of ['READY=1', '', 'STATUS=grüße\nREADY=1', 'a\0b']) {
    sdNotify(address, text);
    await expectReceived(text);
  }
});

test('A text may have any length the kernel takes', async () => {
  const address = `@vn-notify-long-${process.pid}`;
  await receiveAt(address);
  for (const length of [1023, 1024, 1025, 4096, 65_536, 212_992, 1 << 20]) {
    const text = `STATUS=${'ü'.repeat(length)}`;
    sdNotify(address, text);
    await expectReceived(text);
  }
});

test('What the kernel does not take is an error, not a crash', () => {
  const error = thrownBy(() => sdNotify(`@vn-notify-nobody-${process.pid}`, 'x'.repeat(300 << 20)));
  expect(error).toMatchObject({
    code: expect.stringMatching(/^(EMSGSIZE|ENOBUFS|ECONNREFUSED)$/) as string,
    syscall: 'sendto',
  });
});

test('Nobody there is ENOENT or ECONNREFUSED', () => {
  expect(thrownBy(() => sdNotify(path.join(directory, 'nobody'), 'READY=1'))).toMatchObject({
    code: 'ENOENT',
    syscall: 'sendto',
  });
  expect(thrownBy(() => sdNotify(`@vn-notify-nobody-${process.pid}`, 'READY=1'))).toMatchObject({
    code: 'ECONNREFUSED',
    syscall: 'sendto',
  });
});

test.each(['/', '@'])('A name that is too long is refused, not cut: %s', (first) => {
  expect(thrownBy(() => sdNotify(first.padEnd(108, 'x'), 'READY=1'))).toMatchObject({ code: 'ENAMETOOLONG' });
  expect(thrownBy(() => sdNotify(first.padEnd(100_000, 'x'), 'READY=1'))).toMatchObject({
    code: 'ENAMETOOLONG',
  });
});

test('A receiver that does not read does not hold the sender for ever', async () => {
  const address = `@vn-notify-deaf-${process.pid}`;
  await receiveAt(address, 'deaf');
  const error = thrownBy(() => {
    for (let i = 0; i < 10_000; i++) sdNotify(address, 'WATCHDOG=1');
  });
  expect(error).toMatchObject({ code: 'EAGAIN', syscall: 'sendto' });
});

test.each([
  ['an empty path', '', 'x', 'ERR_OUT_OF_RANGE'],
  ['a NUL in the path', '/run/a\0b', 'x', 'ERR_OUT_OF_RANGE'],
  ['no path', undefined, 'x', 'ERR_INVALID_ARG_TYPE'],
  ['a path that is a number', 1, 'x', 'ERR_INVALID_ARG_TYPE'],
  ['no text', '/run/x', undefined, 'ERR_INVALID_ARG_TYPE'],
  ['a text that is bytes', '/run/x', Buffer.from('x'), 'ERR_INVALID_ARG_TYPE'],
])('sdNotify refuses %s', (_what, address, text, code) => {
  expect(thrownBy(() => sdNotify(address as string, text as string))).toMatchObject({ code });
});

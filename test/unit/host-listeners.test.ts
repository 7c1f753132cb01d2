/** What clients do to our listeners, on real sockets: nobody waits for a slow one, and they cost a bounded amount of everything. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { askAgents } from '../../src/cli/status-io';
import { openControlSocket, type CloseControlSocket } from '../../src/host/control-socket';
import { startHealthServer, type HealthServer } from '../../src/host/health';
import { Turns } from '../../src/host/http-conversation';
import { ipAddress } from '../../src/model/address';
import { exitOf } from '../support/lab/command';
import { until } from '../support/lab/until';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

const REQUEST = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n';
const ANSWER = 'vtepd is running\n';
const MOST = 256;

const clients = new Set<Socket>();
let port: number;

afterEach(() => {
  for (const client of clients) client.destroy();
  clients.clear();
});
afterAll(removeTemporaryDirectories);

/** A client that may be left alone. */
function open(to: number | string): Socket {
  const options = { allowHalfOpen: true };
  const socket =
    typeof to === 'number'
      ? connect({ host: '127.0.0.1', port: to, ...options })
      : connect({ path: to, ...options });
  socket.on('error', () => undefined);
  clients.add(socket);
  return socket;
}

/** Many of them that say this, and no more; resolves when each is connected, or was not let in. */
async function silent(to: number | string, count: number, word: string): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => open(to));
  const begun = sockets.map(
    (socket) => new Promise<void>((resolve) => socket.once('connect', resolve).once('close', resolve)),
  );
  for (const socket of sockets) socket.resume().write(word);
  await Promise.all(begun);
  return sockets;
}

const openOnes = (sockets: readonly Socket[]) =>
  sockets.filter((socket) => !socket.destroyed && !socket.readableEnded);

/** One that asks, and ends. */
async function probe(to = port): Promise<string> {
  const socket = open(to);
  socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  const answer = await text(socket).catch((error: unknown) => String(error));
  socket.destroy();
  return answer;
}

async function answersOf(probes: number, to = port): Promise<number> {
  let answers = 0;
  for (let i = 0; i < probes; i++) if ((await probe(to)).endsWith(ANSWER)) answers++;
  return answers;
}

/** What the server said to one that sent this and ended its side, until the server ended its own. */
async function said(words: string): Promise<string> {
  const socket = open(port);
  socket.end(words);
  return text(socket);
}

describe('the health server', () => {
  let server: HealthServer;
  /** Of one turn of the event loop, and the most there were. */
  let looks: number[] = [];
  let most = 0;
  beforeEach(async () => {
    looks = [];
    const live = () => {
      if (looks.length === 0) setImmediate(() => (looks = []));
      looks.push(1);
      most = Math.max(most, looks.length);
      return [];
    };
    const none = { clock: { now: () => 0 }, live, ready: () => [] };
    server = await startHealthServer({ address: ipAddress('127.0.0.1'), port: 0, ...none });
    ({ port } = server);
  });
  afterEach(() => server.close());

  test.each([
    [80, 'one byte', 'G'],
    [400, 'one byte', 'G'],
    [400, 'nothing', ''],
    [400, 'half a head', 'GET /healthz HTTP/1.1\r\nhost: x\r\n'],
    [400, 'a request, and are not gone after its answer', REQUEST],
  ])('%d clients that send %s delay no probe', async (count, _, word) => {
    await silent(port, count, word);
    expect(await answersOf(22)).toBe(22);
  });

  test('clients that ask thousands of times and never read delay no probe, nor anything else', async () => {
    most = 0;
    const sockets = await silent(port, 300, REQUEST.repeat(2_000));
    for (const socket of sockets) socket.pause();
    expect(await answersOf(22)).toBe(22);
    expect(most).toBe(1);
  });

  test('of thousands of silent clients few are kept', async () => {
    const sockets = await silent(port, 2000, 'G');
    expect(await answersOf(5)).toBe(5);
    await until('the others are gone', () => openOnes(sockets).length <= MOST);
  });

  test('probes are answered while silent clients come and come', async () => {
    let isOver = false;
    const flood = async () => {
      while (!isOver) for (const socket of await silent(port, 100, 'G')) socket.destroy();
    };
    const floods = [flood(), flood()];
    const answers = await answersOf(50);
    isOver = true;
    await Promise.all(floods);
    expect(answers).toBe(50);
  });

  test('a request that comes in single bytes is answered, and whoever asks meanwhile, too', async () => {
    const socket = open(port);
    const heard = text(socket);
    for (const byte of REQUEST.slice(0, -1)) {
      socket.write(byte);
      if (byte === '\n') expect(await answersOf(1)).toBe(1);
    }
    socket.end('\n');
    expect(await heard).toContain(ANSWER);
  });

  test('requests in one packet are answered each, in their order', async () => {
    const targets = ['/healthz', '/nothing', '/readyz'];
    const requests = Array.from(
      { length: 3000 },
      (_, i) => `GET ${targets[i % 3]} HTTP/1.1\r\nhost: x\r\n\r\n`,
    );
    const heard = await said(requests.join(''));
    const statuses = heard.match(/HTTP\/1.1 \d+/g)!.map((line) => line.slice(-3));
    expect(statuses).toEqual(requests.map((_, i) => ['200', '404', '200'][i % 3]));
  });

  test('a client that asks and never reads is not read from any more, and costs others nothing', async () => {
    const OFFERED = 16 * 1024 * 1024;
    const socket = open(port);
    socket.pause();
    socket.write(REQUEST.repeat(Math.ceil(OFFERED / REQUEST.length)));
    const sent = () => socket.bytesWritten - socket.writableLength;
    await until('it is under way', () => sent() > 0 || socket.bytesWritten > 0);
    expect(await answersOf(20)).toBe(20);
    // Its time is over some seconds later, for it had no answer since.
    await until('it is cut off', () => socket.destroyed);
    expect(await answersOf(1)).toBe(1);
  });

  test('a client that has ended its side has its answer; one that asked for nothing is let go', async () => {
    expect(await said(REQUEST)).toContain(ANSWER);
    expect(await said(REQUEST + REQUEST)).toMatch(/vtepd is running\n[^]*vtepd is running\n$/);
    expect(await said('')).toBe('');
    expect(await said('GET /healthz HTTP/1.1\r\n')).toBe('');
  });

  test.each([
    ['a head without an end', `GET /healthz HTTP/1.1\r\nx: ${'y'.repeat(1_000_000)}`, '431'],
    ['a long head', `GET /healthz HTTP/1.1\r\nx: ${'y'.repeat(10_000)}\r\n\r\n`, '431'],
    ['thousands of headers', `GET /healthz HTTP/1.1\r\n${'x: y\r\n'.repeat(10_000)}\r\n`, '431'],
    ['a line that is no request', 'hello\r\n\r\n', '400'],
    ['a header that is none', 'GET /healthz HTTP/1.1\r\nhello\r\n\r\n', '400'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '400'],
    ['a body', `POST /healthz HTTP/1.1\r\ncontent-length: 3000000\r\n\r\n${'z'.repeat(3_000_000)}`, '405'],
    [
      'a body in chunks',
      `GET /healthz HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n`,
      '200',
    ],
    ['empty lines before it', `\r\n\r\n${REQUEST}`, '200'],
    ['plain line feeds', REQUEST.replaceAll('\r', ''), '200'],
    ['HTTP/1.0', 'GET /healthz HTTP/1.0\r\n\r\n', '200'],
    ['a whole URL', 'GET http://h:1/readyz?verbose HTTP/1.1\r\nhost: h\r\n\r\n', '200'],
  ])('%s has one answer, and the connection ends', async (_, words, status) => {
    const heard = await said(words);
    expect(heard.match(/HTTP\/1.1 \d+/g)).toEqual([`HTTP/1.1 ${status}`]);
  });
});

describe('with few file descriptors', () => {
  const LIMIT = 100;
  let child: ChildProcess;
  let lines: string[];
  beforeEach(async () => {
    const program = join(__dirname, '../support/health-process.ts');
    const command = `ulimit -n ${LIMIT}; exec "$0" --import tsx "$1"`;
    child = spawn('sh', ['-c', command, process.execPath, program], { stdio: ['pipe', 'pipe', 'inherit'] });
    lines = [];
    createInterface(child.stdout!).on('line', (line) => lines.push(line));
    port = Number(await until('the server listens', () => lines[0]));
  });
  afterEach(async () => {
    child.stdin!.end();
    await exitOf(child);
  });

  test('clients take a part of them, and probes are answered', async () => {
    const sockets = await silent(port, 500, 'G');
    expect(await answersOf(20)).toBe(20);
    await until('most are gone', () => openOnes(sockets).length <= LIMIT / 4);
  });

  test('where others took all, probes are answered as soon as there are some again', async () => {
    child.stdin!.write('exhaust\n');
    await until('there are none left', () => lines.includes('EMFILE'));
    expect(await answersOf(3)).toBe(0);
    child.stdin!.write('free\n');
    await until('they are free', () => lines.includes('free'));
    expect(await answersOf(3)).toBe(3);
  });
});

describe('the control socket', () => {
  const ANSWER_BYTES = 512 * 1024;
  let directory: string;
  let path: string;
  let close: CloseControlSocket;
  beforeEach(async () => {
    directory = temporaryDirectory();
    close = await openControlSocket(
      (question) => (question === 'peers' ? 'p'.repeat(ANSWER_BYTES) : 'an answer'),
      directory,
    );
    path = join(directory, readdirSync(directory)[0]!);
  });
  afterEach(() => close());

  const ask = () => askAgents('status', directory);

  test.each([
    ['nothing', ''],
    ['half a question', 'stat'],
    ['a question, and do not read its long answer', 'peers\n'],
  ])('clients that send %s keep nobody from asking, and few of them are kept', async (_, word) => {
    const sockets = await silent(path, 100, '');
    for (const socket of sockets) socket.pause().write(word);
    for (let i = 0; i < 5; i++) expect(await ask()).toEqual(['an answer']);
    for (const socket of sockets) socket.resume();
    await until('the others are gone', () => openOnes(sockets).length <= 8);
  });

  test('a question in parts, by one that has ended its side, has its answer, once', async () => {
    const socket = open(path);
    for (const part of ['st', 'atus', '\n']) socket.write(part);
    socket.end('status\n');
    expect(await text(socket)).toBe('an answer');
  });

  test('a long answer arrives whole, however slowly it is read', async () => {
    const socket = open(path);
    socket.end('peers\n');
    let bytes = 0;
    for await (const part of socket) bytes += (part as Buffer).length;
    expect(bytes).toBe(ANSWER_BYTES);
  });

  test('one that ends without a question is let go', async () => {
    const socket = open(path);
    socket.end();
    expect(await text(socket)).toBe('');
  });
});

test('work of many clients is done eight at a time, each in its turn', async () => {
  const turns = new Turns();
  const done: number[] = [];
  const work = (n: number) => () => {
    done.push(n);
    // More of its kind comes of it, as the next request of a client does.
    if (n < 40) turns.later(work(n + 20));
  };
  for (let n = 0; n < 20; n++) turns.later(work(n));
  const counts: number[] = [];
  while (done.length < 60) {
    await new Promise((resolve) => setImmediate(resolve));
    counts.push(done.length);
  }
  expect(done).toEqual(Array.from({ length: 60 }, (_, n) => n));
  for (const [at, count] of counts.entries()) expect(count - (counts[at - 1] ?? 0)).toBeLessThanOrEqual(8);
});

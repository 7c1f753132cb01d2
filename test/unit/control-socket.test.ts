import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { askAgents } from '../../src/cli/status-io';
import { openControlSocket } from '../../src/host/control-socket';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

afterAll(removeTemporaryDirectories);

const namespace = statSync('/proc/self/ns/net', { bigint: true }).ino;

test('an agent answers who asks, each question with its own answer, and nobody once it is closed', async () => {
  const directory = join(temporaryDirectory(), 'made-when-missing');
  const close = await openControlSocket((question) => `the answer to ${question}`, directory);
  expect(await askAgents('status', directory)).toEqual(['the answer to status']);
  expect(await askAgents('peers', directory)).toEqual(['the answer to peers']);
  close();
  expect(readdirSync(directory)).toEqual([]);
  expect(await askAgents('status', directory)).toEqual([]);
});

test('only the user of the agent and its group may ask', async () => {
  const directory = temporaryDirectory();
  const close = await openControlSocket(() => '', directory);
  const [name] = readdirSync(directory);
  expect(statSync(join(directory, name!)).mode & 0o777).toBe(0o660);
  close();
});

test('where no agent ever ran, nobody answers', async () => {
  expect(await askAgents('status', join(temporaryDirectory(), 'missing'))).toEqual([]);
});

test('what killed agents left is passed over, and removed by the next agent; other namespaces and files stay', async () => {
  const directory = temporaryDirectory();
  const gone = 4_194_305;
  const others = [`1-${gone}.sock`, `${namespace}-flannel.1.lock`];
  for (const name of [`${namespace}-${gone}.sock`, ...others]) writeFileSync(join(directory, name), '');
  expect(await askAgents('status', directory)).toEqual([]);
  const close = await openControlSocket(() => '', directory);
  expect(readdirSync(directory).sort()).toEqual([...others, `${namespace}-${process.pid}.sock`].sort());
  close();
});

test('one that has the same process ID, as in another container, is left alone, and both answer', async () => {
  const directory = temporaryDirectory();
  const closes = [];
  for (const name of ['one', 'two']) closes.push(await openControlSocket(() => name, directory));
  expect([...(await askAgents('status', directory))].sort()).toEqual(['one', 'two']);
  closes[0]!();
  expect(await askAgents('status', directory)).toEqual(['two']);
  closes[1]!();
  expect(readdirSync(directory)).toEqual([]);
});

test('a word that is no question, or a flood of them, ends the connection without an answer', async () => {
  const directory = temporaryDirectory();
  const close = await openControlSocket(() => 'an answer', directory);
  const path = join(directory, readdirSync(directory)[0]!);
  for (const words of ['shutdown\n', 'x'.repeat(100_000)]) {
    const socket = createConnection(path);
    socket.end(words);
    expect(await text(socket).catch(() => '')).toBe('');
  }
  expect(await askAgents('status', directory)).toEqual(['an answer']);
  close();
});

test('a directory that cannot be made is an error that says what is missing then', async () => {
  const file = join(temporaryDirectory(), 'file');
  writeFileSync(file, '');
  await expect(openControlSocket(() => '', join(file, 'below'))).rejects.toMatchObject({
    code: 'ENOTDIR',
    message: expect.stringContaining("where 'vtepd status' asks") as string,
  });
});

test('whoever ends without an answer, or answers without an end, is named', async () => {
  const directory = temporaryDirectory();
  const path = join(directory, `${namespace}-1.sock`);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await expect(askAgents('status', directory)).rejects.toMatchObject({
    message: `cannot ask the agent behind ${path}`,
    cause: { message: 'it ended without an answer' },
  });
  server.removeAllListeners('connection').on('connection', (socket) => {
    socket.on('error', () => undefined);
    const part = Buffer.alloc(1 << 20, ' ');
    const flood = () => {
      while (!socket.destroyed && socket.write(part));
    };
    socket.on('drain', flood);
    flood();
  });
  await expect(askAgents('status', directory)).rejects.toMatchObject({
    cause: { message: expect.stringContaining('its answer is longer than') as string },
  });
  server.close();
});

/** Where a running agent answers `vtepd status`. */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { CONTROL_DIRECTORY, parseSocketName, printSocketName, type ControlQuestion } from '../model/control';
import { Connections } from './connections';
import { hostError } from './failure';

const LIMITS = { most: 8, patienceMilliseconds: 30_000 };
const LONGEST_QUESTION = 64;

/** Ends it, and removes the socket. */
export type CloseControlSocket = () => void;

/**
 * Answers our user, our group, and root: the text that `answer` gives. It is there from the first moment, when it is not known yet which
 * link is ours. Throws a HostError when it cannot be made. Does not keep the process alive.
 */
export async function openControlSocket(
  answer: (question: ControlQuestion) => string,
  directory = CONTROL_DIRECTORY,
): Promise<CloseControlSocket> {
  const namespace = statSync('/proc/self/ns/net', { bigint: true }).ino;
  let path = join(directory, printSocketName(namespace, process.pid));
  const connections = new Connections(LIMITS);
  const answers = oncePerTurn(answer);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    serve(socket, answers, () => connections.renew(socket));
  });
  server.unref();
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    await removeLeftovers(directory, namespace);
    path = freePath(directory, namespace);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
    chmodSync(path, 0o660);
  } catch (error) {
    throw hostError(`cannot make ${path}, where 'vtepd status' asks`, error);
  }
  server.on('error', () => undefined);
  return () => {
    server.close();
    rmSync(path, { force: true });
  };
}

/** Who asks in the same turn of the event loop has the same answer: a crowd of clients costs one, in time and in memory. */
function oncePerTurn(answer: (question: ControlQuestion) => string): (question: ControlQuestion) => Buffer {
  const answers = new Map<ControlQuestion, Buffer>();
  return (question) => {
    const known = answers.get(question) ?? Buffer.from(answer(question));
    if (answers.size === 0) setImmediate(() => answers.clear());
    answers.set(question, known);
    return known;
  };
}

/** One question, one answer. */
function serve(socket: Socket, answer: (question: ControlQuestion) => Buffer, onAnswer: () => void): void {
  let question = '';
  socket.setEncoding('latin1');
  socket.on('data', (part: string) => {
    question += part;
    const word = question.slice(0, question.indexOf('\n') + 1).trim();
    if (word === 'status' || word === 'peers') {
      socket.removeAllListeners('data').resume();
      onAnswer();
      socket.end(answer(word));
    } else if (word !== '' || question.length > LONGEST_QUESTION) socket.destroy();
  });
  // Without a question there is nothing to wait for.
  socket.on('end', () => socket.end());
}

/** Killed agents remove nothing. Process IDs do not tell: containers that share this directory count their own. */
async function removeLeftovers(directory: string, namespace: bigint): Promise<void> {
  const paths = readdirSync(directory)
    .filter((name) => parseSocketName(namespace, name) !== undefined)
    .map((name) => join(directory, name));
  await Promise.all(
    paths.map(async (path) => {
      if (await isLeft(path)) rmSync(path, { force: true });
    }),
  );
}

/** Nobody is behind it. */
function isLeft(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}

/** By our process ID; by the next number where an agent of another PID namespace has that one. */
function freePath(directory: string, namespace: bigint): string {
  for (let number = process.pid; ; number++) {
    const path = join(directory, printSocketName(namespace, number));
    if (!existsSync(path)) return path;
  }
}

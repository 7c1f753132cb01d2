/** Where a running agent answers `vtepd status`. */
import { chmodSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { CONTROL_DIRECTORY, parseSocketName, printSocketName, type ControlQuestion } from '../model/control';
import { hostError } from './failure';

const PATIENCE_MILLISECONDS = 5_000;
const MOST_CONNECTIONS = 8;
const LONGEST_QUESTION = 64;

/** Ends it, and removes the socket. */
export type CloseControlSocket = () => void;

/**
 * Answers our user, and root: the text that `answer` gives. It is there from the first moment, when it is not known yet which
 * link is ours. Throws a HostError when it cannot be made. Does not keep the process alive.
 */
export async function openControlSocket(
  answer: (question: ControlQuestion) => string,
  directory = CONTROL_DIRECTORY,
): Promise<CloseControlSocket> {
  const namespace = statSync('/proc/self/ns/net', { bigint: true }).ino;
  const path = join(directory, printSocketName(namespace, process.pid));
  const server = createServer((socket) => serve(socket, answer));
  server.maxConnections = MOST_CONNECTIONS;
  server.unref();
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    removeLeftovers(directory, namespace);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
    chmodSync(path, 0o600);
  } catch (error) {
    throw hostError(`cannot make ${path}, where 'vtepd status' asks`, error);
  }
  server.on('error', () => undefined);
  return () => {
    server.close();
    rmSync(path, { force: true });
  };
}

function serve(socket: Socket, answer: (question: ControlQuestion) => string): void {
  let question = '';
  socket.setEncoding('utf8');
  socket.setTimeout(PATIENCE_MILLISECONDS, () => socket.destroy());
  socket.on('error', () => undefined);
  socket.on('data', (part: string) => {
    question += part;
    if (question.length > LONGEST_QUESTION) socket.destroy();
    if (!question.endsWith('\n')) return;
    const word = question.trim();
    if (word === 'status' || word === 'peers') socket.end(answer(word));
    else socket.destroy();
  });
}

/** Killed agents remove nothing. */
function removeLeftovers(directory: string, namespace: bigint): void {
  for (const name of readdirSync(directory)) {
    const processId = parseSocketName(namespace, name);
    if (processId !== undefined && isGone(processId)) rmSync(join(directory, name), { force: true });
  }
}

/** Our own process ID cannot be another's any more. */
function isGone(processId: number): boolean {
  if (processId === process.pid) return true;
  try {
    process.kill(processId, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

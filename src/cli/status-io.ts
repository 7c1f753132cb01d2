/** Asking the agents that run here, for `vtepd status`. */
import { readdirSync, statSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { CONTROL_DIRECTORY, parseSocketName, type ControlQuestion } from '../model/control';
import { HostError } from '../model/errors';
import { bytesUpTo } from './bounded-bytes';
import type { StatusIo } from './status-command';

const PATIENCE_MILLISECONDS = 5_000;
/** 60 000 peers take some 6 MB. */
const LONGEST_ANSWER = 64 << 20;

/** The process's own. Complaints begin with the program's name, as all that it says on standard error. */
export function processStatusIo(): StatusIo {
  return {
    ask: (question) => askAgents(question),
    write: (line) => void process.stdout.write(line),
    complain: (line) => void process.stderr.write(`vtepd: ${line}`),
  };
}

/**
 * The answers of all agents of this network namespace; none of those that are gone. Throws a HostError when there is one that
 * may not be asked, or that does not answer.
 */
export async function askAgents(
  question: ControlQuestion,
  directory = CONTROL_DIRECTORY,
): Promise<readonly string[]> {
  const answers = await Promise.all(socketsIn(directory).map((path) => ask(path, question)));
  return answers.filter((answer) => answer !== undefined);
}

function socketsIn(directory: string): string[] {
  const namespace = statSync('/proc/self/ns/net', { bigint: true }).ino;
  try {
    return readdirSync(directory)
      .filter((name) => parseSocketName(namespace, name) !== undefined)
      .map((name) => join(directory, name));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw new HostError(codeOf(error), `cannot look for running agents in ${directory}`, { cause: error });
  }
}

/** Undefined: nobody is behind it. */
async function ask(path: string, question: ControlQuestion): Promise<string | undefined> {
  const socket = createConnection(path);
  socket.setTimeout(PATIENCE_MILLISECONDS, () => {
    socket.destroy(new Error(`no answer within ${PATIENCE_MILLISECONDS / 1000} s`));
  });
  try {
    socket.write(`${question}\n`);
    return await wholeAnswer(socket);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return undefined;
    throw new HostError(code, `cannot ask the agent behind ${path}`, { cause: error });
  }
}

/** Whoever may write to the directory may have put any socket there. */
async function wholeAnswer(socket: Socket): Promise<string> {
  const tooLong = () => new Error(`its answer is longer than ${LONGEST_ANSWER} bytes`);
  const answer = await bytesUpTo(socket, LONGEST_ANSWER, tooLong);
  if (answer.length === 0) throw new Error('it ended without an answer');
  return answer.toString();
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'EIO';
}

/** What a command that is run once reads: a file, a pipe or standard input, no more than is sensible, and not for ever. */
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { LARGEST_FILE, NoRegularFileError, readRegularFile } from '../regular-file';

/** A pipe of which nothing comes for so long is given up. A person at a terminal may take longer. */
const PATIENCE_MILLISECONDS = 30_000;
const PAUSE_MILLISECONDS = 50;
const STDIN = /^(-|\/dev\/stdin|\/dev\/fd\/0|\/proc\/self\/fd\/0)$/;

/**
 * The text of a file, or of standard input for `-`. Links are followed, and pipes are read to their end. Throws an Error that says
 * why not; a `code` tells a missing file (`ENOENT`).
 */
export async function readInput(file: string, signal?: AbortSignal): Promise<string> {
  if (STDIN.test(file)) return textOf(process.stdin, process.stdin.isTTY, signal);
  if (!(await stat(file)).isFIFO()) return readRegularFile(file).content.toString();
  return pipedText(file, signal);
}

/** Opened so that it waits for no writer, and kept open: a pipe without one is at its end, until one comes. */
async function pipedText(file: string, signal?: AbortSignal): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const part = Buffer.alloc(65_536);
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for (let end = performance.now() + PATIENCE_MILLISECONDS; ;) {
      signal?.throwIfAborted();
      const count = await handle.read(part).then(({ bytesRead }) => bytesRead, nothingYet);
      if (count === 0 && length > 0) return Buffer.concat(parts).toString();
      if (count !== undefined && count > 0) {
        parts.push(Buffer.from(part.subarray(0, count)));
        length += count;
        if (length > LARGEST_FILE) throw new NoRegularFileError(`it is larger than ${LARGEST_FILE} bytes`);
        end = performance.now() + PATIENCE_MILLISECONDS;
      } else if (performance.now() > end) throw silent();
      else await sleep(PAUSE_MILLISECONDS, undefined, signal ? { signal } : {});
    }
  } finally {
    await handle.close();
  }
}

/** Undefined: a writer is there, and has written nothing for now. */
function nothingYet(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
}

async function textOf(stream: Readable, isPatient: boolean, signal?: AbortSignal): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  let timer: NodeJS.Timeout | undefined;
  const rest = () => {
    clearTimeout(timer);
    if (!isPatient) timer = setTimeout(() => stream.destroy(silent()), PATIENCE_MILLISECONDS);
  };
  const abort = () => stream.destroy(signal!.reason as Error);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    rest();
    for await (const part of stream as AsyncIterable<Buffer>) {
      parts.push(part);
      length += part.length;
      if (length > LARGEST_FILE) throw new NoRegularFileError(`it is larger than ${LARGEST_FILE} bytes`);
      rest();
    }
    return Buffer.concat(parts).toString();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

function silent(): Error {
  return new NoRegularFileError(`nothing came within ${PATIENCE_MILLISECONDS / 1000} s`);
}

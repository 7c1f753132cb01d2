/** What a command that is run once reads: a file, a pipe or standard input, no more than is sensible, and not for ever. */
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { LARGEST_FILE, NoRegularFileError, readRegularFile } from '../regular-file';
import { bytesUpTo } from './bounded-bytes';

/** A pipe of which nothing comes for so long is given up. A person at a terminal may take longer. */
const PATIENCE_MILLISECONDS = 30_000;
/** And one that has not come to its end after so long: each byte may take its time. */
const LONGEST_MILLISECONDS = 300_000;
const PAUSE_MILLISECONDS = 50;
const STDIN = /^(-|\/dev\/stdin|\/dev\/fd\/0|\/proc\/self\/fd\/0)$/;

/**
 * The bytes of a file, or of standard input for `-`. Links are followed, and pipes are read to their end. Throws an Error that says
 * why not; a `code` tells a missing file (`ENOENT`).
 */
export async function readInput(
  file: string,
  signal?: AbortSignal,
  longestMilliseconds = LONGEST_MILLISECONDS,
): Promise<Buffer> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(endless(longestMilliseconds)), longestMilliseconds);
  const over = AbortSignal.any([limit.signal, ...(signal ? [signal] : [])]);
  try {
    if (STDIN.test(file)) {
      // A person is not hurried.
      if (process.stdin.isTTY) clearTimeout(timer);
      return await bytesOf(process.stdin, process.stdin.isTTY, over);
    }
    return (await stat(file)).isFIFO() ? await pipedBytes(file, over) : readRegularFile(file).content;
  } finally {
    clearTimeout(timer);
  }
}

/** Opened so that it waits for no writer, and kept open: a pipe without one is at its end, until one comes. */
async function pipedBytes(file: string, signal: AbortSignal): Promise<Buffer> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const part = Buffer.alloc(65_536);
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for (let end = performance.now() + PATIENCE_MILLISECONDS; ;) {
      signal.throwIfAborted();
      const count = await handle.read(part).then(({ bytesRead }) => bytesRead, nothingYet);
      if (count === 0 && length > 0) return Buffer.concat(parts);
      if (count !== undefined && count > 0) {
        parts.push(Buffer.from(part.subarray(0, count)));
        length += count;
        if (length > LARGEST_FILE) throw tooLarge();
        end = performance.now() + PATIENCE_MILLISECONDS;
      } else if (performance.now() > end) throw silent();
      else await rest(PAUSE_MILLISECONDS, signal);
    }
  } finally {
    await handle.close();
  }
}

/** Undefined: a writer is there, and has written nothing for now. */
function nothingYet(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
}

async function bytesOf(stream: Readable, isPatient: boolean, signal: AbortSignal): Promise<Buffer> {
  let timer: NodeJS.Timeout | undefined;
  const renew = () => {
    clearTimeout(timer);
    if (!isPatient) timer = setTimeout(() => stream.destroy(silent()), PATIENCE_MILLISECONDS);
  };
  const abort = () => stream.destroy(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    renew();
    return await bytesUpTo(stream, LARGEST_FILE, tooLarge, renew);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

/** Rejects with the reason of the abort, if that comes first. */
async function rest(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
  signal.throwIfAborted();
}

function tooLarge(): Error {
  return new NoRegularFileError(`it is larger than ${LARGEST_FILE} bytes`);
}

function endless(milliseconds: number): Error {
  return new NoRegularFileError(`it did not come to its end within ${milliseconds / 1000} s`);
}

function silent(): Error {
  return new NoRegularFileError(`nothing came within ${PATIENCE_MILLISECONDS / 1000} s`);
}

/** Reading files that others may have put there: never longer than expected, and never from what is no file. */
import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { mkdir, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** What is read as a rule: configurations, certificates, subnet.env. */
export const LARGEST_FILE = 1 << 20;

/** It cannot be used as a file; the message says what it is. */
export class NoRegularFileError extends Error {
  constructor(
    message: string,
    readonly code = 'ENOTREG',
  ) {
    super(message);
  }
}

/** Opening with this never waits: not for the other end of a pipe, and not for a device. */
const READ_ONLY = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * The bytes of a regular file, and its status. Links are followed. Throws {@link NoRegularFileError} for anything else and for a
 * larger one; else what the system says. Never waits for another process, so it may be used where nothing can be aborted.
 */
export function readRegularFile(path: string, largest = LARGEST_FILE): { content: Buffer; status: Stats } {
  const file = open(path);
  try {
    const status = fstatSync(file);
    requireRegular(status);
    // A file of /proc has no size: it is read until it ends.
    const parts: Buffer[] = [];
    let length = 0;
    for (;;) {
      const part = Buffer.allocUnsafe(Math.min(largest + 1, Math.max(4_096, status.size + 1 - length)));
      const count = readSync(file, part);
      if (count === 0) return { content: Buffer.concat(parts, length), status };
      parts.push(part.subarray(0, count));
      length += count;
      if (length > largest) throw new NoRegularFileError(`it is larger than ${largest} bytes`);
    }
  } finally {
    closeSync(file);
  }
}

/**
 * The text that a person wrote, in UTF-8. Throws a {@link NoRegularFileError} for anything else: read all the same, it would say something
 * that nobody wrote. A byte order mark stays.
 */
export function utf8TextOf(content: Buffer): string {
  if (isUtf8(content) && !content.includes(0)) return content.toString();
  const hint = isLikeUtf16(content) ? ', but looks like UTF-16: save it as UTF-8' : '';
  throw new NoRegularFileError(`it is not text in UTF-8${hint}`, 'EILSEQ');
}

/** Of ASCII in UTF-16 every other byte is zero. */
function isLikeUtf16(content: Buffer): boolean {
  const zeros = [0, 0];
  for (const [at, byte] of content.entries()) if (byte === 0) zeros[at % 2]!++;
  return content.length > 1 && zeros.some((count) => count > content.length / 4);
}

function open(path: string): number {
  try {
    return openSync(path, READ_ONLY);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENXIO') throw new NoRegularFileError('it is a socket, or a device that is not there', code);
    if (code === 'ELOOP') throw new NoRegularFileError('its links lead in a circle', code);
    throw error;
  }
}

/** Throws a {@link NoRegularFileError} that says what it is instead. */
export function requireRegular(status: Stats): void {
  if (status.isDirectory()) throw new NoRegularFileError('it is a directory', 'EISDIR');
  if (!status.isFile()) throw new NoRegularFileError(`it is ${kindOf(status)}, not a regular file`);
}

export function kindOf(status: Stats): string {
  if (status.isDirectory()) return 'a directory';
  if (status.isFIFO()) return 'a pipe';
  if (status.isSocket()) return 'a socket';
  return status.isFile() ? 'a regular file' : 'a device';
}

/**
 * The file that a path leads to, by way of its links, whether it exists or not: writing it anew keeps the links. Throws a
 * {@link NoRegularFileError} if what is there cannot be replaced by a file.
 */
export async function replaceableFile(path: string): Promise<string> {
  const target = await targetOf(path);
  if (/^\/(proc|sys)\//.test(target)) throw new NoRegularFileError('no file can be made there');
  const existing = await stat(target).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
  if (existing) requireRegular(existing);
  return target;
}

async function targetOf(path: string, links = 0): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || links > 8) throw error;
  }
  const link = await readlink(path).catch(() => undefined);
  return link === undefined ? resolve(path) : targetOf(resolve(dirname(path), link), links + 1);
}

/** Makes a directory (0755) and those above it. Node's own way does not end where none can be made, as below /proc. */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeDirectory(dirname(path));
    await mkdir(path, { mode: 0o755 }).catch((again: unknown) => {
      if ((again as NodeJS.ErrnoException).code !== 'EEXIST') throw again;
    });
  }
}

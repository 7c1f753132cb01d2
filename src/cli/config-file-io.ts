/** Reads vtepd.conf from the disk. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { UsageError } from '../model/errors';
import type { ConfigFileText } from './config-file';

const WHY: Readonly<Record<string, string>> = {
  EACCES: 'this user may not; run it as root, or without a file: --config-file=',
  EISDIR: 'it is a directory',
};

/** The file and who may read it; undefined when there is none. Throws a {@link UsageError} when it cannot be read. */
export function readConfigFile(path: string): ConfigFileText | undefined {
  try {
    const file = openSync(path, 'r');
    try {
      return { text: readFileSync(file, 'utf8'), isPublic: (fstatSync(file).mode & 0o004) !== 0 };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const { code = 'EIO', message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new UsageError(`cannot read ${path}: ${WHY[code] ?? message}`);
  }
}

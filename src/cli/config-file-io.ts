/** Reads vtepd.conf from the disk. */
import { UsageError } from '../model/errors';
import { readRegularFile, utf8TextOf } from '../regular-file';
import type { ConfigFileText } from './config-file';

/** The file and who may read it; undefined when there is none. Throws a {@link UsageError} when it cannot be read. */
export function readConfigFile(path: string): ConfigFileText | undefined {
  try {
    const { content, status } = readRegularFile(path);
    return { text: utf8TextOf(content), isPublic: (status.mode & 0o004) !== 0 };
  } catch (error) {
    const { code = 'EIO', message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new UsageError(`cannot read ${path}: ${code === 'EACCES' ? whoMay(path) : message}`);
  }
}

/** An editor or a copy made it root's alone; or somebody runs an agent by hand. */
function whoMay(path: string): string {
  return `this user may not. So that the service may: chgrp vtepd ${path}; chmod 640 ${path}. By hand: run it as root, or without a file: --config-file=`;
}

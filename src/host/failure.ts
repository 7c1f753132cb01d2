/** Errors of system calls as ours. */
import { HostError } from '../model/errors';

/** `what` could not be done, and the error of Node or of native/ says why. */
export function hostError(what: string, error: unknown): HostError {
  const { code = 'EIO' } = error as NodeJS.ErrnoException;
  return new HostError(code, what, { cause: new Error(REASONS[code] ?? (error as Error).message) });
}

/** What a person calls it. */
const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'the operation is not permitted',
  ENOENT: 'there is no such file or directory',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  ELOOP: 'its links lead in a circle, or it is a link where none may be',
  ENAMETOOLONG: 'its name is too long',
  EMFILE: 'this process has too many files open',
  ENFILE: 'this host has too many files open',
  EADDRINUSE: 'the address is in use',
  EADDRNOTAVAIL: 'this host does not have the address',
};

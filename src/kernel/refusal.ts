/** Error numbers of the kernel, as our errors. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { KernelError } from '../model/errors';

/** errno → name, `EOPNOTSUPP` and `EAGAIN` for the numbers that have two. */
const NAMES: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno).map(([name, errno]) => [errno, name] as const),
  [constants.errno.EOPNOTSUPP, 'EOPNOTSUPP'],
  [constants.errno.EAGAIN, 'EAGAIN'],
]);

/** What the kernel answered to a request it did not carry out: a positive errno, and its extended ack text. */
export interface Refusal {
  readonly errno: number;
  readonly detail: string | undefined;
}

/** `ENOENT`; `E4095` for a number that has no name. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

/** The error for `what` ("cannot put …") that was refused. Names the capability, where one is missing. */
export function kernelErrorOf(what: string, { errno, detail }: Refusal): KernelError {
  const code = errnoName(errno);
  const text = getSystemErrorMap().get(-errno)?.[1] ?? code;
  const why = code === 'EPERM' ? `${text} (CAP_NET_ADMIN is needed)` : detail ? `${text}: ${detail}` : text;
  return new KernelError(code, `${what}: ${why}`, detail);
}

/** The error for a system call that failed: `error` is what native/ threw, or anything else. */
export function systemErrorOf(what: string, error: unknown): KernelError {
  if (error instanceof KernelError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  return new KernelError(typeof code === 'string' ? code : 'EIO', `${what}: ${String(message)}`, undefined, {
    cause: error,
  });
}

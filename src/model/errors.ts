/** The few kinds of error vtepd throws. Each message says what could not be done; the cause says why. */

/** The command line or the environment is wrong; no retry can help. Exit code 2. */
export class UsageError extends Error {
  readonly code = 'USAGE';
}

/** The network configuration (or a file a user wrote) is malformed; it may be mended while we wait. */
export class ConfigError extends Error {
  readonly code = 'CONFIG';
}

/** This host cannot run the agent at all (no CAP_NET_ADMIN, a kernel without vxlan, …). Exit code 1. */
export class UnsupportedError extends Error {
  readonly code = 'UNSUPPORTED';
}

/** Our subnet belongs to another host, and the user wants no other. Exit code 3. */
export class SubnetLostError extends Error {
  readonly code = 'SUBNET_LOST';
}

export type RegistryFailure =
  /** Nobody answered, or not in time. */
  | 'unavailable'
  /** Wrong user, password, certificate, or no permission. */
  | 'denied'
  /** It takes no more writes until its administrator has made room. */
  | 'full'
  /** The revision asked for is gone (compaction, or a store restored from a backup). */
  | 'compacted'
  /** It answered something that makes no sense to us. */
  | 'protocol';

/** The registry did not do what it was asked; whether it was done may be unknown unless it was `denied`. */
export class RegistryError extends Error {
  constructor(
    readonly code: RegistryFailure,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The kernel refused or could not be asked. `code` is the errno name (`EPERM`), `detail` its extended ack text, if any. */
export class KernelError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly detail?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A file or service of this host failed. `code` is the errno name where there is one. */
export class HostError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The message of an error and of all its causes on one line: `what failed: why: why that`. Never empty. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let current = error; current !== undefined && parts.length < 8;) {
    const text = textOf(current);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ') || 'no reason was given';
}

/** Of an error without a message, what else it has: Node gives one such where a name has several addresses. */
function textOf(error: unknown): string {
  if (typeof error === 'string') return error;
  if (!(error instanceof Error)) return plainText(error);
  if (error.message !== '') return error.message;
  if (error instanceof AggregateError && error.errors.length > 0) return textOf(error.errors[0]);
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

function plainText(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

/** How a CNI plugin says that something failed: a number the runtime acts on, and words for a person. */

/** Codes below 100 are the CNI specification's (SPEC.md, "Error"); from 100 on they are ours. */
export const CNI_CODES = {
  incompatibleVersion: 1,
  /** There is nothing to clean up either. */
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  undecodable: 6,
  invalidConfig: 7,
  /** The runtime should call again later, with the same arguments. */
  tryAgainLater: 11,
  /** STATUS only: no ADD can succeed now. */
  notAvailable: 50,
  /** The container's addresses are no longer of this host's subnet. */
  subnetChanged: 100,
  /** The delegate failed without an error of its own. */
  delegateDied: 101,
  /** What Go's CNI library calls an internal error. */
  internal: 999,
} as const;

/** The one error this plugin reports. `message` says what could not be done, `details` what may help. */
export class CniError extends Error {
  constructor(
    /** One of {@link CNI_CODES}, or what a delegate answered. */
    readonly code: number,
    message: string,
    readonly details = '',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Whatever was thrown, as the error that is reported. A failed system call becomes an I/O failure. */
export function cniErrorOf(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (!(error instanceof Error)) return new CniError(CNI_CODES.internal, String(error));
  const isSystemCall = 'syscall' in error;
  const code = isSystemCall ? CNI_CODES.io : CNI_CODES.internal;
  return new CniError(code, error.message, isSystemCall ? '' : (error.stack ?? ''), { cause: error });
}

/** The error as the specification's JSON, in the version the runtime speaks. */
export function printError(error: CniError, cniVersion: string): string {
  const { code, message, details } = error;
  return JSON.stringify({ cniVersion, code, msg: message, ...(details !== '' && { details }) });
}

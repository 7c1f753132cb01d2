/** One step from what is to what should be. */
import type { KernelError } from './errors';
import { printKernelObject, type KernelObject } from './kernel-state';

/**
 * `put` makes the object exist with this value, whatever was there under its key (a link is changed in place, never
 * re-created by a put); `remove` makes it not exist, and succeeds if it did not.
 */
export interface Operation {
  readonly verb: 'put' | 'remove';
  readonly object: KernelObject;
  /** Why, where it is not plain from the object: `mtu 1500 → 1450`. */
  readonly reason?: string;
}

/** An operation the kernel refused. */
export interface FailedOperation {
  readonly operation: Operation;
  readonly error: KernelError;
}

/** `put fdb c6:… dev flannel.1 dst …` */
export function printOperation(operation: Operation): string {
  return `${operation.verb} ${printKernelObject(operation.object)}${operation.reason ? ` (${operation.reason})` : ''}`;
}

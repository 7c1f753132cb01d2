/** Options whose names were changed in this release. For one release both names work, in each place where an option may stand. */
import type { OptionKey } from './options';

/** Former name → the option. A release forgets what the one before it had here. */
export const RENAMED: Record<string, OptionKey> = {};

/** A sentence for the log: `--old` (or a variable, or a line of the file) was written, and `present` is what it is now. */
export function renamedNotice(written: string, present: string): string {
  return `${written} is the former name of ${present}; the next release will not know it`;
}

/** Which file an overlay is remembered in, where the user names none. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseMemory } from '../model/memory-codec';
import { readRegularFile } from '../regular-file';
import { LARGEST_STATE_FILE } from './subnet-file';

/** Names of files have at most 255 bytes. */
const LONGEST_PREFIX = 200;

/**
 * Overlays of one host have different prefixes in etcd, and each its own file: `shared`, or for another prefix than the usual one a file
 * beside it. The shared one stays in use where it is this overlay's, as written by v0.1.0.
 */
export function stateFileFor(prefix: string, shared: string): string {
  const name = encodeURIComponent(prefix.replace(/^\/+/, '')).slice(0, LONGEST_PREFIX);
  const own = join(dirname(shared), `state-${name}.json`);
  if (existsSync(own)) return own;
  return placeIn(shared) === `${prefix}/config` ? shared : own;
}

/** Where the configuration of the overlay is that a state file is about; undefined if that cannot be told. */
function placeIn(file: string): string | undefined {
  try {
    return parseMemory(readRegularFile(file, LARGEST_STATE_FILE).content.toString(), () => false)?.place;
  } catch {
    return undefined;
  }
}

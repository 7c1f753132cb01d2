/** Directories that are gone after the test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];

/** A new, empty directory. The suite calls {@link removeTemporaryDirectories} when it is over. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'vtepd-test-'));
  made.push(path);
  return path;
}

export function removeTemporaryDirectories(): void {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true });
}

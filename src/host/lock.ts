/** One agent for each link of each network namespace. */
import { closeSync, fchownSync, ftruncateSync, mkdirSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { lockFile } from '../../native';
import { HostError } from '../model/errors';
import { readRegularFile } from '../regular-file';
import { hostError } from './failure';

/**
 * The lock files of a directory, one for each link and namespace, each with the process ID of who holds it. The kernel frees a
 * lock when its holder ends, however it ends; the file stays, and tells that there was an agent.
 */
export class AgentLocks {
  readonly #held = new Map<string, number>();

  constructor(private readonly directory: string) {}

  /** Throws EBUSY while another agent holds it; another HostError where no lock can be had. */
  lock(linkName: string): void {
    if (this.#held.has(linkName)) return;
    const path = this.#pathOf(linkName);
    let file: number;
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o755 });
      file = lockFile(path);
    } catch (error) {
      throw hostError(`cannot make sure that no other agent runs for ${linkName}, by ${path}`, error);
    }
    if (file < 0) throw new HostError('EBUSY', `another vtepd${holderOf(path)} runs for ${linkName} already`);
    this.#held.set(linkName, file);
    giveToOwnerOf(this.directory, file);
    writeProcessId(file);
  }

  /** Gives one back; the file stays. No error if it was not held. */
  unlock(linkName: string): void {
    const file = this.#held.get(linkName);
    if (file === undefined) return;
    this.#held.delete(linkName);
    closeSync(file);
  }

  /** The links of this namespace that have a lock file, whoever holds it. */
  links(): string[] {
    let files: string[];
    try {
      files = readdirSync(this.directory);
    } catch {
      return [];
    }
    const prefix = namespacePrefix();
    return files
      .filter((file) => file.startsWith(prefix) && file.endsWith('.lock'))
      .flatMap((file) => decoded(file.slice(prefix.length, -'.lock'.length)) ?? []);
  }

  /** Gives all locks back. The end of the process does so too. */
  release(): void {
    for (const file of this.#held.values()) closeSync(file);
    this.#held.clear();
  }

  #pathOf(linkName: string): string {
    return join(this.directory, `${namespacePrefix()}${encodeURIComponent(linkName)}.lock`);
  }
}

/** Two hosts in one mount namespace (containers, tests) have device names of their own. */
function namespacePrefix(): string {
  return `${statSync('/proc/self/ns/net', { bigint: true }).ino}-`;
}

/** Undefined for a name that we never give: anybody may have put a file there. */
function decoded(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}

/** The file stays when we end: one that root made must not keep out an agent that runs as another user. */
function giveToOwnerOf(directory: string, file: number): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(directory);
  fchownSync(file, uid, gid);
}

/** For people. The lock holds without it, so a full disk is no reason to stop. */
function writeProcessId(file: number): void {
  try {
    ftruncateSync(file);
    writeSync(file, `${process.pid}\n`, 0);
  } catch {
    // The next who finds it locked will not be told by whom.
  }
}

function holderOf(path: string): string {
  try {
    const text = readRegularFile(path).content.toString().trim();
    return /^\d+$/.test(text) ? ` (process ${text})` : '';
  } catch {
    return '';
  }
}

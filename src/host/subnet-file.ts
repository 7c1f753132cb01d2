/** subnet.env on disk: replaced whole, or not at all. */
import { constants, watch } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LARGEST_FILE, makeDirectory, readRegularFile, replaceableFile } from '../regular-file';
import { hostError } from './failure';

/** 60 000 leases take some 12 MB of the state file. */
export const LARGEST_STATE_FILE = 64 << 20;

/**
 * One regular file that others read while we replace it; links to it are followed, and stay. Methods throw a HostError that names
 * it.
 */
export class SubnetFile {
  readonly #directory: string;

  constructor(
    private readonly path: string,
    private readonly largest = LARGEST_FILE,
  ) {
    this.#directory = dirname(path);
  }

  /** Undefined when there is no such file. */
  // eslint-disable-next-line @typescript-eslint/require-await -- a small file is read at once, and cannot hang
  async read(): Promise<string | undefined> {
    try {
      return readRegularFile(this.path, this.largest).content.toString();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw hostError(`cannot read ${this.path}`, error);
    }
  }

  /**
   * Makes the directory (0755) if it is not there. The file is readable for all (0644) whatever the umask. When this resolves
   * it survives a crash of the host; when it rejects, the old file is as it was.
   */
  async write(text: string): Promise<void> {
    try {
      const target = await replaceableFile(this.path);
      const directory = dirname(target);
      await makeDirectory(directory);
      // One name, so that an agent that is killed while it writes leaves at most one file behind, which the next one replaces.
      const temporary = join(directory, `.${basename(target)}.new`);
      try {
        await writeTemporary(temporary, text);
        await rename(temporary, target);
        await syncDirectory(directory);
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => undefined);
        throw error;
      }
    } catch (error) {
      throw hostError(`cannot write ${this.path}`, error);
    }
  }

  /** See `Host.watchSubnetFile`. Does not keep the process alive. */
  watch(onChange: () => void, signal: AbortSignal): void {
    const name = basename(this.path);
    try {
      const options = { persistent: false, signal };
      const watcher = watch(this.#directory, options, (_, changed) => {
        if (changed === null || changed === name) onChange();
      });
      watcher.on('error', () => watcher.close());
    } catch {
      // There is no such directory yet, or nothing left to watch it with: whoever asked looks now and then, too.
    }
  }

  /** No error if it is gone already. A link to it stays, and leads nowhere then. */
  async remove(): Promise<void> {
    try {
      await rm(await replaceableFile(this.path), { force: true });
    } catch (error) {
      throw hostError(`cannot remove ${this.path}`, error);
    }
  }
}

async function writeTemporary(path: string, text: string): Promise<void> {
  // Made anew: whoever may write to this directory could have put a link to another file here.
  await rm(path, { force: true });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o644);
  try {
    await file.chmod(0o644);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The new name is on disk only when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

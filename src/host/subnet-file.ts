/** subnet.env on disk: replaced whole, or not at all. */
import { constants, watch } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hostError } from './failure';

/** One file that others read while we replace it. Methods throw a HostError that names it. */
export class SubnetFile {
  readonly #directory: string;
  readonly #temporary: string;

  constructor(private readonly path: string) {
    this.#directory = dirname(path);
    // One name, so that an agent that is killed while it writes leaves at most one file behind, which the next one replaces.
    this.#temporary = join(this.#directory, `.${basename(path)}.new`);
  }

  /** Undefined when there is no such file. */
  async read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, 'utf8');
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
      await mkdir(this.#directory, { recursive: true, mode: 0o755 });
      await this.#writeTemporary(text);
      await rename(this.#temporary, this.path);
      await syncDirectory(this.#directory);
    } catch (error) {
      await rm(this.#temporary, { force: true }).catch(() => undefined);
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

  /** No error if it is gone already. */
  async remove(): Promise<void> {
    try {
      await rm(this.path, { force: true });
    } catch (error) {
      throw hostError(`cannot remove ${this.path}`, error);
    }
  }

  async #writeTemporary(text: string): Promise<void> {
    // Made anew: whoever may write to this directory could have put a link to another file here.
    await rm(this.#temporary, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await open(this.#temporary, flags, 0o644);
    try {
      await file.chmod(0o644);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
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

/** What each container's delegate was told, kept on disk so that DEL tells it the same, whatever has changed since. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { readRegularFile } from '../regular-file';
import { isIdentifier } from './request';

export interface SavedConfig {
  readonly containerId: string;
  readonly file: string;
  readonly text: string;
}

/**
 * One file per container, named by its ID, as flannel's plugin has it: either can replay what the other saved. A container in
 * a second network with the same directory, whose file flannel would overwrite, has `<container>@<network>` there.
 */
export class SavedConfigs {
  constructor(
    private readonly directory: string,
    private readonly network: string,
  ) {}

  /** The container's configuration in this network; undefined when there is none. */
  load(containerId: string): SavedConfig | undefined {
    const own = this.#read(this.#ownName(containerId), containerId);
    if (own) return own;
    const shared = this.#read(containerId, containerId);
    return shared && this.#isOurs(shared) ? shared : undefined;
  }

  /** Saves the configuration, durably and at once: a power cut leaves the old file or the new one. */
  save(containerId: string, text: string): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const shared = this.#read(containerId, containerId);
    const name = shared && !this.#isOurs(shared) ? this.#ownName(containerId) : containerId;
    const temporary = this.#unfinished(name);
    rmSync(temporary, { force: true });
    const file = openSync(temporary, 'wx', 0o600);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, join(this.directory, name));
    this.#syncDirectory();
  }

  /** No error if it is gone already. */
  remove({ containerId, file }: SavedConfig): void {
    rmSync(join(this.directory, file), { force: true });
    this.removeUnfinished(containerId);
  }

  /** Removes what a save left that was killed. */
  removeUnfinished(containerId: string): void {
    for (const name of [containerId, this.#ownName(containerId)])
      rmSync(this.#unfinished(name), { force: true });
  }

  /** All of this network. */
  list(): SavedConfig[] {
    let names: string[];
    try {
      names = readdirSync(this.directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    return names.flatMap((file) => {
      const [containerId, network, ...more] = file.split('@');
      if (more.length > 0 || !isIdentifier(containerId!)) return [];
      if (network !== undefined && network !== this.network) return [];
      const saved = this.#read(file, containerId!);
      return saved && this.#isOurs(saved) ? [saved] : [];
    });
  }

  /** No container's ID begins with a dot. Nobody else writes it: a runtime does one thing at a time to a container. */
  #unfinished(name: string): string {
    return join(this.directory, `.${name}`);
  }

  #ownName(containerId: string): string {
    return `${containerId}@${this.network}`;
  }

  /** A file that cannot be read as JSON might be anybody's: who asks for the container is told about it. */
  #isOurs({ text }: SavedConfig): boolean {
    try {
      return (JSON.parse(text) as { name?: unknown } | null)?.name === this.network;
    } catch {
      return true;
    }
  }

  #read(file: string, containerId: string): SavedConfig | undefined {
    try {
      return { containerId, file, text: readRegularFile(join(this.directory, file)).content.toString() };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Without it the new name may be lost, and the file with it. */
  #syncDirectory(): void {
    const directory = openSync(this.directory, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }
}

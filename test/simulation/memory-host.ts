/** What a host has besides a network: one small file, and room for one agent. */
import { HostError } from '../../src/model/errors';
import type { Host } from '../../src/ports';
import type { Process } from './process';

/** Outlives its processes. */
export interface HostState {
  subnetFile: string | undefined;
  /** What it remembers for a start without etcd; outlives a reboot, too. */
  memory: string | undefined;
  /** The process that has the lock. */
  owner: Process | undefined;
}

export class MemoryHost implements Host {
  constructor(
    private readonly state: HostState,
    private readonly process: Process,
    private readonly odds: () => number,
  ) {}

  readSubnetFile(): Promise<string | undefined> {
    return this.#soon('reads its subnet file', () => this.state.subnetFile);
  }

  writeSubnetFile(text: string): Promise<void> {
    return this.#soon('writes its subnet file', () => {
      this.#useDisk();
      this.state.subnetFile = text;
    });
  }

  readMemory(): Promise<string | undefined> {
    return this.#soon('reads its memory', () => this.state.memory);
  }

  writeMemory(text: string): Promise<void> {
    return this.#soon('writes its memory', () => {
      this.#useDisk();
      this.state.memory = text;
    });
  }

  removeSubnetFile(): Promise<void> {
    return this.#soon('removes its subnet file', () => {
      this.state.subnetFile = undefined;
    });
  }

  watchSubnetFile(): void {}

  lockedLinks(): readonly string[] {
    return [];
  }

  lock(): void {
    if (this.state.owner?.isAlive) throw new HostError('EBUSY', 'another agent is at work');
    this.state.owner = this.process;
  }

  notify(): void {}

  randomBytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.process.chance.below(256));
  }

  #useDisk(): void {
    if (this.process.chance.chance(this.odds())) throw new HostError('ENOSPC', 'no space left on device');
  }

  #soon<T>(what: string, work: () => T): Promise<T> {
    return new Promise<void>((resolve) => void this.process.later(1, what, resolve)).then(work);
  }
}

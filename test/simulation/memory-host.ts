/** What a host has besides a network: one small file, and room for one agent. */
import { HostError } from '../../src/model/errors';
import type { Host } from '../../src/ports';
import type { Process } from './process';

/** Outlives its processes. */
export interface HostState {
  subnetFile: string | undefined;
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
      if (this.process.chance.chance(this.odds())) throw new HostError('ENOSPC', 'no space left on device');
      this.state.subnetFile = text;
    });
  }

  readMemory(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  writeMemory(): Promise<void> {
    return Promise.resolve();
  }

  removeSubnetFile(): Promise<void> {
    return this.#soon('removes its subnet file', () => {
      this.state.subnetFile = undefined;
    });
  }

  lock(): void {
    if (this.state.owner?.isAlive) throw new HostError('EBUSY', 'another agent is at work');
    this.state.owner = this.process;
  }

  notify(): void {}

  randomBytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.process.chance.below(256));
  }

  #soon<T>(what: string, work: () => T): Promise<T> {
    return new Promise<void>((resolve) => void this.process.later(1, what, resolve)).then(work);
  }
}

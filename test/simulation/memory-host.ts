/** A host as one process reaches it: its disk takes its time and is full now and then. */
import type { IpAddress } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import type { Host } from '../../src/ports';
import type { FakeHost } from '../support/fake-host';
import type { Process } from './process';

export class MemoryHost implements Host {
  constructor(
    /** What outlives the process. */
    private readonly inner: FakeHost,
    private readonly process: Process,
    /** How likely the disk refuses a write. */
    private readonly odds: () => number = () => 0,
  ) {}

  readSubnetFile(): Promise<string | undefined> {
    return this.#soon('reads its subnet file', () => this.inner.readSubnetFile());
  }

  writeSubnetFile(text: string): Promise<void> {
    return this.#soon('writes its subnet file', () => this.#use(() => this.inner.writeSubnetFile(text)));
  }

  readMemory(): Promise<string | undefined> {
    return this.#soon('reads its memory', () => this.inner.readMemory());
  }

  writeMemory(text: string): Promise<void> {
    return this.#soon('writes its memory', () => this.#use(() => this.inner.writeMemory(text)));
  }

  removeMemory(): Promise<void> {
    return this.#soon('removes its memory', () => this.inner.removeMemory());
  }

  removeSubnetFile(): Promise<void> {
    return this.#soon('removes its subnet file', () => this.inner.removeSubnetFile());
  }

  watchSubnetFile(onChange: () => void, signal: AbortSignal): void {
    const tell = () =>
      void this.process.later(1, 'is told of its subnet file', () => {
        if (!signal.aborted) onChange();
      });
    this.inner.watchSubnetFile(tell, signal);
  }

  lockedLinks(): readonly string[] {
    return this.inner.lockedLinks();
  }

  unlock(linkName: string): void {
    this.inner.unlock(linkName);
  }

  lock(linkName: string): void {
    this.inner.lock(linkName);
  }

  /** Nobody listens. */
  notify(): void {}

  findProcess(program: string): Promise<number | undefined> {
    return this.inner.findProcess(program);
  }

  nameServers(): readonly IpAddress[] {
    return this.inner.nameServers();
  }

  addressesOf(name: string): Promise<readonly IpAddress[]> {
    return this.inner.addressesOf(name);
  }

  machineId(): string | undefined {
    return this.inner.machineId();
  }

  randomBytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.process.chance.below(256));
  }

  #use(write: () => Promise<void>): Promise<void> {
    if (!this.process.chance.chance(this.odds())) return write();
    return Promise.reject(new HostError('ENOSPC', 'no space left on device'));
  }

  #soon<T>(what: string, work: () => Promise<T>): Promise<T> {
    return new Promise<void>((resolve) => void this.process.later(1, what, resolve)).then(work);
  }
}

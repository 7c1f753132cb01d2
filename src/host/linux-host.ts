/** The host as it is. */
import { randomBytes } from 'node:crypto';
import type { IpAddress } from '../model/address';
import type { Host } from '../ports';
import { lookUpAddresses } from './host-names';
import { AgentLocks } from './lock';
import { readMachineId } from './machine-id';
import { readNameServers } from './name-servers';
import { findProcess } from './processes';
import { LARGEST_STATE_FILE, SubnetFile } from './subnet-file';
import { notifySystemd, type ServiceState } from './systemd';

export interface LinuxHostOptions {
  /** Undefined: there is none. */
  readonly subnetFile: string | undefined;
  /** Where to remember; undefined: nothing is remembered. */
  readonly memoryFile?: string | undefined;
  /** `/run/vtepd` by default. */
  readonly lockDirectory?: string;
  /** The process's by default. */
  readonly env?: NodeJS.ProcessEnv;
}

export class LinuxHost implements Host {
  readonly #subnetFile: SubnetFile | undefined;
  readonly #memoryFile: SubnetFile | undefined;
  readonly #locks: AgentLocks;
  readonly #env: NodeJS.ProcessEnv;

  constructor({ subnetFile, memoryFile, lockDirectory = '/run/vtepd', env = process.env }: LinuxHostOptions) {
    this.#subnetFile = subnetFile === undefined ? undefined : new SubnetFile(subnetFile);
    this.#memoryFile = memoryFile === undefined ? undefined : new SubnetFile(memoryFile, LARGEST_STATE_FILE);
    this.#locks = new AgentLocks(lockDirectory);
    this.#env = env;
  }

  async readSubnetFile(): Promise<string | undefined> {
    return this.#subnetFile?.read();
  }

  async writeSubnetFile(text: string): Promise<void> {
    await this.#subnetFile?.write(text);
  }

  async removeSubnetFile(): Promise<void> {
    await this.#subnetFile?.remove();
  }

  watchSubnetFile(onChange: () => void, signal: AbortSignal): void {
    this.#subnetFile?.watch(onChange, signal);
  }

  async readMemory(): Promise<string | undefined> {
    return this.#memoryFile?.read();
  }

  async writeMemory(text: string): Promise<void> {
    await this.#memoryFile?.write(text);
  }

  async removeMemory(): Promise<void> {
    await this.#memoryFile?.remove();
  }

  lock(linkName: string): void {
    this.#locks.lock(linkName);
  }

  unlock(linkName: string): void {
    this.#locks.unlock(linkName);
  }

  lockedLinks(): readonly string[] {
    return this.#locks.links();
  }

  notify(state: ServiceState): void {
    notifySystemd(this.#env, state);
  }

  randomBytes(count: number): Uint8Array {
    return randomBytes(count);
  }

  nameServers(): readonly IpAddress[] {
    return readNameServers();
  }

  addressesOf(name: string): Promise<readonly IpAddress[]> {
    return lookUpAddresses(name);
  }

  machineId(): string | undefined {
    return readMachineId();
  }

  findProcess(program: string): Promise<number | undefined> {
    return findProcess(program);
  }

  /** Gives the locks back, as the end of the process would. */
  close(): void {
    this.#locks.release();
  }
}

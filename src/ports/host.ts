import type { IpAddress } from '../model/address';

/** The host we run on, apart from its network. Methods throw {@link HostError}. */
export interface Host {
  /** The text of subnet.env; undefined when there is none. */
  readSubnetFile(): Promise<string | undefined>;
  /** Replaces subnet.env at once and durably, making its directory; the old file is intact if this fails. */
  writeSubnetFile(text: string): Promise<void>;
  removeSubnetFile(): Promise<void>;
  /**
   * Calls back after subnet.env was written or removed, by whomever, until the signal aborts. Not all of it is noticed: nothing is
   * before its directory is there, nor after that was removed, until the next call of this.
   */
  watchSubnetFile(onChange: () => void, signal: AbortSignal): void;
  /** What was last written by {@link writeMemory}, by this agent or an earlier one; undefined when there is nothing. */
  readMemory(): Promise<string | undefined>;
  /** Remembers a text across restarts and reboots, as safely as subnet.env. Does nothing where the user wants no memory. */
  writeMemory(text: string): Promise<void>;
  /** Forgets it. No error where there is nothing. */
  removeMemory(): Promise<void>;
  /**
   * Makes this process the one agent of that link in this network namespace, for as long as it lives. Throws EBUSY, naming the
   * other's process ID, when there is one already.
   */
  lock(linkName: string): void;
  /** Lets another agent have that link, if it was ours. */
  unlock(linkName: string): void;
  /** Links that an agent of this network namespace was locked for since the host was booted, running or not. */
  lockedLinks(): readonly string[];
  /** Tells systemd, if it is there: READY=1, RELOADING=1, STOPPING=1, STATUS=…. Never throws. */
  notify(state: { ready?: boolean; reloading?: boolean; stopping?: boolean; status?: string }): void;
  randomBytes(count: number): Uint8Array;
  /** The name servers that programs of this host ask, as far as files name them. Never throws. */
  nameServers(): readonly IpAddress[];
  /** The addresses of that host name, as programs of this host find them; none where it cannot be resolved. Never rejects. */
  addressesOf(name: string): Promise<readonly IpAddress[]>;
  /** Tells this machine from others, except for its clones, and stays the same when it is booted; undefined where it has no such ID. */
  machineId(): string | undefined;
  /**
   * The process ID of a program of that name in our network namespace; undefined where none runs, or none that this process may
   * see.
   */
  findProcess(program: string): Promise<number | undefined>;
}

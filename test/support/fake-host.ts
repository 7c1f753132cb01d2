/** Hosts in memory. Those of one machine share its locks; each has its own subnet.env. Passes the contract of the real one. */
import type { IpAddress } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import type { Host } from '../../src/ports';

export type ServiceState = Parameters<Host['notify']>[0];

/** What the agents of one network namespace share. */
export class FakeMachine {
  readonly locks = new Map<string, FakeHost>();
  /** Other programs that run, and their process IDs. */
  readonly processes = new Map<string, number>();
  /** Those that were locked once. */
  readonly links = new Set<string>();
  /** A clone has that of its original. */
  id: string | undefined = '0123456789abcdef0123456789abcdef';
  #nextPid = 100;

  host(): FakeHost {
    return new FakeHost(this, this.#nextPid++);
  }
}

export class FakeHost implements Host {
  /** What subnet.env says; undefined when there is none. */
  subnetFile: string | undefined;
  /** What the agent remembers; undefined when there is nothing. */
  memory: string | undefined;
  /** How often subnet.env was written. */
  writes = 0;
  /** Everything systemd was told, in order. */
  readonly notified: ServiceState[] = [];
  readonly #failures = new Map<'read' | 'write' | 'remove', { code: string; times: number }>();
  readonly #watchers = new Set<() => void>();
  #seed = 1;

  constructor(
    readonly machine = new FakeMachine(),
    readonly pid = 100,
  ) {}

  /** The next so many calls fail. */
  fail(method: 'read' | 'write' | 'remove', code: string, times = 1): void {
    this.#failures.set(method, { code, times });
  }

  /** Somebody else writes subnet.env, or removes it. */
  tamper(text: string | undefined): void {
    this.subnetFile = text;
    for (const onChange of this.#watchers) onChange();
  }

  /** The process ends, however: the kernel frees its locks. */
  end(): void {
    for (const [link, holder] of this.machine.locks) if (holder === this) this.machine.locks.delete(link);
  }

  /** What systemd last heard of each kind. */
  get serviceState(): ServiceState {
    return Object.assign({}, ...this.notified) as ServiceState;
  }

  readSubnetFile(): Promise<string | undefined> {
    return this.#attempt('read', () => this.subnetFile);
  }

  writeSubnetFile(text: string): Promise<void> {
    return this.#attempt('write', () => {
      this.writes++;
      this.tamper(text);
    });
  }

  readMemory(): Promise<string | undefined> {
    return this.#attempt('read', () => this.memory);
  }

  writeMemory(text: string): Promise<void> {
    return this.#attempt('write', () => void (this.memory = text));
  }

  removeMemory(): Promise<void> {
    return this.#attempt('remove', () => void (this.memory = undefined));
  }

  removeSubnetFile(): Promise<void> {
    return this.#attempt('remove', () => this.tamper(undefined));
  }

  watchSubnetFile(onChange: () => void, signal: AbortSignal): void {
    this.#watchers.add(onChange);
    signal.addEventListener('abort', () => this.#watchers.delete(onChange), { once: true });
  }

  findProcess(program: string): Promise<number | undefined> {
    return Promise.resolve(this.machine.processes.get(program));
  }

  /** Whom this host asks for names. */
  servers: IpAddress[] = [];

  nameServers(): readonly IpAddress[] {
    return this.servers;
  }

  /** Whom it finds by their names. */
  readonly names = new Map<string, IpAddress[]>([['localhost', ['127.0.0.1' as IpAddress]]]);

  addressesOf(name: string): Promise<readonly IpAddress[]> {
    return Promise.resolve(this.names.get(name) ?? []);
  }

  machineId(): string | undefined {
    return this.machine.id;
  }

  lock(linkName: string): void {
    const holder = this.machine.locks.get(linkName) ?? this;
    if (holder !== this)
      throw new HostError('EBUSY', `another vtepd (process ${holder.pid}) runs for ${linkName} already`);
    this.machine.locks.set(linkName, this);
    this.machine.links.add(linkName);
  }

  unlock(linkName: string): void {
    if (this.machine.locks.get(linkName) === this) this.machine.locks.delete(linkName);
  }

  lockedLinks(): readonly string[] {
    return [...this.machine.links];
  }

  notify(state: ServiceState): void {
    this.notified.push(state);
  }

  /** The same numbers in every run. */
  randomBytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => {
      this.#seed = (this.#seed * 1_664_525 + 1_013_904_223) >>> 0;
      return this.#seed >>> 24;
    });
  }

  async #attempt<T>(method: 'read' | 'write' | 'remove', act: () => T): Promise<Awaited<T>> {
    await Promise.resolve();
    const failure = this.#failures.get(method);
    if (failure && failure.times-- > 0) throw new HostError(failure.code, `cannot ${method} the subnet file`);
    return await act();
  }
}

/** A network namespace of the lab: a place with links, addresses and routes of its own. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { attempt, run, type CommandOptions, type CommandResult } from './command';

export class Namespace {
  /** `name` is what `ip netns` lists; for one that it does not list, `path` says where it is, and `ip` does not work in it. */
  constructor(
    readonly name: string,
    readonly path = `/run/netns/${name}`,
  ) {}

  /** Runs a program in here; throws when it fails. */
  run(command: string, args: readonly string[], options?: CommandOptions): Promise<string> {
    return run('nsenter', this.#enter(command, args), options);
  }

  /** Runs a program in here that may fail. */
  attempt(command: string, args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return attempt('nsenter', this.#enter(command, args), options);
  }

  /**
   * Starts a program in here and leaves it running; its pid is the program's own. Only the network is entered: `ip netns exec`
   * would give it another /sys as well, without the cgroups that Docker looks for.
   */
  start(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    return spawn('nsenter', this.#enter(command, args), options);
  }

  /** `ip ARGS` in here. */
  ip(...args: string[]): Promise<string> {
    return run('ip', ['-n', this.name, ...args]);
  }

  /** `ip OBJECT flush ARGS` in here. Of what an agent puts back as fast ip(8) gives up after ten rounds, and it was flushed all the same. */
  async flush(object: 'address' | 'neigh', ...args: string[]): Promise<void> {
    const { status, stderr } = await attempt('ip', ['-n', this.name, object, 'flush', ...args]);
    if (status !== 0 && !stderr.includes('Flush remains incomplete'))
      throw new Error(`ip ${object} flush ${args.join(' ')}: ${stderr}`);
  }

  /** `ip -j ARGS` in here, parsed. */
  async ipJson<T>(...args: string[]): Promise<T[]> {
    return JSON.parse((await run('ip', ['-n', this.name, '-j', '-d', ...args])) || '[]') as T[];
  }

  /** `bridge -j ARGS` in here, parsed. */
  async bridgeJson<T>(...args: string[]): Promise<T[]> {
    return JSON.parse((await run('bridge', ['-n', this.name, '-j', ...args])) || '[]') as T[];
  }

  /** Many `ip` commands in one process: fifty hosts take a second so, and a minute one by one. */
  async batch(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    await run('ip', ['-n', this.name, '-batch', '-'], { input: lines.join('\n') + '\n' });
  }

  /** Many `bridge` commands in one process. */
  async bridgeBatch(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    await run('bridge', ['-n', this.name, '-batch', '-'], { input: lines.join('\n') + '\n' });
  }

  /** Writes settings below /proc/sys/net, by path: `ipv4/ip_forward`. */
  async configure(settings: Readonly<Record<string, string | number>>): Promise<void> {
    const script = Object.entries(settings).map(([path, value]) => `echo ${value} > /proc/sys/net/${path}`);
    await this.run('sh', ['-ec', script.join('\n')]);
  }

  #enter(command: string, args: readonly string[]): string[] {
    return [`--net=${this.path}`, command, ...args];
  }
}

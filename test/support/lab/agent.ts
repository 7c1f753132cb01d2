/** The agent of one lab host: the built program, as a process in the host's namespace. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { attempt, exitOf, type CommandResult, type Exit } from './command';
import type { Namespace } from './namespace';
import { until } from './until';

/** The program under test: as `scripts/setup` builds it, or another that $VTEPD_MAIN names (an installed package's). */
export const AGENT = process.env['VTEPD_MAIN'] ?? resolve(__dirname, '../../../dist/main.js');

export interface AgentStart {
  /** Further options; a later one wins over an earlier one. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A program that runs the agent: `['strace', '-f', …]`. */
  readonly under?: readonly string[];
}

/** One line of the agent's log. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

export class Agent {
  /** Which build of the program this host runs, from its next start on; {@link builtRevision} gives others. */
  program = AGENT;
  #process: ChildProcess | undefined;
  #startedAt = 0;
  #logStart = 0;

  constructor(
    private readonly namespace: Namespace,
    private readonly directory: string,
    private readonly options: readonly string[],
  ) {}

  get subnetFile(): string {
    return join(this.directory, 'subnet.env');
  }

  get logFile(): string {
    return join(this.directory, 'agent.log');
  }

  /** One that runs on the same host with files of its own in that directory, and like a copy of the whole machine knows nothing of this one. */
  copy(directory: string): Agent {
    const options = this.options.map((option) => option.replace(this.directory, directory));
    return new Agent(this.namespace, directory, options);
  }

  /** Undefined when it does not run. */
  get pid(): number | undefined {
    return this.running ? this.#process?.pid : undefined;
  }

  get running(): boolean {
    return (
      this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
    );
  }

  /** Milliseconds on `performance.now()`'s clock when it was last started. */
  get startedAt(): number {
    return this.#startedAt;
  }

  /** Starts it and returns at once. */
  start({ args = [], env = {}, under = [] }: AgentStart = {}): void {
    if (this.running) throw new Error(`the agent of ${this.namespace.name} runs already`);
    const log = openSync(this.logFile, 'a');
    this.#logStart = statSync(this.logFile).size;
    const [command, ...words] = [...under, process.execPath, this.program, ...this.options, ...args];
    this.#startedAt = performance.now();
    this.#process = this.namespace.start(command!, words, {
      stdio: ['ignore', log, log],
      env: { ...this.#env, ...env },
      // Out of our process group, so that Ctrl-C reaches us and not it: a kept lab must go on.
      detached: true,
    });
    this.#process.unref();
  }

  /** Returns once it is ready to carry packets: it says so in its log. */
  async ready(withinMilliseconds?: number): Promise<void> {
    let exit: Exit | undefined;
    void exitOf(this.#process!).then((how) => (exit = how));
    await until(
      () => `the agent of ${this.namespace.name} is ready; its log ends\n${this.#tail()}`,
      () =>
        exit ?? (this.log().some(({ message }) => READY.includes(message)) && existsSync(this.subnetFile)),
      { withinMilliseconds, everyMilliseconds: 10 },
    );
    if (exit)
      throw new Error(
        `the agent of ${this.namespace.name} ended (${JSON.stringify(exit)}):\n${this.#tail()}`,
      );
  }

  /** Returns the first line it logged since its start that is as described; waits for it. */
  logged(described: (line: LogLine) => boolean, withinMilliseconds?: number): Promise<LogLine> {
    return until(
      () => `the log of ${this.namespace.name} has a certain line; it ends\n${this.#tail()}`,
      () => this.log().find(described),
      { withinMilliseconds },
    );
  }

  /** How it ended, once it has by itself. */
  exit(): Promise<Exit> {
    if (!this.#process) throw new Error('it was never started');
    return exitOf(this.#process);
  }

  /** Sends a signal and waits until it ended. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    const child = this.#process;
    if (!child) throw new Error('it was never started');
    child.kill(signal);
    await until(`the agent of ${this.namespace.name} ended on ${signal}`, () => !this.running, {
      everyMilliseconds: 5,
    });
    return exitOf(child);
  }

  /** Runs the program with other words (`leave`, `config get`, …) on this host, to its end. */
  command(...words: string[]): Promise<CommandResult> {
    return attempt(
      'nsenter',
      [`--net=${this.namespace.path}`, process.execPath, this.program, ...words, ...this.options],
      {
        env: this.#env,
      },
    );
  }

  /** What it logged since it was last started. Lines that are not JSON appear as messages of level `text`. */
  log(): LogLine[] {
    return readFileSync(this.logFile)
      .subarray(this.#logStart)
      .toString('utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => {
        try {
          return JSON.parse(line) as LogLine;
        } catch {
          return { level: 'text', message: line };
        }
      });
  }

  #tail(): string {
    return existsSync(this.logFile)
      ? readFileSync(this.logFile, 'utf8').split('\n').slice(-15).join('\n')
      : '(no log)';
  }

  get #env(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], HOME: '/root', LANG: 'C.UTF-8' };
  }
}

/** The log messages that say: the kernel holds what it should, and subnet.env says so. */
const READY = ['subnet file written', 'subnet file is as it should be'];

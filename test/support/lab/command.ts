/** Running a program to its end, or for as long as the lab lives. */
import { spawn, type ChildProcess } from 'node:child_process';

/** What takes longer hangs: most take milliseconds, but a package is built and installed in a minute, or in ten on a busy machine. */
const PATIENCE_MILLISECONDS = 800_000;

export interface CommandOptions {
  /** Written to its standard input, which is closed then. */
  readonly input?: string;
  /** It is killed after that, and the run counts as failed. */
  readonly withinMilliseconds?: number;
  readonly env?: NodeJS.ProcessEnv;
}

export interface CommandResult {
  /** The exit code; -1 when a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program and returns what it printed; throws an Error with its words when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await attempt(command, args, options);
  if (result.status === 0) return result.stdout;
  throw new Error(
    `'${[command, ...args].join(' ')}' failed (${result.status}): ${result.stderr || result.stdout}`,
  );
}

/** Like {@link run}, for a program that may fail: returns how it ended. */
export function attempt(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: options.env,
      timeout: options.withinMilliseconds ?? PATIENCE_MILLISECONDS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status: status ?? -1, stdout, stderr }));
    // A program that ends without reading its input is no error of ours.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input);
  });
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Resolves when the process has ended; never rejects. */
export function exitOf(child: ChildProcess): Promise<Exit> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  }
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', () => resolve({ code: null, signal: null }));
  });
}

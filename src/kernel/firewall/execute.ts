/** Running the packet filter's tools. */
import { runProgram, type ProgramEnd } from '../../../native';
import { HostError } from '../../model/errors';

/** A tool that takes longer hangs (iptables waits for a lock that somebody holds). */
const LONGEST_RUN_MILLISECONDS = 20_000;
/** 100 000 rules print less. */
const LONGEST_OUTPUT_BYTES = 64 << 20;
/** Where distributions keep them; a service's PATH may lack sbin. */
const TOOL_DIRECTORIES = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs a program to its end and returns what it printed. Throws a {@link HostError}: ENOENT when there is no such program,
 * FAILED with its own words when it fails, ETIMEDOUT; or the signal's reason.
 */
export type Execute = (
  command: string,
  args: readonly string[],
  input: string | undefined,
  signal: AbortSignal,
) => Promise<string>;

/** `prefix` comes before every command line: `nsenter --net=…` in tests. */
export function executeWith(prefix: readonly string[] = []): Execute {
  return async (command, args, input, signal) => {
    const end = await run([...prefix, command, ...args], input ?? '', signal);
    return outputOf(end, command);
  };
}

function run(args: readonly string[], input: string, signal: AbortSignal): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const limits = { timeoutMilliseconds: LONGEST_RUN_MILLISECONDS, mostOutputBytes: LONGEST_OUTPUT_BYTES };
    const cancel = runProgram({ args, env: environment(), input, ...limits }, (end) => {
      signal.removeEventListener('abort', cancel);
      process.removeListener('exit', cancel);
      if (end.killed && signal.aborted) reject(signal.reason as Error);
      else resolve(end);
    });
    signal.addEventListener('abort', cancel, { once: true });
    // Node does not end before its threads have.
    process.once('exit', cancel);
  });
}

function environment(): string[] {
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:${TOOL_DIRECTORIES}`, LC_ALL: 'C' };
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

function outputOf({ error, syscall, status, killed, stdout, stderr }: ProgramEnd, name: string): string {
  if (error !== undefined) throw new HostError(error, `cannot run ${name}: ${error}, ${syscall}`);
  if (killed) throw new HostError('ETIMEDOUT', `${name} did not finish`);
  if (status === 0) return stdout.toString('utf8');
  const words = stderr
    .toString('utf8')
    .trim()
    .replaceAll(/\s*\n\s*/g, '; ')
    .slice(0, 500);
  // env(1)'s and nsenter(1)'s status for a program that is not there.
  const code = status === 127 ? 'ENOENT' : 'FAILED';
  throw new HostError(code, `${name} failed (${status}): ${words || 'without a word'}`);
}

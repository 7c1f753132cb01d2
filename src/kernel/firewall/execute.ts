/** Running the packet filter's tools. */
import { spawn } from 'node:child_process';
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
  return (command, args, input, signal) => execute([...prefix, command, ...args], command, input, signal);
}

function execute(
  line: readonly string[],
  name: string,
  input: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const [program, ...args] = line;
    const child = spawn(program!, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:${TOOL_DIRECTORIES}`, LC_ALL: 'C' },
      killSignal: 'SIGKILL',
      signal,
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) return reject(signal.reason as Error);
      reject(new HostError(error.code ?? 'FAILED', `cannot run ${name}`, { cause: error }));
    });
    // Without a file descriptor to spare (EMFILE) there is no process and no stream, only the error to come.
    if (child.pid === undefined) return;
    // Not by spawn's own timeout, which outlives a process that never was.
    const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_RUN_MILLISECONDS);
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        output[stream] += text;
        if (output[stream].length > LONGEST_OUTPUT_BYTES) child.kill('SIGKILL');
      });
    }
    child.on('close', (status, killed) => {
      clearTimeout(timer);
      if (status === 0) return resolve(output.stdout);
      if (signal.aborted) return reject(signal.reason as Error);
      const words = output.stderr
        .trim()
        .replaceAll(/\s*\n\s*/g, '; ')
        .slice(0, 500);
      if (killed) return reject(new HostError('ETIMEDOUT', `${name} did not finish`));
      // env(1)'s and nsenter(1)'s status for a program that is not there.
      const code = status === 127 ? 'ENOENT' : 'FAILED';
      reject(new HostError(code, `${name} failed (${status}): ${words || 'without a word'}`));
    });
    // A program that ends without reading its input says why itself.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

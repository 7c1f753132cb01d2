/** The network namespace the tests run in, and the processes that get one of their own. */
import { execFile, execFileSync } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import path from 'node:path';

/** Throws when anything but our own links is up: these tests make links and flood the kernel with changes. */
export function requirePrivateNamespace(): void {
  const foreign = Object.keys(networkInterfaces()).filter((name) => !name.startsWith('vn-'));
  if (foreign.length === 0) return;
  throw new Error(
    `Not in a private network namespace (${foreign.join(', ')} is up). Run: unshare --net npx jest --selectProjects native`,
  );
}

/** Makes a link that is up, and returns its interface index. Test files run side by side: each takes another name. */
export function addLink(name: string): number {
  execFileSync('ip', ['link', 'add', name, 'up', 'type', 'veth', 'peer', 'name', `${name}-p`]);
  const [link] = JSON.parse(
    execFileSync('ip', ['-json', 'link', 'show', 'dev', name], { encoding: 'utf8' }),
  ) as [{ ifindex: number }];
  return link.ifindex;
}

export function removeLink(name: string): void {
  execFileSync('ip', ['link', 'delete', name]);
}

/** What runs longer hangs. */
const HANG_MILLISECONDS = 200_000;

export interface Ending {
  /** Exit code, or null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs test/native/programs/`name`.ts in a network namespace of its own, to its end. */
export function runProgram(name: string, ...args: string[]): Promise<Ending> {
  const program = path.join(__dirname, '..', 'programs', `${name}.ts`);
  const command = ['--net', process.execPath, '--expose-gc', '--import', 'tsx', program, ...args];
  return new Promise((resolve) => {
    const child = execFile(
      'unshare',
      command,
      { timeout: HANG_MILLISECONDS, killSignal: 'SIGKILL' },
      (_error, stdout, stderr) => {
        resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr });
      },
    );
  });
}

/** Runs one and reads the JSON it printed last; throws with all it said if it did not end well. */
export async function resultOf(name: string, ...args: string[]): Promise<Record<string, number>> {
  const { code, signal, stdout, stderr } = await runProgram(name, ...args);
  if (code !== 0) throw new Error(`${name} ended with ${code ?? signal}\n${stdout}${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, number>;
}

/** The process edge: arguments in, exit code out. The only place that ends the process. */
import { parseCommandLine, type Command } from './cli/command-line';
import { readConfigFile } from './cli/config-file-io';
import type { SignalHooks } from './execute';
import { describeError, SubnetLostError, UsageError } from './model/errors';
import { escapeControls } from './model/printable';

const nothing = () => undefined;
const hooks: SignalHooks = { moreVerbose: nothing, lessVerbose: nothing, audit: nothing, warned: nothing };
const stop = new AbortController();

// Node opens its debugger on SIGUSR1. An agent that runs as root must not: from the first moment it is a signal of ours.
process.on('SIGUSR1', () => hooks.moreVerbose());
process.on('SIGUSR2', () => hooks.lessVerbose());
process.on('SIGHUP', () => hooks.audit());
// The second one finds Node's default again, and ends the process at once.
process.once('SIGTERM', () => stop.abort());
process.once('SIGINT', () => stop.abort());
// A reader of our output that went away is no reason to stop carrying packets.
let outputFailure: NodeJS.ErrnoException | undefined;
process.stdout.on('error', (error: NodeJS.ErrnoException) => (outputFailure = error));
process.stderr.on('error', nothing);
/** An agent is ended by systemd, and owes its standard output to nobody. */
let isAgent = false;
// Node would write its warnings between the lines of our log, which may be JSON.
process.removeAllListeners('warning');
process.on('warning', (warning) => hooks.warned(warning));
// One of grpc's calls (a server name that is an address) is deprecated; nobody who reads our log can do anything about it.
process.noDeprecation = true;

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  if (words[0] === 'docker-opts') {
    // It reads its own words: they are those of flannel's script.
    const { runDockerOpts } = await import('./cli/docker-opts.js');
    const { processDockerOptsIo } = await import('./cli/docker-opts-io.js');
    return runDockerOpts(words.slice(1), processDockerOptsIo(stop.signal));
  }
  let command: Command;
  try {
    command = parseCommandLine(words, process.env, readConfigFile);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`vtepd: ${escapeControls(error.message)}\n`);
    return 2;
  }
  if (command.kind === 'print') {
    process.stdout.write(command.text);
    return 0;
  }
  if (command.kind === 'status') {
    const { runStatusCommand } = await import('./cli/status-command.js');
    const { processStatusIo } = await import('./cli/status-io.js');
    return runStatusCommand(command, processStatusIo());
  }
  isAgent = command.kind === 'run';
  // What runs something is loaded only now: --help and a mistyped flag answer at once.
  const { execute } = await import('./execute.js');
  return execute(command, hooks, stop.signal);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2;
  return error instanceof SubnetLostError ? 3 : 1;
}

/** Ends the process once all it said has been taken: what is still on its way to a slow reader would be lost. */
async function end(code: number): Promise<never> {
  if (isAgent) process.exit(code);
  const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()));
  await Promise.race([Promise.all([process.stdout, process.stderr].map(taken)), stopped]);
  // Whoever has read enough of it (`| head`) misses nothing.
  if (code !== 0 || !outputFailure || outputFailure.code === 'EPIPE') process.exit(code);
  process.stderr.write(`vtepd: cannot write to standard output: ${outputFailure.message}\n`);
  process.exit(1);
}

/** Resolves, too, when nobody is there to take it. */
function taken(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableFinished) return resolve();
    stream.once('close', resolve);
    stream.write('', () => resolve());
  });
}

void main()
  .catch((error: unknown) => {
    process.stderr.write(`vtepd: ${escapeControls(describeError(error))}\n`);
    return exitCodeOf(error);
  })
  .then(end);

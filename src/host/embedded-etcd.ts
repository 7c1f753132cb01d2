/** An etcd of this host's own, as a child of the agent: for a first host, before there is a cluster. No packet depends on it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { IpAddress } from '../model/address';
import type { Clock, Log } from '../ports';
import { hostError } from './failure';

export interface EmbeddedEtcdPlan {
  /** Its data, `/var/lib/vtepd/etcd`; made if it is not there. Beside it is its pid, in `<directory>.pid`. */
  readonly directory: string;
  /** An address of this host that other hosts reach. */
  readonly address: IpAddress;
  /** 2379 and 2380 are what everybody expects. */
  readonly clientPort: number;
  readonly peerPort: number;
  /** A name that is looked for in $PATH, or a path. */
  readonly program: string;
}

const FIRST_WAIT_MILLISECONDS = 500;
const LONGEST_WAIT_MILLISECONDS = 30_000;
/** One that ran so long did start well: the next wait is the first again. */
const STEADY_MILLISECONDS = 60_000;
const STOP_MILLISECONDS = 5_000;

/** Where this host's agent reaches it, as `--etcd-endpoints`. */
export function ownEndpoint({ clientPort }: EmbeddedEtcdPlan): string {
  return `http://127.0.0.1:${clientPort}`;
}

/** What to run on the next host. */
export function joinCommand({ address, clientPort }: EmbeddedEtcdPlan): string {
  return `vtepd --etcd-endpoints=http://${inUrl(address)}:${clientPort}`;
}

/**
 * Keeps an etcd running until the signal aborts, then stops it, and returns when it is gone. One that dies is started again,
 * after a wait that doubles up to half a minute. One that an agent left which was killed is stopped first: it would hold the
 * data. Throws a HostError only when the directory cannot be made.
 */
export async function runEmbeddedEtcd(
  plan: EmbeddedEtcdPlan,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  makeDirectory(plan.directory);
  let wait = FIRST_WAIT_MILLISECONDS;
  while (!signal.aborted) {
    await endLeftover(plan, clock, log);
    const since = clock.now();
    const reason = await runOnce(plan, clock, log, signal);
    rmSync(pidFile(plan), { force: true });
    if (signal.aborted) return;
    if (clock.now() - since > STEADY_MILLISECONDS) wait = FIRST_WAIT_MILLISECONDS;
    log.error('the embedded etcd ended; it is started again', { reason, waitMilliseconds: wait });
    await clock.sleep(wait, signal).catch(() => undefined);
    wait = Math.min(LONGEST_WAIT_MILLISECONDS, wait * 2);
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw hostError(`cannot make ${directory} for the embedded etcd`, error);
  }
}

/** Returns why it ended. */
async function runOnce(plan: EmbeddedEtcdPlan, clock: Clock, log: Log, signal: AbortSignal): Promise<string> {
  const child = spawn(plan.program, argumentsOf(plan), {
    cwd: dirname(plan.directory),
    env: environment(),
    stdio: ['ignore', 'ignore', 'pipe'],
    // Ctrl-C is for the agent, which stops its etcd last.
    detached: true,
  });
  let lastWords = '';
  const lines = createInterface({ input: child.stderr });
  lines.on('line', (line) => {
    lastWords = line;
    log.debug('etcd says', { line });
  });
  if (child.pid !== undefined) {
    log.info('embedded etcd started', { pid: child.pid, directory: plan.directory });
    writeFileSync(pidFile(plan), `${child.pid}\n`);
  }
  const ended = endOf(child);
  const stop = () => void stopChild(child, ended, clock);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const how = await ended;
  signal.removeEventListener('abort', stop);
  return lastWords === '' ? how : `${how}: ${lastWords}`;
}

function argumentsOf({ directory, address, clientPort, peerPort }: EmbeddedEtcdPlan): string[] {
  const peerUrl = `http://${inUrl(address)}:${peerPort}`;
  const clientUrls = [...new Set(['127.0.0.1', address])].map(
    (each) => `http://${inUrl(each)}:${clientPort}`,
  );
  return [
    ...['--name', 'vtepd', '--data-dir', directory],
    ...['--listen-client-urls', clientUrls.join(','), '--advertise-client-urls', clientUrls.at(-1)!],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
    ...['--initial-cluster', `vtepd=${peerUrl}`],
    // Leases are renewed for ever: without it the history of them would fill the store.
    ...['--auto-compaction-mode', 'periodic', '--auto-compaction-retention', '1h'],
    ...['--logger', 'zap', '--log-outputs', 'stderr', '--log-level', 'warn'],
  ];
}

/** Without the ETCD_* of ours: etcd ends when a variable says the same as a flag. It wants to be asked twice on ARM. */
function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, ...(process.arch === 'x64' ? {} : { ETCD_UNSUPPORTED_ARCH: process.arch }) };
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      resolve(
        error.code === 'ENOENT'
          ? `there is no ${child.spawnfile} on this host; on Debian: apt install etcd-server`
          : error.message,
      ),
    );
    child.once('close', (code, killer) => resolve(killer ? `ended by ${killer}` : `exit code ${code}`));
  });
}

async function stopChild(child: ChildProcess, ended: Promise<unknown>, clock: Clock): Promise<void> {
  child.kill('SIGTERM');
  const done = new AbortController();
  void ended.then(() => done.abort());
  // Its store survives a kill; our own end must not wait for it for ever.
  await clock.sleep(STOP_MILLISECONDS, done.signal).then(
    () => child.kill('SIGKILL'),
    () => undefined,
  );
}

/** What a killed agent left. */
async function endLeftover(plan: EmbeddedEtcdPlan, clock: Clock, log: Log): Promise<void> {
  const pid = leftover(plan);
  if (pid === undefined) return;
  log.warn('an embedded etcd is left from another agent; it is stopped', { pid });
  const never = new AbortController().signal;
  const end = clock.now() + STOP_MILLISECONDS;
  process.kill(pid, 'SIGTERM');
  while (leftover(plan) === pid) {
    if (clock.now() > end) process.kill(pid, 'SIGKILL');
    await clock.sleep(20, never);
  }
}

/** Its pid, if that process still runs on our data; pids are used again. */
function leftover(plan: EmbeddedEtcdPlan): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile(plan), 'utf8'));
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.includes(plan.directory) ? pid : undefined;
  } catch {
    return undefined;
  }
}

function pidFile({ directory }: EmbeddedEtcdPlan): string {
  return `${directory}.pid`;
}

function inUrl(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

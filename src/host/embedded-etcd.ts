/** An etcd of this host's own, for a first host, before there is a cluster. No packet depends on it. */
import { spawn, type SpawnOptions } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  statfsSync,
  truncateSync,
} from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { describeError, HostError } from '../model/errors';
import type { Clock, Log, RegistryServer, ServerPlace } from '../ports';
import { withoutAmbientCapabilities } from './capabilities';
import { correctPeerUrl, isServing } from './etcd-member';
import { hostError } from './failure';

export interface EmbeddedEtcdPlan {
  /** Its data, `/var/lib/vtepd/etcd`; made if it is not there. Beside it is what it says, in `<directory>.log`. */
  readonly directory: string;
  /** 2379 and 2380 are what everybody expects. */
  readonly clientPort: number;
  readonly peerPort: number;
  /** A name that is looked for in $PATH, or a path. */
  readonly program: string;
}

/** Where the etcd of a first host listens, on its underlay address and on the loopback. */
export const ETCD_PORTS = { clientPort: 2379, peerPort: 2380 } as const;

const LOOK_MILLISECONDS = 50;
const LEFTOVER_LOOK_MILLISECONDS = 500;
const TRIM_MILLISECONDS = 60_000;
const LARGEST_LOG_BYTES = 1 << 20;
const STOP_MILLISECONDS = 5_000;
/** With less, a disk is as good as full. */
const LEAST_ROOM_BYTES = 64 << 10;
/** Where we run as root: what etcd runs as. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface RunningEtcd {
  readonly pid: number | undefined;
  /** How it ended. */
  readonly ended: Promise<string>;
  /** Where in the log its own words begin. */
  readonly logStart: number;
}

/** Debian's etcd, as a process of its own that may outlive an agent which is killed. */
export class EmbeddedEtcd implements RegistryServer {
  constructor(
    private readonly plan: EmbeddedEtcdPlan,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  async run(place: ServerPlace, onUp: () => void, signal: AbortSignal): Promise<string> {
    const owner = this.#prepare();
    const words = argumentsOf(this.plan, place);
    const etcd = (await this.#takeOver(words)) ?? this.#spawn(words, owner);
    const over = new AbortController();
    const stop = () => void this.#end(etcd.pid, over.signal);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    void this.#attend(etcd, place, onUp, over.signal);
    const how = await etcd.ended;
    over.abort();
    signal.removeEventListener('abort', stop);
    const reasons = this.#reasons(etcd.logStart);
    return reasons.length === 0 ? how : `${how}: ${reasons.join('; ')}`;
  }

  /** Returns who owns its files. */
  #prepare(): Owner {
    const { directory } = this.plan;
    try {
      mkdirSync(dirname(directory), { recursive: true, mode: 0o755 });
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      // One that root runs by hand must not keep out the service, which is another user.
      const { uid, gid } = statSync(dirname(directory));
      if (process.getuid!() === 0) chownSync(directory, uid, gid);
      chmodSync(directory, 0o700);
      return { uid, gid };
    } catch (error) {
      throw hostError(`cannot make ${directory} ready for etcd`, error);
    }
  }

  #spawn(words: readonly string[], owner: Owner): RunningEtcd {
    const { program, directory } = this.plan;
    const path = pathOf(program);
    if (path === undefined)
      throw new HostError(
        'ENOENT',
        `there is no ${program} on this host; on Debian: apt install etcd-server; systemctl disable --now etcd`,
      );
    const isRoot = process.getuid!() === 0;
    const log = this.#openLog(owner);
    const logStart = statSync(this.#logFile).size;
    try {
      const options: SpawnOptions = {
        ...(isRoot ? owner : {}),
        cwd: dirname(directory),
        env: environment(),
        // A file, for a pipe would end it with us: Go ends a program that nobody listens to.
        stdio: ['ignore', 'ignore', log],
        // Ctrl-C is for the agent, which stops its etcd last.
        detached: true,
      };
      // It serves other hosts, and is to be no way to our right.
      const child = withoutAmbientCapabilities(() => spawn(path, words, options));
      const { pid } = child;
      if (pid !== undefined) this.log.info('embedded etcd started', { pid, directory });
      const ended = new Promise<string>((resolve) => {
        child.once('error', (error) => resolve(`cannot start ${path}: ${error.message}`));
        child.once('exit', (code, killer) => resolve(killer ? `ended by ${killer}` : `exit code ${code}`));
      });
      return { pid, ended, logStart };
    } finally {
      closeSync(log);
    }
  }

  #openLog({ uid, gid }: Owner): number {
    try {
      const log = openSync(this.#logFile, 'a', 0o600);
      if (process.getuid!() === 0) chownSync(this.#logFile, uid, gid);
      this.#trimLog();
      return log;
    } catch (error) {
      throw hostError(`cannot write ${this.#logFile}`, error);
    }
  }

  /** It is only ever appended to, so that who writes it goes on at the new end. */
  #trimLog(): void {
    if (statSync(this.#logFile).size > LARGEST_LOG_BYTES) truncateSync(this.#logFile);
  }

  /** What a killed agent left goes on serving the other hosts, if it is as we would start it; else it must go: it holds the data. */
  async #takeOver(words: readonly string[]): Promise<RunningEtcd | undefined> {
    const left = this.#leftover();
    if (!left) return undefined;
    const { pid } = left;
    if (left.words.slice(1).join('\0') === words.join('\0')) {
      this.log.info('the embedded etcd that another agent left is taken over', { pid });
      return { pid, ended: this.#endOfLeftover(pid), logStart: Infinity };
    }
    this.log.warn('an embedded etcd is left from another agent, and not as we want it; it is stopped', {
      pid,
    });
    const gone = new AbortController();
    void this.#end(pid, gone.signal);
    await this.#endOfLeftover(pid);
    gone.abort();
    return undefined;
  }

  async #endOfLeftover(pid: number): Promise<string> {
    const never = new AbortController().signal;
    while (this.#wordsOf(pid)) await this.clock.sleep(LEFTOVER_LOOK_MILLISECONDS, never);
    return 'it is gone';
  }

  /** An etcd that runs on our data, whoever started it. */
  #leftover(): { readonly pid: number; readonly words: readonly string[] } | undefined {
    for (const name of readdirSync('/proc')) {
      const words = /^\d+$/.test(name) ? this.#wordsOf(Number(name)) : undefined;
      if (words) return { pid: Number(name), words };
    }
    return undefined;
  }

  /** The command line of a process, if it is an etcd on our data. */
  #wordsOf(pid: number): readonly string[] | undefined {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
      const isEtcd = basename(words[0] ?? '') === basename(this.plan.program);
      return isEtcd && words[words.indexOf('--data-dir') + 1] === this.plan.directory ? words : undefined;
    } catch {
      return undefined;
    }
  }

  async #end(pid: number | undefined, gone: AbortSignal): Promise<void> {
    if (pid === undefined) return;
    const send = (signal: NodeJS.Signals) => {
      try {
        process.kill(pid, signal);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ESRCH')
          this.log.warn('cannot stop the embedded etcd', { pid, error: describeError(error) });
      }
    };
    send('SIGTERM');
    // Its store survives a kill; our own end must not wait for it for ever.
    await this.clock.sleep(STOP_MILLISECONDS, gone).then(
      () => send('SIGKILL'),
      () => undefined,
    );
  }

  /** While it runs. */
  async #attend(etcd: RunningEtcd, place: ServerPlace, onUp: () => void, over: AbortSignal): Promise<void> {
    const { clientPort, peerPort } = this.plan;
    try {
      // Another program may have the port: then this one ends in a moment.
      while (!isListening(etcd.pid, clientPort)) await this.clock.sleep(LOOK_MILLISECONDS, over);
      // It listens before it has read its data and may write any, and may end over that.
      while (!(await isServing(clientPort, over))) await this.clock.sleep(LOOK_MILLISECONDS, over);
      onUp();
      await correctPeerUrl(clientPort, peerUrl(place, peerPort), over).catch((error: unknown) =>
        this.log.debug('the address for other members was not looked at', { error: describeError(error) }),
      );
      for (;;) {
        await this.clock.sleep(TRIM_MILLISECONDS, over);
        this.#trimLog();
      }
    } catch (error) {
      if (!over.aborted)
        this.log.debug('the embedded etcd is not attended to', { error: describeError(error) });
    }
  }

  /** Why it ended, by its log, and what to do about that. */
  #reasons(logStart: number): string[] {
    try {
      const words = lastWordsIn(readFileSync(this.#logFile).subarray(logStart).toString('utf8'));
      // On a full disk there may be no room for its words either.
      const meaning = this.#hasRoom() ? words : NO_ROOM;
      const advice = ADVICE.find(([pattern]) => pattern.test(meaning ?? ''))?.[1](this.plan);
      return [words, advice].filter((part) => part !== undefined);
    } catch {
      return [];
    }
  }

  #hasRoom(): boolean {
    const { bavail, bsize } = statfsSync(this.plan.directory);
    return bavail * bsize >= LEAST_ROOM_BYTES;
  }

  get #logFile(): string {
    return `${this.plan.directory}.log`;
  }
}

const NO_ROOM = 'no space left';

const ADVICE: readonly (readonly [RegExp, (plan: EmbeddedEtcdPlan) => string])[] = [
  [
    /address already in use/,
    () =>
      "another program has the port ('ss -ltnp' shows which); if it is Debian's etcd: systemctl disable --now etcd, or " +
      'use that one by --etcd-endpoints instead of --embedded-etcd',
  ],
  [
    /no space left|quota exceeded/i,
    ({ directory }) =>
      `there is not enough room on the disk of ${directory}: etcd reserves some 130 MB there`,
  ],
  [
    /permission denied/i,
    ({ directory }) => `all below ${directory} must belong to who owns ${dirname(directory)}`,
  ],
];

/** What went wrong, of what etcd logged: what ended it, or the last that it said. */
function lastWordsIn(text: string): string | undefined {
  const lines = text.split('\n').filter((line) => line !== '');
  const logged = lines.filter((line) => line.startsWith('{'));
  const line =
    logged.findLast((each) => /^\{"level":"(?:panic|fatal)"/.test(each)) ??
    lines.find((each) => each.startsWith('panic: ')) ??
    logged.at(-1) ??
    lines.at(-1);
  const parts = ['msg', 'error'].flatMap((name) => fieldOf(line ?? '', name) ?? []);
  return parts.length > 0 ? parts.join(': ') : line;
}

/** A field of a line in JSON, whose end may be missing: a disk became full. */
function fieldOf(line: string, name: string): string | undefined {
  const text = new RegExp(`"${name}":("(?:[^"\\\\]|\\\\.)*")`).exec(line)?.[1];
  return text === undefined ? undefined : (JSON.parse(text) as string);
}

function argumentsOf({ directory, clientPort, peerPort }: EmbeddedEtcdPlan, place: ServerPlace): string[] {
  const clientUrls = [...new Set(['127.0.0.1', place.address])].map((host) => urlOf(host, clientPort));
  const peer = peerUrl(place, peerPort);
  return [
    ...['--name', 'vtepd', '--data-dir', directory],
    ...[
      '--listen-client-urls',
      clientUrls.join(','),
      '--advertise-client-urls',
      urlOf(place.publicIp, clientPort),
    ],
    ...['--listen-peer-urls', urlOf(place.address, peerPort), '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', `vtepd=${peer}`],
    // Each change is kept in the history: without it that would fill the store.
    ...['--auto-compaction-mode', 'periodic', '--auto-compaction-retention', '1h'],
    ...['--logger', 'zap', '--log-outputs', 'stderr', '--log-level', 'error'],
  ];
}

function peerUrl({ publicIp }: ServerPlace, port: number): string {
  return urlOf(publicIp, port);
}

/** `http://[fd00::1]:2379` */
export function urlOf(address: string, port: number): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** Without the ETCD_* of ours: etcd ends when a variable says the same as a flag. It wants to be asked twice on ARM. */
function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, ...(process.arch === 'x64' ? {} : { ETCD_UNSUPPORTED_ARCH: process.arch }) };
}

function pathOf(program: string): string | undefined {
  const places = program.includes('/')
    ? [program]
    : (process.env['PATH'] ?? '').split(':').map((directory) => join(directory, program));
  return places.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether anybody listens on that port of the loopback. */
export function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}

const LISTENING = '0A';

/** Whether that very process listens on the loopback's port: any etcd would answer there. Source: proc(5), `/proc/net/tcp`. */
function isListening(pid: number | undefined, port: number): boolean {
  const place = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  try {
    const sockets = readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((words) => words[1] === place && words[3] === LISTENING)
      .map((words) => `socket:[${words[9]}]`);
    return (
      sockets.length > 0 &&
      readdirSync(`/proc/${pid}/fd`).some((fd) => sockets.includes(readlinkSync(`/proc/${pid}/fd/${fd}`)))
    );
  } catch {
    // It is just ending, or a file of it was just closed.
    return false;
  }
}

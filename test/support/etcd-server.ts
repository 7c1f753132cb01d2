/**
 * A real etcd on loopback, for tests, benches and the demo: started on free ports, stopped by pid, and never outliving the
 * process that started it.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface EtcdServerOptions {
  /** Client traffic over TLS; with `clientCa`, only with a client certificate that this CA has signed. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** More arguments for etcd. */
  readonly args?: readonly string[];
  /** Clients reach it here instead of on 127.0.0.1: for servers that listen in a network namespace. */
  readonly host?: string;
  /** A command and its arguments to put in front: `['ip', 'netns', 'exec', 'x']`. */
  readonly wrapper?: readonly string[];
}

interface Member {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
}

const START_MILLISECONDS = 15_000;
const STOP_MILLISECONDS = 5_000;

/** Ports that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Starts one etcd and waits until it is healthy. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const [server] = await startEtcdCluster(1, options);
  return server!;
}

/** Starts a cluster and waits until all its members are healthy. */
export async function startEtcdCluster(
  size: number,
  options: EtcdServerOptions = {},
): Promise<readonly EtcdServer[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryCluster(size, options);
    } catch (error) {
      // Another program of this machine took a port after we had found it free.
      if (attempt === 3 || !String(error).includes('address already in use')) throw error;
    }
  }
}

async function tryCluster(size: number, options: EtcdServerOptions): Promise<readonly EtcdServer[]> {
  const ports = await freePorts(size * 2);
  const members = Array.from({ length: size }, (_, index) => ({
    name: `n${index + 1}`,
    clientPort: ports[index * 2]!,
    peerPort: ports[index * 2 + 1]!,
  }));
  const directory = await mkdtemp(join(tmpdir(), 'vtepd-etcd-'));
  const servers = members.map((member) => new EtcdServer(member, members, directory, options));
  try {
    await Promise.all(servers.map((server) => server.start()));
  } catch (error) {
    await Promise.all(servers.map((server) => server.destroy()));
    throw error;
  }
  return servers;
}

/** One member. */
export class EtcdServer {
  readonly #directory: string;
  #process: ChildProcess | undefined;
  #output = '';

  constructor(
    private readonly member: Member,
    private readonly members: readonly Member[],
    directory: string,
    private readonly options: EtcdServerOptions,
  ) {
    this.#directory = directory;
  }

  get port(): number {
    return this.member.clientPort;
  }

  /** What a client is given: `http://127.0.0.1:12345`. */
  get url(): string {
    return `${this.options.tls ? 'https' : 'http'}://${this.#host}:${this.port}`;
  }

  get pid(): number {
    if (this.#process?.pid === undefined) throw new Error('this etcd is not running');
    return this.#process.pid;
  }

  /** What etcd has written to its log. */
  get output(): string {
    return this.#output;
  }

  /** Starts it (again, on the same data and ports), with these arguments besides, and waits until it is healthy. */
  async start(more: readonly string[] = []): Promise<void> {
    const [command, ...args] = [
      ...(this.options.wrapper ?? []),
      // Ends with us even if we are killed.
      'setpriv',
      '--pdeathsig',
      'KILL',
      'etcd',
      ...this.#args(),
      ...more,
    ];
    const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    const keep = (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-20_000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => (this.#output += String(error)));
    child.on('exit', () => {
      if (this.#process === child) this.#process = undefined;
    });
    await this.healthy();
  }

  /** Resolves once it answers and has a leader. */
  async healthy(milliseconds = START_MILLISECONDS): Promise<void> {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      if (!this.#process) throw new Error(`etcd has ended:\n${this.#output.slice(-2_000)}`);
      try {
        await this.etcdctl(['endpoint', 'health', '--command-timeout', '1s']);
        return;
      } catch (error) {
        // Where users are asked for, or client certificates, the refusal itself tells that it is up.
        if (/user name is empty|certificate required|bad certificate/.test(String(error))) return;
        if (performance.now() > deadline) {
          throw new Error(`etcd is not healthy: ${String(error)}\n${this.#output.slice(-2_000)}`, {
            cause: error,
          });
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ends it politely; `SIGKILL` ends it at once. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MILLISECONDS);
    await ended;
    clearTimeout(timer);
  }

  /** Freezes it: connections stay, nobody answers. Returns once it stands still: a signal takes effect in each of its threads when that runs next. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
    const tasks = `/proc/${this.pid}/task`;
    while (readdirSync(tasks).some((task) => !isStopped(`${tasks}/${task}/stat`)));
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Ends it and forgets its data; for a cluster, that of all members. */
  async destroy(): Promise<void> {
    await this.stop('SIGKILL');
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Forgets this member's data. It must be stopped. */
  async wipe(): Promise<void> {
    await rm(this.#dataDirectory, { recursive: true, force: true });
  }

  /** Puts back a snapshot that `etcdctl snapshot save` has made. It must be stopped, and the only member. */
  async restore(snapshot: string): Promise<void> {
    await this.wipe();
    await run('etcdctl', [
      ...['snapshot', 'restore', snapshot, '--name', this.member.name, '--data-dir', this.#dataDirectory],
      ...[
        '--initial-cluster',
        this.#initialCluster,
        '--initial-advertise-peer-urls',
        this.#peerUrl(this.member),
      ],
    ]);
  }

  /** Runs etcdctl against this member; returns what it prints. `input` is its standard input. */
  etcdctl(args: readonly string[], input?: string | Uint8Array): Promise<string> {
    const tls = this.options.tls;
    const [command, ...rest] = [
      ...(this.options.wrapper ?? []),
      'etcdctl',
      ...['--endpoints', this.url, '--dial-timeout', '3s', '--command-timeout', '5s'],
      ...(tls ? ['--insecure-transport=false', '--insecure-skip-tls-verify'] : []),
      ...(tls?.clientCa ? ['--cert', tls.cert, '--key', tls.key] : []),
      ...args,
    ];
    return run(command!, rest, input);
  }

  /**
   * One call of etcd's JSON gateway, for what would be slow by a process each: `('kv/put', { key, value })`. Strings and bytes
   * in `key`, `value` and `range_end` are encoded. Only without TLS and users.
   */
  async gateway<Response = unknown>(path: string, request: object): Promise<Response> {
    const response = await fetch(`${this.url}/v3/${path}`, { method: 'POST', body: encode(request) });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd refused ${path}: ${text}`);
    return JSON.parse(text) as Response;
  }

  put(key: string, value: string | Uint8Array): Promise<unknown> {
    return this.gateway('kv/put', { key, value });
  }

  delete(key: string): Promise<unknown> {
    return this.gateway('kv/deleterange', { key });
  }

  /** Puts many keys, a hundred in one transaction: they share a revision. */
  async putAll(pairs: readonly (readonly [key: string, value: string])[]): Promise<void> {
    for (let start = 0; start < pairs.length; start += 100) {
      const success = pairs
        .slice(start, start + 100)
        .map(([key, value]) => ({ request_put: { key, value } }));
      await this.gateway('kv/txn', { success });
    }
  }

  /** Deletes all keys that begin so, in one revision. The last character must be ASCII. */
  deletePrefix(prefix: string): Promise<unknown> {
    const end = Buffer.from(prefix);
    end[end.length - 1]! += 1;
    return this.gateway('kv/deleterange', { key: prefix, range_end: end });
  }

  async valueOf(key: string): Promise<string | undefined> {
    const { kvs } = await this.gateway<{ kvs?: { value?: string }[] }>('kv/range', { key });
    return kvs?.[0] && Buffer.from(kvs[0].value ?? '', 'base64').toString();
  }

  async revision(): Promise<string> {
    const { header } = await this.gateway<{ header: { revision: string } }>('kv/range', { key: 'x' });
    return header.revision;
  }

  /** Forgets the history before the current revision. */
  async compact(): Promise<void> {
    await this.gateway('kv/compaction', { revision: await this.revision(), physical: true });
  }

  get #host(): string {
    return this.options.host ?? '127.0.0.1';
  }

  get #dataDirectory(): string {
    return join(this.#directory, this.member.name);
  }

  get #initialCluster(): string {
    return this.members.map((member) => `${member.name}=${this.#peerUrl(member)}`).join(',');
  }

  #peerUrl(member: Member): string {
    return `http://${this.#host}:${member.peerPort}`;
  }

  #args(): string[] {
    const { tls, args = [] } = this.options;
    return [
      ...['--name', this.member.name, '--data-dir', this.#dataDirectory],
      ...['--listen-client-urls', this.url, '--advertise-client-urls', this.url],
      ...['--listen-peer-urls', this.#peerUrl(this.member)],
      ...['--initial-advertise-peer-urls', this.#peerUrl(this.member)],
      ...['--initial-cluster', this.#initialCluster],
      ...['--unsafe-no-fsync', '--log-level', 'error', '--logger', 'zap'],
      ...(tls ? ['--cert-file', tls.cert, '--key-file', tls.key] : []),
      ...(tls?.clientCa ? ['--client-cert-auth', '--trusted-ca-file', tls.clientCa] : []),
      ...args,
    ];
  }
}

/** JSON as the gateway wants it: bytes in base64. */
function encode(request: object): string {
  return JSON.stringify(request, (name, value: unknown) => {
    if (!['key', 'value', 'range_end'].includes(name)) return value;
    if (typeof value === 'string') return Buffer.from(value).toString('base64');
    // A Buffer has been through its toJSON already.
    const bytes = (value as { data?: number[] }).data ?? Object.values(value as Record<string, number>);
    return Buffer.from(bytes).toString('base64');
  });
}

function run(command: string, args: readonly string[], input?: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ETCDCTL_API: '3' };
    const child = execFile(command, args, { env, timeout: 20_000 }, (error, stdout, stderr) => {
      if (error)
        reject(new Error(`${command} ${args.join(' ')}: ${stderr || error.message}`, { cause: error }));
      else resolve(stdout);
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

/** By proc_pid_stat(5): the state follows the name of the program, which is in parentheses. */
function isStopped(stat: string): boolean {
  return /\) [TtZX]/.test(readFileSync(stat, 'utf8'));
}

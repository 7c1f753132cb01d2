/** The lab's etcd: one member or three, each in a namespace of its own on the underlay. */
import { openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { exitOf } from './command';
import type { EtcdTls } from './etcd-tls';
import type { Namespace } from './namespace';
import { until } from './until';

export interface EtcdMember {
  readonly name: string;
  readonly namespace: Namespace;
  readonly address: string;
}

/** etcd as flannel and vtepd know it, seen by an operator with etcdctl. */
export class Etcd {
  readonly #processes = new Map<string, ChildProcess>();
  /** `NAME:PASSWORD` of who etcdctl is from now on, once etcd asks for one. */
  user: string | undefined;
  #clusters = 1;

  /** `directory` holds the members' stores and logs; `args` are more arguments for each. */
  constructor(
    readonly members: readonly EtcdMember[],
    private readonly directory: string,
    private readonly args: readonly string[] = [],
    readonly tls?: EtcdTls,
  ) {}

  /** What `--etcd-endpoints` wants to hear. */
  get endpoints(): string {
    return this.members.map((member) => this.#clientUrl(member)).join(',');
  }

  /** Starts every member that is not running, and returns when all of them serve. */
  async start(): Promise<void> {
    for (const member of this.members) if (!this.#processes.has(member.name)) this.#startMember(member);
    await until(
      'etcd is healthy',
      async () => (await this.#attempt('endpoint', 'health', '--command-timeout=5s')).status === 0,
    );
  }

  /** Ends a member (the first one, if none is named): at once, as a crash would, or politely. Its store stays. */
  async stop(name = this.members[0]!.name, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const process = this.#processes.get(name);
    this.#processes.delete(name);
    process?.kill(signal);
    if (process) await exitOf(process);
  }

  /** What a new cluster is told apart by; another one after {@link wipe}. */
  get token(): string {
    return `cluster-${this.#clusters}`;
  }

  /** Forgets everything; all members must be stopped. The next start makes a new cluster, with another ID. */
  wipe(): void {
    for (const { name } of this.members) rmSync(this.storeOf(name), { recursive: true, force: true });
    this.#clusters++;
  }

  /** The ID of the cluster that runs now. */
  async clusterId(): Promise<string> {
    return /"ClusterID" : (\d+)/.exec(await this.etcdctl('endpoint', 'status', '-w', 'fields'))![1]!;
  }

  /** Sends a member (the first one, if none is named) a signal: SIGSTOP and SIGCONT freeze it and let it go on. */
  signal(signal: NodeJS.Signals, name = this.members[0]!.name): void {
    this.#processes.get(name)?.kill(signal);
  }

  /** Where a member keeps its data. */
  storeOf(name = this.members[0]!.name): string {
    return join(this.directory, name);
  }

  async put(key: string, value: string): Promise<void> {
    await this.etcdctl('put', key, value);
  }

  /** Puts many keys, a hundred to a transaction. */
  async putAll(entries: readonly (readonly [key: string, value: string])[]): Promise<void> {
    for (let at = 0; at < entries.length; at += 100) {
      const puts = entries.slice(at, at + 100).map(([key, value]) => `put ${quoted(key)} ${quoted(value)}`);
      // A transaction's text: comparisons, an empty line, what to do if they hold, an empty line, what to do if not.
      await this.txn(`\n${puts.join('\n')}\n\n\n`);
    }
  }

  /** Keys below a prefix, without that prefix, and their values. */
  async list(prefix: string): Promise<Map<string, string>> {
    const lines = (await this.etcdctl('get', '--prefix', prefix)).split('\n');
    const found = new Map<string, string>();
    for (let at = 0; at + 1 < lines.length; at += 2)
      found.set(lines[at]!.slice(prefix.length), lines[at + 1]!);
    return found;
  }

  /** Every key below a prefix with its metadata, as etcd's JSON gives it. */
  async inspect(prefix: string): Promise<{ key: string; modRevision: number; lease: string | undefined }[]> {
    const text = await this.etcdctl('get', '--prefix', prefix, '-w', 'fields');
    return text
      .split('\n\n')
      .filter((block) => block.includes('"Key"'))
      .map((block) => ({
        key: /^"Key" : "(.*)"$/m.exec(block)![1]!,
        modRevision: Number(/^"ModRevision" : (\d+)$/m.exec(block)![1]),
        lease: noZero(/^"Lease" : (-?\d+)$/m.exec(block)![1]!),
      }));
  }

  /** Runs etcdctl against all members; throws when it fails. */
  etcdctl(...args: string[]): Promise<string> {
    return this.#client.run('etcdctl', [...this.#options, ...args], { env: this.#env });
  }

  /** A transaction in etcdctl's words; what it answers. */
  txn(words: string): Promise<string> {
    return this.#client.run('etcdctl', [...this.#options, 'txn'], { input: words, env: this.#env });
  }

  /** Starts an etcdctl that prints on and on, and belongs to the caller. */
  follow(...args: string[]): ChildProcess {
    const stdio = ['ignore', 'pipe', 'ignore'] as const;
    return this.#client.start('etcdctl', [...this.#options, ...args], { stdio: [...stdio], env: this.#env });
  }

  #attempt(...args: string[]): ReturnType<Namespace['attempt']> {
    return this.#client.attempt('etcdctl', [...this.#options, ...args], { env: this.#env });
  }

  get #client(): Namespace {
    return this.members[0]!.namespace;
  }

  get #options(): string[] {
    const { tls, user } = this;
    return [
      `--endpoints=${this.endpoints}`,
      ...(tls ? ['--cacert', tls.caFile, '--cert', tls.client.cert, '--key', tls.client.key] : []),
      ...(user === undefined ? [] : ['--user', user]),
    ];
  }

  get #env(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], ETCDCTL_API: '3' };
  }

  #clientUrl({ address }: EtcdMember): string {
    return `${this.tls ? 'https' : 'http'}://${address}:2379`;
  }

  #startMember(member: EtcdMember): void {
    const { name, namespace, address } = member;
    const { tls } = this;
    const url = this.#clientUrl(member);
    const log = openSync(join(this.directory, `${name}.log`), 'a');
    const process = namespace.start(
      'etcd',
      [
        ...['--name', name, '--data-dir', this.storeOf(name)],
        ...['--listen-client-urls', url, '--advertise-client-urls', url],
        ...[
          '--listen-peer-urls',
          `http://${address}:2380`,
          '--initial-advertise-peer-urls',
          `http://${address}:2380`,
        ],
        ...[
          '--initial-cluster',
          this.members.map((each) => `${each.name}=http://${each.address}:2380`).join(','),
        ],
        ...['--initial-cluster-token', this.token],
        ...(tls ? ['--cert-file', tls.server.cert, '--key-file', tls.server.key] : []),
        ...(tls ? ['--client-cert-auth', '--trusted-ca-file', tls.caFile] : []),
        ...(tls ? ['--client-crl-file', tls.revokedFile] : []),
        ...this.args,
        // Nobody's data is at stake here, and fsync is what makes an etcd slow to start.
        ...['--unsafe-no-fsync', '--log-level', 'warn'],
      ],
      { stdio: ['ignore', log, log], detached: true },
    );
    process.unref();
    this.#processes.set(name, process);
  }
}

/** A word as etcdctl's transaction parser reads it. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function noZero(number: string): string | undefined {
  return number === '0' ? undefined : number;
}

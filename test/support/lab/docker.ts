/** A real Docker on a lab host. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENT } from './agent';
import { attempt, exitOf, run, type CommandResult, type Exit } from './command';
import { IMAGE } from './docker-image';
import type { Host } from './host';
import { Namespace } from './namespace';
import type { Station } from './stream';
import { until } from './until';

/** Not by $PATH, where an older one may be first. */
export const DOCKER = '/usr/bin/docker';
const DOCKERD = ['/usr/sbin/dockerd', '/usr/bin/dockerd'].find((path) => existsSync(path))!;

/**
 * dockerd, its containerd and its containers, in a PID and a mount namespace of their own in the host's network: when the
 * first process in there ends, and so when the lab does, all of them and their mounts are gone.
 */
export class Docker {
  #daemon: ChildProcess | undefined;
  #failure: Exit | undefined;

  private constructor(
    private readonly host: Host,
    private readonly directory: string,
    private readonly anchor: ChildProcess,
    private readonly pid: number,
    private readonly cgroup: string,
  ) {}

  /** Makes the place for it; nothing of Docker runs yet. */
  static async prepare(host: Host, directory: string): Promise<Docker> {
    const place = join(directory, 'docker');
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'daemon.json'), '{}');
    const ready = join(place, 'prepared');
    // Docker's shims have their sockets in one directory of the machine: each Docker gets its own. bash takes orphans in.
    const script = `mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd
      touch ${ready}
      sleep infinity & wait`;
    const anchor = host.namespace.start(
      'unshare',
      ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', '-c', script],
      { stdio: 'ignore', detached: true },
    );
    anchor.unref();
    await until('the place for Docker is ready', () => existsSync(ready));
    const children = readFileSync(`/proc/${anchor.pid}/task/${anchor.pid}/children`, 'utf8');
    return new Docker(host, place, anchor, Number(children.trim()), `/${host.namespace.name}`);
  }

  /** Starts dockerd with what `vtepd docker-opts` says and those options; returns once it answers. */
  async start(...options: string[]): Promise<void> {
    await this.startWith(...(await this.options()), ...options);
  }

  /** Starts dockerd with those options and no others; returns once it answers. */
  async startWith(...words: string[]): Promise<void> {
    // A pid file of one that was killed names a process of this one now and then.
    rmSync(join(this.directory, 'pid'), { force: true });
    const log = openSync(join(this.directory, 'log'), 'a');
    const all = [
      ...['--config-file', join(this.directory, 'daemon.json'), '--data-root', join(this.directory, 'data')],
      ...['--exec-root', join(this.directory, 'exec'), '--pidfile', join(this.directory, 'pid')],
      ...['--host', this.endpoint, '--cgroup-parent', this.cgroup, ...words],
    ];
    const spaces = ['--mount', '--pid', '--net'];
    this.#failure = undefined;
    const daemon = spawn('nsenter', [`--target=${this.pid}`, ...spaces, DOCKERD, ...all], {
      stdio: ['ignore', log, log],
      env: { PATH: '/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' },
      detached: true,
    });
    this.#daemon = daemon;
    daemon.unref();
    void exitOf(daemon).then((exit) => (this.#failure = exit));
    await until(
      () => `dockerd answers; its log ends\n${this.log.split('\n').slice(-8).join('\n')}`,
      async () => {
        if (this.#failure) throw new Error(`it ended: ${JSON.stringify(this.#failure)}`);
        return (await this.attempt('info')).status === 0;
      },
      { everyMilliseconds: 50 },
    );
  }

  /** What `vtepd docker-opts` has for dockerd's command line. */
  async options(): Promise<string[]> {
    const file = join(this.directory, 'docker.env');
    const { subnetFile } = this.host.agent;
    const words = [AGENT, 'docker-opts', '--require', '-c', '-f', subnetFile, '-d', file];
    await this.host.namespace.run(process.execPath, words);
    const [, found] = /^DOCKER_OPTS="(.*)"$/m.exec(readFileSync(file, 'utf8'))!;
    return found!.trim().split(/\s+/);
  }

  /** Ends dockerd, politely or not. Its containers go on if it was started with --live-restore, or killed. */
  async stop(signal: 'TERM' | 'KILL' = 'TERM'): Promise<void> {
    const daemon = this.#daemon!;
    const script = `kill -${signal} $(cat ${join(this.directory, 'pid')})`;
    await run('nsenter', [`--target=${this.pid}`, '--mount', '--pid', 'sh', '-c', script]);
    await exitOf(daemon);
  }

  async importImage(file: string): Promise<void> {
    await this.run('import', file, IMAGE);
  }

  /** `docker run -d`: a container of that name. Returns its address. */
  async container(name: string, command: readonly string[], ...options: string[]): Promise<string> {
    // PID 1 of a container heeds no SIGTERM by itself, and Docker would wait for it.
    await this.run('run', '--detach', '--stop-signal=KILL', '--name', name, ...options, IMAGE, ...command);
    return this.addressOf(name);
  }

  async addressOf(name: string): Promise<string> {
    const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    return (await this.run('inspect', `--format=${format}`, name)).trim();
  }

  /** A running container as an end of streams, whose programs enter its network from outside. */
  async station(name: string): Promise<Station> {
    const inner = (await this.run('inspect', '--format={{.State.Pid}}', name)).trim();
    // Its numbers here, in the place for Docker, and in the container itself.
    const isIt = (pid: string) =>
      new RegExp(`^NSpid:\t\\d+\t${inner}\t1$`, 'm').test(textOf(`/proc/${pid}/status`)) &&
      textOf(`/proc/${pid}/cgroup`).includes(`${this.cgroup}/`);
    const pid = readdirSync('/proc').find((each) => /^\d+$/.test(each) && isIt(each));
    if (pid === undefined) throw new Error(`there is no process ${inner} of the container '${name}'`);
    const title = `${name} on ${this.host.name}`;
    return {
      name: title,
      container: new Namespace(title, `/proc/${pid}/ns/net`),
      containerAddress: await this.addressOf(name),
    };
  }

  /** `docker exec` in a container, which may fail. */
  exec(name: string, ...command: string[]): Promise<CommandResult> {
    return this.attempt('exec', name, ...command);
  }

  run(...words: string[]): Promise<string> {
    return run(DOCKER, [`--host=${this.endpoint}`, ...words]);
  }

  attempt(...words: string[]): Promise<CommandResult> {
    return attempt(DOCKER, [`--host=${this.endpoint}`, ...words]);
  }

  get log(): string {
    return readFileSync(join(this.directory, 'log'), 'utf8');
  }

  /** Ends all of it at once, and removes its cgroups. */
  async end(): Promise<void> {
    this.anchor.kill('SIGKILL');
    await exitOf(this.anchor);
    await until(`the cgroups of ${this.cgroup} are empty`, async () => {
      const places = ['-path', `*${this.cgroup}`, '-o', '-path', `*${this.cgroup}/*`];
      await attempt('find', [
        '/sys/fs/cgroup',
        '-depth',
        '-type',
        'd',
        '(',
        ...places,
        ')',
        '-exec',
        'rmdir',
        '{}',
        ';',
      ]);
      const left = await run('find', ['/sys/fs/cgroup', '-type', 'd', '-path', `*${this.cgroup}`]);
      return left.trim() === '';
    });
  }

  /** For `$DOCKER_HOST`. */
  get endpoint(): string {
    return `unix://${join(this.directory, 'docker.sock')}`;
  }
}

/** Empty when the process is gone. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

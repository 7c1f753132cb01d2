/** A lab host with a systemd of its own as PID 1, and vtepd installed on it as a package would install it. */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { attempt, exitOf, run, type CommandResult } from './command';
import type { Namespace } from './namespace';
import { until } from './until';

const ROOT = resolve(__dirname, '../../..');
const TARGET = 'lab.target';

export interface MachinePlan {
  /** What boots, besides the system itself: `['vtepd.service']`. */
  readonly units: readonly string[];
  /** Further files, by path: `{'/etc/default/vtepd': '…'}`. */
  readonly files: Readonly<Record<string, string>>;
  /** A directory with another system, on which vtepd is not installed; undefined: this machine's own, and vtepd on it. */
  readonly root?: string;
}

export class SystemdMachine {
  private constructor(
    private readonly script: ChildProcess,
    /** PID 1, as seen from here. */
    private readonly init: number,
  ) {}

  /** Boots it in a namespace; returns once its systemd answers. Its files and log are in `directory`, which must not exist. */
  static async boot(namespace: Namespace, directory: string, plan: MachinePlan): Promise<SystemdMachine> {
    const layer = join(directory, 'layer');
    mkdirSync(layer, { recursive: true });
    if (plan.root === undefined) install(layer);
    const target = `[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\nWants=dbus.socket ${plan.units.join(' ')}\n`;
    const files = { ...plan.files, [`/etc/systemd/system/${TARGET}`]: target };
    for (const [path, text] of Object.entries(files)) writeIn(layer, path, text);

    const log = openSync(join(directory, 'console.log'), 'w');
    const words = [
      namespace.name,
      namespace.name,
      layer,
      TARGET,
      ...(plan.root === undefined ? [] : [plan.root]),
    ];
    const script = spawn(join(__dirname, 'systemd-machine.sh'), words, {
      stdio: ['ignore', log, log],
      // Out of our process group: what ends us leaves it the time to clean up after itself.
      detached: true,
    });
    let init = 0;
    await until(
      () => `systemd answers; the console:\n${readFileSync(join(directory, 'console.log'), 'utf8')}`,
      async () => {
        if (script.exitCode !== null) return true;
        init ||= initIn(namespace);
        return init !== 0 && (await inside(init, 'systemctl', ['list-jobs'])).status === 0;
      },
    );
    if (script.exitCode !== null) {
      throw new Error(`it does not boot:\n${readFileSync(join(directory, 'console.log'), 'utf8')}`);
    }
    return new SystemdMachine(script, init);
  }

  /** Runs a program on it, which may fail. */
  attempt(command: string, ...args: string[]): Promise<CommandResult> {
    return inside(this.init, command, args);
  }

  /** Runs a program on it; throws when it fails. */
  async run(command: string, ...args: string[]): Promise<string> {
    return run('nsenter', enter(this.init, command, args), { env: ENVIRONMENT });
  }

  /** What `systemctl show` says of a unit. */
  async show<Name extends string>(unit: string, ...names: Name[]): Promise<Record<Name, string>> {
    const text = await this.run('systemctl', 'show', unit, `--property=${names.join(',')}`);
    const pairs = text
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
    return Object.fromEntries(pairs) as Record<Name, string>;
  }

  /** Waits until a unit's properties are these. */
  async shows(
    unit: string,
    wanted: Readonly<Record<string, string>>,
    withinMilliseconds?: number,
  ): Promise<void> {
    let last: Record<string, string> = {};
    await until(
      () => `${unit} is ${JSON.stringify(wanted)}, not ${JSON.stringify(last)}`,
      async () => {
        last = await this.show(unit, ...Object.keys(wanted));
        return Object.entries(wanted).every(([name, value]) => last[name] === value);
      },
      { withinMilliseconds },
    );
  }

  /** The unit's main process, as seen from here. */
  async pidOf(unit: string): Promise<number> {
    const { MainPID } = await this.show(unit, 'MainPID');
    const cgroup = `${readFileSync(`/proc/${this.init}/cgroup`, 'utf8').match(/^0::(.*)$/m)![1]!}`;
    const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && namespacePid(pid) === MainPID);
    const ours = pids.find((pid) => readText(`/proc/${pid}/cgroup`).includes(dirname(cgroup)));
    return Number(ours);
  }

  /** The text of one of its files; undefined when there is none. */
  read(path: string): string | undefined {
    try {
      return readFileSync(this.#pathOf(path), 'utf8');
    } catch {
      return undefined;
    }
  }

  /** Writes one of its files. */
  write(path: string, text: string): void {
    writeFileSync(this.#pathOf(path), text);
  }

  /** Puts a file of ours among its. */
  copyIn(file: string, path: string): void {
    copyFileSync(file, this.#pathOf(path));
  }

  /** The journal of one unit, or of all. */
  journal(unit?: string): Promise<string> {
    return this.run(
      'journalctl',
      '--boot',
      '--no-pager',
      '--output=short-monotonic',
      ...(unit ? ['-u', unit] : []),
    );
  }

  /** Ends it, as pulling its plug would. */
  async end(): Promise<void> {
    this.script.kill('SIGTERM');
    await exitOf(this.script);
  }

  /** By way of PID 1: only it sees the machine's mounts. */
  #pathOf(path: string): string {
    return `/proc/${this.init}/root${path}`;
  }
}

/** As the package does: program, units, user. */
function install(layer: string): void {
  const program = join(layer, 'usr/lib/vtepd');
  cpSync(join(ROOT, 'dist'), join(program, 'dist'), { recursive: true });
  for (const file of ['native/index.js', 'native/build/Release/vtepd.node'])
    copyIn(program, file, join(ROOT, file));
  copyIn(layer, 'usr/lib/sysusers.d/vtepd.conf', join(ROOT, 'systemd/sysusers.conf'));
  for (const unit of ['vtepd.service', 'docker.service.d/10-vtepd.conf']) {
    copyIn(layer, `usr/lib/systemd/system/${unit}`, join(ROOT, 'systemd', unit));
  }
  copyIn(layer, 'etc/systemd/network/10-vtepd.network', join(ROOT, 'systemd/networkd/10-vtepd.network'));
  // A Node from elsewhere than /usr is not seen through the unit's sandbox.
  const node = process.execPath.startsWith('/usr/') ? process.execPath : '/usr/lib/vtepd/node';
  if (node !== process.execPath) copyIn(layer, node, process.execPath);
  mkdirSync(join(layer, 'usr/bin'), { recursive: true });
  if (node === '/usr/bin/node') symlinkSync('../lib/vtepd/dist/main.js', join(layer, 'usr/bin/vtepd'));
  else writeIn(layer, '/usr/bin/vtepd', `#!/bin/sh\nexec ${node} /usr/lib/vtepd/dist/main.js "$@"\n`, 0o755);
}

function copyIn(layer: string, path: string, from: string): void {
  mkdirSync(dirname(join(layer, path)), { recursive: true });
  copyFileSync(from, join(layer, path));
}

function writeIn(layer: string, path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(layer, path)), { recursive: true });
  writeFileSync(join(layer, path), text, { mode });
}

const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' };

function enter(init: number, command: string, args: readonly string[]): string[] {
  const spaces = ['--mount', '--uts', '--ipc', '--pid', '--net', '--cgroup'];
  return [`--target=${init}`, ...spaces, command, ...args];
}

function inside(init: number, command: string, args: readonly string[]): Promise<CommandResult> {
  return attempt('nsenter', enter(init, command, args), { env: ENVIRONMENT });
}

/** The systemd whose network is that namespace; 0 when there is none. */
function initIn(namespace: Namespace): number {
  const { ino } = statSync(namespace.path, { bigint: true });
  const found = readdirSync('/proc').find((pid) => {
    if (!/^\d+$/.test(pid) || readText(`/proc/${pid}/comm`).trim() !== 'systemd') return false;
    try {
      return statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino === ino && namespacePid(pid) === '1';
    } catch {
      return false;
    }
  });
  return Number(found ?? 0);
}

/** The number of a process in its own, innermost PID namespace. */
function namespacePid(pid: string): string | undefined {
  return /^NSpid:.*\t(\d+)$/m.exec(readText(`/proc/${pid}/status`))?.[1];
}

/** Empty when the process is gone. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

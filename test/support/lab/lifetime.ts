/** How long a lab lives: as long as its owner, unless it is kept. */
import { randomInt } from 'node:crypto';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** One file per lab that stands, named by its ID: `owner=PID START`, `directory=…`, `kept` when nobody owns it any more. */
const LEDGER = '/run/vtepd-lab';
const REMOVE = join(__dirname, 'remove-lab.sh');

/** A lab's entry in the ledger, and the guard that removes the lab when this process ends in whatever way. */
export class Lifetime {
  readonly id: string;
  /** For logs, subnet files and etcd's store. */
  readonly directory: string;
  readonly #guard: ChildProcess;

  constructor() {
    removeAbandonedLabs();
    mkdirSync(LEDGER, { recursive: true });
    this.id = newId();
    this.directory = mkdtempSync(`/tmp/vtl-${this.id}-`);
    this.#write(`owner=${process.pid} ${startTimeOf(process.pid)}`);
    this.#guard = spawn(REMOVE, ['--when-abandoned', this.id], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#guard.unref();
    // The guard is told by the end of its input, so an error there has nobody to tell.
    this.#guard.stdin?.on('error', () => undefined);
    (this.#guard.stdin as unknown as { unref(): void }).unref();
  }

  /** Leaves the lab standing when this process ends. */
  keep(): void {
    this.#write('kept');
    this.#guard.stdin?.end('keep\n');
  }

  /** Removes the lab now; returns when nothing of it is left, but for its logs if $VTEPD_LAB_LOGS names a directory for them. */
  end(): void {
    const logs = process.env['VTEPD_LAB_LOGS'];
    if (logs && existsSync(this.directory)) {
      // Whole trees but for the stores of etcd and Docker, which are large and say nothing, and for sockets, which cannot be copied.
      cpSync(this.directory, join(logs, this.id), {
        recursive: true,
        filter: (path) =>
          !/\/etcd\/e\d+$|\/h\d+\/etcd$|\/docker\/(data|exec)$/.test(path) && !lstatSync(path).isSocket(),
      });
    }
    removeLab(this.id);
    this.#guard.stdin?.end('keep\n');
  }

  #write(owner: string): void {
    writeFileSync(join(LEDGER, this.id), `${owner}\ndirectory=${this.directory}\n`);
  }
}

/** The IDs of labs that were kept. */
export function keptLabs(): string[] {
  return ledger()
    .filter(({ owner }) => owner === 'kept')
    .map(({ id }) => id);
}

/** Ends all processes of that lab and removes its namespaces and files. */
export function removeLab(id: string): void {
  execFileSync(REMOVE, [id], { stdio: 'inherit' });
}

/** Removes what owners left that died together with their guard. */
function removeAbandonedLabs(): void {
  for (const { id, owner } of ledger()) {
    const [, pid, startTime] = /^owner=(\d+) (\d+)$/.exec(owner) ?? [];
    if (owner !== 'kept' && startTimeOf(Number(pid)) !== startTime) removeLab(id);
  }
}

function ledger(): { id: string; owner: string }[] {
  try {
    return readdirSync(LEDGER).map((id) => ({
      id,
      owner: readFileSync(join(LEDGER, id), 'utf8').split('\n')[0]!,
    }));
  } catch {
    return [];
  }
}

/** When a process started, as the kernel counts; pids are used again, pairs of pid and start time are not. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** Of this process and no other lab's: jest loads this module anew for each test file, so counting would begin anew as well. */
function newId(): string {
  return `${process.pid.toString(36)}${randomInt(36 ** 3, 36 ** 4).toString(36)}`;
}

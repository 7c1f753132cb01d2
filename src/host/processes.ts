/** Other programs of this host, as far as /proc shows them. Source: proc(5). */
import { closeSync, openSync, readSync, readdirSync, readlinkSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

/** The kernel keeps so much of a program's name. */
const COMM_BYTES = 15;
/** Processes that are looked at before others have a turn. */
const AT_ONCE = 64;

/**
 * A process of that program in our network namespace; undefined where there is none, or none that we may see: a service with
 * ProtectProc=invisible sees its own only. Files of /proc wait for no disk, so they are read at once: by threads it costs ten times as much.
 */
export async function findProcess(program: string, proc = '/proc'): Promise<number | undefined> {
  const ours = attempt(() => readlinkSync(`${proc}/self/ns/net`));
  const names = attempt(() => readdirSync(proc)) ?? [];
  const wanted = program.slice(0, COMM_BYTES);
  const buffer = Buffer.alloc(COMM_BYTES + 1);
  for (const [at, name] of names.filter((each) => /^\d+$/.test(each)).entries()) {
    if (at % AT_ONCE === AT_ONCE - 1) await setImmediate();
    if (attempt(() => readLine(`${proc}/${name}/comm`, buffer)) !== wanted) continue;
    const theirs = attempt(() => readlinkSync(`${proc}/${name}/ns/net`));
    if (ours !== undefined && theirs === ours) return Number(name);
  }
  return undefined;
}

function readLine(path: string, buffer: Buffer): string {
  const file = openSync(path, 'r');
  try {
    return buffer.toString('utf8', 0, readSync(file, buffer)).trimEnd();
  } finally {
    closeSync(file);
  }
}

/** Undefined for what is gone, or not ours to see. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

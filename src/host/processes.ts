/** Other programs of this host, as far as /proc shows them. Source: proc(5). */
import { readFile, readdir, readlink } from 'node:fs/promises';

/** The kernel keeps so much of a program's name. */
const COMM_BYTES = 15;

/**
 * A process of that program in our network namespace; undefined where there is none, or none that we may see: a service with
 * ProtectProc=invisible sees its own only.
 */
export async function findProcess(program: string, proc = '/proc'): Promise<number | undefined> {
  const ours = await readlink(`${proc}/self/ns/net`).catch(() => undefined);
  const names = await readdir(proc).catch(() => []);
  for (const name of names.filter((each) => /^\d+$/.test(each))) {
    const comm = await readFile(`${proc}/${name}/comm`, 'utf8').catch(() => '');
    if (comm.trimEnd() !== program.slice(0, COMM_BYTES)) continue;
    const theirs = await readlink(`${proc}/${name}/ns/net`).catch(() => undefined);
    if (ours !== undefined && theirs === ours) return Number(name);
  }
  return undefined;
}

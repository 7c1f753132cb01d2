/** Files and standard streams for `vtepd config`. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { HostError } from '../model/errors';
import type { ConfigIo } from './config-command';

/** The process's own. Complaints begin with the program's name, as all that it says on standard error. */
export function processIo(signal: AbortSignal): ConfigIo {
  return {
    write: (line) => void process.stdout.write(line),
    complain: (line) => void process.stderr.write(`vtepd: ${line}`),
    read: (file) => (file === '-' ? text(process.stdin) : readText(file)),
    signal,
  };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code = 'EIO', message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    throw new HostError(code, `cannot read ${file}: ${why}`);
  }
}

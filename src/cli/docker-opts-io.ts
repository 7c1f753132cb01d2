/** Files, standard streams and routes for `vtepd docker-opts`. */
import { execFile } from 'node:child_process';
import { open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { familyOf, printSubnet, type Subnet } from '../model/address';
import { HostError } from '../model/errors';
import { escapeAllButLines } from '../model/printable';
import { makeDirectory } from '../regular-file';
import type { DockerOptsIo } from './docker-opts';
import { readInput } from './input';

/** A start of Docker waits for it; nothing but a small file is read each time. */
const REST_MILLISECONDS = 500;

/** The process's own. `stop` is what SIGTERM and SIGINT abort. */
export function processDockerOptsIo(stop: AbortSignal): DockerOptsIo {
  const complain = (line: string) => void process.stderr.write(escapeAllButLines(line));
  return {
    environment: process.env,
    write: (text) => void process.stdout.write(text),
    complain,
    read: async (file) => (await orUndefined(readInput(file, stop), `cannot read ${file}`))?.toString(),
    replace: replaceFile,
    rest: async () => {
      await sleep(REST_MILLISECONDS, undefined, { signal: stop }).catch(() => undefined);
      if (stop.aborted) throw new HostError('EINTR', 'stopped while it waited');
    },
    routesVia: async (subnet) => {
      try {
        return await routesVia(subnet);
      } catch (error) {
        // The options are written; whether a route is in their way is only a hint.
        complain(`vtepd docker-opts: cannot ask for routes: ${(error as Error).message}\n`);
        return [];
      }
    },
  };
}

/** A reader finds the old text or the new, never a part. Behind a symbolic link it is the file that is replaced, not the link. */
export async function replaceFile(file: string, text: string): Promise<void> {
  try {
    const target = (await orUndefined(realpath(file), '')) ?? file;
    const existing = await orUndefined(stat(target), '');
    // Even where /dev/fd/3 is a file, whoever opened it looks there and not at a new one.
    const isStream = /^\/(dev|proc)\//.test(file) || (existing && !existing.isFile());
    if (isStream) return await writeFile(file, text);
    await makeDirectory(dirname(target));
    const temporary = join(dirname(target), `.${basename(target)}.${process.pid}`);
    try {
      const handle = await open(temporary, 'w', 0o644);
      try {
        await handle.writeFile(text);
        // Docker reads it with whatever rights; a umask must not keep it out.
        await handle.chmod(0o644);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  } catch (error) {
    throw hostError(error, `cannot write ${file}`);
  }
}

/** ip(8): `ip route show exact SUBNET`, of which those with a gateway. */
async function routesVia(subnet: Subnet): Promise<string[]> {
  const family = familyOf(subnet.address) === 'ipv6' ? '-6' : '-4';
  const { stdout } = await promisify(execFile)('ip', [family, 'route', 'show', 'exact', printSubnet(subnet)]);
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => / via /.test(line));
}

async function orUndefined<T>(reading: Promise<T>, failure: string): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw failure === '' ? error : hostError(error, failure);
  }
}

function hostError(error: unknown, failure: string): HostError {
  if (error instanceof HostError) return error;
  const { code = 'EIO' } = error as NodeJS.ErrnoException;
  return new HostError(code, failure, { cause: error });
}

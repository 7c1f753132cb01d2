/** Files and standard streams for `vtepd config`. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { parseIpAddress } from '../model/address';
import { HostError } from '../model/errors';
import { parseNameServers } from '../model/resolv-conf';
import { escapeAllButLines } from '../model/printable';
import { readRegularFile, utf8TextOf } from '../regular-file';
import type { NeededAddress } from './config-remarks';
import { readInput } from './input';
import type { ConfigIo } from './config-command';

/** The process's own. Complaints begin with the program's name, as all that it says on standard error. */
export function processIo(etcdEndpoints: readonly string[], signal: AbortSignal): ConfigIo {
  return {
    // Whoever may write to etcd wrote a part of it.
    write: (text) => void process.stdout.write(escapeAllButLines(text)),
    copy: (text) => void process.stdout.write(text),
    complain: (text) => void process.stderr.write(`vtepd: ${escapeAllButLines(text)}`),
    read: (file) => readText(file, signal),
    needed: async () => [
      ...etcdEndpoints.flatMap((url) =>
        addressOf(new URL(url).hostname.replace(/^\[|\]$/g, ''), 'an etcd endpoint'),
      ),
      ...nameServers(),
      ...(await gateways()),
    ],
    signal,
  };
}

async function readText(file: string, signal: AbortSignal): Promise<string> {
  try {
    return utf8TextOf(await readInput(file, signal));
  } catch (error) {
    const { code = 'EIO', message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    throw new HostError(code, `cannot read ${file === '-' ? 'standard input' : file}: ${why}`);
  }
}

function addressOf(text: string | undefined, what: string): NeededAddress[] {
  const address = parseIpAddress(text ?? '');
  return address === undefined ? [] : [{ address, what }];
}

function nameServers(): NeededAddress[] {
  try {
    const text = readRegularFile('/etc/resolv.conf').content.toString();
    return parseNameServers(text).map((address) => ({ address, what: "this host's name server" }));
  } catch {
    return [];
  }
}

/** ip(8): `ip route show default` */
async function gateways(): Promise<NeededAddress[]> {
  try {
    const { stdout } = await promisify(execFile)('ip', ['-4', 'route', 'show', 'default']);
    return [...stdout.matchAll(/\bvia (\S+)/g)].flatMap(([, text]) =>
      addressOf(text, "this host's default gateway"),
    );
  } catch {
    return [];
  }
}

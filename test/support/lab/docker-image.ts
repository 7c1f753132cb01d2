/** The one image of the tests: busybox with all its commands, iperf3, and a web server that says who asks. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { attempt, run } from './command';

export const IMAGE = 'vtepd-lab';
/** `/who` on this port answers with the address that asks; any container may serve it. */
export const WHO_PORT = 8080;
export const WHO_SERVER = ['/bin/httpd', '-f', '-p', String(WHO_PORT), '-h', '/www'] as const;

/** Writes the image's file system as a tar file for `docker import`. */
export async function writeImage(file: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'vtepd-image-'));
  try {
    for (const place of ['bin', 'tmp', 'etc', 'proc', 'sys', 'dev', 'www/cgi-bin']) {
      mkdirSync(join(root, place), { recursive: true });
    }
    copyFileSync(await pathOf('busybox'), join(root, 'bin/busybox'));
    await run(join(root, 'bin/busybox'), ['--install', '-s', join(root, 'bin')]);
    await run('find', [join(root, 'bin'), '-type', 'l', '-exec', 'ln', '-sfn', 'busybox', '{}', ';']);
    await copyProgram(await pathOf('iperf3'), root);
    writeWho(join(root, 'www'));
    await run('tar', ['-C', root, '-cf', file, '.']);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Makes a web site of that directory, for busybox's httpd. */
export function writeWho(site: string): void {
  const script = join(site, 'cgi-bin/who');
  mkdirSync(dirname(script), { recursive: true });
  writeFileSync(script, '#!/bin/sh\nprintf "Content-type: text/plain\\n\\n%s\\n" "$REMOTE_ADDR"\n');
  chmodSync(script, 0o755);
}

/** A program and the libraries that it loads, at the places where it looks for them. */
async function copyProgram(program: string, root: string): Promise<void> {
  copyFileSync(program, join(root, 'bin/iperf3'));
  const { stdout } = await attempt('ldd', [program]);
  for (const [library] of stdout.matchAll(/\/[^ ]+/g)) {
    mkdirSync(dirname(join(root, library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
}

async function pathOf(program: string): Promise<string> {
  return (await run('sh', ['-c', `command -v ${program}`])).trim();
}

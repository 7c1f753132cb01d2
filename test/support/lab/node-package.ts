/** Node as a Debian package, for systems that have no other. */
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command';

/** Makes `nodejs` of the Node that runs this, in that directory; its path. */
export async function nodePackage(directory: string): Promise<string> {
  const root = join(directory, 'nodejs');
  mkdirSync(join(root, 'DEBIAN'), { recursive: true });
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  cpSync(process.execPath, join(root, 'usr/bin/node'));
  writeFileSync(
    join(root, 'DEBIAN/control'),
    `Package: nodejs\nVersion: ${process.versions.node}-1\nArchitecture: amd64\nDepends: libc6, libstdc++6\n` +
      'Maintainer: the test <root@localhost>\nDescription: the Node that runs the tests\n',
  );
  const file = join(directory, 'nodejs.deb');
  await run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', root, file]);
  rmSync(root, { recursive: true });
  return file;
}

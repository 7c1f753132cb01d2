/** `copyright.mjs ROOT BUNDLE`: prints the licences of everything that is in the bundle. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { bundledPackages } from './bundled.mjs';

const [root, bundle] = process.argv.slice(2);

console.log(`vtepd
Copyright: the authors of vtepd
License: Apache-2.0, the Apache License, Version 2.0: /usr/share/common-licenses/Apache-2.0

The messages and services of etcd in its bundle come from the .proto files of the package etcd3, which are those of etcd.
Copyright: the etcd Authors
License: Apache-2.0: /usr/share/common-licenses/Apache-2.0

Its bundle contains these packages:`);
for (const { directory, name, version, license } of bundledPackages(root, bundle)) {
  const file = readdirSync(directory).find((each) => /^(licen[cs]e|copying)/i.test(each));
  if (file === undefined) throw new Error(`${name} ${version} is in the bundle, and brings no licence text`);
  console.log(`\n${'-'.repeat(78)}\n${name} ${version}, ${license}\n`);
  console.log(readFileSync(join(directory, file), 'utf8').trim());
}

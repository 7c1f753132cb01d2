/** Prints the licences of everything that is in the bundle, as its source map lists it. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const root = process.argv[2];
const { sources } = JSON.parse(readFileSync(join(root, 'dist/vtepd.js.map'), 'utf8'));
const directories = new Set(
  sources.flatMap(
    (source) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(source.replace(/^(\.\.\/)+/, '')) ?? [],
  ),
);

console.log(
  'vtepd is licensed under the Apache License, Version 2.0 (Apache-2.0): /usr/share/common-licenses/Apache-2.0',
);
console.log('\nIts bundle contains these packages:');
for (const at of [...directories].sort().map((directory) => join(root, directory))) {
  // Packages name source files of theirs that are nowhere to be found.
  if (!existsSync(join(at, 'package.json'))) continue;
  const { name, version, license } = JSON.parse(readFileSync(join(at, 'package.json'), 'utf8'));
  console.log(`\n${'-'.repeat(78)}\n${name} ${version}, ${license}\n`);
  const file = readdirSync(at).find((each) => /^licen[cs]e/i.test(each));
  console.log(file ? readFileSync(join(at, file), 'utf8').trim() : '(no text of its own)');
}

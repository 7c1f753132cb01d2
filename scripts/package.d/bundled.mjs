/** What esbuild put into the bundle, as it says itself in metafile.json (scripts/bundle.mjs). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The npm packages that some of the bundle's code is from, in the order of their directories. */
export function bundledPackages(root, bundle) {
  const { outputs } = JSON.parse(readFileSync(join(bundle, 'metafile.json'), 'utf8'));
  const directories = new Set();
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      // The last node_modules of the path: packages have packages of their own.
      const [directory] = /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [];
      if (directory !== undefined && bytesInOutput > 0) directories.add(join(root, directory));
    }
  }
  return [...directories].sort().map((directory) => {
    const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    return { directory, name, version, license };
  });
}

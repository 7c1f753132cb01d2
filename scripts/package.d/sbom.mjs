/**
 * `sbom.mjs ROOT BUNDLE VERSION [NODE]`: prints a CycloneDX bill of materials, in JSON: what is in the bundle of that version, as npm
 * describes it, and the Node that packages bring. The same sources give the same bytes: no serial number, and the time of the sources.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundledPackages } from './bundled.mjs';

const [root, bundle, version, node] = process.argv.slice(2);

// Not --omit=dev: that leaves out what a development dependency needs, too.
const words = ['sbom', '--sbom-format=cyclonedx', '--sbom-type=application', '--package-lock-only'];
const { status, stdout, stderr } = spawnSync('npm', words, {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 1 << 26,
});
if (status !== 0) fail(`npm sbom, which npm 10 has, failed: ${stderr.trim()}`);
const bom = JSON.parse(stdout);

// npm calls it by the directory that it is in, and says nothing of another version.
const own = bom.metadata.component;
const { 'bom-ref': ownRef } = own;
const { name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const ref = `${name}@${version}`;
Object.assign(own, { 'bom-ref': ref, name, version, purl: `pkg:npm/${name}@${encodeURIComponent(version)}` });

// Of what npm installs for them, packages need not be in the bundle: a fault of those concerns nobody.
const bundled = new Set(bundledPackages(root, bundle).map(({ name, version }) => `${name}@${version}`));
const components = bom.components.filter((component) => bundled.has(component['bom-ref']));
const described = new Set(components.map((component) => component['bom-ref']));
const missing = [...bundled].filter((each) => !described.has(each));
if (missing.length > 0)
  throw new Error(
    `in the bundle, and not among the dependencies of package-lock.json: ${missing.join(', ')}`,
  );
for (const component of components) component.type = 'library';

const dependencies = bom.dependencies
  .filter((each) => each.ref === ownRef || bundled.has(each.ref))
  .map(({ ref: from, dependsOn }) => ({
    ref: from === ownRef ? ref : from,
    dependsOn: dependsOn.filter((each) => bundled.has(each)),
  }));

if (node) {
  const nodeRef = `node@${node}`;
  components.push({
    'bom-ref': nodeRef,
    type: 'platform',
    name: 'node',
    version: node,
    description: 'Node.js. All packages bring it but the one for npm',
    licenses: [{ license: { id: 'MIT' } }],
    cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*`,
    purl: `pkg:generic/node@${node}`,
  });
  dependencies.find((each) => each.ref === ref).dependsOn.push(nodeRef);
  dependencies.push({ ref: nodeRef, dependsOn: [] });
}

delete bom.serialNumber;
bom.metadata.timestamp = new Date(Number(process.env.SOURCE_DATE_EPOCH) * 1000).toISOString();
console.log(JSON.stringify({ ...bom, components, dependencies }, null, 2));

function fail(reason) {
  console.error(`package: ${reason}`);
  process.exit(1);
}

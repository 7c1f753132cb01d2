'use strict';
/**
 * Builds the addon with node-gyp against the headers of the Node that runs this, and downloads no headers for it: Node's
 * own tarball, NodeSource's Debian package and npm's node-linux-* packages all have them beside the binary. Where they are
 * missing, npm's package of the very same version lends its own.
 */
const { execFileSync, spawnSync } = require('node:child_process');
const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const borrowed = path.join(root, '.tools', 'node-headers');

/** A directory with include/node/node_api.h and uv.h for this major version of Node, or undefined. */
function headersIn(directory) {
  const include = path.join(directory, 'include', 'node');
  if (!['node_api.h', 'uv.h', 'common.gypi'].every((name) => existsSync(path.join(include, name))))
    return undefined;
  const major = /#define NODE_MAJOR_VERSION (\d+)/.exec(
    readFileSync(path.join(include, 'node_version.h'), 'utf8'),
  );
  return major?.[1] === process.versions.node.split('.')[0] ? directory : undefined;
}

function borrowHeaders() {
  const name = `node-linux-${process.arch}`;
  console.log(
    `No headers beside ${process.execPath}: taking those of the npm package ${name}@${process.versions.node}.`,
  );
  const options = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts'];
  execFileSync('npm', ['install', '--prefix', borrowed, ...options, `${name}@${process.versions.node}`], {
    stdio: 'inherit',
  });
  return headersIn(path.join(borrowed, 'node_modules', name));
}

/** Ours, or the one npm carries when this was installed without development dependencies. */
function findNodeGyp() {
  try {
    return require.resolve('node-gyp/bin/node-gyp.js');
  } catch (error) {
    if (process.env.npm_config_node_gyp) return process.env.npm_config_node_gyp;
    throw error;
  }
}

const nodeDirectory = headersIn(path.dirname(path.dirname(process.execPath))) ?? borrowHeaders();
if (nodeDirectory === undefined) throw new Error(`There are no headers for Node ${process.versions.node}.`);
const nodeGyp = findNodeGyp();
const { status } = spawnSync(
  process.execPath,
  [nodeGyp, 'rebuild', `--nodedir=${nodeDirectory}`, ...process.argv.slice(2)],
  {
    cwd: __dirname,
    stdio: 'inherit',
  },
);
process.exitCode = status ?? 1;

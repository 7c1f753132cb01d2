'use strict';
/** Loads the addon; what it exports is in index.d.ts. */
const { existsSync } = require('node:fs');
const path = require('node:path');

/** Built here, or else what a package brought along for this machine. */
const files = [
  path.join(__dirname, 'build', 'Release', 'vtepd.node'),
  path.join(__dirname, 'prebuilt', `linux-${process.arch}.node`),
];

function load() {
  const file = files.find((each) => existsSync(each)) ?? files[0];
  try {
    return require(file);
  } catch (error) {
    throw new Error(
      `The native addon cannot be loaded from ${file}. In a checkout scripts/setup builds it, in a package 'node native/build.js'.`,
      { cause: error },
    );
  }
}

module.exports = load();

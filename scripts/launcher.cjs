#!/usr/bin/env node
'use strict';
/**
 * dist/main.js: runs vtepd.js beside it, in the form that V8 compiled when it was built (scripts/bundle.mjs). Compiling is a
 * third of an agent's start. Another version of Node finds that the form is not its own, and compiles for itself. Of the source
 * V8 compares no more than the length: that the form is this bundle's, and not that of the version before, is told by its stamp.
 */
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const file = join(__dirname, 'vtepd.js');
/** `/*`, and the stamp, which the compiled form begins with as well (scripts/compile.cjs). */
const [STAMP_FROM, STAMP_TO] = [2, 18];

/** In a function of its own: what V8 read its form from, 2 MB, is free for the collector when it returns. */
function load() {
  // It is ASCII, and the function that it is (scripts/bundle.mjs): neither decoding nor wrapping it costs a copy.
  const source = readFileSync(file, 'latin1');
  const stamp = source.slice(STAMP_FROM, STAMP_TO);
  let cachedData;
  try {
    const compiled = readFileSync(`${file}.cache`);
    if (compiled.toString('latin1', 0, stamp.length) === stamp) cachedData = compiled.subarray(stamp.length);
  } catch {
    // Built without it.
  }
  return new Script(source, { filename: file, cachedData }).runInThisContext();
}

const [major] = process.versions.node.split('.');
if (Number(major) < 20) {
  process.stderr.write(
    `vtepd: needs Node 20 or newer, and this is ${process.version} (${process.execPath})\n`,
  );
  process.exit(1);
}
load().call(module.exports, module.exports, require, module, file, __dirname);

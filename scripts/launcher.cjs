#!/usr/bin/env node
'use strict';
/**
 * dist/main.js: runs vtepd.js beside it, in the form that V8 compiled when it was built (scripts/bundle.mjs). Compiling is a
 * third of an agent's start. Another version of Node finds that the form is not its own, and compiles for itself.
 */
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const file = join(__dirname, 'vtepd.js');

/** In a function of its own: what V8 read its form from, 2 MB, is free for the collector when it returns. */
function load() {
  let cachedData;
  try {
    cachedData = readFileSync(`${file}.cache`);
  } catch {
    // Built without it.
  }
  // It is ASCII, and the function that it is (scripts/bundle.mjs): neither decoding nor wrapping it costs a copy.
  return new Script(readFileSync(file, 'latin1'), { filename: file, cachedData }).runInThisContext();
}

load().call(module.exports, module.exports, require, module, file, __dirname);

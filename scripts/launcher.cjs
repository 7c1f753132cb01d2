#!/usr/bin/env node
'use strict';
/**
 * dist/main.js: runs vtepd.js beside it, in the form that V8 compiled when it was built (scripts/bundle.mjs). Compiling is a
 * third of an agent's start. Another version of Node finds that the form is not its own, and compiles for itself.
 */
const { readFileSync } = require('node:fs');
const Module = require('node:module');
const { join } = require('node:path');
const { Script } = require('node:vm');

const file = join(__dirname, 'vtepd.js');
let cachedData;
try {
  cachedData = readFileSync(`${file}.cache`);
} catch {
  // Built without it.
}
const script = new Script(Module.wrap(readFileSync(file, 'utf8')), { filename: file, cachedData });
script.runInThisContext().call(module.exports, module.exports, require, module, file, __dirname);

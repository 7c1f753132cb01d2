'use strict';
/** Loads the addon; what it exports is in index.d.ts. */
const path = require('node:path');

const file = path.join(__dirname, 'build', 'Release', 'vtepd.node');

function load() {
  try {
    return require(file);
  } catch (error) {
    throw new Error(`The native addon cannot be loaded from ${file}. Run scripts/setup, which builds it.`, {
      cause: error,
    });
  }
}

module.exports = load();

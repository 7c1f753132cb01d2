'use strict';
/** What `npm install` runs: builds the addon, unless the one that came along loads here. */
try {
  require('./index.js');
} catch {
  require('./build.js');
}

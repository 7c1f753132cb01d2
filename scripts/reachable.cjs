'use strict';
/**
 * Of netlink's generated codecs (300 functions for all that a link can be) the agent calls a dozen. They are CommonJS, of which a
 * bundler drops nothing; but each function is one statement at the left margin, and is exported by another.
 */

/**
 * The module without the functions that none of `wanted` calls, directly or by another. Everything else stays. Throws where `wanted`
 * names something that the module does not export.
 */
function reachable(source, wanted) {
  const statements = source.split(/\n(?=[^\s}*])/);
  const functions = new Map();
  for (const text of statements) {
    const name = /^function (\w+)\(/.exec(text)?.[1];
    if (name !== undefined) functions.set(name, text);
  }
  for (const name of wanted)
    if (!new RegExp(`\\bexports\\.${name}\\b`).test(source)) throw new Error(`netlink exports no ${name}`);
  const used = new Set();
  const queue = [...wanted];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (used.has(name) || !functions.has(name)) continue;
    used.add(name);
    queue.push(...functions.get(name).match(/\b\w+\b/g));
  }
  const isDropped = (name) => functions.has(name) && !used.has(name);
  return statements
    .filter((text) => {
      const [, declared, exported] = /^function (\w+)\(|^exports\.(\w+) = \2;/.exec(text) ?? [];
      return !isDropped(declared ?? exported);
    })
    .map((text) => text.replace(/^exports\.\w+ = (exports\.\w+ = )*void 0;/gm, ''))
    .join('\n');
}

module.exports = { reachable };

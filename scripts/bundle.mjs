/**
 * Bundles the agent into few files, because reading 600 modules takes longer than everything else an agent does at its start.
 * The packages stay what they are; two things are done for them at build time instead of at every start: etcd3's protocol
 * becomes code, and modules that only a browser or a Windows machine would need stay out.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';
import { staticCodecOf } from './static-codec.cjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** etcd3's protocol as a module, instead of a file that every start reads; see static-codec.mjs. */
const staticCodec = {
  name: 'static-codec',
  setup({ onLoad, onResolve }) {
    onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, ({ path }) => {
      const call = /\(0, proto_loader_1\.loadSync\)\(`\$\{__dirname\}(\/[^`]+)`, (\{[^}]*\})\)/;
      const source = readFileSync(path, 'utf8');
      const [text, protoFile, options] = call.exec(source) ?? [];
      if (text === undefined) throw new Error(`${path} does not load its protocol as expected`);
      const pluginData = {
        protoFile: join(dirname(path), protoFile),
        options: runInNewContext(`(${options})`, { String }),
      };
      return { contents: source.replace(text, `require('etcd-codec')`), loader: 'js', pluginData };
    });
    onResolve({ filter: /^etcd-codec$/ }, ({ path, pluginData }) => ({
      path,
      namespace: 'generated',
      pluginData,
    }));
    onLoad({ filter: /.*/, namespace: 'generated' }, ({ pluginData: { protoFile, options } }) => ({
      contents: staticCodecOf(protoFile, options),
      resolveDir: root,
    }));
    // What is left to load protocols for are services of grpc's own that we do not use.
    onResolve({ filter: /^@grpc\/proto-loader$/ }, ({ path }) => ({ path, namespace: 'left-out' }));
    onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents: `module.exports = { loadSync() { throw new Error('${path} is not in this bundle'); } };`,
    }));
  },
};

/**
 * grpc asks of every address whether it is an IPv6 one, and Node's test for that is an expression so large that compiling it
 * takes 8 ms. Without a colon the answer is no.
 */
const quickNet = {
  name: 'quick-net',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^net$/ }, ({ path, importer }) =>
      importer.includes('/@grpc/grpc-js/') ? { path, namespace: 'quick' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'quick' }, () => ({
      contents: `const net = require('node:net');
        module.exports = { ...net, isIPv6: (text) => String(text).includes(':') && net.isIPv6(text) };`,
    }));
  },
};

/** The addon stays outside: dist/main.js finds it where src/…/….ts does, in native/. */
const nativeOutside = {
  name: 'native-outside',
  setup({ onResolve }) {
    onResolve({ filter: /^(\.\.\/)+native$/ }, () => ({ path: '../native', external: true }));
  },
};

const options = {
  absWorkingDir: root,
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  charset: 'ascii',
  // Modules that are loaded later are in the bundle, too, or Node's own.
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [staticCodec, quickNet, nativeOutside],
};
await build({ ...options, entryPoints: { 'cni/main': 'src/cni/main.ts' } });
await build({
  ...options,
  entryPoints: { vtepd: 'src/main.ts' },
  // As Node wraps a module, so that dist/main.js need not.
  banner: { js: '(function (exports, require, module, __filename, __dirname) {' },
  footer: { js: '})' },
});

rmSync(join(root, 'dist/vtepd.js.cache'), { force: true });
copyFileSync(join(root, 'scripts/launcher.cjs'), join(root, 'dist/main.js'));
chmodSync(join(root, 'dist/main.js'), 0o755);
execFileSync(process.execPath, [join(root, 'scripts/compile.cjs'), join(root, 'dist/vtepd.js')]);

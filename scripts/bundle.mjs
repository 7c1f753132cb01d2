/**
 * Bundles the agent into few files, because reading 600 modules takes longer than everything else an agent does at its start.
 * The packages stay what they are; two things are done for them at build time instead of at every start: etcd3's protocol
 * becomes code, and modules that only a browser or a Windows machine would need stay out.
 *
 * metafile.json says what is in them, for the packages' licences and bill of materials (scripts/package.d).
 *
 * `bundle.mjs [--outdir DIRECTORY] [--version TEXT]`: into dist and with the version of package.json unless it is told otherwise.
 * Elsewhere than in dist it is not run, so not compiled ahead either: a package does that where it is installed.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';
import { reachable } from './reachable.cjs';
import { AGENT_METHODS, staticCodecOf } from './static-codec.cjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: given } = parseArgs({
  options: { outdir: { type: 'string', default: 'dist' }, version: { type: 'string' } },
});
const outdir = resolve(root, given.outdir);

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
      contents: staticCodecOf(protoFile, options, AGENT_METHODS),
      resolveDir: root,
    }));
    // What is left to load protocols for are services of grpc's own that we do not use.
    onResolve({ filter: /^@grpc\/proto-loader$/ }, ({ path }) => ({ path, namespace: 'left-out' }));
    onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents: `module.exports = { loadSync() { throw new Error('${path} is not in this bundle'); } };`,
    }));
    // An agent is no gRPC server, and balances no load by what servers tell of themselves.
    const unused =
      'server|server-interceptors|server-credentials|orca|experimental|load-balancer-(outlier-detection|weighted-round-robin)';
    onLoad({ filter: new RegExp(`/@grpc/grpc-js/build/src/(${unused})\\.js$`) }, () => ({
      contents: 'exports.setup = () => undefined;',
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

/** The codecs of netlink that src/kernel imports, and what those call of each other. */
const netlinkCodecs = {
  name: 'netlink-codecs',
  setup({ onLoad }) {
    const folder = join(root, 'src/kernel');
    const sources = readdirSync(folder, { recursive: true })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8'));
    const imported = sources.flatMap((text) =>
      [...text.matchAll(/import \{([^}]*)\} from 'netlink\/dist\/rt\/(\w+)'/g)].flatMap(([, names, module]) =>
        names
          .split(',')
          .flatMap((name) => (/^\s*(\w+)\s*$/.test(name) ? [{ module, name: name.trim() }] : [])),
      ),
    );
    onLoad({ filter: /\/netlink\/dist\/rt\/(ifla|gen_structs)\.js$/ }, ({ path }) => {
      const wanted = imported.filter(({ module }) => module === basename(path, '.js'));
      return {
        contents: reachable(
          readFileSync(path, 'utf8'),
          wanted.map(({ name }) => name),
        ),
      };
    });
  },
};

/** The addon stays outside: dist/main.js finds it where src/…/….ts does, in native/. */
const nativeOutside = {
  name: 'native-outside',
  setup({ onResolve }) {
    onResolve({ filter: /^(\.\.\/)+native$/ }, () => ({ path: '../native', external: true }));
  },
};

/** The agent reads one field of package.json. */
const version = {
  name: 'version',
  setup({ onLoad }) {
    onLoad({ filter: /\/package\.json$/ }, ({ path }) => {
      if (given.version === undefined || path !== join(root, 'package.json')) return undefined;
      return { contents: JSON.stringify({ version: given.version }), loader: 'json' };
    });
  },
};

const NO_STAMP = '0'.repeat(16);

/** What is compiled ahead of this bundle begins with the same stamp (scripts/compile.cjs, scripts/launcher.cjs). */
function stamp(file) {
  const text = readFileSync(file, 'latin1');
  const digest = createHash('sha256').update(text).digest('hex').slice(0, NO_STAMP.length);
  writeFileSync(file, text.replace(NO_STAMP, digest), 'latin1');
}

const options = {
  absWorkingDir: root,
  outdir,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  charset: 'ascii',
  // What packages load for their own developers stays out.
  define: { 'process.env.NODE_ENV': '"production"' },
  // Modules that are loaded later are in the bundle, too, or Node's own.
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  metafile: true,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [staticCodec, quickNet, netlinkCodecs, nativeOutside, version],
};
const plugin = await build({ ...options, entryPoints: { 'cni/main': 'src/cni/main.ts' } });
const agent = await build({
  ...options,
  entryPoints: { vtepd: 'src/main.ts' },
  // As Node wraps a module, so that dist/main.js need not. The stamp is put in its place once the bundle is known.
  banner: { js: `/*${NO_STAMP}*/(function (exports, require, module, __filename, __dirname) {` },
  footer: { js: '})' },
});

const [inputs, outputs] = ['inputs', 'outputs'].map((key) => ({
  ...plugin.metafile[key],
  ...agent.metafile[key],
}));
writeFileSync(join(outdir, 'metafile.json'), JSON.stringify({ inputs, outputs }));
rmSync(join(outdir, 'vtepd.js.cache'), { force: true });
stamp(join(outdir, 'vtepd.js'));
copyFileSync(join(root, 'scripts/launcher.cjs'), join(outdir, 'main.js'));
chmodSync(join(outdir, 'main.js'), 0o755);
if (outdir === join(root, 'dist'))
  execFileSync(process.execPath, [join(root, 'scripts/compile.cjs'), join(outdir, 'vtepd.js')]);

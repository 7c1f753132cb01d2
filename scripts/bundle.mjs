/**
 * Bundles the agent into few files, because reading 600 modules takes longer than everything else an agent does at its start.
 * The packages stay what they are; two things are done for them at build time instead of at every start: etcd3's protocol
 * definition is parsed, and modules that only a browser or a Windows machine would need stay out.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { createRequire } from 'node:module';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** etcd3 loads and parses its .proto file at every start: 60 ms. Here it is parsed once, and loaded as JSON. */
const parsedProto = {
  name: 'parsed-proto',
  setup({ onLoad }) {
    onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, ({ path }) => {
      const call = '(0, proto_loader_1.loadSync)(`${__dirname}/../proto/rpc.proto`,';
      const source = readFileSync(path, 'utf8');
      if (source.split(call).length !== 2) throw new Error(`${path} does not load its protocol as expected`);
      const protobuf = require('protobufjs');
      // As etcd3 asks for it: with the names of fields as they are written.
      const proto = new protobuf.Root().loadSync(join(dirname(path), '../proto/rpc.proto'), {
        keepCase: true,
      });
      const json = JSON.stringify(proto.toJSON({ keepComments: false }));
      return { contents: source.replace(call, `(0, proto_loader_1.fromJSON)(${json},`), loader: 'js' };
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

await build({
  absWorkingDir: root,
  entryPoints: { vtepd: 'src/main.ts', 'cni/main': 'src/cni/main.ts' },
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // Modules that are loaded later are in the bundle, too, or Node's own.
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [parsedProto, nativeOutside],
});

rmSync(join(root, 'dist/vtepd.js.cache'), { force: true });
copyFileSync(join(root, 'scripts/launcher.cjs'), join(root, 'dist/main.js'));
chmodSync(join(root, 'dist/main.js'), 0o755);
execFileSync(process.execPath, [join(root, 'scripts/compile.cjs'), join(root, 'dist/vtepd.js')]);

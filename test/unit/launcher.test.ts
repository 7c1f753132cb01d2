/** dist/main.js (scripts/launcher.cjs) beside what scripts/compile.cjs compiled ahead, with a bundle of a few words in place of the agent. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

afterAll(removeTemporaryDirectories);

const SCRIPTS = resolve(__dirname, '../../scripts');

/** A program in a directory of its own; its bundle prints one word, and how long it is does not depend on which. */
function program() {
  const directory = temporaryDirectory();
  const file = join(directory, 'vtepd.js');
  copyFileSync(join(SCRIPTS, 'launcher.cjs'), join(directory, 'main.js'));
  const bundle = (stamp: string, word: string) => {
    const text = `(function (exports, require, module) { console.log('${word}'); process.exit(0); })`;
    writeFileSync(file, `/*${stamp.repeat(16)}*/${text}`);
  };
  const compile = () =>
    execFileSync(process.execPath, [join(SCRIPTS, 'compile.cjs'), file], { timeout: 120_000 });
  return { directory, bundle, compile };
}

/** Node with these words before the program: what it prints. */
function printed(directory: string, ...words: string[]): string {
  return execFileSync(process.execPath, [...words, join(directory, 'main.js')], { encoding: 'utf8' });
}

/** A module that prints whether V8 takes what was compiled. */
const WATCH = `data:text/javascript,import vm from 'node:vm';
  vm.Script = class extends vm.Script {
    constructor(...words) { super(...words); console.log('rejected:', this.cachedDataRejected); }
  };`;

test('what was compiled ahead of a bundle is taken, and nothing else stays beside it', () => {
  const { directory, bundle, compile } = program();
  bundle('a', 'first');
  compile();
  expect(printed(directory, '--import', WATCH)).toBe('rejected: false\nfirst\n');
  expect(readdirSync(directory).sort()).toEqual(['main.js', 'vtepd.js', 'vtepd.js.cache']);
});

test('what was compiled ahead of another bundle of the same length is not taken', () => {
  const { directory, bundle, compile } = program();
  bundle('a', 'first');
  compile();
  bundle('b', 'other');
  expect(printed(directory)).toBe('other\n');
});

test('the agent that is compiled goes by none of the options of this host', () => {
  const { directory, bundle } = program();
  bundle('a', 'first');
  const file = join(directory, 'vtepd.js');
  const wrong = `Object.keys(process.env).some((name) => name.startsWith('FLANNELD_')) || !process.argv.some((word) => word.startsWith('--config-file='))`;
  writeFileSync(file, `/*aaaaaaaaaaaaaaaa*/(function () { process.exit(${wrong} ? 1 : 0); })`);
  const env = { ...process.env, FLANNELD_EMBEDDED_ETCD: 'true' };
  execFileSync(process.execPath, [join(SCRIPTS, 'compile.cjs'), file], { env });
  expect(existsSync(`${file}.cache`)).toBe(true);
});

test('a bundle that ends when what it said has been taken is compiled ahead', () => {
  const { directory, compile } = program();
  const file = join(directory, 'vtepd.js');
  writeFileSync(
    file,
    `/*aaaaaaaaaaaaaaaa*/(function () { process.stdout.write('', () => process.exit(0)); })`,
  );
  compile();
  expect(existsSync(`${file}.cache`)).toBe(true);
});

test('without anything compiled ahead the bundle runs', () => {
  const { directory, bundle } = program();
  bundle('a', 'first');
  expect(existsSync(join(directory, 'vtepd.js.cache'))).toBe(false);
  expect(printed(directory)).toBe('first\n');
});

test('a Node that is too old is refused in words', () => {
  const { directory, bundle } = program();
  bundle('a', 'first');
  const older = `data:text/javascript,Object.defineProperties(process, {
    version: { value: 'v18.19.0' }, versions: { value: { ...process.versions, node: '18.19.0' } } });`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', older, join(directory, 'main.js')],
    {
      encoding: 'utf8',
    },
  );
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toBe(`vtepd: needs Node 20 or newer, and this is v18.19.0 (${process.execPath})\n`);
});

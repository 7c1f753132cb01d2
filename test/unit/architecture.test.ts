/** The layers of docs/design.md §3, checked import by import. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const SRC = resolve(__dirname, '../../src');

/** What each part may import of the others. A part is a folder of src/, or a file right in it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  model: [],
  core: ['model'],
  ports: ['model'],
  'in-turns': ['model'],
  'linked-abort': [],
  engine: ['model', 'core', 'ports', 'in-turns', 'linked-abort'],
  monotonic: [],
  'regular-file': [],
  etcd: ['model', 'ports', 'monotonic', 'in-turns', 'regular-file', 'linked-abort'],
  kernel: ['model', 'ports', 'native'],
  host: ['model', 'ports', 'native', 'monotonic', 'regular-file'],
  'log-line': ['model', 'ports'],
  log: ['model', 'ports', 'log-line'],
  cli: ['model', 'ports', 'package.json', 'regular-file'],
  /** A program of its own, started for each container: it shares no more than a few words with the agent. */
  cni: ['model', 'regular-file'],
  agent: ['model', 'core', 'ports', 'engine', 'linked-abort'],
  departure: ['model', 'ports', 'engine'],
  frugality: [],
  'first-host': ['model', 'ports', 'engine', 'host', 'linked-abort'],
  execute: [
    'frugality',
    'regular-file',
    'package.json',
    'model',
    'ports',
    'cli',
    'etcd',
    'kernel',
    'host',
    'log',
    'agent',
    'departure',
    'first-host',
    'engine',
  ],
  main: ['model', 'cli', 'execute'],
};

/** The one home of each package. */
const HOMES: Readonly<Record<string, string>> = {
  etcd3: 'etcd',
  '@grpc': 'etcd',
  cockatiel: 'etcd',
  netlink: 'kernel',
  commander: 'cli',
  winston: 'log',
  'ip-address': 'model',
};

/** Parts that compute only: no files, no processes, no clock, no chance, no waiting. */
const PURE = ['model', 'core'];
const IMPURE_WORDS =
  /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|hrtime|monotonicMilliseconds|setTimeout|setInterval|setImmediate)\b/;

interface Import {
  readonly file: string;
  readonly part: string;
  readonly target: string;
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.name.endsWith('.ts') ? [path] : [];
  });
}

function partOf(path: string): string {
  const inside = relative(SRC, path);
  if (inside.startsWith('..'))
    return inside
      .split('/')
      .find((word) => word !== '..')!
      .replace(/\.ts$/, '');
  return inside.split('/')[0]!.replace(/\.(ts|js)$/, '');
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const found = text.matchAll(/(?:from|import)\s*\(?\s*'([\w@./:-]+)'/g);
  return [...found].map(([, target]) => ({ file: relative(SRC, file), part: partOf(file), target: target! }));
}

const files = filesBelow(SRC);
const imports = files.flatMap(importsOf);
const inner = imports.filter(({ target }) => target.startsWith('.'));
const outer = imports.filter(({ target }) => !target.startsWith('.'));

test('every part of src/ has its place in the layers', () => {
  expect([...new Set(files.map(partOf))].filter((part) => !(part in MAY_IMPORT))).toEqual([]);
});

test('imports point inward', () => {
  const offenders = inner
    .map(({ file, part, target }) => ({ file, part, to: partOf(resolve(SRC, dirname(file), target)) }))
    .filter(({ part, to }) => part !== to && !MAY_IMPORT[part]!.includes(to))
    .map(({ file, to }) => `${file} imports ${to}`);
  expect(offenders).toEqual([]);
});

test('each package stays in its one home', () => {
  const offenders = outer
    .filter(({ target }) => !target.startsWith('node:'))
    .map(({ file, part, target }) => ({ file, part, name: target.split('/')[0]! }))
    .filter(({ part, name }) => HOMES[name] !== part)
    .map(({ file, name }) => `${file} imports ${name}`);
  expect(offenders).toEqual([]);
});

test('decisions and nouns know no outside world', () => {
  const offenders = outer.filter(({ part, target }) => PURE.includes(part) && target.startsWith('node:'));
  expect(offenders.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
  const impure = files
    .filter((file) => PURE.includes(partOf(file)))
    .filter((file) => IMPURE_WORDS.test(readFileSync(file, 'utf8')));
  expect(impure.map((file) => relative(SRC, file))).toEqual([]);
});

test('decisions never wait', () => {
  const waiting = files.filter((file) => PURE.includes(partOf(file)) && /\b(async|await)\b/.test(code(file)));
  expect(waiting.map((file) => relative(SRC, file))).toEqual([]);
});

test('the engine sees time and chance only through its ports', () => {
  const offenders = files.filter(
    (file) => partOf(file) === 'engine' && IMPURE_WORDS.test(code(file).replaceAll('setImmediate', '')),
  );
  expect(offenders.map((file) => relative(SRC, file))).toEqual([]);
});

test('only main ends the process', () => {
  const offenders = files.filter(
    (file) => !['main', 'cni'].includes(partOf(file)) && code(file).includes('process.exit('),
  );
  expect(offenders.map((file) => relative(SRC, file))).toEqual([]);
});

/** The file's text without its comments. */
function code(file: string): string {
  return readFileSync(file, 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '');
}

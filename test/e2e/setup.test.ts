/** scripts/setup: what it installs, for whom, and how far it is; and where packages cannot be had, the cause in words, and an honest end. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Authority } from '../support/certificates';
import { attempt } from '../support/lab/command';

const ROOT = resolve(__dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'vtepd-setup-'));
const servers: Server[] = [];
let made = 0;

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A clone, as far as its scripts go, whose lock asks for one package. */
function clone(integrity?: string): string {
  const place = join(directory, String(made++));
  mkdirSync(join(place, 'scripts'), { recursive: true });
  mkdirSync(join(place, 'home'));
  for (const name of ['setup', 'lib.sh', 'cause.sh'])
    cpSync(join(ROOT, 'scripts', name), join(place, 'scripts', name));
  const dependencies = { large: '1.0.0' };
  const own = { name: 'x', version: '1.0.0', dependencies };
  const large = { version: '1.0.0', integrity };
  const lock = { ...own, lockfileVersion: 3, packages: { '': own, 'node_modules/large': large } };
  writeFileSync(join(place, 'package.json'), JSON.stringify(own));
  writeFileSync(join(place, 'package-lock.json'), JSON.stringify(lock));
  return place;
}

/** Programs that are found before the machine's own, as shell scripts. */
function provide(place: string, scripts: Record<string, string>): void {
  const bin = join(place, '.tools/node_modules/.bin');
  mkdirSync(bin, { recursive: true });
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }
}

/** Shell for printing these words, whatever is in them. */
const printing = (words: string) => `cat << 'END OF WORDS'\n${words}\nEND OF WORDS`;

/** What setup says there, called with these words, with npm's settings; of this machine's it takes none. */
async function said(place: string, settings: Record<string, string>, ...words: string[]) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_|_proxy$|^NODE_EXTRA/i.test(name));
  const env = {
    ...Object.fromEntries(inherited),
    HOME: join(place, 'home'),
    npm_config_userconfig: join(place, 'home/.npmrc'),
    npm_config_cache: join(place, 'cache'),
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`npm_config_${name}`, value])),
  };
  const { status, stdout, stderr } = await attempt(join(place, 'scripts/setup'), words, { env });
  return { status, stdout, stderr };
}

/** A registry of ours; its port. */
async function registry(listener: RequestListener, tls?: { cert: string; key: string }): Promise<number> {
  const server = tls
    ? createHttpsServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, listener)
    : createHttpServer(listener);
  servers.push(server);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return (server.address() as AddressInfo).port;
}

const answer =
  (status: number, text: string): RequestListener =>
  (_, response) =>
    void response.writeHead(status).end(text);

const INSTALLING = 'setup: installing npm packages: about 12 MB to download, 50 MB on the disk (npm ci)\n';

/** The end of setup: the cause comes first on stderr, and nothing was tried a second way. */
async function expectCause(words: RegExp, place: string, settings: Record<string, string>): Promise<void> {
  const { status, stdout, stderr } = await said(place, settings);
  expect(stderr.replace(/^Warning: .*\n/gm, '')).toMatch(words);
  // Of a package that comes and is no good it says that it came.
  expect(stdout.replace(/^setup: npm packages: \d+ %\n/gm, '')).toBe(INSTALLING);
  expect(status).toBe(1);
  expect(existsSync(join(place, 'node_modules/.vtepd-lock'))).toBe(false);
}

describe('npm', () => {
  test.each<[string, RegExp, Record<string, string>]>([
    [
      'a registry where nobody listens',
      /^setup: npm cannot get packages: nobody listens at the address/,
      { registry: 'http://127.0.0.1:1/' },
    ],
    [
      'a name that is none',
      /^setup: npm cannot get packages: a name is not resolved/,
      { registry: 'http://registry.invalid/' },
    ],
    [
      'a proxy where nobody listens',
      /nobody listens at the address of the registry or of the proxy[^]*127\.0\.0\.1:1\b/,
      { registry: 'http://registry.invalid/', proxy: 'http://127.0.0.1:1/' },
    ],
    [
      'a proxy of no kind',
      /the address of the proxy or of the registry is none/,
      { registry: 'https://registry.invalid/', https_proxy: 'nonsense://x' },
    ],
    [
      'npm that is told to be offline',
      /npm is told to work offline/,
      { registry: 'http://127.0.0.1:1/', offline: 'true' },
    ],
  ])('%s is named', (_, words, settings) => expectCause(words, clone(), settings));

  test.each<[string, RegExp, RequestListener]>([
    ['a login that it wants', /refuses us\. Is a login needed/, answer(401, '{}')],
    ['a fault of its own', /has a fault of its own/, answer(500, 'oops')],
    ['a login page of the network', /what answers is no registry/, answer(200, '<html>pay here</html>')],
    ['a package that it does not have', /the registry does not have a package/, answer(404, '{}')],
  ])('of a registry, %s is named', async (_, words, listener) => {
    await expectCause(words, clone(), { registry: `http://127.0.0.1:${await registry(listener)}/` });
  });

  test('a certificate that is not trusted is named, and what to do with its CA', async () => {
    const authority = await Authority.create('unknown', mkdtempSync(join(directory, 'ca-')));
    const port = await registry(answer(200, '{}'), await authority.issue('registry', 'IP:127.0.0.1'));
    const settings = { registry: `https://127.0.0.1:${port}/` };
    await expectCause(
      /a certificate on the way is not trusted[^]*NODE_EXTRA_CA_CERTS=FILE/,
      clone(),
      settings,
    );
  });

  test('a password in the address of a proxy is not printed', async () => {
    const settings = { registry: 'http://u:secret@127.0.0.1:1/' };
    const { stderr } = await said(clone(), settings);
    expect(stderr).toContain('nobody listens');
    expect(stderr).not.toContain('secret');
  });

  /** A registry with a package of so many bytes that nothing compresses. */
  async function largeRegistry(bytes: number) {
    const build = mkdtempSync(join(directory, 'large-'));
    mkdirSync(join(build, 'package'));
    writeFileSync(join(build, 'package/package.json'), '{"name":"large","version":"1.0.0"}');
    writeFileSync(join(build, 'package/data'), randomBytes(bytes));
    execFileSync('tar', ['-czf', 'large.tgz', 'package'], { cwd: build });
    const tarball = readFileSync(join(build, 'large.tgz'));
    const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    let port = 0;
    port = await registry((request, response) => {
      if (request.url!.endsWith('.tgz')) return void response.end(tarball);
      const dist = { tarball: `http://127.0.0.1:${port}/large.tgz`, integrity };
      const versions = { '1.0.0': { name: 'large', version: '1.0.0', dist } };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ name: 'large', 'dist-tags': { latest: '1.0.0' }, versions }));
    });
    return { registry: `http://127.0.0.1:${port}/`, integrity };
  }

  test('a disk that is full is named, though not even a log can be written', async () => {
    const { registry: url, integrity } = await largeRegistry(4 * 1024 * 1024);
    const place = clone(integrity);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', place]);
    try {
      const outside = clone(integrity);
      for (const name of ['scripts', 'home', 'package.json', 'package-lock.json'])
        cpSync(join(outside, name), join(place, name), { recursive: true });
      await expectCause(/^setup: npm could not install the packages: the disk is full/, place, {
        registry: url,
      });
    } finally {
      execFileSync('umount', [place]);
    }
  });

  test('a package that is another than the lock says is named', async () => {
    const { registry: url } = await largeRegistry(10);
    const wrong = `sha512-${createHash('sha512').update('else').digest('base64')}`;
    await expectCause(/a package is not the one that it should be/, clone(wrong), { registry: url });
  });

  /** An npm whose `ci` fails with these words, and that notes what it is asked. */
  const npm = (words: string) => ({
    npm: `echo "$1" >> "\${0%/*}/asked"\n[ "$1" != ci ] || { ${printing(words)}\nexit 1; }`,
  });
  const stampOf = (place: string) => readFileSync(join(place, 'node_modules/.vtepd-lock'), 'utf8');
  const asked = (place: string) =>
    readFileSync(join(place, '.tools/node_modules/.bin/asked'), 'utf8').trim().split('\n');
  const OUT_OF_STEP =
    'npm error code EUSAGE\nnpm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync.';

  test('what has come of the packages is told, and that they are those of the demo', async () => {
    const { registry: url, integrity } = await largeRegistry(10);
    const place = clone(integrity);
    const { stdout } = await said(place, { registry: url });
    expect(stdout).toBe(`${INSTALLING}setup: npm packages: 100 %\nsetup: building the native addon\n`);
    const lock = createHash('sha256')
      .update(readFileSync(join(place, 'package-lock.json')))
      .digest('hex');
    expect(stampOf(place)).toBe(`${lock} demo\n`);
  });

  test('the demo goes without the packages of the tests, and the tests bring theirs', async () => {
    const place = clone();
    mkdirSync(join(place, 'node_modules'));
    provide(place, { npm: 'echo "$@" >> "${0%/*}/asked"' });
    const installs = () => asked(place).filter((words) => words.startsWith('ci '));
    await said(place, {});
    expect(installs()).toEqual([expect.stringMatching(/^ci --omit=dev /)]);
    await said(place, {});
    expect(installs()).toHaveLength(1);
    expect((await said(place, {}, '--tests')).stdout).toMatch(
      /^setup: installing npm packages: about 50 MB to download, 215 MB on the disk/,
    );
    expect(installs()[1]).toMatch(/^ci --no-audit /);
    // Who has all needs no other for the demo.
    await said(place, {});
    expect(installs()).toHaveLength(2);
  });

  test('a lock without the packages of other platforms is taken in another way', async () => {
    const place = clone();
    mkdirSync(join(place, 'node_modules'));
    provide(place, npm(`${OUT_OF_STEP}\nnpm error Missing: @esbuild/aix-ppc64@0.25.0 from lock file`));
    const { stdout } = await said(place, {});
    expect(stdout).toContain('setup: npm ci does not accept the lock for all platforms');
    expect(asked(place).slice(0, 3)).toEqual(['view', 'ci', 'install']);
  });

  test.each([
    ['a lock that lacks a package of ours', `${OUT_OF_STEP}\nnpm error Missing: large@1.0.0 from lock file`],
    [
      'a lock that does not fit',
      `${OUT_OF_STEP}\nnpm error Missing: x@1.0.0 from lock file\nnpm error Invalid: lock file's large@1 does not satisfy large@2`,
    ],
    ['an error that we do not know', 'npm error code EWHAT\nnpm error something new'],
  ])('%s is not taken in another way: what npm said is shown', async (_, words) => {
    const place = clone();
    provide(place, npm(words));
    const { status, stdout, stderr } = await said(place, {});
    expect({ status, stdout }).toEqual({ status: 1, stdout: INSTALLING });
    expect(stderr).toContain(words.split('\n').at(-1)!);
    expect(stderr).toContain('setup: npm could not install the packages. All of it is in ');
    expect(asked(place)).toEqual(['view', 'ci']);
  });
});

test.each([
  [
    'no name server',
    "W: Failed to fetch http://deb.debian.org/x  Temporary failure resolving 'deb.debian.org'\nE: Unable to locate package fish",
    /a name is not resolved[^]*\(W: Failed to fetch/,
  ],
  ['a full disk', "E: You don't have enough free space in /var/cache/apt/archives/.", /the disk is full/],
  [
    'another apt-get',
    'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt)',
    /another program is installing/,
  ],
  [
    'a package that no source has',
    'E: Unable to locate package fish',
    /the sources of apt-get do not have a package/,
  ],
  [
    'what we do not know',
    'E: something new',
    /E: something new\nsetup: apt-get could not install them\. All of it/,
  ],
])('apt-get: %s is named', async (_, words, expected) => {
  const place = clone();
  provide(place, {
    'dpkg-query': '[ "$4" != fish ] && echo installed',
    'apt-get': `[ "$1" = update ] || { ${printing(words)}\nexit 100; }`,
  });
  const { status, stdout, stderr } = await said(place, {}, '--tests');
  expect(stdout).toBe('setup: installing Debian packages: fish\n');
  expect(stderr).toMatch(expected);
  expect(status).toBe(1);
});

describe('Debian packages', () => {
  /** A machine without any of them, and an apt-get that gets none. */
  async function missing(...words: string[]): Promise<string[]> {
    const place = clone();
    provide(place, { 'dpkg-query': 'exit 1', 'apt-get': 'exit 100' });
    const { stdout } = await said(place, {}, ...words);
    return /^setup: installing Debian packages: (.*)$/m.exec(stdout)![1]!.split(' ');
  }

  test('of the tests are not installed for the demo', async () => {
    const demo = await missing();
    const tests = await missing('--tests');
    expect(demo).toEqual(expect.arrayContaining(['build-essential', 'etcd-server', 'iproute2']));
    expect(tests.slice(0, demo.length)).toEqual(demo);
    expect(tests.slice(demo.length)).toEqual(expect.arrayContaining(['debootstrap', 'strace', 'fish']));
    expect(new Set(tests).size).toBe(tests.length);
    for (const large of ['docker.io', 'debootstrap', 'systemd-container']) expect(demo).not.toContain(large);
  });

  test('are told of as apt-get counts them, before they come and while they do', async () => {
    const place = clone();
    const sizes = [
      'The following NEW packages will be installed:',
      '  fish fish-common',
      '0 upgraded, 2 newly installed, 0 to remove and 3 not upgraded.',
      'Need to get 1,234 kB/2,345 kB of archives.',
      'After this operation, 12.3 MB of additional disk space will be used.',
      'Do you want to continue? [Y/n] N',
      'Abort.',
    ];
    const progress = [
      'dlstatus:1:0.0000:Retrieving file 1 of 2',
      'dlstatus:2:60.5000:Retrieving file 2 of 2',
      'pmstatus:dpkg-exec:0.0000:Running dpkg',
      'pmstatus:fish:49.9000:Unpacking fish (amd64)',
      'pmstatus:fish:100.0000:Installed fish (amd64)',
    ];
    provide(place, {
      'dpkg-query': '[ "$4" != fish ] && echo installed',
      'apt-get': `case "$*" in
        update) ;;
        --assume-no*) ${printing(sizes.join('\n'))}
          exit 1 ;;
        *Status-Fd=3*) { ${printing(progress.join('\n'))}
          } >&3 ;;
      esac`,
      npm: 'exit 1',
    });
    const { stdout } = await said(place, {}, '--tests');
    expect(stdout.split('\n').slice(0, 6)).toEqual([
      'setup: installing Debian packages: fish',
      'setup: with what they depend on: 2 packages, 1,234 kB to download, 12.3 MB on the disk',
      'setup: downloading: 50 %',
      'setup: installing: 25 %',
      'setup: installing: 100 %',
      expect.stringMatching(/^setup: installing npm packages/),
    ]);
  });
});

test('how large npm packages are is said as it is', async () => {
  const script = readFileSync(join(ROOT, 'scripts/setup'), 'utf8');
  const saidOf = (name: string) => Number(new RegExp(`^${name}='\\d+ (\\d+)'$`, 'm').exec(script)![1]);
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  const there = Object.entries(lock.packages).filter(([path]) => path !== '' && existsSync(join(ROOT, path)));
  const megabytes = async (paths: string[]) => {
    const { stdout } = await attempt('du', ['-skc', ...paths.map((path) => join(ROOT, path))]);
    return Number(/^(\d+)\s+total$/m.exec(stdout)![1]) / 1024;
  };
  const demo = await megabytes(there.filter(([, { dev }]) => !dev).map(([path]) => path));
  const tests = await megabytes(there.map(([path]) => path));
  for (const [name, size] of [
    ['NPM_DEMO_SIZE', demo],
    ['NPM_TEST_SIZE', tests],
  ] as const) {
    expect(saidOf(name)).toBeGreaterThan(size * 0.8);
    expect(saidOf(name)).toBeLessThan(size * 1.25);
  }
});

test('a word that it does not know is refused, with its usage', async () => {
  const { status, stderr } = await said(clone(), {}, '--everything');
  expect(status).toBe(2);
  expect(stderr).toMatch(/^setup: there is no option '--everything'\n\nUsage: scripts\/setup \[--tests\]/);
});

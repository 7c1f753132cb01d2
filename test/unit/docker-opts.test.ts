import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { printSubnet } from '../../src/model/address';
import { runDockerOpts, type DockerOptsIo } from '../../src/cli/docker-opts';
import { replaceFile } from '../../src/cli/docker-opts-io';

const SUBNET_ENV = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.74.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=false
`;
const DUAL_STACK = `FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.7.1/24
FLANNEL_IPV6_NETWORK=2001:cafe:42::/56
FLANNEL_IPV6_SUBNET=2001:cafe:42:7::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

interface Run {
  readonly files: Map<string, string>;
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Runs the command in a world of these files, variables and routes. */
async function run(
  words: readonly string[],
  world: {
    files?: Record<string, string>;
    environment?: Record<string, string>;
    routes?: Record<string, string[]>;
    /** What somebody writes into subnet.env while it is waited for, one text after another. */
    later?: (string | undefined)[];
  } = {},
): Promise<Run> {
  const files = new Map(Object.entries(world.files ?? { '/run/flannel/subnet.env': SUBNET_ENV }));
  let stdout = '';
  let stderr = '';
  const io: DockerOptsIo = {
    environment: world.environment ?? {},
    write: (text) => void (stdout += text),
    complain: (line) => void (stderr += line),
    read: (file) => Promise.resolve(files.get(file)),
    replace: (file, text) => Promise.resolve(void files.set(file, text)),
    routesVia: (subnet) => Promise.resolve(world.routes?.[printSubnet(subnet)] ?? []),
    rest: () => {
      if (!world.later?.length) return Promise.reject(new Error('stopped while it waited'));
      const text = world.later.shift();
      if (text !== undefined) files.set('/run/flannel/subnet.env', text);
      return Promise.resolve();
    },
  };
  const exitCode = await runDockerOpts(words, io);
  return { files, stdout, stderr, exitCode };
}

describe('docker-opts writes', () => {
  const bip = 'DOCKER_OPT_BIP="--bip=10.1.74.1/24"\n';
  const ipMasq = 'DOCKER_OPT_IPMASQ="--ip-masq=true"\n';
  const mtu = 'DOCKER_OPT_MTU="--mtu=1472"\n';
  const all = '" --bip=10.1.74.1/24 --ip-masq=true --mtu=1472"\n';

  test.each([
    [[], '/run/docker_opts.env', `${bip}${ipMasq}${mtu}DOCKER_OPTS=${all}`],
    [['-i', '-c'], '/run/docker_opts.env', `${bip}${ipMasq}${mtu}DOCKER_OPTS=${all}`],
    [['-i'], '/run/docker_opts.env', `${bip}${ipMasq}${mtu}`],
    [['-c'], '/run/docker_opts.env', `DOCKER_OPTS=${all}`],
    [['-im'], '/run/docker_opts.env', `${bip}${mtu}`],
    [['-m', '-c'], '/run/docker_opts.env', 'DOCKER_OPTS=" --bip=10.1.74.1/24 --mtu=1472"\n'],
    [
      ['-k', 'DOCKER_NETWORK_OPTIONS', '-d', '/run/flannel/docker', '-c'],
      '/run/flannel/docker',
      `DOCKER_NETWORK_OPTIONS=${all}`,
    ],
    [['-ckOPTIONS', '-d/run/docker'], '/run/docker', `OPTIONS=${all}`],
  ])('with %j', async (words, file, expected) => {
    const { files, exitCode, stdout, stderr } = await run(words);
    expect(files.get(file)).toBe(expected);
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  });

  test.each(['-', '/dev/stdout'])('from another subnet.env, to standard output as %s', async (output) => {
    const { stdout, files } = await run(['-f', '/tmp/other', '-d', output, '-c'], {
      files: { '/tmp/other': SUBNET_ENV },
    });
    expect(stdout).toBe(`DOCKER_OPTS=${all}`);
    expect([...files.keys()]).toEqual(['/tmp/other']);
  });

  test('both families, and no masquerading where the agent does it', async () => {
    const { stdout } = await run(['-d', '-'], { files: { '/run/flannel/subnet.env': DUAL_STACK } });
    expect(stdout).toBe(
      [
        'DOCKER_OPT_BIP="--bip=10.42.7.1/24"',
        'DOCKER_OPT_FIXED_CIDR_V6="--fixed-cidr-v6=2001:cafe:42:7::/64"',
        'DOCKER_OPT_IPMASQ="--ip-masq=false"',
        'DOCKER_OPT_IPV6="--ipv6"',
        'DOCKER_OPT_MTU="--mtu=1430"',
        'DOCKER_OPTS=" --bip=10.42.7.1/24 --fixed-cidr-v6=2001:cafe:42:7::/64 --ip-masq=false --ipv6 --mtu=1430"',
        '',
      ].join('\n'),
    );
  });

  test('what the environment has under the name of all options in front, quoted where it must be', async () => {
    const environment = { DOCKER_OPTS: '--label=a="b" --log-opt=tag=$x' };
    const { stdout } = await run(['-c', '-d', '-'], { environment });
    expect(stdout).toBe(
      'DOCKER_OPTS="--label=a=\\"b\\" --log-opt=tag=\\$x  --bip=10.1.74.1/24 --ip-masq=true --mtu=1472"\n',
    );
    const file = execFileSync('sh', ['-c', `${stdout} printf %s "$DOCKER_OPTS"`], { encoding: 'utf8' });
    expect(file).toBe(`${environment.DOCKER_OPTS}  --bip=10.1.74.1/24 --ip-masq=true --mtu=1472`);
  });

  test('variables of the environment that are options, among the others in the order of their names', async () => {
    const environment = {
      DOCKER_OPT_LOG: '--log-driver=json-file --debug',
      DOCKER_OPT_BIP: '--bip=1.2.3.4/24',
      OTHER: 'x',
    };
    const { stdout } = await run(['-d', '-'], { environment });
    expect(stdout).toBe(
      `${bip}${ipMasq}DOCKER_OPT_LOG="--log-driver=json-file --debug"\n${mtu}` +
        'DOCKER_OPTS=" --bip=10.1.74.1/24 --ip-masq=true --log-driver=json-file --debug --mtu=1472"\n',
    );
  });

  test('one option of each, however often the subnet changed, and however its own output came back', async () => {
    // In the environment by Docker's own drop-in: what was written for earlier subnets.
    const earlier =
      '--debug --bip=10.5.1.1/24 --ip-masq=false --mtu=1450 --bip 10.5.2.1/24 -bip=10.5.3.1/24 --mtu=1400 --label=a=b';
    const { stdout } = await run(['-c', '-d', '-'], { environment: { DOCKER_OPTS: earlier } });
    expect(stdout).toBe('DOCKER_OPTS="--debug --label=a=b  --bip=10.1.74.1/24 --ip-masq=true --mtu=1472"\n');
  });

  test('the same again when its own output is the environment', async () => {
    const words = ['-c', '-d', '-'];
    const first = (await run(words, { environment: { DOCKER_OPTS: '--debug' } })).stdout;
    const written = /^DOCKER_OPTS="(.*)"\n$/.exec(first)![1]!;
    expect((await run(words, { environment: { DOCKER_OPTS: written } })).stdout).toBe(first);
  });
});

describe('without a usable subnet.env docker-opts', () => {
  test('writes no options, and says what follows from that', async () => {
    const { files, exitCode, stderr } = await run([], { files: {} });
    expect(files.get('/run/docker_opts.env')).toBe('DOCKER_OPTS=""\n');
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(
      /^vtepd docker-opts: \/run\/flannel\/subnet\.env does not exist; Docker will choose its own bridge/,
    );
  });

  test.each([
    ['does not exist', {}],
    ['names no subnet', { '/run/flannel/subnet.env': 'FLANNEL_MTU=1450\n' }],
    ['has no FLANNEL_MTU', { '/run/flannel/subnet.env': 'FLANNEL_SUBNET=10.1.74.1/24\n' }],
  ])('writes nothing and fails if it is required: it %s', async (problem, world) => {
    const { files, exitCode, stderr } = await run(['--require'], { files: world });
    expect(files.has('/run/docker_opts.env')).toBe(false);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`subnet.env ${problem}; nothing is written`);
  });

  test('waits for it with --wait, and says once for what', async () => {
    const later = [undefined, 'FLANNEL_MTU=1450\n', undefined, SUBNET_ENV];
    const { files, exitCode, stderr } = await run(['--wait', '-c'], { files: {}, later });
    expect(files.get('/run/docker_opts.env')).toContain('--bip=10.1.74.1/24');
    expect(exitCode).toBe(0);
    const waiting = (what: string) =>
      `vtepd docker-opts: /run/flannel/subnet.env ${what}; waiting for it. ` +
      "vtepd writes it once this host has a subnet: 'systemctl status vtepd' says what it waits for.\n";
    expect(stderr).toBe(waiting('does not exist') + waiting('names no subnet'));
  });

  test('writes nothing when it is stopped while it waits', async () => {
    const { files, exitCode, stderr } = await run(['--wait'], { files: {} });
    expect(files.has('/run/docker_opts.env')).toBe(false);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/vtepd docker-opts: stopped while it waited\n$/);
  });

  test.each([
    ['FLANNEL_IPMASQ', 'yes'],
    ['FLANNEL_SUBNET', '10.1.74.1'],
    ['FLANNEL_SUBNET', '10.1.74.1/24,10.1.75.1/24'],
    ['FLANNEL_IPV6_SUBNET', 'fd00::/129'],
    ['FLANNEL_MTU', '14 72'],
  ])('names a value that Docker would not take: %s=%s', async (key, value) => {
    const { files, exitCode, stderr } = await run([], {
      files: { '/run/flannel/subnet.env': `${SUBNET_ENV}${key}=${value}\n` },
    });
    expect(files.has('/run/docker_opts.env')).toBe(false);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: `vtepd docker-opts: Invalid value of ${key}: ${value}\n`,
    });
  });

  test('does not look at FLANNEL_IPMASQ if it is to be left out', async () => {
    const files = { '/run/flannel/subnet.env': SUBNET_ENV.replace('false', 'yes') };
    expect((await run(['-m'], { files })).exitCode).toBe(0);
  });
});

describe('a route via a gateway to our own subnet', () => {
  test.each([
    ['10.42.7.0/24', '10.42.7.0/24 via 192.168.0.7 dev eth0'],
    ['2001:cafe:42:7::/64', '2001:cafe:42:7::/64 via fe80::1 dev eth0 metric 1024'],
  ])('is reported after everything is written: %s', async (subnet, route) => {
    const { files, exitCode, stderr } = await run([], {
      files: { '/run/flannel/subnet.env': DUAL_STACK },
      routes: { [subnet]: [route] },
    });
    expect(files.get('/run/docker_opts.env')).toContain('DOCKER_OPT_BIP=');
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: `Your routing table already contains the subnet: ${route}\n`,
    });
  });
});

describe('the usage', () => {
  test.each([[['-h']], [['-?']], [['-x']], [['-f']], [['-ik']], [['--quiet']], [['file']], [['-k', 'a b']]])(
    'is the answer to %j, and a failure',
    async (words) => {
      const { exitCode, stdout, stderr, files } = await run(words);
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      expect(stderr).toContain('Usage: vtepd docker-opts [-f SUBNET-ENV-FILE]');
      expect(files.size).toBe(1);
    },
  );

  test('is what --help prints', async () => {
    const { exitCode, stdout, stderr } = await run(['--help']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain('-m         leave --ip-masq out');
  });
});

describe('a file', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'vtepd-docker-opts-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  test('is made with its directory, readable for all, and nothing else is left there', async () => {
    const mask = process.umask(0o077);
    try {
      await replaceFile(join(directory, 'sub/file'), 'text\n');
    } finally {
      process.umask(mask);
    }
    expect(readFileSync(join(directory, 'sub/file'), 'utf8')).toBe('text\n');
    expect(statSync(join(directory, 'sub/file')).mode & 0o777).toBe(0o644);
    expect(readdirSync(join(directory, 'sub'))).toEqual(['file']);
  });

  test('is replaced, not written over: who has it open goes on reading the old one', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, 'old');
    const before = statSync(file).ino;
    await replaceFile(file, 'new');
    expect(readFileSync(file, 'utf8')).toBe('new');
    expect(statSync(file).ino).not.toBe(before);
  });

  test('behind a link is replaced where it is', async () => {
    writeFileSync(join(directory, 'file'), 'old');
    symlinkSync('file', join(directory, 'link'));
    await replaceFile(join(directory, 'link'), 'new');
    expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('new');
    expect(
      readdirSync(directory, { withFileTypes: true })
        .find(({ name }) => name === 'link')!
        .isSymbolicLink(),
    ).toBe(true);
  });

  test('that is a device is written to', async () => {
    await replaceFile('/dev/null', 'text');
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  test('that cannot be written is named', async () => {
    writeFileSync(join(directory, 'file'), '');
    chmodSync(join(directory, 'file'), 0o600);
    const file = join(directory, 'file/below');
    await expect(replaceFile(file, 'text')).rejects.toThrow(`cannot write ${file}`);
  });
});

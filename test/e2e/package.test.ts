/**
 * The Debian package, from its installation to the purge, on systems that debootstrap makes anew: minimal, with systemd as PID 1. All of it
 * on Debian 12; on Debian 13 what another libc, systemd and dpkg could do otherwise.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../support/lab/command';
import { makeDebian, type DebianRelease } from '../support/lab/debian-system';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { allReachAll } from '../support/lab/ping';
import { bothWays, withoutLoss } from '../support/lab/stream';
import { SystemdMachine } from '../support/lab/systemd-machine';
import { until } from '../support/lab/until';

const ROOT = resolve(__dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const ownNode = /^VERSION=(.*)$/m.exec(
  readFileSync(join(ROOT, 'scripts/package.d/node-runtime'), 'utf8'),
)![1]!;
const NEXT = `${version}+next`;
const CONF = '/etc/vtepd/vtepd.conf';
const DROP_IN = '/run/systemd/generator/docker.service.d/10-vtepd.conf';

/** In memory: dpkg waits for the disk after every file. */
const directory = mkdtempSync('/dev/shm/vtepd-package-');
const systemOf = (release: DebianRelease) => join(directory, release);

let lab: Lab;
let machine: SystemdMachine;
let host: Host;
let peer: Host;
let pathsBefore: string[];

beforeAll(async () => {
  const build = (output: string, ...words: string[]) =>
    run(join(ROOT, 'scripts/package'), [...words, '--output', join(directory, output)]);
  const packages = (async () => {
    await build('own', 'deb');
    await build('next', 'deb', 'npm', '--version', NEXT);
    await build('system-node', 'deb', '--system-node');
  })();
  // debootstrap does not know who provides the D-Bus and the logind that NetworkManager depends on.
  const bookworm = makeDebian('bookworm', systemOf('bookworm'), [
    'network-manager',
    'dbus',
    'libpam-systemd',
  ]);
  await Promise.all([packages, bookworm, makeDebian('trixie', systemOf('trixie'))]);
  lab = await Lab.start({ hosts: 3 });
  host = lab.host(1);
  peer = lab.host(2);
  await lab.startAgents([peer]);
  machine = await boot('bookworm', host);
  pathsBefore = await paths();
});

afterAll(async () => {
  await machine?.end();
  lab?.end();
  rmSync(directory, { recursive: true, force: true });
});

describe('installed on a new system, the package', () => {
  test('neither starts nor enables an agent that knows no etcd, and says what to do', async () => {
    const said = await machine.run('dpkg', '--install', '/root/vtepd.deb');
    expect(said).toContain(
      `vtepd: say in ${CONF} where etcd is (or embedded-etcd=true on a first host), then: systemctl enable --now vtepd\n`,
    );
    expect(await machine.show('vtepd', 'LoadState', 'UnitFileState', 'ActiveState')).toEqual({
      LoadState: 'loaded',
      UnitFileState: 'disabled',
      ActiveState: 'inactive',
    });
    // A Docker on this host goes on as if there were no vtepd.
    expect((await machine.attempt('cat', DROP_IN)).status).toBe(1);
  });

  test('has its program, plugin, page and completions in their places', async () => {
    expect(await machine.run('vtepd', '--version')).toBe(`vtepd ${version}\nNode v${ownNode}\n`);
    const plugin = await machine.run('sh', '-c', 'echo {} | CNI_COMMAND=VERSION /usr/lib/cni/flannel');
    expect(JSON.parse(plugin)).toMatchObject({
      supportedVersions: expect.arrayContaining(['1.0.0']) as unknown,
    });
    const files = await machine.run('dpkg', '--listfiles', 'vtepd');
    for (const path of [
      'man/man8/vtepd.8.gz',
      'bash-completion/completions/vtepd',
      'zsh/vendor-completions/_vtepd',
      'fish/vendor_completions.d/vtepd.fish',
    ])
      expect(files).toContain(`/usr/share/${path}\n`);
    for (const path of [
      '/lib/systemd/network/10-vtepd.network',
      '/usr/lib/NetworkManager/conf.d/10-vtepd.conf',
    ])
      expect(files).toContain(`${path}\n`);
    expect(await machine.run('dpkg', '--verify', 'vtepd')).toBe('');
  });

  test('lets nobody but root and the agent read its configuration, which may hold a password', async () => {
    expect(await machine.run('stat', '--format=%A %U:%G', CONF)).toBe('-rw-r----- root:vtepd\n');
  });

  test('has a unit that systemd has nothing to say about', async () => {
    const { status, stdout, stderr } = await machine.attempt('systemd-analyze', 'verify', 'vtepd.service');
    expect({ status, said: stdout + withoutNodeWarnings(stderr) }).toEqual({ status: 0, said: '' });
  });

  test('believes a flag before a variable, and a variable before vtepd.conf', async () => {
    const conf = machine.read(CONF)!;
    const names = ['--iface', '--etcd-prefix', '--public-ip'];
    machine.write(CONF, `${conf}iface=conf0\netcd-prefix=/conf\npublic-ip=192.0.2.1\n`);
    // It waits for its interface, and says first what it goes by.
    const script = `FLANNELD_IFACE=var0 FLANNELD_ETCD_PREFIX=/var vtepd --iface=flag0 > /tmp/said 2>&1 &
      until grep 'vtepd starts' /tmp/said; do kill -0 $! || exit 1; sleep 0.1; done; kill $!; wait $!; rm /tmp/said`;
    const line = await machine.run('sh', '-c', script);
    machine.write(CONF, conf);
    expect(names.map((name) => new RegExp(`${name.slice(2)}=(\\S+)`).exec(line)?.[1])).toEqual([
      'flag0',
      '/var',
      '192.0.2.1',
    ]);
  });
});

describe('told where etcd is, and enabled,', () => {
  test('the agent runs, and Docker is to have its bridge', async () => {
    writeConfig(`etcd-endpoints=${lab.etcd.endpoints}\niface=eth0\n`);
    await machine.run('systemctl', 'enable', '--now', 'vtepd');
    await machine.shows('vtepd', { ActiveState: 'active', UnitFileState: 'enabled' });
    expect(await machine.run('cat', DROP_IN)).toContain('vtepd docker-opts');
  });

  test('it carries packets', async () => {
    writeFileSync(host.agent.subnetFile, machine.read('/run/flannel/subnet.env')!);
    await host.attachContainer();
    await allReachAll([host, peer]);
  });
});

describe('NetworkManager', () => {
  // It hides the package's file, of the same name in /usr/lib.
  const hider = '/etc/NetworkManager/conf.d/10-vtepd.conf';
  const becomes = (state: string) =>
    until(`flannel.1 is ${state}`, async () =>
      (await machine.run('nmcli', '--terse', '--fields=DEVICE,STATE', 'device'))
        .split('\n')
        .includes(`flannel.1:${state}`),
    );

  afterAll(() => machine.run('systemctl', 'stop', 'NetworkManager'));

  test('would make a connection of its own of our device', async () => {
    machine.write(hider, '');
    await machine.run('systemctl', 'start', 'NetworkManager');
    await becomes('connected (externally)');
    expect(await machine.run('nmcli', '--terse', '--fields=NAME,TYPE', 'connection')).toContain(
      'flannel.1:vxlan\n',
    );
  });

  test('keeps its hands off it by the file that the package brings, and loses no packet', async () => {
    const held = () =>
      host.namespace.run('sh', [
        '-c',
        'ip -d address show dev flannel.1; ip route show dev flannel.1; bridge fdb show dev flannel.1',
      ]);
    await machine.run('rm', hider);
    await until('its addresses are there to stay', async () => !(await held()).includes('tentative'));
    const before = await held();
    await withoutLoss(bothWays(host, peer), async () => {
      await machine.run('systemctl', 'restart', 'NetworkManager');
      await becomes('unmanaged');
      await machine.run('systemctl', 'kill', '--signal=KILL', 'NetworkManager');
      await becomes('unmanaged');
      await machine.run('nmcli', 'connection', 'reload');
      await machine.run('nmcli', 'general', 'reload');
      // Without our file it does both; the first takes addresses and routes away and puts back its own idea of them.
      for (const word of ['reapply', 'disconnect'])
        expect((await machine.attempt('nmcli', 'device', word, 'flannel.1')).stderr).toMatch(/ is not activ/);
      await becomes('unmanaged');
      await machine.run('systemctl', 'stop', 'NetworkManager');
    });
    expect(await held()).toBe(before);
  });

  test('has read that file, and finds nothing to complain of in it', async () => {
    const journal = await machine.journal('NetworkManager');
    expect(journal).toMatch(/Read config: .*\(lib: 10-vtepd\.conf\)/);
    expect(journal).not.toMatch(/<(warn|error)>.*(config|keyfile|unmanaged-devices|flannel)/);
  });
});

test('an upgrade runs the new agent, keeps the configuration, and loses no packet', async () => {
  const pid = (await machine.show('vtepd', 'MainPID')).MainPID;
  await withoutLoss(bothWays(host, peer), async () => {
    await machine.run('dpkg', '--install', '/root/next.deb');
    await machine.shows('vtepd', { ActiveState: 'active' });
  });
  expect((await machine.show('vtepd', 'MainPID')).MainPID).not.toBe(pid);
  expect(machine.read(CONF)).toContain(lab.etcd.endpoints);
});

test('dpkg, program, agent, page and npm have one version, by which the files are named', async () => {
  expect(readdirSync(join(directory, 'next'))).toEqual([
    'SHA256SUMS',
    `vtepd-${NEXT}.cdx.json`,
    `vtepd-${NEXT}.tgz`,
    `vtepd_${NEXT}_amd64.deb`,
  ]);
  expect(await machine.run('dpkg-query', '--show', '-f', '${Version}', 'vtepd')).toBe(NEXT);
  expect(await machine.run('vtepd', '--version')).toBe(`vtepd ${NEXT}\nNode v${ownNode}\n`);
  expect(JSON.parse(await machine.run('vtepd', 'status', '--json'))).toMatchObject({ version: NEXT });
  expect(await machine.run('zcat', '/usr/share/man/man8/vtepd.8.gz')).toContain(`"vtepd ${NEXT}"`);
  const words = ['-xOzf', join(directory, 'next', `vtepd-${NEXT}.tgz`), 'package/package.json'];
  expect(JSON.parse(await run('tar', words))).toMatchObject({ version: NEXT });
  const bill = JSON.parse(readFileSync(join(directory, 'next', `vtepd-${NEXT}.cdx.json`), 'utf8')) as {
    metadata: unknown;
  };
  expect(bill.metadata).toMatchObject({ component: { version: NEXT } });
});

describe('removed', () => {
  test('it ends the agent and leaves the traffic alone', async () => {
    await withoutLoss(bothWays(host, peer), () => machine.run('dpkg', '--remove', 'vtepd'));
    expect(await machine.show('vtepd', 'ActiveState')).toEqual({ ActiveState: 'inactive' });
    expect(machine.read(CONF)).toContain(lab.etcd.endpoints);
    expect(machine.read('/usr/bin/vtepd')).toBeUndefined();
    expect((await machine.attempt('cat', DROP_IN)).status).toBe(1);
    expect(await host.vtepMac()).toBeDefined();
  });

  test('and installed again it goes on as before', async () => {
    await machine.run('dpkg', '--install', '/root/next.deb');
    await machine.shows('vtepd', { ActiveState: 'active', UnitFileState: 'enabled' });
    await allReachAll([host, peer]);
  });
});

describe('purged', () => {
  test('it takes everything of ours out of the kernel', async () => {
    await machine.run('dpkg', '--purge', 'vtepd');
    expect(await host.vtepMac()).toBeUndefined();
    expect(await host.namespace.ip('route', 'show', 'table', 'all', 'proto', '84')).toBe('');
    expect(await host.namespace.run('nft', ['list', 'ruleset'])).not.toMatch(/vtepd|flannel/i);
  });

  test('it leaves no file, no user and no unit', async () => {
    expect(await paths()).toEqual(pathsBefore);
    expect((await machine.attempt('getent', 'passwd', 'vtepd')).status).toBe(2);
    expect(await machine.show('vtepd', 'LoadState')).toEqual({ LoadState: 'not-found' });
  });
});

describe('the package without a Node of its own', () => {
  afterAll(() => machine.run('dpkg', '--purge', 'vtepd'));

  test('is not installed where there is no nodejs', async () => {
    const { status, stderr } = await machine.attempt('dpkg', '--install', '/root/system-node.deb');
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/vtepd depends on nodejs \(>= 20\)/);
  });

  test('says which Node it needs, by either of its names', async () => {
    await machine.run('dpkg', '--force-depends', '--configure', 'vtepd');
    const { status, stderr, stdout } = await machine.attempt('sh', '-c', '/usr/lib/cni/flannel; exec vtepd');
    expect(status).toBe(1);
    expect(stderr).toContain('vtepd: needs Node 20 or newer as /usr/bin/node (found: none)');
    expect(JSON.parse(stdout)).toMatchObject({
      code: 999,
      msg: expect.stringContaining('Node 20') as unknown,
    });
  });
});

describe('on Debian 13', () => {
  let machine: SystemdMachine;
  let third: Host;

  beforeAll(async () => {
    third = lab.host(3);
    machine = await boot('trixie', third);
  });
  afterAll(() => machine.end());

  test('it is installed with nothing but what is there, and its agent carries packets', async () => {
    expect(machine.read('/etc/debian_version')).toMatch(/^13\./);
    expect((await machine.attempt('sh', '-c', 'command -v node nodejs')).stdout).toBe('');
    await machine.run('dpkg', '--install', '/root/vtepd.deb');
    machine.write(CONF, `etcd-endpoints=${lab.etcd.endpoints}\niface=eth0\n`);
    await machine.run('systemctl', 'enable', '--now', 'vtepd');
    await machine.shows('vtepd', { ActiveState: 'active', UnitFileState: 'enabled' });
    expect(await machine.run('vtepd', '--version')).toBe(`vtepd ${version}\nNode v${ownNode}\n`);
    expect(await machine.run('vtepd', 'status')).toMatch(
      new RegExp(`^vtepd ${version.replaceAll('.', '\\.')}, process \\d+, .*: ready\n`),
    );
    writeFileSync(third.agent.subnetFile, machine.read('/run/flannel/subnet.env')!);
    await third.attachContainer();
    // The peer's container has its bridge since the tests before, or gets it now.
    await peer.attachContainer();
    await allReachAll([third, peer]);
  });

  test('its unit, its user and its modes are as on Debian 12', async () => {
    const { status, stdout, stderr } = await machine.attempt('systemd-analyze', 'verify', 'vtepd.service');
    expect({ status, said: stdout + withoutNodeWarnings(stderr) }).toEqual({ status: 0, said: '' });
    expect(await machine.run('stat', '--format=%A %U:%G', CONF)).toBe('-rw-r----- root:vtepd\n');
    expect(await machine.run('cat', DROP_IN)).toContain('vtepd docker-opts');
    expect(await machine.run('dpkg', '--verify', 'vtepd')).toBe(
      // What we wrote.
      '??5?????? c /etc/vtepd/vtepd.conf\n',
    );
  });

  test('an upgrade and a removal lose no packet', async () => {
    await withoutLoss(bothWays(third, peer), async () => {
      await machine.run('dpkg', '--install', '/root/next.deb');
      await machine.shows('vtepd', { ActiveState: 'active' });
      await machine.run('dpkg', '--remove', 'vtepd');
    });
    expect(await machine.show('vtepd', 'ActiveState')).toEqual({ ActiveState: 'inactive' });
    expect(await third.vtepMac()).toBeDefined();
  });

  test('a purge leaves nothing in the kernel, and no user', async () => {
    await machine.run('dpkg', '--purge', 'vtepd');
    expect(await third.vtepMac()).toBeUndefined();
    expect((await machine.attempt('getent', 'passwd', 'vtepd')).status).toBe(2);
    expect((await machine.run('find', '/etc', '/usr', '/var/lib', '/run', '-name', '*vtepd*')).trim()).toBe(
      '',
    );
  });
});

/** A machine with that system, and our packages in its /root. */
async function boot(release: DebianRelease, on: Host): Promise<SystemdMachine> {
  const root = systemOf(release);
  for (const [name, file] of [
    ['vtepd', `own/vtepd_${version}_amd64.deb`],
    ['next', `next/vtepd_${NEXT}_amd64.deb`],
    ['system-node', `system-node/vtepd_${version}_amd64_system-node.deb`],
  ] as const)
    cpSync(join(directory, file), join(root, `root/${name}.deb`));
  return SystemdMachine.boot(on.namespace, join(lab.directory, release), {
    units: [],
    // NetworkManager is to run for its own tests only: vtepd, which waits for the network, would start it by this unit.
    files: { '/etc/systemd/system/NetworkManager-wait-online.service': '' },
    root,
  });
}

function writeConfig(text: string): void {
  const before = machine.read(CONF)!;
  machine.write(CONF, before + text);
}

/** Every path of the system, but for what the kernel, dpkg, systemd and NetworkManager keep for themselves; of /run what has our name. */
async function paths(): Promise<string[]> {
  const foreign = [
    ...[
      '/proc',
      '/sys',
      '/dev',
      '/tmp',
      '/var/tmp',
      '/var/log',
      '/var/cache',
      '/var/lib/dpkg',
      '/var/lib/systemd',
      '/var/lib/NetworkManager',
      '/run/NetworkManager',
    ],
    // What useradd and userdel save of the time before, and what was empty from the beginning.
    ...['/etc/passwd-', '/etc/group-', '/etc/shadow-', '/etc/gshadow-', '/etc/.pwd.lock'],
    '/etc/systemd/system/multi-user.target.wants',
  ];
  const prune = foreign.flatMap((path) => ['-path', path, '-prune', '-o']);
  const found = await machine.run('find', '/', ...prune, '-print');
  return found
    .split('\n')
    .filter((path) => !path.startsWith('/run/') || /vtepd|flannel|docker/.test(path))
    .sort();
}

function withoutNodeWarnings(text: string): string {
  return text.replace(/^Warning: Ignoring extra certs.*\n/gm, '');
}

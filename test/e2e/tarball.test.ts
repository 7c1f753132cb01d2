/** The tarball, from `scripts/package` to the purge, on a Debian that debootstrap makes anew, with systemd and without: no dpkg installs anything. */
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../support/lab/command';
import { makeDebian } from '../support/lab/debian-system';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { allReachAll } from '../support/lab/ping';
import { bothWays, withoutLoss } from '../support/lab/stream';
import { SystemdMachine } from '../support/lab/systemd-machine';
import { until } from '../support/lab/until';

const ROOT = resolve(__dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const NEXT = `${version}+next`;
const CONF = '/etc/vtepd/vtepd.conf';
const PROGRAM = '/usr/local/lib/vtepd';
/** Where the unpacked tarballs are. */
const OWN = '/root/own';
const LATER = '/root/next';

/** In memory: a disk is what all of it would wait for. */
const directory = mkdtempSync('/dev/shm/vtepd-tarball-');
const system = join(directory, 'system');

let lab: Lab;
let machine: SystemdMachine;
let host: Host;
let peer: Host;
let pathsBefore: string[];

beforeAll(async () => {
  const made = makeDebian('bookworm', system);
  const packages = (async () => {
    for (const text of [version, NEXT])
      await run(join(ROOT, 'scripts/package'), ['tarball', '--version', text, '--output', directory]);
  })();
  await Promise.all([made, packages]);
  for (const [place, text] of [
    [OWN, version],
    [LATER, NEXT],
  ] as const) {
    mkdirSync(join(system, place));
    const file = join(directory, `vtepd-${text}-linux-amd64.tar.xz`);
    await run('tar', ['-C', join(system, place), '--strip-components=1', '-xJf', file]);
  }
  // As if it had an option more.
  appendFileSync(join(system, LATER, 'vtepd.conf'), '# of a later version\n');
  lab = await Lab.start({ hosts: 2 });
  [host, peer] = [lab.host(1), lab.host(2)];
  await lab.startAgents([peer]);
  machine = await SystemdMachine.boot(host.namespace, join(lab.directory, 'machine'), {
    units: [],
    files: {},
    root: system,
  });
  pathsBefore = await paths();
});

afterAll(async () => {
  await machine?.end();
  lab?.end();
  rmSync(directory, { recursive: true, force: true });
});

describe('what cannot be installed is refused in words, and nothing is written:', () => {
  /** Runs it where this program says something else than the truth. */
  const where = async (name: string, script: string, ...words: string[]) => {
    const setUp = `mkdir /root/other; printf '%s\\n' '#!/bin/sh' '${script}' > /root/other/${name}; chmod 755 /root/other/${name}`;
    await machine.run('sh', '-c', setUp);
    const result = await machine.attempt('env', 'PATH=/root/other:/usr/sbin:/usr/bin', ...words);
    await machine.run('rm', '-r', '/root/other');
    return result;
  };

  afterEach(async () => expect(await paths()).toEqual(pathsBefore));

  test('another processor', async () => {
    const { status, stderr } = await where(
      'uname',
      '[ "$1" = -m ] && echo aarch64 || echo Linux',
      `${OWN}/install.sh`,
    );
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'install.sh: this tarball is for amd64, and this machine is arm64: take the one for arm64\n',
    });
  });

  test('a glibc that is too old', async () => {
    const { status, stderr } = await where('getconf', 'echo glibc 2.17', `${OWN}/install.sh`);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^install\.sh: glibc 2\.17 is too old, vtepd needs 2\.\d\d or newer: .*the container image\n$/,
    );
  });

  test('musl', async () => {
    await machine.run('touch', '/lib/ld-musl-x86_64.so.1');
    const { status, stderr } = await where('getconf', 'exit 1', `${OWN}/install.sh`);
    await machine.run('rm', '/lib/ld-musl-x86_64.so.1');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'install.sh: this system has musl and not glibc, which vtepd needs: take the container image\n',
    });
  });

  test.each([`${OWN}/install.sh`, `${OWN}/uninstall.sh`])('%s by another user than root', async (script) => {
    await machine.run('chmod', '711', '/root');
    const { status, stderr } = await machine.attempt('setpriv', '--reuid=65534', '--clear-groups', script);
    expect(status).toBe(1);
    expect(stderr).toContain('run it as root');
  });

  test.each([
    [['--prefix', '/usr'], 1, '--prefix /usr: that is the distribution'],
    [['--prefix=/home/me'], 1, '--prefix /home/me: the service sees nothing in there'],
    [['--prefix', 'here'], 2, "--prefix takes an absolute path of letters, digits and /._+-, and not 'here'"],
    [['--prefix'], 2, '--prefix takes a directory'],
    [['--cni-bin=/a b'], 2, '--cni-bin takes an absolute path'],
    [['now'], 2, "there is no option 'now'"],
  ])('%j', async (words, code, said) => {
    const { status, stderr } = await machine.attempt(`${OWN}/install.sh`, ...words);
    expect(status).toBe(code);
    expect(stderr).toContain(`install.sh: ${said}`);
  });

  test('a unit of that name that somebody wrote himself', async () => {
    machine.write('/etc/systemd/system/vtepd.service', '# mine\n');
    const { status, stderr } = await machine.attempt(`${OWN}/install.sh`);
    await machine.run('rm', '/etc/systemd/system/vtepd.service');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr:
        'install.sh: /etc/systemd/system/vtepd.service is there, and this script has not made it: move it away, and run this again\n',
    });
  });

  test('to remove what is not there does nothing', async () => {
    expect(await machine.run(`${OWN}/uninstall.sh`)).toBe(
      'uninstall.sh: vtepd is not installed; nothing was done\n',
    );
  });
});

describe('without systemd', () => {
  /** A systemctl that cannot be executed is none. */
  const withoutSystemd = (script: string) =>
    machine.attempt(
      ...(['unshare', '--mount', 'sh', '-c'] as const),
      `mount --bind /dev/null /usr/bin/systemctl && mount -t tmpfs tmpfs /run/systemd && ${script}`,
    );

  test('it is installed without a unit, and says how to start it', async () => {
    const { status, stdout, stderr } = await withoutSystemd(`${OWN}/install.sh`);
    expect({ status, stderr: stderr.replace(/^Creating .*\n/gm, '') }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(
      "there is no systemd here, so nothing starts the agent: let this system's own init run '/usr/local/bin/vtepd' as root",
    );
    expect(stdout).not.toContain('systemctl');
    expect(machine.read('/etc/systemd/system/vtepd.service')).toBeUndefined();
  });

  test('a configuration that nobody edited becomes that of a later version, and back', async () => {
    for (const place of [LATER, OWN]) {
      expect((await withoutSystemd(`${place}/install.sh`)).status).toBe(0);
      expect(machine.read(CONF)).toBe(machine.read(`${place}/vtepd.conf`));
      expect(await machine.run('stat', '--format=%A %U:%G', CONF)).toBe('-rw-r----- root:vtepd\n');
    }
  });

  test('an agent that runs is not left without its program', async () => {
    const options = `--etcd-endpoints=${lab.etcd.endpoints} --iface=eth0`;
    await machine.run('sh', '-c', `setsid vtepd ${options} > /tmp/agent.log 2>&1 &`);
    await until('it has a subnet', () => machine.read('/run/flannel/subnet.env'));
    const { status, stderr } = await withoutSystemd(`${OWN}/uninstall.sh --purge`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/end it \(kill \d+\), and run this again/);
    const [pid] = /\d+/.exec(stderr)!;
    const again = await withoutSystemd(`${LATER}/install.sh`);
    expect(again.stdout).toContain(
      `an agent runs (process ${pid}): end it and start it again, and it is of this version`,
    );
    await machine.run('kill', pid);
    await until('it ended', async () => (await machine.attempt('kill', '-0', pid)).status !== 0);
  });

  test('stopped halfway by a full disk it says so, and once there is room it begins anew', async () => {
    const script = `${OWN}/uninstall.sh --purge
      mount -t tmpfs -o size=20m tmpfs /usr/local/lib
      ${OWN}/install.sh && exit 1
      mount -o remount,size=300m /usr/local/lib
      ${OWN}/install.sh && vtepd --version && ${OWN}/uninstall.sh --purge`;
    const { status, stdout, stderr } = await withoutSystemd(`{ ${script}\n}`);
    expect(stderr).toContain('install.sh: it stopped halfway: run it again');
    expect(stdout).toContain(`vtepd ${version}\nNode `);
    expect(status).toBe(0);
  });

  /** In /root/steps: an mv that ends the installation when it is called for that time. Each file gets to its place by one. */
  const killAt = async (step: number) => {
    await machine.run('mkdir', '/root/steps');
    const count = 'echo >> /root/steps/taken; [ "$(wc -l < /root/steps/taken)" != STEP ] || kill -KILL 0';
    machine.write(
      '/root/steps/mv',
      `#!/bin/sh\n${count.replace('STEP', String(step))}\nexec /usr/bin/mv "$@"\n`,
    );
    await machine.run('chmod', '755', '/root/steps/mv');
  };

  test.each([4, 14, 22])(
    'killed at step %i, it can be removed, or begun anew as if nothing had been there',
    async (step) => {
      await killAt(step);
      const killed = 'PATH=/root/steps:$PATH setsid --wait sh';
      const begin = `${killed} ${OWN}/install.sh && exit 99`;
      const removed = await withoutSystemd(`{ ${begin}; ${OWN}/uninstall.sh --purge; }`);
      expect(removed).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('all that it left') as string,
      });
      await machine.run('rm', '/root/steps/taken');
      const { status, stdout } = await withoutSystemd(
        `{ ${begin}; ${OWN}/install.sh && ${OWN}/uninstall.sh --purge; }`,
      );
      expect(status).toBe(0);
      // Not taken for an upgrade: that says, and enables, nothing.
      expect(stdout).toContain('vtepd: say in /etc/vtepd/vtepd.conf where etcd is');
      await machine.run('rm', '-r', '/root/steps');
      await leftNothing();
    },
  );

  test.each([1, 2])('a removal that is killed at step %i is gone on with', async (step) => {
    await withoutSystemd(`${OWN}/install.sh`);
    await killAt(step);
    const { status } = await withoutSystemd(
      `PATH=/root/steps:$PATH setsid --wait sh ${PROGRAM}/uninstall.sh`,
    );
    expect(status).not.toBe(0);
    await machine.run('rm', '-r', '/root/steps');
    await withoutSystemd(`${OWN}/uninstall.sh --purge`);
    await leftNothing();
  });

  test('another place for it is found again by its CNI plugin', async () => {
    const { status, stdout } = await withoutSystemd(
      `${OWN}/install.sh --prefix /srv/vtepd && ${OWN}/install.sh && ${OWN}/uninstall.sh --purge`,
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`below /srv/vtepd \\(\\d+ MB\\), over ${version}\n`));
    await leftNothing();
  });

  test('a purge leaves nothing', async () => {
    await withoutSystemd(`${OWN}/install.sh`);
    const { status, stderr } = await withoutSystemd(`${OWN}/uninstall.sh --purge`);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await leftNothing();
  });
});

describe('installed', () => {
  test('it neither starts nor enables an agent that knows no etcd, and says what to do', async () => {
    const said = await machine.run(`${OWN}/install.sh`);
    expect(said).toMatch(
      /vtepd: say in \/etc\/vtepd\/vtepd\.conf where etcd is .*systemctl enable --now vtepd/,
    );
    expect(said).toContain(`install.sh: vtepd ${version} is installed\n`);
    expect(await machine.show('vtepd', 'LoadState', 'UnitFileState', 'ActiveState')).toEqual({
      LoadState: 'loaded',
      UnitFileState: 'disabled',
      ActiveState: 'inactive',
    });
  });

  test('it has its program, plugin and page in their places, and its configuration is for root and the agent only', async () => {
    expect(await machine.run('vtepd', '--version')).toMatch(new RegExp(`^vtepd ${version}\nNode v24\\.`));
    const plugin = await machine.run('sh', '-c', 'echo {} | CNI_COMMAND=VERSION /opt/cni/bin/flannel');
    expect(JSON.parse(plugin)).toHaveProperty('supportedVersions');
    for (const path of [
      'man/man8/vtepd.8.gz',
      'bash-completion/completions/vtepd',
      'zsh/site-functions/_vtepd',
      'fish/vendor_completions.d/vtepd.fish',
    ])
      expect(machine.read(`/usr/local/share/${path}`)).toBeDefined();
    expect(await machine.run('stat', '--format=%A %U:%G', CONF)).toBe('-rw-r----- root:vtepd\n');
  });

  test('its unit is one that systemd has nothing to say about', async () => {
    const { status, stdout, stderr } = await machine.attempt('systemd-analyze', 'verify', 'vtepd.service');
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
  });

  test('told where etcd is, and enabled, it carries packets, and Docker is to have its bridge', async () => {
    machine.write(CONF, `${machine.read(CONF)!}etcd-endpoints=${lab.etcd.endpoints}\niface=eth0\n`);
    await machine.run('systemctl', 'enable', '--now', 'vtepd');
    await machine.shows('vtepd', { ActiveState: 'active', UnitFileState: 'enabled' });
    expect(await machine.run('cat', '/run/systemd/generator/docker.service.d/10-vtepd.conf')).toContain(
      'ExecStartPre=/usr/local/bin/vtepd docker-opts',
    );
    writeFileSync(host.agent.subnetFile, machine.read('/run/flannel/subnet.env')!);
    await host.attachContainer();
    await allReachAll([host, peer]);
  });

  test.each([
    ['the same', OWN, version],
    ['a later', LATER, NEXT],
  ])(
    '%s version over it runs a new agent, keeps the configuration, and loses no packet',
    async (_, place, text) => {
      const pid = (await machine.show('vtepd', 'MainPID')).MainPID;
      const conf = machine.read(CONF);
      let said = '';
      await withoutLoss(bothWays(host, peer), async () => {
        said = await machine.run(`${place}/install.sh`);
        await machine.shows('vtepd', { ActiveState: 'active' });
      });
      expect((await machine.show('vtepd', 'MainPID')).MainPID).not.toBe(pid);
      expect(said).toContain(`install.sh: vtepd ${text} is installed\n`);
      expect(said.includes(`${CONF} stays as you edited it`)).toBe(place === LATER);
      expect(machine.read(CONF)).toBe(conf);
      expect(await machine.run('vtepd', '--version')).toContain(`vtepd ${text}\n`);
    },
  );

  test('another place for it is refused while it is here', async () => {
    const { status, stderr } = await machine.attempt(`${OWN}/install.sh`, '--prefix', '/opt/vtepd');
    expect(status).toBe(1);
    expect(stderr).toContain('vtepd is installed below /usr/local: upgrade it there');
  });
});

describe('removed', () => {
  test('it ends the agent, leaves the traffic alone, and says how to remove the rest', async () => {
    let said = '';
    await withoutLoss(bothWays(host, peer), async () => {
      said = await machine.run(`${PROGRAM}/uninstall.sh`);
    });
    expect(said).toMatch(/the lease of [\d./]+ in etcd stays until \d{4}-/);
    expect(said).not.toContain('apt ');
    expect(said).toContain('What is left is removed by: /var/lib/vtepd-removed/uninstall.sh --purge');
    expect(await machine.show('vtepd', 'ActiveState')).toEqual({ ActiveState: 'inactive' });
    expect(machine.read(CONF)).toContain(lab.etcd.endpoints);
    expect((await machine.attempt('ls', PROGRAM, '/usr/local/bin/vtepd')).stdout).toBe('');
    expect(await host.vtepMac()).toBeDefined();
  });

  test('and installed again it goes on as before', async () => {
    await machine.run(`${LATER}/install.sh`);
    await machine.shows('vtepd', { ActiveState: 'active', UnitFileState: 'enabled' });
    await allReachAll([host, peer]);
  });

  test('and purged later it leaves nothing', async () => {
    machine.write('/run/docker_opts.env', 'DOCKER_OPTS=""\n');
    await machine.run(`${PROGRAM}/uninstall.sh`);
    await machine.run('/var/lib/vtepd-removed/uninstall.sh', '--purge');
    await leftNothing();
  });
});

describe('beside what others have', () => {
  test('it is installed below /opt/vtepd, leaves the CNI plugin of another alone, and a purge in one go leaves only that', async () => {
    await machine.run('sh', '-c', 'mkdir -p /opt/cni/bin; echo theirs > /opt/cni/bin/flannel');
    // Where sh is bash, as on Fedora.
    const said = await machine.run('bash', '--posix', `${OWN}/install.sh`, '--prefix', '/opt/vtepd');
    expect(said).toContain("/opt/cni/bin/flannel is there and is not vtepd's: it stays");
    expect(said).toContain('/opt/vtepd/bin is not in $PATH');
    expect(await machine.run('/opt/vtepd/bin/vtepd', '--version')).toContain(`vtepd ${version}\n`);
    expect(machine.read('/etc/systemd/system/vtepd.service')).toContain('ExecStart=/opt/vtepd/bin/vtepd\n');
    expect(await machine.run('bash', '--posix', `${OWN}/uninstall.sh`, '--purge')).toContain(
      'all that it left',
    );
    expect(machine.read('/opt/cni/bin/flannel')).toBe('theirs\n');
    await machine.run('rm', '-r', '/opt/cni');
    await leftNothing();
  });
});

async function leftNothing(): Promise<void> {
  expect(await host.vtepMac()).toBeUndefined();
  expect(await host.namespace.ip('route', 'show', 'table', 'all', 'proto', '84')).toBe('');
  expect(await host.namespace.run('nft', ['list', 'ruleset'])).not.toMatch(/vtepd|flannel/i);
  expect(await paths()).toEqual(pathsBefore);
  expect((await machine.attempt('getent', 'passwd', 'vtepd')).status).toBe(2);
  expect((await machine.attempt('getent', 'group', 'vtepd')).status).toBe(2);
  expect(await machine.show('vtepd', 'LoadState')).toEqual({ LoadState: 'not-found' });
}

/** Every path of the system, but for what kernel and systemd keep for themselves; of /run what has our name. */
async function paths(): Promise<string[]> {
  const foreign = [
    ...['/proc', '/sys', '/dev', '/tmp', '/var/tmp', '/var/log', '/var/cache', '/var/lib/systemd'],
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

/** The first hour with vtepd: the lines with which README.md begins, on two systems with systemd and Docker; and how it goes away again. */
import { readdirSync, readFileSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../support/lab/command';
import { IMAGE, writeImage } from '../support/lab/docker-image';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { SystemdMachine } from '../support/lab/systemd-machine';
import { until } from '../support/lab/until';

const ROOT = resolve(__dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const LINES = /^```sh\n([^]*?)^```/m.exec(README)![1]!.trim().split('\n');
/** What README.md shows of `vtepd status`. */
const SAMPLE = /^```\n(vtepd [^]*?)^```/m.exec(README)![1]!;
const CONF = '/etc/vtepd/vtepd.conf';
const SUBNET_FILE = '/run/flannel/subnet.env';
/** Nobody is there, and nobody says so. */
const NO_ETCD = 'http://172.30.99.99:2379';

/** In memory: dpkg waits for the disk after every file. */
const directory = mkdtempSync('/dev/shm/vtepd-first-');

let lab: Lab;
let first: SystemdMachine;
let second: SystemdMachine;
/** Of the container on the second host. */
let address: string;

beforeAll(async () => {
  await run(join(ROOT, 'scripts/package'), ['deb', '--output', directory]);
  const image = join(directory, 'image.tar');
  await writeImage(image);
  // No etcd but that of the first host.
  lab = await Lab.start({ hosts: 2, etcdMembers: 0 });
  [first, second] = await Promise.all([boot(lab.host(1), image), boot(lab.host(2), image)]);
});

afterAll(async () => {
  await Promise.all([first?.end(), second?.end()]);
  lab?.end();
  rmSync(directory, { recursive: true, force: true });
});

/** A system with Docker, etcd's program and the package's file, whose network has a default route, as README.md takes for granted. */
async function boot(host: Host, image: string): Promise<SystemdMachine> {
  const gateway = lab.hosts.find((other) => other !== host)!.publicIp;
  await host.namespace.ip('route', 'add', 'default', 'via', gateway, 'dev', 'eth0');
  const machine = await SystemdMachine.boot(host.namespace, join(lab.directory, `machine-${host.index}`), {
    units: [],
    files: {
      '/etc/docker/daemon.json': '{"storage-driver": "vfs"}',
      // In here, /proc/sys is read-only, which Docker 26 takes for a danger.
      '/etc/systemd/system/docker.service.d/50-lab.conf':
        '[Service]\nEnvironment=DOCKER_ALLOW_IPV6_ON_IPV4_INTERFACE=1\n',
      // A person is asked.
      '/etc/apt/apt.conf.d/99yes': 'APT::Get::Assume-Yes "true";\n',
      // A machine that builds may have one that forbids packages to start anything; one that cannot be executed forbids nothing.
      '/usr/sbin/policy-rc.d': '',
    },
    root: '/',
  });
  const [deb] = readdirSync(directory).filter((name) => name.endsWith('.deb'));
  machine.copyIn(join(directory, deb!), `/root/${deb}`);
  machine.copyIn(image, '/root/image.tar');
  for (const name of ['member', 'stranger']) await machine.run('useradd', '--create-home', name);
  return machine;
}

/** A line of README.md as a person would type it here: with the address of this first host, and of that container. */
function type(machine: SystemdMachine, line: number): Promise<string> {
  const text = LINES[line - 1]!.replaceAll('192.168.0.1', lab.host(1).publicIp)
    .replaceAll('10.5.103.2', address ?? 'not known yet')
    // The image would come from a registry; this one is brought along.
    .replaceAll('busybox', IMAGE);
  return typed(machine, `cd /root && ${text}`);
}

/** What a command prints; that apt-get has dpkg print to a terminal is no matter here. */
async function typed(machine: SystemdMachine, command: string): Promise<string> {
  return (await machine.run('sh', '-c', command)).replaceAll('\r', '');
}

/** `vtepd status` by a user: its exit code, and all that it said. */
async function statusAs(machine: SystemdMachine, user: string) {
  const { status, stdout, stderr } = await machine.attempt('runuser', '-u', user, '--', 'vtepd', 'status');
  return { status, said: stdout + stderr };
}

test('README.md begins with five lines', () => {
  expect(LINES).toHaveLength(5);
});

describe('installed by the first of them,', () => {
  let said: string;

  beforeAll(async () => {
    [said] = await Promise.all([type(first, 1), type(second, 1)]);
    for (const machine of [first, second]) await machine.run('usermod', '-aG', 'vtepd', 'member');
  });

  test('vtepd says what to do next', () => {
    expect(said).toContain('then: systemctl enable --now vtepd\n');
    expect(said).toContain(
      'vtepd: how it is then, or what it waits for: vtepd status (for root and the members',
    );
  });

  describe('and enabled where no etcd answers,', () => {
    const before: { conf?: string } = {};

    beforeAll(() => {
      before.conf = first.read(CONF)!;
      first.write(CONF, `${before.conf}etcd-endpoints=${NO_ETCD}\n`);
    });

    afterAll(async () => {
      await first.run('systemctl', 'disable', '--now', 'vtepd');
      first.write(CONF, before.conf!);
    });

    test('it tells systemd what it waits for while it is starting', async () => {
      await first.run('systemctl', 'start', '--no-block', 'vtepd');
      const shown = await until('systemd has a line of it', async () => {
        const now = await first.show('vtepd', 'ActiveState', 'StatusText');
        return now.StatusText === '' ? undefined : now;
      });
      expect(shown).toEqual({
        ActiveState: 'activating',
        StatusText: expect.stringMatching(/^starting: waiting for /) as string,
      });
    });

    test('enabling it returns, and it goes on waiting, and says for what', async () => {
      await first.run('systemctl', 'enable', '--now', 'vtepd');
      expect(await first.show('vtepd', 'ActiveState', 'UnitFileState', 'NRestarts')).toEqual({
        ActiveState: 'active',
        UnitFileState: 'enabled',
        NRestarts: '0',
      });
      expect((await first.run('systemctl', 'status', 'vtepd')).replace(/\s+/g, ' ')).toMatch(
        /Status: "starting: waiting for the network configuration: .* etcd/,
      );
      expect(first.read(SUBNET_FILE)).toBeUndefined();
    });

    test('the members of its group may ask it, and others hear who may', async () => {
      const asked = await statusAs(first, 'member');
      expect(asked).toEqual({
        status: 1,
        said: expect.stringMatching(/^vtepd .*: NOT READY\n[^]*\[-\] start: /) as string,
      });
      const refused = await statusAs(first, 'stranger');
      expect(refused).toEqual({
        status: 4,
        said: expect.stringMatching(
          /^vtepd: cannot ask the agent .*; root and the members of the agent's group may: /m,
        ) as string,
      });
    });

    test('where name servers are silent it says so, and they do not hold up its end', async () => {
      // What a resolver waits for by itself: 5 s for each, and all of it twice.
      const servers = 'nameserver 172.30.99.1\\nnameserver 172.30.99.2\\n';
      await first.run('sh', '-c', `rm -f /etc/resolv.conf && printf '${servers}' > /etc/resolv.conf`);
      first.write(CONF, `${before.conf}etcd-endpoints=http://etcd.invalid:2379\n`);
      await first.run('systemctl', 'restart', '--no-block', 'vtepd');
      await until('it asks for the name', async () =>
        /etcd\.invalid:2379: its name cannot be resolved/.test(await first.journal('vtepd')),
      );
      await first.run('systemctl', 'stop', 'vtepd');
      expect(await first.show('vtepd', 'Result')).toEqual({ Result: 'success' });
      first.write(CONF, `${before.conf}etcd-endpoints=${NO_ETCD}\n`);
      await first.run('systemctl', 'start', '--no-block', 'vtepd');
    });

    test('Docker waits for it, and says so', async () => {
      await first.run('systemctl', 'restart', '--no-block', 'docker');
      await first.shows('docker', { ActiveState: 'activating', SubState: 'start-pre' });
      await until('it says so', async () =>
        (await first.journal('docker')).includes(`${SUBNET_FILE} does not exist; waiting for it.`),
      );
      await first.run('systemctl', 'stop', 'docker.socket', 'docker');
    });
  });
});

describe('by the other lines', () => {
  test('the first host is ready, and shows how the next one joins', async () => {
    await type(first, 2);
    const status = await until('it is ready', async () => {
      const { status, stdout } = await first.attempt('vtepd', 'status');
      return status === 0 && stdout.includes('next host') ? stdout : undefined;
    });
    const lines = status.split('\n').map((line) => line.trim());
    expect(lines).toContain(`etcd-endpoints=http://${lab.host(1).publicIp}:2379`);
    expect(lines).toContain(`iface-can-reach=${lab.host(1).publicIp}`);
    expect((await statusAs(first, 'member')).status).toBe(0);
  });

  test('its journal has the lines for the next host, as they are to be copied', async () => {
    const said = await first.run('journalctl', '-u', 'vtepd', '-o', 'cat', '--no-pager');
    const address = lab.host(1).publicIp;
    expect(said).toContain(
      `on the next host, as root: vtepd --etcd-endpoints=http://${address}:2379 --iface-can-reach=${address}\n` +
        'or, as a service there, by these lines in /etc/vtepd/vtepd.conf:\n' +
        `etcd-endpoints=http://${address}:2379\niface-can-reach=${address}\n`,
    );
  });

  test('the second host joins, and its container has an address of its subnet', async () => {
    await type(second, 3);
    for (const machine of [first, second]) await machine.run('docker', 'import', '/root/image.tar', IMAGE);
    address = (await type(second, 4)).trim().split('\n').at(-1)!;
    const subnet = /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(second.read(SUBNET_FILE)!)![1]!;
    expect(address).toBe(`${subnet}.2`);
  });

  test('a container of the first host reaches it', async () => {
    await until('both know each other', async () =>
      (await first.run('vtepd', 'status')).includes('\n  peers     1'),
    );
    expect(await type(first, 5)).toContain('3 packets transmitted, 3 packets received, 0% packet loss');
  });

  test('`vtepd status` looks as README.md shows it', async () => {
    const page = await first.run('vtepd', 'status');
    const shown = shapeOf(SAMPLE);
    // The last line stands for the other checks.
    expect(shown.pop()).toBe('  …');
    expect(shapeOf(page).slice(0, shown.length)).toEqual(shown);
  });
});

/** The page without what differs from host to host and from run to run. */
function shapeOf(page: string): string[] {
  return page
    .replace(/\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/g, 'MAC')
    .replace(/\d+\.\d+\.\d+\.\d+/g, 'ADDRESS')
    .replace(/\d+ (d|h|min|s)( \d+ (h|min|s))?\b/g, 'TIME')
    .replace(/^vtepd \S+, process \d+/, 'vtepd VERSION, process N')
    .replace(/, after \d+ changes?/g, '')
    .replace(/\d+ changes?, \d+ of them/g, 'N changes, N of them')
    .replace(/^ {2}firewall .*\n/m, '')
    .trim()
    .split('\n');
}

describe('removed from the second host,', () => {
  let said: string;

  beforeAll(async () => {
    said = await typed(second, 'apt remove vtepd');
  });

  test('it says that traffic goes on, until when the lease stays, and how to give it back', () => {
    const subnet = address.replace(/\.2$/, '.0/24');
    expect(said).toContain(
      'vtepd: traffic goes on as it is, but nobody follows what changes. Installed again, vtepd goes on.\n',
    );
    const [, ends] = new RegExp(
      `^vtepd: the lease of ${subnet} in etcd stays until (.*); then other hosts drop this one\\.$`,
      'm',
    ).exec(said)!;
    const hours = (Date.parse(ends!) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(22);
    expect(hours).toBeLessThan(24.1);
    expect(said).toMatch(/^vtepd: to give the lease back now, .*: \/var\/lib\/vtepd-removed\/vtepd leave$/m);
    expect(said).toMatch(/^vtepd: from its next start on Docker takes neither address nor MTU/m);
  });

  test('traffic goes on', async () => {
    expect(await type(first, 5)).toContain('3 packets received');
  });

  test('purged, it says until when the lease stays, and what docker0 keeps; and it is so', async () => {
    const purged = await typed(second, 'apt purge vtepd');
    const bridge = address.replace(/\.2$/, '.1/24');
    expect(purged).toMatch(
      new RegExp(`^vtepd: the lease of ${address.replace(/\.2$/, '.0/24')} stays in etcd until `, 'm'),
    );
    expect(purged).toContain(`vtepd: docker0 keeps ${bridge}, also when Docker is restarted;`);
    expect(second.read('/run/docker_opts.env')).toBeUndefined();
    for (const names of ['passwd', 'group'])
      expect((await second.attempt('getent', names, 'vtepd')).status).toBe(2);
    const held = () => second.run('ip', '-4', '-o', 'address', 'show', 'dev', 'docker0');
    expect(await held()).toContain(` ${bridge} `);
    await second.run('systemctl', 'stop', 'docker.socket', 'docker');
    await second.run('ip', 'link', 'delete', 'docker0');
    await second.run('systemctl', 'start', 'docker');
    expect(await held()).toContain(` ${bridge} `);

    const [, setting] = /^vtepd: for another address: (".*") in \/etc\/docker\/daemon\.json, then: /m.exec(
      purged,
    )!;
    second.write('/etc/docker/daemon.json', `{"storage-driver": "vfs", ${setting}}`);
    await second.run('systemctl', 'restart', 'docker');
    expect(await held()).toContain(' 172.17.0.1/16 ');
  });
});

test('removed from the first host, it gives the lease back by the line that it says, and a purge speaks of none', async () => {
  const said = await typed(first, 'apt remove vtepd');
  const [, leave] = /^vtepd: to give the lease back now, which ends the traffic: (.*)$/m.exec(said)!;
  const subnet = /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(first.read(SUBNET_FILE)!)![1]!;
  expect(await first.run('sh', '-c', leave!)).toContain(`${subnet}.0`);
  expect((await first.attempt('ip', 'link', 'show', 'flannel.1')).status).not.toBe(0);
  const purged = await typed(first, 'apt purge vtepd');
  expect(purged).not.toContain('the lease of');
});

/** The container image, as docs/install.md says: agents in containers of a real Docker, on two hosts. */
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { run } from '../support/lab/command';
import { DOCKER, Docker } from '../support/lab/docker';
import { writeImage } from '../support/lab/docker-image';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { bothWays, withoutLoss, type Station } from '../support/lab/stream';
import { until } from '../support/lab/until';

const ROOT = resolve(__dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const NEXT = `${version}+next`;
const TAGS = { own: `vtepd:${version}`, next: `vtepd:${version}_next` } as const;
const MIB = 1 << 20;

const directory = mkdtempSync('/dev/shm/vtepd-image-');

/** One host: its Docker, and what the agent's containers are given of it. */
class Site {
  constructor(
    readonly host: Host,
    readonly docker: Docker,
  ) {
    for (const name of ['flannel', 'state']) mkdirSync(this.place(name));
    writeFileSync(this.place('machine-id'), `${String(host.index).repeat(32)}\n`);
  }

  place(name: string): string {
    return join(directory, `h${this.host.index}-${name}`);
  }

  /** What `docker run` needs besides the image and the agent's options. */
  get options(): string[] {
    return [...this.optionsWithoutMachine, '--volume', `${this.place('machine-id')}:/etc/machine-id:ro`];
  }

  get optionsWithoutMachine(): string[] {
    return [
      ...['--network=host', '--cap-drop=ALL', '--cap-add=NET_ADMIN'],
      ...['--volume', `${this.place('flannel')}:/run/flannel`],
      ...['--volume', `${this.place('state')}:/var/lib/vtepd`],
    ];
  }

  /** Starts an agent and waits until it is ready. */
  async startAgent(tag: string, ...options: string[]): Promise<void> {
    const words = [
      'run',
      '--detach',
      '--name=vtepd',
      '--restart=unless-stopped',
      ...this.options,
      ...options,
    ];
    await this.docker.run(...words, tag, ...AGENT_OPTIONS(), '--ip-masq');
    await until(
      'the agent is ready',
      async () => (await this.docker.exec('vtepd', 'vtepd', 'status')).status === 0,
    );
  }

  async logOf(name: string): Promise<string> {
    const { stdout, stderr } = await this.docker.attempt('logs', name);
    return stdout + stderr;
  }

  /** As the container engine is told to: a network with the subnet of this host. */
  async startContainer(): Promise<void> {
    const [, gateway, length] = /^FLANNEL_SUBNET=(.*)\/(\d+)$/m.exec(this.subnetEnv)!;
    const [, mtu] = /^FLANNEL_MTU=(\d+)$/m.exec(this.subnetEnv)!;
    await this.docker.run(
      ...[
        'network',
        'create',
        '--subnet',
        `${gateway!.replace(/\d+$/, '0')}/${length}`,
        '--gateway',
        gateway!,
      ],
      ...['--opt', `com.docker.network.driver.mtu=${mtu}`],
      ...['--opt', 'com.docker.network.bridge.enable_ip_masquerade=false', 'overlay'],
    );
    await this.docker.container('app', ['sleep', 'infinity'], '--network=overlay');
  }

  /** What replacing the container is to change nothing of. */
  async identity(): Promise<unknown> {
    return {
      subnet: this.subnetEnv,
      mac: await this.host.vtepMac(),
      leases: [...(await lab.leases()).keys()],
      machine: (
        JSON.parse(readFileSync(join(this.place('state'), 'state.json'), 'utf8')) as {
          host: { machineId: string };
        }
      ).host.machineId,
    };
  }

  get subnetEnv(): string {
    return readFileSync(join(this.place('flannel'), 'subnet.env'), 'utf8');
  }
}

const AGENT_OPTIONS = () => [`--etcd-endpoints=${lab.etcd.endpoints}`, '--iface=eth0'];

let lab: Lab;
let sites: [Site, Site];
let stations: [Station, Station];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2 });
  const apps = join(directory, 'app.tar');
  await writeImage(apps);
  sites = (await Promise.all(
    [1, 2].map(async (index) => {
      const host = lab.host(index);
      await host.namespace.ip('link', 'delete', 'docker0');
      const docker = await Docker.prepare(host, join(lab.directory, `h${index}`));
      const site = new Site(host, docker);
      await docker.startWith('--live-restore');
      await docker.importImage(apps);
      return site;
    }),
  )) as [Site, Site];
  const env = {
    ...process.env,
    PATH: `${dirname(DOCKER)}:${process.env['PATH']}`,
    DOCKER_HOST: sites[0].docker.endpoint,
  };
  for (const text of [version, NEXT])
    await run(join(ROOT, 'scripts/package'), ['image', '--version', text, '--output', directory], {
      env,
    });
});

afterAll(async () => {
  await Promise.all((sites ?? []).map(({ docker }) => docker.end()));
  lab?.end();
  rmSync(directory, { recursive: true, force: true });
});

describe('the image', () => {
  test('is loaded from its file, by another Docker', async () => {
    for (const text of [version, NEXT])
      await sites[1].docker.run('load', '--input', join(directory, `vtepd-${text}-image-amd64.tar`));
    expect(await sites[1].docker.run('run', '--rm', TAGS.own, '--version')).toMatch(
      new RegExp(`^vtepd ${version}\nNode v24\\.`),
    );
  });

  test('is no larger than Node, a small Debian and the packet filter tools are', () => {
    expect(statSync(join(directory, `vtepd-${version}-image-amd64.tar`)).size).toBeLessThan(260 * MIB);
  });

  test('knows no machine but the one it runs on', async () => {
    const script = 'cat /etc/machine-id /var/lib/dbus/machine-id; ls /etc/ssh /root';
    const { stdout } = await sites[0].docker.attempt(
      'run',
      '--rm',
      '--entrypoint=sh',
      TAGS.own,
      '-c',
      script,
    );
    expect(stdout.trim()).toBe('/root:');
  });
});

describe('an agent in a container of each of two hosts', () => {
  test('is ready with CAP_NET_ADMIN and no other right', async () => {
    for (const site of sites) await site.startAgent(TAGS.own);
    const { stdout } = await sites[0].docker.exec('vtepd', 'cat', '/proc/1/status');
    const CAP_NET_ADMIN = (1n << 12n).toString(16).padStart(16, '0');
    for (const set of ['Prm', 'Eff', 'Bnd']) expect(stdout).toContain(`Cap${set}:\t${CAP_NET_ADMIN}\n`);
    expect(stdout).toMatch(/^Seccomp:\t2$/m);
  });

  test('carries packets between containers', async () => {
    for (const site of sites) await site.startContainer();
    stations = [await sites[0].docker.station('app'), await sites[1].docker.station('app')];
    const { status, stdout } = await sites[0].docker.exec(
      'app',
      'ping',
      '-c',
      '1',
      '-W',
      '10',
      stations[1].containerAddress,
    );
    expect({ status, stdout }).toMatchObject({ status: 0 });
  });

  test('has nothing to complain of but a docker0 that is not for the overlay, until a network has its subnet', async () => {
    const log = await sites[0].logOf('vtepd');
    expect(log).toMatch(/ INFO {2}subnet file written/);
    const complaints = log.split('\n').filter((line) => / (WARN|ERROR) /.test(line));
    expect(complaints.filter((line) => !line.includes('a bridge does not fit the overlay'))).toEqual([]);
    expect((await sites[0].docker.exec('vtepd', 'vtepd', 'status')).stdout).not.toContain('docker0');
  });

  test('is replaced by one of a later version without the loss of a packet, and is the same host', async () => {
    const before = await sites[0].identity();
    await withoutLoss(bothWays(...stations), async (traffic) => {
      await sites[0].docker.run('stop', 'vtepd');
      await traffic.sends();
      await sites[0].docker.run('rm', 'vtepd');
      // It needs no file of its own, and nothing that it starts could gain a right.
      await sites[0].startAgent(TAGS.next, '--read-only', '--security-opt=no-new-privileges');
    });
    expect((await sites[0].docker.exec('vtepd', 'vtepd', '--version')).stdout).toContain(NEXT);
    expect(await sites[0].identity()).toEqual(before);
  });

  test('goes on after its Docker, and after a SIGKILL', async () => {
    await withoutLoss(bothWays(...stations), async () => {
      await sites[1].docker.run('kill', '--signal=KILL', 'vtepd');
      await sites[1].docker.run('start', 'vtepd');
      await sites[1].docker.stop();
      await sites[1].docker.startWith('--live-restore');
      expect((await sites[1].docker.exec('vtepd', 'vtepd', 'status')).status).toBe(0);
    });
  });
});

describe('another container with the volumes of the first', () => {
  const attempt = (options: readonly string[], ...words: string[]) =>
    sites[0].docker.attempt('run', '--rm', ...options, TAGS.own, ...words, ...AGENT_OPTIONS());

  test('has no agent beside the first, and hears that it knows no machine', async () => {
    const { status, stderr } = await attempt(sites[0].optionsWithoutMachine);
    expect(status).toBe(1);
    expect(stderr).toMatch(/another vtepd \(process \d+\) runs for flannel\.1 already/);
    expect(stderr).toContain('this host has no machine ID');
  });

  test('takes nothing from under it', async () => {
    const before = await sites[0].identity();
    for (const word of ['leave', 'cleanup']) {
      const { status, stderr } = await attempt(sites[0].options, word);
      expect(status).toBe(1);
      expect(stderr).toContain('stop the agent first; nothing was changed');
    }
    expect(await sites[0].identity()).toEqual(before);
  });

  test('asks it how it is', async () => {
    const words = ['run', '--rm', ...sites[0].options, TAGS.own, 'status'];
    expect(await sites[0].docker.run(...words)).toMatch(/: ready$/m);
  });

  test("is told where it may not write to what was a package's", async () => {
    chownSync(sites[0].place('state'), 997, 997);
    const { status, stderr } = await attempt(sites[0].options);
    chownSync(sites[0].place('state'), 0, 0);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr:
        'vtepd: the volume /var/lib/vtepd belongs to user 997, and root of this container may not write to it: chown -R 0:0 DIRECTORY on the host\n',
    });
  });
});

test('leave gives back the lease and leaves nothing in the kernel', async () => {
  const { host, docker, options } = sites[0];
  await docker.run('rm', '--force', 'vtepd');
  await docker.run('run', '--rm', ...options, TAGS.next, 'leave', ...AGENT_OPTIONS());
  expect((await lab.leases()).size).toBe(1);
  expect(await host.vtepMac()).toBeUndefined();
  expect(await host.namespace.ip('route', 'show', 'table', 'all', 'proto', '84')).toBe('');
  expect(await host.namespace.run('nft', ['list', 'ruleset'])).not.toMatch(/vtepd|flannel/i);
});

/** Real Docker on hosts that vtepd connects. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Docker } from '../support/lab/docker';
import { WHO_PORT, WHO_SERVER, writeImage, writeWho } from '../support/lab/docker-image';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';

jest.setTimeout(30_000);

let lab: Lab;
let dockers: Docker[] = [];
/** Of the container `who` of each host. */
let addresses: string[] = [];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 3 });
  const image = join(lab.directory, 'image.tar');
  // Hosts 1 and 2 masquerade, host 3 does not.
  for (const { agent, index } of lab.hosts) agent.start({ args: index < 3 ? ['--ip-masq'] : [] });
  await Promise.all([writeImage(image), ...lab.hosts.map(({ agent }) => agent.ready())]);
  dockers = await Promise.all(lab.hosts.map((host) => startDocker(host)));
  await Promise.all(dockers.map((docker) => docker.importImage(image)));
  addresses = await Promise.all(dockers.map((docker) => docker.container('who', WHO_SERVER)));
}, 60_000);

afterAll(async () => {
  await Promise.all(dockers.map((docker) => docker.end()));
  lab?.end();
});

test("each container has an address of its host's subnet, and the overlay's MTU", async () => {
  expect(addresses.map((address) => address.replace(/\d+$/, '0/24'))).toEqual(
    lab.hosts.map(({ subnet }) => subnet),
  );
  for (const docker of dockers) {
    expect((await docker.exec('who', 'cat', '/sys/class/net/eth0/mtu')).stdout.trim()).toBe('1450');
  }
});

test('although Docker drops what is forwarded, containers of all pairs of hosts reach each other', async () => {
  for (const host of lab.hosts) expect(await forwardPolicy(host)).toBe('-P FORWARD DROP');
  for (const [from, docker] of dockers.entries()) {
    for (const [to, address] of addresses.entries()) {
      if (to !== from) expect(await answers(docker, address)).toBe(true);
    }
  }
});

test('a container sees the address of the other container, not that of its host', async () => {
  expect(await seenAs(dockers[0]!, addresses[1]!)).toBe(addresses[0]);
  expect(await seenAs(dockers[1]!, addresses[0]!)).toBe(addresses[1]);
});

test('iperf3 moves at least 100 Mbit/s between two hosts', async () => {
  const transfer = await Transfer.start();
  expect((await transfer.end(1_500)).mean).toBeGreaterThan(100e6);
});

describe('a server outside of the overlay', () => {
  let outside: string;

  beforeAll(() => {
    const [{ namespace, address }] = lab.etcd.members as [(typeof lab.etcd.members)[0]];
    outside = address;
    const site = join(lab.directory, 'site');
    writeWho(site);
    // It ends with its namespace.
    namespace
      .start('busybox', ['httpd', '-f', '-p', String(WHO_PORT), '-h', site], { stdio: 'ignore' })
      .unref();
  });

  test('is reached from a host with --ip-masq, and sees the address of the host', async () => {
    expect(await seenAs(dockers[0]!, outside)).toBe(lab.host(1).publicIp);
  });

  test('is not reached from a host without it, until it knows a way back, and sees the address of the container', async () => {
    expect(await answers(dockers[2]!, outside)).toBe(false);
    const { namespace } = lab.etcd.members[0]!;
    await namespace.ip('route', 'add', lab.host(3).subnet, 'via', lab.host(3).publicIp);
    expect(await seenAs(dockers[2]!, outside)).toBe(addresses[2]);
  });
});

describe('a transfer between containers goes on', () => {
  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'while the agent is ended by %s and started again',
    async (signal) => {
      const { agent } = lab.host(1);
      await transferring(async () => {
        await agent.end(signal);
        await sleep(500);
        agent.start({ args: ['--ip-masq'] });
        await agent.ready();
      });
    },
  );

  test('while Docker is restarted on both hosts', async () => {
    await transferring(async () => {
      for (const docker of dockers.slice(0, 2)) {
        await docker.stop();
        await docker.start('--live-restore');
      }
    });
  });
});

test('an agent that starts after a Docker that drops what is forwarded lets the overlay pass', async () => {
  const host = lab.host(2);
  await host.agent.end();
  await dockers[1]!.stop();
  // As after a boot at which Docker comes first: no rule of ours is there.
  await host.namespace.run('nft', ['flush', 'ruleset']);
  await host.namespace.configure({ 'ipv4/ip_forward': 0 });
  await dockers[1]!.start('--live-restore');
  expect(await forwardPolicy(host)).toBe('-P FORWARD DROP');
  expect(await answers(dockers[0]!, addresses[1]!)).toBe(false);

  host.agent.start({ args: ['--ip-masq'] });
  await host.agent.ready();
  await until('containers reach each other again', () => answers(dockers[0]!, addresses[1]!), {
    withinMilliseconds: 5_000,
  });
  expect(await seenAs(dockers[1]!, addresses[0]!)).toBe(addresses[1]);
});

test('a container that Docker starts again after its own restart is reached at once', async () => {
  const docker = dockers[2]!;
  await docker.run('update', '--restart=always', 'who');
  await docker.stop();
  await docker.start(...options(lab.host(3)), '--live-restore=false');
  await docker.stop();
  await docker.start(...options(lab.host(3)), '--live-restore=false');
  const address = await until('it has an address', () => docker.addressOf('who'), {
    withinMilliseconds: 5_000,
  });
  await until('it answers', () => answers(dockers[0]!, address), { withinMilliseconds: 5_000 });
});

/** As at a boot: nobody has switched forwarding on, so Docker does, and drops what it does not know. */
async function startDocker(host: Host): Promise<Docker> {
  await host.namespace.ip('link', 'delete', 'docker0');
  await host.namespace.configure({ 'ipv4/ip_forward': 0 });
  const docker = await Docker.prepare(host, join(lab.directory, `h${host.index}`));
  await docker.start(...options(host), '--live-restore');
  return docker;
}

/** On host 3 nobody is to masquerade: neither vtepd nor Docker, which would by itself. */
function options({ index }: Host): string[] {
  return index === 3 ? ['--ip-masq=false'] : [];
}

async function forwardPolicy(host: Host): Promise<string> {
  return (await host.namespace.run('iptables', ['-S', 'FORWARD'])).split('\n')[0]!;
}

async function answers(from: Docker, address: string): Promise<boolean> {
  return (await from.exec('who', 'ping', '-c', '1', '-W', '1', address)).status === 0;
}

/** The address that a TCP connection from a container comes from. */
async function seenAs(from: Docker, address: string): Promise<string> {
  // Not by wget, which a static busybox cannot look up names for, and crashes.
  const script = `printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 2 ${address} ${WHO_PORT}`;
  const { stdout, stderr } = await from.exec('who', 'sh', '-c', script);
  return /^\[::ffff:(.*)\]$/m.exec(stdout)?.[1] ?? stdout + stderr;
}

/** Moves data from host 1 to host 2 while something happens, and expects no half second without any. */
async function transferring(happen: () => Promise<void>): Promise<void> {
  const transfer = await Transfer.start();
  await happen();
  expect((await transfer.end(1_000)).slowest).toBeGreaterThan(0);
}

/** iperf3 from a container of host 1 to one of host 2. */
class Transfer {
  static #next = 0;

  private constructor(private readonly name: string) {}

  static async start(): Promise<Transfer> {
    const name = `transfer${Transfer.#next++}`;
    const [sender, receiver] = dockers as [Docker, Docker];
    const address = await receiver.container(name, ['iperf3', '--server', '--one-off', '--forceflush']);
    await until('the server listens', async () => (await receiver.run('logs', name)).includes('listening'), {
      withinMilliseconds: 5_000,
    });
    const client = ['iperf3', '--client', address, '--json', '--time', '60', '--interval', '0.5'];
    await sender.container(name, client);
    return new Transfer(name);
  }

  /** Bits a second: of all, and of the slowest half second. */
  async end(afterMilliseconds = 0): Promise<{ mean: number; slowest: number }> {
    const [sender, receiver] = dockers as [Docker, Docker];
    await sleep(afterMilliseconds);
    await sender.run('kill', '--signal=INT', this.name);
    await sender.run('wait', this.name);
    const report = JSON.parse(await sender.run('logs', this.name)) as IperfReport;
    await receiver.attempt('kill', this.name);
    // The last one is as short as the interrupt made it.
    const speeds = report.intervals.slice(0, -1).map(({ sum }) => sum.bits_per_second);
    if (speeds.length === 0)
      throw new Error(`iperf3 moved nothing: ${report.error ?? 'and does not say why'}`);
    return { mean: speeds.reduce((a, b) => a + b) / speeds.length, slowest: Math.min(...speeds) };
  }
}

interface IperfReport {
  readonly error?: string;
  readonly intervals: readonly { readonly sum: { readonly bits_per_second: number } }[];
}

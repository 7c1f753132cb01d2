/** Real Docker on hosts that vtepd connects. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentStart } from '../support/lab/agent';
import { Docker } from '../support/lab/docker';
import { WHO_PORT, WHO_SERVER, writeImage, writeWho } from '../support/lab/docker-image';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';

let lab: Lab;
let image: string;
/** Of hosts 1, 2 and, from its time on, 3. */
const dockers: Docker[] = [];
/** Of the container `who` of each of them. */
const addresses: string[] = [];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 3 });
  image = join(lab.directory, 'image.tar');
  await writeImage(image);
  await addHosts(1, 2);
});

afterAll(async () => {
  await Promise.all(dockers.map((docker) => docker.end()));
  lab?.end();
});

describe('on two hosts', () => {
  reachEachOther(2);

  test('iperf3 moves at least 100 Mbit/s between them', async () => {
    const transfer = await Transfer.start(1, 2);
    expect((await transfer.end(1_500)).mean).toBeGreaterThan(100e6);
  });

  test('a server outside of the overlay is reached with --ip-masq, and sees the address of the host', async () => {
    const [{ namespace, address }] = lab.etcd.members as [(typeof lab.etcd.members)[0]];
    const site = join(lab.directory, 'site');
    writeWho(site);
    // It ends with its namespace.
    namespace
      .start('busybox', ['httpd', '-f', '-p', String(WHO_PORT), '-h', site], { stdio: 'ignore' })
      .unref();
    for (const [n, docker] of dockers.entries()) {
      expect(await seenAs(docker, address)).toBe(lab.host(n + 1).publicIp);
    }
  });

  describe('a transfer between containers goes on', () => {
    test.each(['SIGTERM', 'SIGKILL'] as const)(
      'while the agent is ended by %s and started again',
      async (signal) => {
        await transferring(1, 2, () => restartAgent(lab.host(1), signal));
      },
    );

    test('while Docker is restarted on both hosts', async () => {
      await transferring(1, 2, async () => {
        await Promise.all(
          dockers.map(async (docker) => {
            await docker.stop();
            await docker.start('--live-restore');
          }),
        );
      });
    });
  });
});

describe('on three hosts', () => {
  beforeAll(() => addHosts(3), 30_000);

  reachEachOther(3);

  test('a server outside is not reached without --ip-masq, until it knows a way back, and sees the address of the container', async () => {
    const [{ namespace, address }] = lab.etcd.members as [(typeof lab.etcd.members)[0]];
    expect(await answers(dockers[2]!, address)).toBe(false);
    await namespace.ip('route', 'add', lab.host(3).subnet, 'via', lab.host(3).publicIp);
    expect(await seenAs(dockers[2]!, address)).toBe(addresses[2]);
  });

  test('transfers to both other hosts go on while the agents of all are killed and started again', async () => {
    await transferring(1, 2, () =>
      transferring(1, 3, async () => {
        await Promise.all(lab.hosts.map((host) => restartAgent(host, 'SIGKILL')));
      }),
    );
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

  host.agent.start(agentOf(host));
  await host.agent.ready();
  await until('containers reach each other again', () => answers(dockers[0]!, addresses[1]!));
  expect(await seenAs(dockers[1]!, addresses[0]!)).toBe(addresses[1]);
});

test('a container that Docker starts again after its own restart is reached at once', async () => {
  const docker = dockers[2]!;
  await docker.run('update', '--restart=always', 'who');
  await docker.stop();
  await docker.start(...options(lab.host(3)), '--live-restore=false');
  await docker.stop();
  await docker.start(...options(lab.host(3)), '--live-restore=false');
  const address = await until('it has an address', () => docker.addressOf('who'));
  await until('it answers', () => answers(dockers[0]!, address));
});

/** What two containers of any two hosts are to each other; the tests of each number of hosts. */
function reachEachOther(count: number): void {
  test("each container has an address of its host's subnet, and the overlay's MTU", async () => {
    expect(addresses.map((address) => address.replace(/\d+$/, '0/24'))).toEqual(
      lab.hosts.slice(0, count).map(({ subnet }) => subnet),
    );
    for (const docker of dockers) {
      expect((await docker.exec('who', 'cat', '/sys/class/net/eth0/mtu')).stdout.trim()).toBe('1450');
    }
  });

  test('although Docker drops what is forwarded, containers of all pairs of hosts reach each other', async () => {
    for (const host of lab.hosts.slice(0, count)) expect(await forwardPolicy(host)).toBe('-P FORWARD DROP');
    for (const [from, docker] of dockers.entries()) {
      for (const [to, address] of addresses.entries()) {
        if (to !== from) expect(await answers(docker, address)).toBe(true);
      }
    }
  });

  test('a container sees the address of the other container, not that of its host', async () => {
    for (const [from, docker] of dockers.entries()) {
      expect(await seenAs(docker, addresses[(from + 1) % count]!)).toBe(addresses[from]);
    }
  });
}

/** Starts agents and Dockers there, with a container each. */
async function addHosts(...indices: number[]): Promise<void> {
  const hosts = indices.map((index) => lab.host(index));
  for (const host of hosts) host.agent.start(agentOf(host));
  const added = await Promise.all(
    hosts.map(async (host) => {
      await host.agent.ready();
      const docker = await startDocker(host);
      await docker.importImage(image);
      return { docker, address: await docker.container('who', WHO_SERVER) };
    }),
  );
  dockers.push(...added.map(({ docker }) => docker));
  addresses.push(...added.map(({ address }) => address));
}

/** Hosts 1 and 2 masquerade, host 3 does not. */
function agentOf({ index }: Host): AgentStart {
  return { args: index < 3 ? ['--ip-masq'] : [] };
}

async function restartAgent(host: Host, signal: NodeJS.Signals): Promise<void> {
  await host.agent.end(signal);
  await sleep(500);
  host.agent.start(agentOf(host));
  await host.agent.ready();
}

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

/** Moves data from one host to another while something happens, and expects no half second without any. */
async function transferring(from: number, to: number, happen: () => Promise<void>): Promise<void> {
  const transfer = await Transfer.start(from, to);
  await happen();
  expect((await transfer.end(1_000)).slowest).toBeGreaterThan(0);
}

/** iperf3 from a container of one host to one of another. */
class Transfer {
  static #next = 0;

  private constructor(
    private readonly name: string,
    private readonly sender: Docker,
    private readonly receiver: Docker,
  ) {}

  static async start(from: number, to: number): Promise<Transfer> {
    const name = `transfer${Transfer.#next++}`;
    const [sender, receiver] = [dockers[from - 1]!, dockers[to - 1]!];
    const address = await receiver.container(name, ['iperf3', '--server', '--one-off', '--forceflush']);
    await until('the server listens', async () => (await receiver.run('logs', name)).includes('listening'));
    const client = ['iperf3', '--client', address, '--json', '--time', '60', '--interval', '0.5'];
    await sender.container(name, client);
    return new Transfer(name, sender, receiver);
  }

  /** Bits a second: of all, and of the slowest half second. */
  async end(afterMilliseconds = 0): Promise<{ mean: number; slowest: number }> {
    const { sender, receiver } = this;
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

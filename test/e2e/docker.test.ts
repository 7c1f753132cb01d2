/** Real Docker on hosts that vtepd connects. */
import { join } from 'node:path';
import type { AgentStart } from '../support/lab/agent';
import { Docker } from '../support/lab/docker';
import { WHO_PORT, WHO_SERVER, writeImage, writeWho } from '../support/lab/docker-image';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { withoutLoss, type Traffic } from '../support/lab/stream';
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

  test('iperf3 moves a hundred megabytes between them', async () => {
    const transfer = await Transfer.start(1, 2);
    await transfer.gets(100e6);
    await transfer.end();
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
        await transferring(1, 2, (traffic) => restartAgent(lab.host(1), signal, traffic));
      },
    );

    test('while Docker is restarted on both hosts', async () => {
      await transferring(1, 2, async (traffic) => {
        await Promise.all(dockers.map((docker) => docker.stop()));
        await traffic.sends();
        await Promise.all(dockers.map((docker) => docker.start('--live-restore')));
      });
    });
  });
});

describe('on three hosts', () => {
  beforeAll(() => addHosts(3));

  reachEachOther(3);

  test('a server outside is not reached without --ip-masq, until it knows a way back, and sees the address of the container', async () => {
    const [{ namespace, address }] = lab.etcd.members as [(typeof lab.etcd.members)[0]];
    expect(await answers(dockers[2]!, address)).toBe(false);
    await namespace.ip('route', 'add', lab.host(3).subnet, 'via', lab.host(3).publicIp);
    expect(await seenAs(dockers[2]!, address)).toBe(addresses[2]);
  });

  test('transfers to both other hosts go on while the agents of all are killed and started again', async () => {
    await transferring(1, 2, (one) =>
      transferring(1, 3, async (other) => {
        const both = { sends: async () => void (await Promise.all([one.sends(), other.sends()])) };
        await Promise.all(lab.hosts.map((host) => host.agent.end('SIGKILL')));
        await both.sends();
        for (const host of lab.hosts) host.agent.start(agentOf(host));
        await Promise.all(lab.hosts.map((host) => host.agent.ready()));
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
  await until('containers reach each other again', () => answers(dockers[0]!, addresses[1]!, 1));
  expect(await seenAs(dockers[1]!, addresses[0]!)).toBe(addresses[1]);
});

test('a container that Docker starts again after its own restart is reached by the first packet', async () => {
  const docker = dockers[2]!;
  await docker.run('update', '--restart=always', 'who');
  await docker.stop();
  await docker.start(...options(lab.host(3)), '--live-restore=false');
  await docker.stop();
  await docker.start(...options(lab.host(3)), '--live-restore=false');
  await until(
    'it runs',
    async () => (await docker.run('inspect', '--format={{.State.Running}}', 'who')).trim() === 'true',
  );
  expect(await answers(dockers[0]!, await docker.addressOf('who'))).toBe(true);
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

async function restartAgent(host: Host, signal: NodeJS.Signals, traffic: Traffic): Promise<void> {
  await host.agent.end(signal);
  await traffic.sends();
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

async function answers(from: Docker, address: string, withinSeconds = 10): Promise<boolean> {
  return (await from.exec('who', 'ping', '-c', '1', '-W', `${withinSeconds}`, address)).status === 0;
}

/** The address that a TCP connection from a container comes from. */
async function seenAs(from: Docker, address: string): Promise<string> {
  // Not by wget, which a static busybox cannot look up names for, and crashes.
  const script = `printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 10 ${address} ${WHO_PORT}`;
  const { stdout, stderr } = await from.exec('who', 'sh', '-c', script);
  return /^\[::ffff:(.*)\]$/m.exec(stdout)?.[1] ?? stdout + stderr;
}

/**
 * Moves data from one host to another while something happens: no packet is lost, so the transfer had no reason to stand still, and
 * it goes on afterwards.
 */
async function transferring(
  from: number,
  to: number,
  happen: (traffic: Traffic) => Promise<void>,
): Promise<void> {
  const path = [await dockers[from - 1]!.station('who'), await dockers[to - 1]!.station('who')] as const;
  // Not as fast as it goes: what the processors' queues cannot hold would be lost, and not by what happens.
  const transfer = await Transfer.start(from, to, ['--bitrate', '50M']);
  await transfer.goesOn();
  await withoutLoss([path], async (traffic) => {
    await happen(traffic);
    await transfer.goesOn();
  });
  await transfer.end();
}

/** iperf3 from a container of one host to one of another. */
class Transfer {
  static #next = 0;

  private constructor(
    private readonly name: string,
    private readonly sender: Docker,
    private readonly receiver: Docker,
  ) {}

  static async start(from: number, to: number, options: readonly string[] = []): Promise<Transfer> {
    const name = `transfer${Transfer.#next++}`;
    const [sender, receiver] = [dockers[from - 1]!, dockers[to - 1]!];
    const server = ['iperf3', '--server', '--one-off', '--forceflush', '--interval', '0.1'];
    const address = await receiver.container(name, server);
    await until('the server listens', async () => (await receiver.run('logs', name)).includes('listening'));
    // Until it is ended.
    await sender.container(name, ['iperf3', '--client', address, '--time', '0', ...options]);
    return new Transfer(name, sender, receiver);
  }

  /** Resolves once the receiver has got more, in a tenth of a second that begins after this call. */
  async goesOn(): Promise<void> {
    const before = (await this.#tenths()).length;
    // The first to be told of may have begun before.
    await until('the transfer goes on', async () =>
      (await this.#tenths()).slice(before + 1).some((bytes) => bytes > 0),
    );
  }

  /** Resolves once the receiver has got so many bytes in all. */
  async gets(bytes: number): Promise<void> {
    await until('so much was moved', async () => {
      const moved = (await this.#tenths()).reduce((sum, each) => sum + each, 0);
      return moved >= bytes;
    });
  }

  async end(): Promise<void> {
    await this.sender.run('kill', this.name);
    // Its sender's end ends it, too.
    await this.receiver.run('wait', this.name);
  }

  /** What the receiver says of each tenth of a second: bytes. */
  async #tenths(): Promise<number[]> {
    const log = await this.receiver.run('logs', this.name);
    const lines = log.matchAll(/^\[ *\d+\] +[\d.]+-[\d.]+ +sec +([\d.]+) ([KMG]?)Bytes .*bits\/sec *$/gm);
    return Array.from(lines, ([, number, unit]) => Number(number) * 1024 ** UNITS.indexOf(unit!));
  }
}

const UNITS = ['', 'K', 'M', 'G'];

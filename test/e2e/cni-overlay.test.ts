/** Containers that get their network by CNI, on hosts that vtepd connects. */
import { createInterface } from 'node:readline';
import { CniHost, type CniResult } from '../support/cni-host';
import { exitOf } from '../support/lab/command';
import { Lab } from '../support/lab/lab';
import type { Namespace } from '../support/lab/namespace';

let lab: Lab;
let hosts: readonly CniHost[];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2, agentOptions: ['--ip-masq'] });
  for (const { agent } of lab.hosts) agent.start();
  await Promise.all(lab.hosts.map(({ agent }) => agent.ready()));
  hosts = lab.hosts.map((host) => new CniHost(host));
});

afterAll(() => {
  for (const host of hosts ?? []) host.end();
  lab?.end();
});

test("containers on two hosts have addresses of their hosts' subnets, and reach each other with them", async () => {
  const [one, two] = await Promise.all(hosts.map(attach));
  for (const [index, { address }] of [one!, two!].entries()) {
    expect(address.replace(/\d+$/, '0/24')).toBe(lab.host(index + 1).subnet);
  }
  expect(await seenAs(one!.container, two!)).toBe(one!.address);
  expect(await seenAs(two!.container, one!)).toBe(two!.address);

  await hosts[0]!.check(one!.container, one!.result);
  await hosts[0]!.remove(one!.container);
  expect(await answers(two!.container, one!.address)).toBe(false);
  await hosts[1]!.remove(two!.container);
});

interface Attached {
  readonly container: Namespace;
  readonly result: CniResult;
  readonly address: string;
}

async function attach(host: CniHost): Promise<Attached> {
  const container = host.container();
  const result = await host.add(container);
  return { container, result, address: result.ips[0]!.address.split('/')[0]! };
}

async function answers(from: Namespace, address: string): Promise<boolean> {
  return (await from.attempt('ping', ['-c', '1', '-W', '2', address])).status === 0;
}

/** The address from which a TCP connection arrives at the other container. */
async function seenAs(from: Namespace, to: Attached): Promise<string> {
  const server = to.container.start(process.execPath, ['-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface(server.stdout!)[Symbol.asyncIterator]();
  try {
    const { value: port } = (await lines.next()) as { value: string };
    await from.run(process.execPath, ['-e', CLIENT, port, to.address]);
    return ((await lines.next()) as { value: string }).value;
  } finally {
    server.kill('SIGKILL');
    await exitOf(server);
  }
}

const SERVER = `const server = require('net').createServer((socket) => {
  console.log(socket.remoteAddress.replace('::ffff:', ''));
  socket.end();
}).listen(0, () => console.log(server.address().port));`;

const CLIENT = `const socket = require('net').connect(process.argv[1], process.argv[2]).on('end', () => process.exit(0)).resume();
socket.setTimeout(50000, () => process.exit(1));`;

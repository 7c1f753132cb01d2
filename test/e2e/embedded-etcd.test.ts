/** A first try without an etcd: one host carries it, the others join by the line that it prints. */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pidOfEtcdOn } from '../support/etcd-on';
import { run } from '../support/lab/command';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { allReachAll } from '../support/lab/ping';
import { withoutLoss, type Pair } from '../support/lab/stream';
import { until } from '../support/lab/until';

const FIRST = ['--embedded-etcd', '--iface=eth0'];

let lab: Lab;
let first: Host;
let second: Host;
let third: Host;
let late: Host;
/** What the first host says is to be run on the next. */
let invitation: string[];

const dataOf = ({ agent }: Host) => join(dirname(agent.subnetFile), 'etcd');
const etcd = () => pidOfEtcdOn(dataOf(first));

beforeAll(async () => {
  lab = await Lab.start({ hosts: 4, etcdMembers: 0 });
  [first, second, third, late] = lab.hosts as [Host, Host, Host, Host];
  // A disk that one test fills; it ends with the lab.
  mkdirSync(dataOf(first));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=300m', 'tmpfs', dataOf(first)]);
  first.agent.start({ args: FIRST });
  await first.agent.ready();
  const { message } = await first.agent.logged((line) => line.message.startsWith('on the next host'));
  invitation = /^on the next host, as root: vtepd (.*)$/.exec(message)![1]!.split(' ');
  for (const host of [second, third]) host.agent.start({ args: invitation });
  for (const host of [first, second, third]) {
    await host.agent.ready();
    await host.attachContainer();
  }
});

afterAll(() => lab?.end());

/** Two that concern the first host, and one that does not. */
const paths = (): Pair[] => [
  [first, second],
  [third, first],
  [second, third],
];

test('the line to run on the next host needs to name no interface', () => {
  expect(invitation).toEqual([
    `--etcd-endpoints=http://${first.publicIp}:2379`,
    `--iface-can-reach=${first.publicIp}`,
  ]);
});

test('three hosts that joined by it reach each other', async () => {
  await allReachAll([first, second, third]);
  expect(first.environment['FLANNEL_NETWORK']).toBe('10.5.0.0/16');
});

test('its state is told, and what asks for no etcd in particular asks that one', async () => {
  const { stdout } = await first.agent.command('status');
  expect(stdout).toMatch(/embedded etcd/);
  expect((await first.agent.command('config', 'get')).stdout).toContain('10.5.0.0/16');
});

test('an etcd that is killed is started again, and no packet is lost', async () => {
  const before = etcd();
  await withoutLoss(paths(), async () => {
    process.kill(before!, 'SIGKILL');
    await first.agent.logged(({ message }) => message === 'the embedded etcd runs again');
  });
  expect(etcd()).not.toBe(before);
});

test('a full disk ends an etcd and costs no packet; that is said, and over when there is room', async () => {
  const disk = dataOf(first);
  const recoveries = () =>
    first.agent.log().filter(({ message }) => message === 'the embedded etcd runs again').length;
  const before = recoveries();
  await withoutLoss(paths(), async (traffic) => {
    await run('sh', ['-c', `dd if=/dev/zero of=${disk}/fill bs=64k 2> /dev/null || :`]);
    process.kill(etcd()!, 'SIGKILL');
    await until(
      'the reason is shown',
      async () => /embedded etcd: .*not enough room/.test((await first.agent.command('status')).stdout),
      { everyMilliseconds: 500 },
    );
    await traffic.sends();
    rmSync(`${disk}/fill`);
    await until('it runs again', () => recoveries() > before);
  });
});

test('an agent that is killed leaves its etcd to the others; the next one takes it over, with the same subnet', async () => {
  const before = { pid: etcd(), subnet: first.subnet };
  await withoutLoss(paths(), async (traffic) => {
    await first.agent.end('SIGKILL');
    await traffic.sends();
    first.agent.start({ args: FIRST });
    await first.agent.logged(({ message }) => message.endsWith('is taken over'));
    await first.agent.ready();
  });
  expect({ pid: etcd(), subnet: first.subnet }).toEqual(before);
});

test('an agent that is stopped stops its etcd; started again, it has the same data', async () => {
  const before = first.subnet;
  await withoutLoss(paths(), async (traffic) => {
    expect(await first.agent.end()).toEqual({ code: 0, signal: null });
    expect(etcd()).toBeUndefined();
    await traffic.sends();
    first.agent.start({ args: FIRST });
    await first.agent.ready();
  });
  expect(first.subnet).toBe(before);
});

test('a second agent on the first host ends with a sentence, and the etcd stays', async () => {
  const before = etcd();
  const { status, stderr } = await first.agent.command('run', ...FIRST);
  expect(status).toBe(1);
  expect(stderr).toMatch(/another vtepd \(process \d+\) runs for etcd already/);
  expect(etcd()).toBe(before);
});

describe('while the first host is rebooted,', () => {
  test('the others lose no packet, though one of them is restarted', async () => {
    await first.agent.end();
    await first.namespace.ip('link', 'del', 'flannel.1');
    await first.namespace.run('rm', [first.agent.subnetFile]);
    await withoutLoss([[second, third]], async (traffic) => {
      await second.agent.logged(({ message }) => message.startsWith('cannot read leases from etcd'));
      // A host that starts meanwhile begins from what it remembers.
      await third.agent.end();
      await traffic.sends();
      third.agent.start({ args: invitation });
      await third.agent.ready();
      await traffic.sends();
      first.agent.start({ args: FIRST });
      await first.agent.ready();
      await first.attachContainer();
      await second.agent.logged(({ message }) => message === 'etcd answers again');
    });
  });

  test('none forgets another, and a host that joins later is reached by all', async () => {
    late.agent.start({ args: invitation });
    await late.agent.ready();
    await late.attachContainer();
    await allReachAll(lab.hosts);
  });
});

describe('a host that is left', () => {
  beforeAll(() => first.agent.end());

  test('says that its etcd is not there, and how it can be', async () => {
    const { status, stderr } = await first.agent.command('leave', '--iface=eth0');
    expect(status).toBe(1);
    expect(stderr).toMatch(/no etcd runs on this host; its embedded one .* with --embedded-etcd/);
  });

  test('starts it for as long as it takes to give its lease back', async () => {
    expect(await first.agent.command('leave', ...FIRST)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^gave back 10\.5\.\d+\.0-24$/m) as string,
    });
    expect(etcd()).toBeUndefined();
    expect(await first.agent.command('leave', ...FIRST)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/nothing to give back/) as string,
    });
  });
});

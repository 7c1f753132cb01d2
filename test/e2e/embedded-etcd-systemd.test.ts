/** The unit with an etcd of the host's own, under a real systemd. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { answered } from '../support/lab/ping';
import { withoutLoss } from '../support/lab/stream';
import { SystemdMachine } from '../support/lab/systemd-machine';
import { until } from '../support/lab/until';

let lab: Lab;
let machine: SystemdMachine;
let host: Host;
let peer: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2, etcdMembers: 0 });
  host = lab.host(1);
  peer = lab.host(2);
  machine = await SystemdMachine.boot(host.namespace, join(lab.directory, 'machine'), {
    units: ['vtepd.service'],
    files: { '/etc/vtepd/vtepd.conf': 'embedded-etcd=true\nnetwork=10.6.0.0/16\niface=eth0\n' },
  });
  await machine.shows('vtepd', { ActiveState: 'active' });
  copyFileSync(`/proc/${await machine.pidOf('vtepd')}/root/run/flannel/subnet.env`, host.agent.subnetFile);
  await host.attachContainer();
  peer.agent.start({ args: (await invitation()).split(' ').slice(1) });
  await peer.agent.ready();
  await peer.attachContainer();
  await answered([peer.container], host.containerAddress);
});

afterAll(async () => {
  await machine?.end();
  lab?.end();
});

/** What the journal says is to be run on the next host. */
async function invitation(): Promise<string> {
  return until(
    'the journal says how to join',
    async () => /on the next host, as root: (vtepd .*)$/m.exec(await machine.journal('vtepd'))?.[1],
  );
}

/** The etcd's process in the machine; undefined while there is none. */
async function etcd(): Promise<number | undefined> {
  const { stdout } = await machine.attempt('pgrep', '-x', 'etcd');
  return stdout === '' ? undefined : Number(stdout);
}

test('etcd runs inside the sandbox as the agent’s user, without the agent’s right', async () => {
  const status = machine.read(`/proc/${(await etcd())!}/status`)!;
  expect(status).toMatch(/^Uid:\t([1-9]\d*)\t\1\t\1\t\1$/m);
  for (const set of ['Prm', 'Eff', 'Amb']) expect(status).toContain(`Cap${set}:\t${'0'.repeat(16)}\n`);
  expect(status).toMatch(/^Seccomp:\t2$/m);
  const modes = await machine.run('stat', '--format=%U %a', '/var/lib/vtepd/etcd', '/var/lib/vtepd/etcd.log');
  expect(modes.trim().split('\n')).toEqual(['vtepd 700', 'vtepd 600']);
});

test('the unit as it runs then has an exposure of at most 2.0, and nothing that systemd complains of', async () => {
  const judged = await machine.attempt('systemd-analyze', 'security', '--no-pager', 'vtepd.service');
  const [, exposure] = /Overall exposure level for vtepd\.service: ([\d.]+)/.exec(judged.stdout)!;
  expect(judged.stderr).toBe('');
  expect(Number(exposure)).toBeLessThanOrEqual(2);
  expect(await machine.attempt('systemd-analyze', 'verify', 'vtepd.service')).toMatchObject({
    status: 0,
    stderr: '',
  });
});

test('an administrator asks it without saying where it is', async () => {
  expect(await machine.run('vtepd', 'config', 'get')).toContain('10.6.0.0/16');
});

describe('without loss of a packet', () => {
  test('the agent is stopped with its etcd, and none is killed for it', async () => {
    await withoutLoss([[peer, host]], async (traffic) => {
      await machine.run('systemctl', 'stop', 'vtepd');
      await traffic.sends();
    });
    // It ended by itself: systemd would have ended it after ten seconds, and called the result "timeout".
    expect(await machine.show('vtepd', 'ActiveState', 'Result', 'ExecMainStatus')).toEqual({
      ActiveState: 'inactive',
      Result: 'success',
      ExecMainStatus: '0',
    });
    expect(await etcd()).toBeUndefined();
    const journal = await machine.journal('vtepd');
    expect(journal).toContain('Stopped vtepd.service');
    expect(journal).not.toMatch(/SIGKILL/);
  });

  test('a command of root finds its data while it is stopped, and does not keep the service from it', async () => {
    await withoutLoss([[peer, host]], async (traffic) => {
      expect(await machine.run('vtepd', 'config', 'get')).toContain('10.6.0.0/16');
      await machine.run('systemctl', 'start', 'vtepd');
      await traffic.sends();
    });
    expect(await machine.show('vtepd', 'ActiveState')).toEqual({ ActiveState: 'active' });
    expect(await etcd()).toBeDefined();
  });

  test('an agent that is killed is started again, with its etcd and the same subnet', async () => {
    const before = machine.read('/run/flannel/subnet.env');
    await withoutLoss([[peer, host]], async () => {
      process.kill(await machine.pidOf('vtepd'), 'SIGKILL');
      await machine.shows('vtepd', { ActiveState: 'active', SubState: 'running', NRestarts: '1' });
      await until('its etcd runs', etcd);
      await peer.agent.logged(({ message }) => message === 'etcd answers again');
    });
    expect(machine.read('/run/flannel/subnet.env')).toBe(before);
  });
});

/** The unit and Docker's drop-in under a real systemd: one machine boots, and goes through a day. */
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from '../support/lab/host';
import { Lab, NETWORK_CONFIG } from '../support/lab/lab';
import { allReachAll, ping } from '../support/lab/ping';
import { withoutLoss } from '../support/lab/stream';
import { SystemdMachine } from '../support/lab/systemd-machine';
import { until } from '../support/lab/until';

const SUBNET_FILE = '/run/flannel/subnet.env';
/** Shorter than ours, so that the tests are; what they mean is the same. Long enough for a machine that has much else to do. */
const START_LIMIT = 'TimeoutStartSec=10\n';
const HURRY = `[Service]\nWatchdogSec=10\n${START_LIMIT}RestartSec=100ms\n`;
/** Starts like ours, and says nothing to systemd: what systemd does to such a one when its time is over. */
const SILENT = `[Service]\nType=notify\n${START_LIMIT}ExecStart=/bin/sleep infinity\n`;

let lab: Lab;
let machine: SystemdMachine;
let host: Host;
let peer: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2, config: null });
  host = lab.host(1);
  peer = lab.host(2);
  machine = await SystemdMachine.boot(host.namespace, join(lab.directory, 'machine'), {
    units: ['vtepd.service', 'docker.service'],
    files: {
      '/etc/default/vtepd': `FLANNELD_ETCD_ENDPOINTS=${lab.etcd.endpoints}\nFLANNELD_IFACE=eth0\nFLANNELD_IP_MASQ=true\n`,
      '/etc/systemd/system/vtepd.service.d/50-lab.conf': HURRY,
      '/etc/systemd/system/silent.service': SILENT,
      '/etc/docker/daemon.json': '{"storage-driver": "vfs"}',
    },
  });
});

afterAll(async () => {
  await machine?.end();
  lab?.end();
});

describe('at boot, while there is no network configuration,', () => {
  test('the agent goes on for longer than a start may take, and Docker waits for it', async () => {
    await until('it waits', async () =>
      (await machine.journal('vtepd')).includes('waiting for the network configuration'),
    );
    // Started later, under the same limit, and ended: so the limit has passed for ours, too.
    await machine.run('systemctl', 'start', '--no-block', 'silent');
    await machine.shows('silent', { ActiveState: 'failed', Result: 'timeout' });
    await machine.shows('vtepd', { ActiveState: 'active', NRestarts: '0' });
    await machine.shows('docker', { ActiveState: 'activating', SubState: 'start-pre', NRestarts: '0' });
    await until('Docker says what it waits for', async () =>
      (await machine.journal('docker')).includes(`${SUBNET_FILE} does not exist; waiting for it.`),
    );
    expect(machine.read(SUBNET_FILE)).toBeUndefined();
    expect((await machine.show('vtepd', 'StatusText')).StatusText).toMatch(
      /^starting: waiting for the network configuration: there is none at \/coreos\.com\/network\/config in etcd/,
    );
    expect((await machine.attempt('vtepd', 'status')).status).toBe(1);
  });

  test('Docker starts once subnet.env is written, with that subnet', async () => {
    await Promise.all([lab.putConfig(NETWORK_CONFIG), machine.shows('docker', { ActiveState: 'active' })]);
    expect((await machine.attempt('vtepd', 'status')).status).toBe(0);
    const [, address] = /^FLANNEL_SUBNET=(.*)$/m.exec(machine.read(SUBNET_FILE)!)!;
    const bridge = await machine.run('ip', '-4', '-brief', 'address', 'show', 'dev', 'docker0');
    expect(bridge.trim().split(/\s+/)[2]).toBe(address);
    expect(machine.read('/run/docker_opts.env')).toBe(
      `DOCKER_OPTS=" --bip=${address} --ip-masq=false --mtu=1450"\n`,
    );
  });

  afterAll(async () => {
    copyFileSync(`/proc/${await machine.pidOf('vtepd')}/root${SUBNET_FILE}`, host.agent.subnetFile);
    await host.attachContainer();
    await lab.startAgents([peer]);
  });
});

test('the machine carries packets', async () => {
  await allReachAll([host, peer]);
});

describe('the sandbox', () => {
  test('has a process that is not root and may do nothing but administer the network', async () => {
    const status = machine.read(`/proc/${(await machine.show('vtepd', 'MainPID')).MainPID}/status`)!;
    const CAP_NET_ADMIN = (1n << 12n).toString(16).padStart(16, '0');
    expect(status).toMatch(/^Uid:\t([1-9]\d*)\t\1\t\1\t\1$/m);
    for (const set of ['Prm', 'Eff', 'Bnd', 'Amb'])
      expect(status).toContain(`Cap${set}:\t${CAP_NET_ADMIN}\n`);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
  });

  test('lets the agent put its event loop before its other threads', async () => {
    const pid = await machine.pidOf('vtepd');
    const policies = readdirSync(`/proc/${pid}/task`).map((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return [thread, stat.slice(stat.lastIndexOf(')')).split(' ')[39]];
    });
    const SCHED_BATCH = '3';
    expect(policies.filter(([, policy]) => policy === SCHED_BATCH).length).toBeGreaterThan(2);
    expect(policies).toContainEqual([`${pid}`, '0']);
  });

  test('keeps all of the system from being written but for the settings of the network', async () => {
    const { MainPID } = await machine.show('vtepd', 'MainPID');
    const mounts = machine
      .read(`/proc/${MainPID}/mountinfo`)!
      .split('\n')
      .map((line) => line.split(' '));
    const modes: unknown = Object.fromEntries(mounts.map((words) => [words[4], words[5]?.split(',')[0]]));
    expect(modes).toMatchObject({ '/': 'ro', '/sys': 'ro', '/proc/sys': 'ro', '/proc/sys/net': 'rw' });
  });

  test('has an exposure of at most 2.0', async () => {
    const { stdout, stderr } = await machine.attempt(
      ...([
        'systemd-analyze',
        'security',
        '--offline=true',
        '/usr/lib/systemd/system/vtepd.service',
      ] as const),
    );
    expect(stderr).toBe('');
    const [, exposure] = /Overall exposure level for vtepd\.service: ([\d.]+)/.exec(stdout)!;
    expect(Number(exposure)).toBeLessThanOrEqual(2);
  });

  test('leaves files that everybody may read, in directories of the agent', async () => {
    const listed = await machine.run(
      ...([
        'stat',
        '--format=%U %a %n',
        '/run/flannel',
        SUBNET_FILE,
        '/run/vtepd',
        '/var/lib/vtepd',
      ] as const),
    );
    expect(listed.trim().split('\n')).toEqual([
      'vtepd 755 /run/flannel',
      `vtepd 644 ${SUBNET_FILE}`,
      'vtepd 755 /run/vtepd',
      'vtepd 755 /var/lib/vtepd',
    ]);
  });
});

test("systemd finds nothing to complain of in the unit and in Docker's with our drop-in", async () => {
  for (const unit of ['vtepd.service', 'docker.service']) {
    expect(await machine.attempt('systemd-analyze', 'verify', unit)).toMatchObject({ status: 0, stderr: '' });
  }
});

test('the agent writes its rules of masquerade and forwarding, by a program that is not root either', async () => {
  expect(await machine.run('nft', 'list', 'table', 'ip', 'vtepd-flannel.1')).toContain('masquerade');
  // Docker's table: written by iptables, which is not root here either.
  expect(await machine.run('iptables', '-S')).toMatch(/^-A \S+ -s 10\.5\.0\.0\/16 -j ACCEPT$/m);
  const journal = await machine.journal('vtepd');
  expect(journal).toContain('firewall rules put in order');
  expect(journal).not.toMatch(/cannot read or write the firewall/);
});

test('systemctl status says which subnet this is, and how many peers there are', async () => {
  await machine.shows('vtepd', { StatusText: `${host.subnet} on flannel.1, 1 peers` });
});

test('a reload is over when everything was compared anew, by the same process', async () => {
  const before = await machine.show('vtepd', 'MainPID', 'NRestarts');
  await machine.run('ip', 'route', 'delete', peer.subnet);
  await machine.run('systemctl', 'reload', 'vtepd');
  await machine.shows('vtepd', { ActiveState: 'active', SubState: 'running' });
  expect(await machine.run('ip', 'route', 'show', peer.subnet)).toContain('flannel.1');
  expect(await machine.show('vtepd', 'MainPID', 'NRestarts')).toEqual(before);
});

describe('without loss of a packet', () => {
  let docker: Record<string, string>;

  beforeEach(async () => {
    docker = await machine.show('docker', 'MainPID');
  });

  afterEach(async () => {
    expect(await machine.show('docker', 'MainPID')).toEqual(docker);
  });

  test('an agent that hangs is ended by the watchdog, and another one started', async () => {
    const hanging = await machine.pidOf('vtepd');
    await withoutLoss([[peer, host]], async () => {
      process.kill(hanging, 'SIGSTOP');
      await machine.shows('vtepd', { ActiveState: 'active', SubState: 'running', NRestarts: '1' });
    });
    expect(existsSync(`/proc/${hanging}`)).toBe(false);
    expect(await machine.journal('vtepd')).toMatch(/Watchdog timeout/);
  });

  test('an agent that is killed is started again', async () => {
    await withoutLoss([[peer, host]], async () => {
      process.kill(await machine.pidOf('vtepd'), 'SIGKILL');
      await machine.shows('vtepd', { ActiveState: 'active', SubState: 'running', NRestarts: '2' });
    });
  });

  test('networkd keeps its hands off our device, though a file of it is for every such device', async () => {
    const [index] = await host.namespace.ipJson<{ ifindex: number }>('link', 'show', 'dev', 'flannel.1');
    const held = () => machine.run('sh', '-c', 'ip address show dev flannel.1; ip route show dev flannel.1');
    const before = await held();
    machine.write('/etc/systemd/network/50-every.network', '[Match]\nName=*.1\n\n[Network]\nDHCP=no\n');
    await withoutLoss([[peer, host]], async (traffic) => {
      await machine.run('systemctl', 'start', 'systemd-networkd');
      const state = await until('it has seen the device', () =>
        machine.read(`/run/systemd/netif/links/${index!.ifindex}`),
      );
      expect(state).toMatch(/^ADMIN_STATE=unmanaged$/m);
      await traffic.sends();
      await machine.run('systemctl', 'stop', 'systemd-networkd.socket', 'systemd-networkd');
    });
    expect(await held()).toBe(before);
  });

  test('the agent is restarted, and Docker goes on', async () => {
    await withoutLoss([[peer, host]], async () => {
      await machine.run('systemctl', 'restart', 'vtepd');
    });
    expect(await machine.show('vtepd', 'ActiveState')).toEqual({ ActiveState: 'active' });
  });

  test('the agent is stopped and ends by itself; subnet.env and its memory stay, and it starts again', async () => {
    await withoutLoss([[peer, host]], async (traffic) => {
      await machine.run('systemctl', 'stop', 'vtepd');
      // Where systemd has to end it, the result is "timeout".
      expect(await machine.show('vtepd', 'ActiveState', 'Result', 'ExecMainStatus')).toEqual({
        ActiveState: 'inactive',
        Result: 'success',
        ExecMainStatus: '0',
      });
      for (const path of [SUBNET_FILE, '/var/lib/vtepd/state.json']) expect(machine.read(path)).toBeDefined();
      await traffic.sends();
      await machine.run('systemctl', 'start', 'vtepd');
    });
  });
});

test('what root leaves behind by hand does not keep the service from starting', async () => {
  await machine.run('systemctl', 'stop', 'vtepd');
  await machine.run('sh', '-c', 'rm -f /run/vtepd/*.lock; vtepd cleanup');
  await machine.run('systemctl', 'start', 'vtepd');
  expect(await machine.show('vtepd', 'ActiveState')).toEqual({ ActiveState: 'active' });
});

test('Docker does not start without subnet.env, says why, can be stopped, and starts once there is one', async () => {
  await machine.run('systemctl', 'stop', 'docker.service', 'docker.socket', 'vtepd');
  await machine.run('rm', SUBNET_FILE);
  // Held back: only Docker is to start.
  await machine.run('systemctl', 'mask', '--runtime', 'vtepd');
  const waits = async (times: number) => {
    await machine.run('systemctl', 'start', '--no-block', 'docker');
    await until(
      'it says what it waits for',
      async () =>
        (await machine.journal('docker')).split(`vtepd docker-opts: ${SUBNET_FILE} does not exist; waiting`)
          .length >
        times + 1,
    );
    await machine.shows('docker', { ActiveState: 'activating', SubState: 'start-pre' });
  };
  // Once it was so before there was a configuration.
  await waits(1);
  await machine.run('systemctl', 'stop', 'docker.service', 'docker.socket');
  expect(await machine.journal('docker')).toContain('vtepd docker-opts: stopped while it waited');
  await waits(2);
  await machine.run('systemctl', 'unmask', '--runtime', 'vtepd');
  await machine.run('systemctl', 'start', 'vtepd');
  await machine.shows('docker', { ActiveState: 'active' });
});

test('on demand, the sandbox lets the agent answer the kernel on a thread', async () => {
  await machine.run('sh', '-c', 'echo FLANNELD_RESOLVE=on-demand >> /etc/default/vtepd');
  await machine.run('systemctl', 'restart', 'vtepd');
  const pid = await machine.pidOf('vtepd');
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim(),
  );
  expect(threads).toContain('answerer');
  expect((await ping(host.container, [peer.containerAddress])).size).toBe(1);
});

test('of an agent that ended systemctl status shows why', async () => {
  await machine.run('systemctl', 'stop', 'vtepd');
  await machine.run(
    'sh',
    '-c',
    'cp /etc/default/vtepd /tmp/; echo FLANNELD_STATE_FILE=/dev >> /etc/default/vtepd',
  );
  await machine.attempt('systemctl', 'start', 'vtepd');
  await machine.shows('vtepd', { ActiveState: 'failed', ExecMainStatus: '2' });
  const { stdout } = await machine.attempt('systemctl', 'status', 'vtepd');
  expect(stdout.replace(/\s+/g, ' ')).toContain(
    'Status: "--state-file=/dev: that is a directory, and a regular file',
  );
  await machine.run('mv', '/tmp/vtepd', '/etc/default/vtepd');
});

test('a command line that is wrong is not tried again and again', async () => {
  await machine.run('systemctl', 'stop', 'vtepd');
  await machine.run('sh', '-c', 'echo FLANNELD_HEALTHZ_PORT=many >> /etc/default/vtepd');
  await machine.attempt('systemctl', 'start', 'vtepd');
  await machine.shows('vtepd', { ActiveState: 'failed', ExecMainStatus: '2', NRestarts: '0' });
});

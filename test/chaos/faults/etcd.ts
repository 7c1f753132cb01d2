/** What happens to etcd. The data plane must not notice anything. */
import { join } from 'node:path';
import { rmSync, writeFileSync } from 'node:fs';
import type { Namespace } from '../../support/lab/namespace';
import { NETWORK_CONFIG, PREFIX } from '../../support/lab/lab';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import { etcdLeaseOf, leaseValue, type Scene } from '../scene';

const COMMON = { group: 'etcd', throughLoss: 'none', withinMilliseconds: 30_000 } as const;

/** Takes etcd away in some way for a while; the time is that from its return until host 1 follows it again. */
function away(
  milliseconds: number,
  takeAway: (scene: Scene) => unknown,
  giveBack: (scene: Scene) => unknown,
) {
  return async (scene: Scene): Promise<number> => {
    await takeAway(scene);
    await scene.lasts(milliseconds);
    const start = performance.now();
    await giveBack(scene);
    await scene.followsEtcd();
    return performance.now() - start;
  };
}

/** Packets to and from etcd's client port vanish without a word in this namespace. */
export async function cut(scene: Scene, namespace: Namespace, share = 100): Promise<() => Promise<void>> {
  const rule = (side: string) =>
    `tcp ${side} 2379 ${share < 100 ? `numgen random mod 100 < ${share} ` : ''}drop`;
  const table = [
    'table inet chaos {',
    ...['input', 'output'].flatMap((hook) => [
      `chain ${hook} {`,
      `type filter hook ${hook} priority -200;`,
      rule('dport'),
      rule('sport'),
      '}',
    ]),
    '}',
  ];
  await namespace.run('nft', ['-f', '-'], { input: table.join('\n') + '\n' });
  let isCut = true;
  const heal = async () => {
    if (isCut) await namespace.run('nft', ['delete', 'table', 'inet', 'chaos']);
    isCut = false;
  };
  scene.atEnd(heal);
  return heal;
}

/** One call of etcd's JSON gateway, from the first member's namespace. Throws with what etcd says. */
export async function gateway<Answer>(
  { lab }: Scene,
  path: string,
  body: object,
  token?: string,
): Promise<Answer> {
  const [member] = lab.etcd.members;
  const script = `fetch('http://${member!.address}:2379/v3/${path}', {
      method: 'POST', body: process.argv[1], headers: process.argv[2] ? { authorization: process.argv[2] } : {} })
    .then(async (r) => { const text = await r.text(); if (!r.ok) throw new Error(text); console.log(text); })`;
  const words = ['-e', script, JSON.stringify(body), ...(token === undefined ? [] : [token])];
  return JSON.parse(await member!.namespace.run(process.execPath, words)) as Answer;
}

/** Puts the store back to a snapshot, as an operator would. */
async function restore({ lab }: Scene, snapshot: string): Promise<void> {
  const [member] = lab.etcd.members;
  const { name, namespace, address } = member!;
  lab.etcd.wipe();
  const peerUrl = `http://${address}:2380`;
  await namespace.run(
    'etcdctl',
    [
      ...['snapshot', 'restore', snapshot, '--name', name, '--data-dir', lab.etcd.storeOf()],
      ...['--initial-cluster', `${name}=${peerUrl}`, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster-token', lab.etcd.token],
    ],
    { env: { ...process.env, ETCDCTL_API: '3' } },
  );
  await lab.etcd.start();
}

export const ETCD_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'etcd-killed',
    short: true,
    what: 'kill -9 of etcd; back on its old data after 3 s',
    provoke: away(
      3000,
      ({ lab }) => lab.etcd.stop(),
      ({ lab }) => lab.etcd.start(),
    ),
  },
  {
    ...COMMON,
    name: 'etcd-stopped',
    what: 'SIGTERM of etcd, which takes leave of its clients; back after 3 s',
    provoke: away(
      3000,
      ({ lab }) => lab.etcd.stop(undefined, 'SIGTERM'),
      ({ lab }) => lab.etcd.start(),
    ),
  },
  {
    ...COMMON,
    name: 'etcd-frozen',
    short: true,
    what: 'SIGSTOP of etcd for 5 s: connections stand, nobody answers',
    provoke: away(
      5000,
      (scene) => {
        scene.lab.etcd.signal('SIGSTOP');
        scene.atEnd(() => scene.lab.etcd.signal('SIGCONT'));
      },
      ({ lab }) => lab.etcd.signal('SIGCONT'),
    ),
  },
  {
    ...COMMON,
    name: 'etcd-slow',
    what: 'etcd runs a tenth of the time, for 10 s',
    provoke: async (scene) => {
      const { etcd } = scene.lab;
      scene.atEnd(() => etcd.signal('SIGCONT'));
      for (let round = 0; round < 10; round++) {
        etcd.signal('SIGSTOP');
        await scene.lasts(900);
        etcd.signal('SIGCONT');
        await scene.lasts(100);
      }
      return scene.took('host 1 follows etcd', () => scene.followsEtcd().then(() => true));
    },
  },
  {
    ...COMMON,
    name: 'etcd-half-open',
    what: 'every packet to and from etcd vanishes for 8 s',
    provoke: async (scene) => {
      const heal = await cut(scene, scene.lab.etcd.members[0]!.namespace);
      await scene.lasts(8000);
      await heal();
      return scene.took('host 1 follows etcd', () => scene.followsEtcd().then(() => true));
    },
  },
  {
    ...COMMON,
    name: 'etcd-lossy',
    what: 'four of ten packets to and from etcd vanish for 8 s',
    provoke: async (scene) => {
      const heal = await cut(scene, scene.lab.etcd.members[0]!.namespace, 40);
      await scene.lasts(8000);
      await heal();
      return scene.took('host 1 follows etcd', () => scene.followsEtcd().then(() => true));
    },
  },
  {
    ...COMMON,
    name: 'etcd-restored-from-backup',
    what: 'puts etcd back to a backup: an older revision, another cluster id, a lease that is not there any more',
    provoke: async (scene) => {
      const { lab } = scene;
      const snapshot = join(lab.directory, 'backup');
      await lab.etcd.etcdctl('snapshot', 'save', snapshot);
      const key = `${PREFIX}/subnets/${scene.freeSubnet()}-24`;
      for (let n = 0; n < 5; n++)
        await lab.etcd.put(key, leaseValue({ publicIp: '172.30.77.7', vtepMac: `0e:00:00:00:77:0${n}` }));
      await until('host 1 knows the lease that the backup does not have', async () =>
        (await scene.victim.fdb()).some(({ mac }) => mac === '0e:00:00:00:77:04'),
      );
      const clusterId = await lab.etcd.clusterId();
      await lab.etcd.stop();
      const start = performance.now();
      await restore(scene, snapshot);
      await scene.settle();
      await scene.followsEtcd();
      const milliseconds = performance.now() - start;
      if ((await lab.etcd.clusterId()) === clusterId) throw new Error('the cluster is still the same');
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'etcd-restored-without-us',
    what: 'puts etcd back to a backup that is older than all leases: every host takes its own back',
    spoilsLab: true,
    provoke: async (scene) => {
      const { lab } = scene;
      const snapshot = join(lab.directory, 'older-backup');
      const before = [...(await lab.leases()).keys()].sort();
      for (const host of lab.hosts) process.kill(host.agent.pid!, 'SIGSTOP');
      scene.atEnd(() => lab.hosts.forEach((host) => process.kill(host.agent.pid!, 'SIGCONT')));
      for (const host of lab.hosts)
        await lab.etcd.etcdctl('lease', 'revoke', await etcdLeaseOf(scene, scene.keyOf(host)));
      await lab.etcd.etcdctl('snapshot', 'save', snapshot);
      await lab.etcd.stop();
      await restore(scene, snapshot);
      const start = performance.now();
      for (const host of lab.hosts) process.kill(host.agent.pid!, 'SIGCONT');
      await until(
        'every host has its lease again',
        async () => [...(await lab.leases()).keys()].sort().join() === before.join(),
      );
      await scene.settle();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'etcd-emptied',
    what: 'loses all of etcd: a new cluster with another ID, revision 1, no lease, no configuration (which is written again after 3 s)',
    provoke: async (scene) => {
      const { lab } = scene;
      const before = [...(await lab.leases()).keys()].sort().join();
      const clusterId = await lab.etcd.clusterId();
      await lab.etcd.stop();
      lab.etcd.wipe();
      const start = performance.now();
      await lab.etcd.start();
      await until(
        'every host has its lease again',
        async () => [...(await lab.leases()).keys()].sort().join() === before,
      );
      const milliseconds = performance.now() - start;
      if ((await lab.etcd.clusterId()) === clusterId) throw new Error('the cluster is still the same');
      await scene.lasts(3000);
      await lab.putConfig(NETWORK_CONFIG);
      await scene.followsEtcd();
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'etcd-compacted-while-away',
    what: 'cuts host 1 off, lets a host join and another leave, and compacts etcd; then host 1 is back',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const heal = await cut(scene, victim.namespace);
      const key = (n: number) => `${PREFIX}/subnets/${scene.freeSubnet(n)}-24`;
      const put = (n: number) =>
        lab.etcd.put(key(n), leaseValue({ publicIp: `172.30.77.${n}`, vtepMac: `0e:00:00:00:77:0${n}` }));
      await put(1);
      await put(2);
      await lab.etcd.etcdctl('del', key(1));
      const revision = /"Revision" : (\d+)/.exec(await lab.etcd.etcdctl('get', 'x', '-w', 'fields'))![1]!;
      await lab.etcd.etcdctl('compact', revision);
      await scene.lasts(6000);
      scene.atEnd(() => lab.etcd.etcdctl('del', key(2)));
      const start = performance.now();
      await heal();
      await until(
        'host 1 knows who came, and not who came and went',
        async () => {
          const macs = (await victim.fdb()).map(({ mac }) => mac);
          return macs.includes('0e:00:00:00:77:02') && !macs.includes('0e:00:00:00:77:01');
        },
        { everyMilliseconds: 10 },
      );
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'etcd-leader-lost',
    plan: { etcdMembers: 3 },
    what: 'kills the leader of three members; back after 5 s',
    provoke: async (scene) => {
      const { etcd } = scene.lab;
      const status = await etcd.etcdctl('endpoint', 'status', '-w', 'fields');
      const blocks = status.split('\n\n').filter((block) => block.includes('"Leader"'));
      const field = (block: string, name: string) => new RegExp(`"${name}" : "?([^"\\n]+)`).exec(block)![1]!;
      const leader = blocks.find((block) => field(block, 'Leader') === field(block, 'MemberID'))!;
      const { name } = etcd.members.find(({ address }) => field(leader, 'Endpoint').includes(address))!;
      await etcd.stop(name);
      const milliseconds = await scene.took('host 1 follows etcd', () =>
        scene.followsEtcd().then(() => true),
      );
      await scene.lasts(2000);
      await etcd.start();
      await scene.followsEtcd();
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'etcd-minority',
    plan: { etcdMembers: 3 },
    what: 'kills two of three members for 5 s: nobody can write, nobody can read',
    provoke: away(
      5000,
      async ({ lab }) => {
        await lab.etcd.stop('e1');
        await lab.etcd.stop('e2');
      },
      ({ lab }) => lab.etcd.start(),
    ),
  },
  {
    ...COMMON,
    name: 'endpoint-moved',
    plan: { etcdMembers: 3 },
    what: 'host 1 knows etcd by one name only, which leads to another member from now on; the one it led to is killed',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const [old, other] = lab.etcd.members;
      const hosts = join(lab.directory, 'hosts');
      const leadTo = (address: string) => writeFileSync(hosts, `127.0.0.1 localhost\n${address} etcd.test\n`);
      leadTo(old!.address);
      scene.atEnd(async () => {
        await lab.etcd.start();
        await victim.agent.end('SIGKILL');
        victim.agent.start();
        await victim.agent.ready();
      });
      await victim.agent.end('SIGKILL');
      victim.agent.start({
        // In a mount namespace of its own: nobody else's names change.
        under: ['unshare', '--mount', 'sh', '-c', `mount --bind ${hosts} /etc/hosts && exec "$@"`, 'sh'],
        args: ['--etcd-endpoints=http://etcd.test:2379', '--state-file='],
      });
      await victim.agent.ready();
      leadTo(other!.address);
      const start = performance.now();
      await lab.etcd.stop(old!.name);
      await scene.followsEtcd();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'etcd-full',
    what: 'raises the NOSPACE alarm, and starts the agent anew: its lease is used as it is; then the alarm is disarmed',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      await gateway(scene, 'maintenance/alarm', { action: 'ACTIVATE', alarm: 'NOSPACE' });
      scene.atEnd(() => lab.etcd.etcdctl('alarm', 'disarm'));
      if (!(await lab.etcd.etcdctl('alarm', 'list')).includes('NOSPACE'))
        throw new Error('there is no alarm');
      await victim.agent.end('SIGKILL');
      victim.agent.start();
      await victim.agent.ready();
      await scene.lasts(3000);
      const start = performance.now();
      await lab.etcd.etcdctl('alarm', 'disarm');
      await scene.followsEtcd();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'etcd-permission-denied',
    what: 'turns authentication on for 6 s: we have no name, and are refused',
    provoke: async (scene) => {
      const { etcd } = scene.lab;
      const asRoot = ['--user', 'root:secret'];
      await etcd.etcdctl('user', 'add', 'root:secret');
      await etcd.etcdctl('user', 'grant-role', 'root', 'root');
      await etcd.etcdctl('auth', 'enable');
      let isOn = true;
      const off = async () => {
        if (isOn) await etcd.etcdctl(...asRoot, 'auth', 'disable');
        isOn = false;
      };
      scene.atEnd(async () => {
        await off();
        await etcd.etcdctl('user', 'delete', 'root');
      });
      await scene.lasts(6000);
      const start = performance.now();
      await off();
      await scene.followsEtcd();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'started-without-etcd',
    short: true,
    what: 'starts the agent while etcd is away: from the state file, all entries kept; etcd comes later',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      await dieWithoutEtcd(scene);
      victim.agent.start();
      await victim.agent.ready();
      const milliseconds = performance.now() - victim.agent.startedAt;
      await lab.etcd.start();
      await scene.followsEtcd();
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'started-without-memory',
    what: 'the same without a state file (--state-file=): the agent waits for etcd, and everything that is there stays',
    provoke: async (scene) => {
      const { lab, victim, eyes1, baselines } = scene;
      await lab.etcd.stop();
      scene.atEnd(async () => {
        await victim.agent.end('SIGKILL');
        victim.agent.start();
        await victim.agent.ready();
      });
      scene.atEnd(() => lab.etcd.start());
      await victim.agent.end('SIGKILL');
      await eyes1.arm(baselines[0]!);
      victim.agent.start({ args: ['--state-file='] });
      await scene.lasts(5000);
      if (!victim.agent.running) throw new Error('the agent has ended');
      if (scene.log().some(({ message }) => /subnet file/.test(message)))
        throw new Error('it began without knowing its lease');
      await eyes1.undamaged();
      const start = performance.now();
      await lab.etcd.start();
      await victim.agent.ready();
      await scene.followsEtcd();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'rebooted-without-etcd',
    what: 'the same after a reboot: flannel.1 and subnet.env are gone, too',
    throughLoss: 'counted',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const { subnet } = victim;
      await dieWithoutEtcd(scene);
      await victim.namespace.ip('link', 'del', 'flannel.1');
      rmSync(victim.agent.subnetFile);
      victim.agent.start();
      await victim.agent.ready();
      const milliseconds = performance.now() - victim.agent.startedAt;
      if (victim.subnet !== subnet) throw new Error(`host 1 has ${victim.subnet} now, it had ${subnet}`);
      await lab.etcd.start();
      await scene.followsEtcd();
      return milliseconds;
    },
  },
];

/** Ends etcd, and kills host 1's agent when its state file names every host. */
export async function dieWithoutEtcd(scene: Scene): Promise<void> {
  const { lab, victim } = scene;
  await stateFileIsCurrent(scene);
  await lab.etcd.stop();
  scene.atEnd(() => lab.etcd.start());
  await victim.agent.end('SIGKILL');
}

/** It is written at most every ten seconds. */
async function stateFileIsCurrent({ victim, lab }: Scene): Promise<void> {
  const file = victim.agent.subnetFile.replace('subnet.env', 'state.json');
  await until(
    'the state file names every host',
    async () => {
      const text = await victim.namespace.run('cat', [file]);
      return lab.hosts.every((host) => text.includes(host.publicIp));
    },
    { everyMilliseconds: 100 },
  );
}

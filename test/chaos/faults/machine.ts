/** What a machine does to its programs: full disks, lost notifications, full tables, clocks that jump. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attempt, run } from '../../support/lab/command';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import type { Scene } from '../scene';

const COMMON = { group: 'machine', throughLoss: 'none', withinMilliseconds: 30_000 } as const;

/** Ends the agent and starts it as always. */
async function asAlways({ victim }: Scene): Promise<void> {
  await victim.agent.end('SIGKILL');
  victim.agent.start();
  await victim.agent.ready();
}

type Remount = (how: 'ro' | 'rw') => Promise<unknown>;

/** Spoils the disk with subnet.env on it, has subnet.env change, and mends it; the time is that until the file is right. */
function onSpoiledDisk(
  spoil: (root: string, remount: Remount) => unknown,
  mend: (root: string, remount: Remount) => unknown,
): Fault['provoke'] {
  return async (scene) => {
    const { victim } = scene;
    const place = join(victim.agent.subnetFile, '..', 'small');
    scene.atEnd(() => asAlways(scene));
    await victim.agent.end('SIGKILL');
    // In a mount namespace of its own, so that nothing is left mounted.
    const mount = `mkdir -p ${place} && mount -t tmpfs -o size=16k none ${place} && exec "$@"`;
    victim.agent.start({
      under: ['unshare', '--mount', 'sh', '-c', mount, 'sh'],
      args: [`--subnet-file=${place}/subnet.env`, '--state-file='],
    });
    await scene.said(/subnet file written/);
    const { pid } = victim.agent;
    const root = `/proc/${pid}/root${place}`;
    const remount: Remount = (how) =>
      run('nsenter', [`--mount=/proc/${pid}/ns/mnt`, 'mount', '-o', `remount,${how}`, place]);
    const before = readFileSync(`${root}/subnet.env`, 'utf8');
    await spoil(root, remount);
    scene.atEnd(() => victim.namespace.ip('link', 'set', 'eth0', 'mtu', '1500'));
    await victim.namespace.ip('link', 'set', 'eth0', 'mtu', '1400');
    await scene.said(/cannot write the subnet file/);
    if (readFileSync(`${root}/subnet.env`, 'utf8') !== before)
      throw new Error('the old subnet.env is not what it was');
    await mend(root, remount);
    return scene.took(
      'subnet.env is written',
      () => readFileSync(`${root}/subnet.env`, 'utf8').includes('FLANNEL_MTU=1350'),
      { withinMilliseconds: 35_000 },
    );
  };
}

export const MACHINE_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'disk-full',
    what: 'subnet.env on a full disk, and an MTU that changes: the old file stays whole, the new one comes when there is room',
    withinMilliseconds: 35_000,
    provoke: onSpoiledDisk(
      (root) => fill(`${root}/filler`),
      (root) => writeFileSync(`${root}/filler`, ''),
    ),
  },
  {
    ...COMMON,
    name: 'disk-read-only',
    what: 'the same on a disk that has become read-only, as after an error',
    withinMilliseconds: 35_000,
    provoke: onSpoiledDisk(
      (_root, remount) => remount('ro'),
      (_root, remount) => remount('rw'),
    ),
  },
  {
    ...COMMON,
    name: 'kernel-busy',
    what: 'makes eth0 an interface on top of flannel.1, which the kernel refuses to put flannel.1 on (EBUSY), and deletes a route',
    throughLoss: 'counted',
    provoke: async (scene) => {
      const { namespace, publicIp } = scene.victim;
      const rename = (from: string, to: string) => [
        `link set ${from} down`,
        `link set ${from} name ${to}`,
        `link set ${to} up`,
      ];
      let isBusy = true;
      const giveBack = async () => {
        if (isBusy) await namespace.batch(['link del eth0', ...rename('nic7', 'eth0')]);
        isBusy = false;
      };
      await namespace.batch([
        ...rename('eth0', 'nic7'),
        'link add link flannel.1 name eth0 type macvlan mode bridge',
        `address add ${publicIp}/32 dev eth0`,
        'link set eth0 up',
      ]);
      scene.atEnd(giveBack);
      await until('the kernel has refused it', () =>
        scene.log().some((line) => line.level === 'warn' && /EBUSY|busy/i.test(String(line['error']))),
      );
      const hasRoute = async () => (await scene.victim.routes()).some(({ dst }) => dst === scene.peer.subnet);
      await namespace.ip('route', 'del', scene.peer.subnet, 'dev', 'flannel.1', 'proto', '84');
      const whileBusy = await scene.took('the route is back, busy or not', hasRoute);
      const afterwards = await scene.damage(giveBack);
      return Math.max(whileBusy, afterwards);
    },
    withinMilliseconds: 35_000,
  },
  {
    ...COMMON,
    name: 'notifications-lost',
    what: 'freezes the agent under 150 000 notifications and a deleted route: it reads everything anew',
    throughLoss: 'counted',
    provoke: async (scene) => {
      const { agent, namespace } = scene.victim;
      const address = scene.freeSubnet(5).replace(/0$/, '5');
      const lines = Array.from({ length: 37_500 }, () => [
        `neigh add ${address} lladdr 0e:00:00:00:00:42 dev flannel.1 nud permanent`,
        `neigh del ${address} dev flannel.1`,
      ]).flat();
      process.kill(agent.pid!, 'SIGSTOP');
      scene.atEnd(() => process.kill(agent.pid!, 'SIGCONT'));
      await namespace.batch(lines);
      await namespace.batch(lines);
      const start = performance.now();
      await namespace.ip('route', 'del', scene.peer.subnet, 'dev', 'flannel.1', 'proto', '84');
      process.kill(agent.pid!, 'SIGCONT');
      await scene.settle();
      const milliseconds = performance.now() - start;
      await scene.said(/more to tell than we could read/);
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'dumps-interrupted',
    what: 'other programs change routes, neighbors and links without pause while things are deleted',
    throughLoss: 'counted',
    withinMilliseconds: 5_000,
    provoke: async (scene) => {
      const { namespace } = scene.victim;
      const churn = namespace.start('sh', ['-c', CHURN], { stdio: ['pipe', 'ignore', 'ignore'] });
      // It ends with its input; what it made, too.
      scene.atEnd(() => churn.stdin!.end());
      await scene.lasts(200);
      const times: number[] = [];
      for (let round = 0; round < 5; round++) {
        times.push(
          await scene.damage(() =>
            namespace.ip('route', 'del', scene.peer.subnet, 'dev', 'flannel.1', 'proto', '84'),
          ),
        );
      }
      churn.stdin!.end();
      return Math.max(...times);
    },
  },
  {
    ...COMMON,
    name: 'neighbor-table-full',
    what: "fills the machine's neighbor table and deletes a neighbor: ours are exempt",
    onlyWhenNamed: 'the limit of the neighbor table is one for the whole machine',
    throughLoss: 'counted',
    provoke: async (scene) => {
      const { namespace, publicIp } = scene.victim;
      const limit = Number(readFileSync('/proc/sys/net/ipv4/neigh/default/gc_thresh3', 'utf8'));
      // The hosts' own neighbors below must not be what is missing.
      const stations = scene.lab.hosts.map(async (host) => {
        const others = scene.lab.hosts.filter((each) => each !== host);
        const links = await Promise.all(
          others.map(({ namespace: at }) => at.ipJson<{ address: string }>('link', 'show', 'eth0')),
        );
        return host.namespace.batch(
          others.map(
            (each, n) =>
              `neigh replace ${each.publicIp} lladdr ${links[n]![0]!.address} dev eth0 nud permanent`,
          ),
        );
      });
      await Promise.all(stations);
      const addresses = Array.from({ length: limit + 200 }, (_, n) => `172.30.${100 + (n >> 8)}.${n & 255}`);
      const lines = addresses.map(
        (each) => `neigh replace ${each} lladdr 0e:00:00:00:00:42 dev eth0 nud reachable`,
      );
      scene.atEnd(() => namespace.ip('neigh', 'flush', 'dev', 'eth0', 'nud', 'all'));
      await namespace.attempt('ip', ['-force', '-batch', '-'], { input: lines.join('\n') + '\n' });
      const text = await namespace.ip('-4', 'neigh', 'show', 'dev', 'eth0');
      if (text.split('\n').length > limit + 100) throw new Error(`the table of ${publicIp} is not full`);
      return scene.damage(() => namespace.ip('neigh', 'del', scene.peer.vtepAddress, 'dev', 'flannel.1'));
    },
  },
  {
    ...COMMON,
    name: 'clock-jumps',
    what: 'the wall clock jumps by hours and by a year ahead, and back to 1980 (in the agent only)',
    provoke: async (scene) => {
      const { victim, lab } = scene;
      const [library, file] = [join(lab.directory, 'clock.so'), join(lab.directory, 'clock')];
      const source = join(__dirname, '..', 'clock.c');
      const { status, stderr } = await attempt('cc', ['-shared', '-fPIC', '-o', library, source]);
      if (status !== 0) throw new NotRun(`cc: ${stderr}`);
      scene.atEnd(() => asAlways(scene));
      writeFileSync(file, '0');
      await victim.agent.end('SIGKILL');
      victim.agent.start({ env: { LD_PRELOAD: library, CLOCK_OFFSET: file } });
      await victim.agent.ready();
      let worst = 0;
      for (const hours of [3, -5, 365 * 24, -46 * 365 * 24, 0]) {
        writeFileSync(file, String(hours * 3600));
        await scene.lasts(1000);
        await scene.followsEtcd();
        worst = Math.max(
          worst,
          await scene.damage(() =>
            victim.namespace.ip('neigh', 'del', scene.other.vtepAddress, 'dev', 'flannel.1'),
          ),
        );
      }
      const years = victim.agent.log().map(({ time }) => String(time).slice(0, 4));
      if (new Set(years).size < 3) throw new Error('the clock did not jump: the log has hardly any years');
      return worst;
    },
    throughLoss: 'counted',
  },
];

/** A fault that this machine cannot provoke: said, and counted as not run. */
export class NotRun extends Error {}

function fill(file: string): void {
  try {
    for (let size = 4096; ; size += 4096) writeFileSync(file, 'x'.repeat(size));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

/** Until its input ends: routes, neighbors and links that come and go. */
const CHURN = `
  ip link add churn0 type veth peer name churn1
  ip link set churn0 up
  batch() { for n in $(seq 200); do echo "route replace 198.18.$n.0/24 dev churn0"; echo "neigh replace 198.19.0.$n lladdr 0e:0:0:0:0:1 dev churn0"; done; echo 'link set churn1 up'; echo 'route flush dev churn0'; echo 'neigh flush dev churn0'; echo 'link set churn1 down'; }
  (while :; do batch | ip -force -batch -; done) &
  churn=$!
  cat
  kill $churn
  wait
  ip link del churn0
`;

/** What happens to the agent's process. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { attempt } from '../../support/lab/command';
import { PREFIX } from '../../support/lab/lab';
import { crashOf, survive } from '../crashes';
import type { Fault } from '../fault';
import { leaseValue, type Scene } from '../scene';
import { dieWithoutEtcd } from './etcd';

/** How many deaths by chance. */
const CRASHES = 100;
const COMMON = { group: 'agent', throughLoss: 'none', withinMilliseconds: 15_000 } as const;

/** strace that lets every n-th call of some kind fail. */
function failing(calls: string, what: string): string[] {
  return [
    'strace',
    '-D',
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '-e',
    `trace=${calls}`,
    '-e',
    `inject=${calls}:${what}`,
  ];
}

/** Starts the agent anew under failing system calls, and damages what it must repair. */
function underFailures(calls: string, what: string): Fault['provoke'] {
  return async (scene) => {
    const { agent, namespace } = scene.victim;
    scene.atEnd(async () => {
      await agent.end('SIGKILL');
      agent.start();
      await agent.ready();
    });
    await agent.end('SIGKILL');
    agent.start({ under: failing(calls, what) });
    await agent.ready();
    return scene.damage(
      () => namespace.batch([`route del ${scene.peer.subnet} dev flannel.1 proto 84`]),
      70_000,
    );
  };
}

/** kill -9 at so many random moments of its start, something happening meanwhile; the time is that of the last, whole start. */
async function killedAgain(
  scene: Scene,
  rounds: number,
  meanwhile: (round: number) => unknown = () => undefined,
): Promise<number> {
  const { agent } = scene.victim;
  await agent.end('SIGKILL');
  for (let round = 0; round < rounds; round++) {
    agent.start();
    await Promise.all([scene.lasts(scene.random() * 600), meanwhile(round)]);
    await agent.end('SIGKILL');
  }
  await scene.undo();
  agent.start();
  await agent.ready();
  const milliseconds = performance.now() - agent.startedAt;
  await scene.settle();
  return milliseconds;
}

export const AGENT_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'agent-killed',
    short: true,
    what: 'kill -9, and a new start',
    provoke: async (scene) => {
      const { agent } = scene.victim;
      await agent.end('SIGKILL');
      agent.start();
      await agent.ready();
      return performance.now() - agent.startedAt;
    },
  },
  {
    ...COMMON,
    name: 'agent-killed-at-random',
    what: 'kill -9 at 60 random moments of its start, routes being deleted meanwhile',
    throughLoss: 'counted',
    provoke: (scene) =>
      killedAgain(scene, 60, (round) =>
        round % 3 === 0 ? scene.victim.namespace.ip('route', 'flush', 'proto', '84') : undefined,
      ),
  },
  {
    ...COMMON,
    name: 'agent-killed-untouched',
    what: 'kill -9 at 100 random moments of its start, nobody touching the kernel',
    provoke: (scene) => killedAgain(scene, 100),
  },
  {
    ...COMMON,
    name: 'agent-killed-amid-joins',
    what: 'kill -9 at 60 random moments of its start, while twenty leases come and go',
    provoke: async (scene) => {
      const { etcd } = scene.lab;
      const keys = Array.from({ length: 20 }, (_, n) => `${PREFIX}/subnets/${scene.freeSubnet(n + 10)}-24`);
      scene.atEnd(() => Promise.all(keys.map((key) => etcd.etcdctl('del', key))));
      return killedAgain(scene, 60, async (round) => {
        const n = round % keys.length;
        const vtepMac = `0e:00:00:00:79:${n.toString(16).padStart(2, '0')}`;
        await etcd.put(keys[n]!, leaseValue({ publicIp: `172.30.79.${n}`, vtepMac }));
        await etcd.etcdctl('del', keys[(n + 10) % keys.length]!);
      });
    },
  },
  {
    ...COMMON,
    name: 'agent-killed-without-etcd',
    what: 'kill -9 at 60 random moments of its start, while etcd freezes and thaws',
    provoke: async (scene) => {
      const { etcd } = scene.lab;
      scene.atEnd(() => etcd.signal('SIGCONT'));
      return killedAgain(scene, 60, (round) => etcd.signal(round % 2 === 0 ? 'SIGSTOP' : 'SIGCONT'));
    },
  },
  {
    ...COMMON,
    name: 'agent-crashes',
    what: `${CRASHES} deaths at points that chance chooses: after any words, at any system call, while system calls fail; leases come and go, and entries that carry nothing are wrong`,
    provoke: async (scene) => {
      for (let round = 0; round < CRASHES; round++) {
        const crash = crashOf(scene.random, round);
        await survive(scene, crash, round % 2 === 0).catch((error: unknown) => {
          throw new Error(`${crash.what} (round ${round}): ${String(error)}`);
        });
      }
      return undefined;
    },
  },
  {
    ...COMMON,
    name: 'subnet-file-removed',
    short: true,
    what: 'removes subnet.env, and then its whole content: it is written again',
    provoke: async (scene) => {
      const { subnetFile } = scene.victim.agent;
      const text = readFileSync(subnetFile, 'utf8');
      const isBack = () => existsSync(subnetFile) && readFileSync(subnetFile, 'utf8') === text;
      rmSync(subnetFile);
      const milliseconds = await scene.took('subnet.env is back', isBack);
      writeFileSync(subnetFile, '');
      return milliseconds + (await scene.took('it is whole', isBack));
    },
  },
  {
    ...COMMON,
    name: 'agent-frozen',
    short: true,
    what: 'SIGSTOP for 2 s; a route is deleted meanwhile, and repaired after SIGCONT',
    throughLoss: 'counted',
    provoke: async (scene) => {
      const { agent, namespace } = scene.victim;
      process.kill(agent.pid!, 'SIGSTOP');
      scene.atEnd(() => process.kill(agent.pid!, 'SIGCONT'));
      await namespace.ip('route', 'del', scene.peer.subnet, 'dev', 'flannel.1', 'proto', '84');
      await scene.lasts(2000);
      const start = performance.now();
      process.kill(agent.pid!, 'SIGCONT');
      await scene.settle();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'second-agent',
    short: true,
    what: 'starts a second agent on the same host: it explains and ends, the first goes on',
    provoke: async (scene) => {
      const { agent } = scene.victim;
      const result = await agent.command();
      const words = result.stdout + result.stderr;
      if (result.status === 0 || !words.includes(String(agent.pid)))
        throw new Error(
          `the second agent ended with ${result.status}, and does not name the first: ${words.slice(-300)}`,
        );
      if (!agent.running) throw new Error('the first agent has ended, too');
      return undefined;
    },
  },
  {
    ...COMMON,
    name: 'files-exhausted',
    what: 'leaves the agent no file descriptor to open, deletes a route, and takes etcd away for a while',
    throughLoss: 'counted',
    withinMilliseconds: 60_000,
    provoke: async (scene) => {
      const { agent, namespace } = scene.victim;
      const pid = String(agent.pid);
      const limit = async (count: string) => {
        const { status, stderr } = await attempt('prlimit', ['--pid', pid, `--nofile=${count}:`]);
        if (status !== 0) throw new Error(`prlimit: ${stderr}`);
      };
      scene.atEnd(() => limit('1024'));
      await limit('5');
      const milliseconds = await scene.damage(() =>
        namespace.batch([`route del ${scene.peer.subnet} dev flannel.1 proto 84`]),
      );
      await scene.lab.etcd.stop();
      await scene.lasts(1000);
      await scene.lab.etcd.start();
      await scene.lasts(3000);
      if (!agent.running) throw new Error('the agent has ended');
      await limit('1024');
      await scene.followsEtcd();
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'sendto-fails',
    what: 'lets every 41st sendto of the agent fail with ENOBUFS, and deletes a route',
    throughLoss: 'counted',
    withinMilliseconds: 70_000,
    provoke: underFailures('sendto', 'error=ENOBUFS:when=3+41'),
  },
  {
    ...COMMON,
    name: 'recvfrom-fails',
    what: 'lets every 97th recvfrom of the agent fail with ENOBUFS, and deletes a route',
    throughLoss: 'counted',
    withinMilliseconds: 70_000,
    provoke: underFailures('recvfrom', 'error=ENOBUFS:when=5+97'),
  },
  {
    ...COMMON,
    name: 'recvfrom-interrupted',
    what: 'interrupts every 3rd recvfrom of the agent (EINTR), and deletes a route',
    throughLoss: 'counted',
    withinMilliseconds: 70_000,
    provoke: underFailures('recvfrom', 'error=EINTR:when=2+3'),
  },
  {
    ...COMMON,
    name: 'leftovers-at-start',
    what: 'leaves things of a dead flannel and of a peer that has left while the agent is down',
    provoke: async (scene) => {
      const { agent } = scene.victim;
      await agent.end('SIGKILL');
      await leaveThings(scene);
      await scene.eyes1.arm(scene.baselines[0]!);
      agent.start();
      await agent.ready();
      await scene.eyes1.repaired();
      return performance.now() - agent.startedAt;
    },
  },
  {
    ...COMMON,
    name: 'leftovers-without-etcd',
    what: 'the same while etcd is away, too: the agent serves from its state file, and removes nothing before etcd is back',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      await dieWithoutEtcd(scene);
      await leaveThings(scene);
      const withThem = await scene.eyes1.see();
      victim.agent.start();
      await victim.agent.ready();
      await scene.eyes1.arm(withThem);
      await scene.lasts(2000);
      await scene.eyes1.undamaged();
      await scene.eyes1.arm(scene.baselines[0]!);
      const start = performance.now();
      await lab.etcd.start();
      await scene.eyes1.repaired();
      return performance.now() - start;
    },
    withinMilliseconds: 30_000,
  },
];

/** What a dead flannel, and a peer that has left since, leave in the kernel. */
async function leaveThings(scene: Scene): Promise<void> {
  const { namespace } = scene.victim;
  const gone = scene.freeSubnet();
  await namespace.bridgeBatch(['fdb add 0e:00:00:00:00:77 dev flannel.1 dst 198.51.100.7 self permanent']);
  await namespace.batch([
    `neigh add ${gone} lladdr 0e:00:00:00:00:77 dev flannel.1 nud permanent`,
    `route add ${gone}/24 via ${gone} dev flannel.1 onlink proto boot`,
  ]);
}

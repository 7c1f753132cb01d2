/** Ways for an agent to die, and what it finds to do meanwhile; after each the next start must put everything in order. */
import { rmSync } from 'node:fs';
import { PREFIX } from '../support/lab/lab';
import { until } from '../support/lab/until';
import { leaseValue, type Scene } from './scene';

export interface Crash {
  readonly kind: 'killed at a random moment' | 'killed by a system call' | 'system calls failing';
  /** For the report: `killed by sendto number 17`. */
  readonly what: string;
  /** What is injected, in strace's words; undefined: nothing. */
  readonly inject: string | undefined;
  /** It is killed after so long, if it has not died by then. */
  readonly afterMilliseconds: number;
}

/** System calls of a start, and how many there are of each at most (counted by thread). */
const CALLS: Readonly<Record<string, number>> = {
  sendto: 50,
  recvfrom: 60,
  openat: 120,
  rename: 2,
  fsync: 3,
  flock: 1,
  mkdir: 3,
  unlink: 2,
};
const FAILURES = [
  ['sendto', 'ENOBUFS'],
  ['sendto', 'EPERM'],
  ['recvfrom', 'ENOBUFS'],
  ['recvfrom', 'EINTR'],
  ['openat', 'EMFILE'],
  ['rename', 'EIO'],
  ['fsync', 'ENOSPC'],
] as const;
/** A start takes half of it. */
const LONGEST_MILLISECONDS = 800;
/** For a system call to come that it is to die of: what is written last is written after the start, on a busy machine late. */
const CALL_MILLISECONDS = 1_500;

/** A way to die, by chance. */
export function crashOf(random: () => number): Crash {
  const below = (limit: number) => Math.floor(random() * limit);
  const afterMilliseconds = random() * LONGEST_MILLISECONDS;
  const kind = below(4);
  if (kind === 0)
    return {
      kind: 'killed at a random moment',
      what: `killed after ${Math.round(afterMilliseconds)} ms`,
      inject: undefined,
      afterMilliseconds,
    };
  if (kind === 1) {
    const [call, error] = FAILURES[below(FAILURES.length)]!;
    const when = `${1 + below(10)}+${1 + below(5)}`;
    return {
      kind: 'system calls failing',
      what: `${call} failing (${error}, ${when}), killed after ${Math.round(afterMilliseconds)} ms`,
      inject: `${call}:error=${error}:when=${when}`,
      afterMilliseconds,
    };
  }
  const names = Object.keys(CALLS);
  const call = names[below(names.length)]!;
  const number = 1 + below(CALLS[call]!);
  return {
    kind: 'killed by a system call',
    what: `killed by ${call} number ${number}`,
    inject: `${call}:signal=KILL:when=${number}`,
    afterMilliseconds: CALL_MILLISECONDS,
  };
}

/**
 * Kills the agent of host 1, leaves it things to do, starts it and lets it die, while a lease comes or goes; then starts it as
 * always, and waits until everything is as it was. Nothing of it touches what carries packets. Returns whether it had
 * written subnet.env before it died.
 */
export async function survive(scene: Scene, crash: Crash, isJoining: boolean): Promise<boolean> {
  const { lab, victim } = scene;
  const { agent } = victim;
  const key = `${PREFIX}/subnets/${scene.freeSubnet(3)}-24`;
  await agent.end('SIGKILL');
  await leaveWork(scene);
  agent.start(crash.inject === undefined ? {} : { under: injecting(crash.inject) });
  const change = isJoining
    ? lab.etcd.put(key, leaseValue({ publicIp: '172.30.77.3', vtepMac: '0e:00:00:00:77:03' }))
    : lab.etcd.etcdctl('del', key);
  await until(
    'it dies',
    () => !agent.running || performance.now() - agent.startedAt > crash.afterMilliseconds,
    {
      everyMilliseconds: 5,
    },
  );
  const wasReady = agent.log().some(({ message }) => message === 'subnet file written');
  await agent.end('SIGKILL');
  await change;
  if (isJoining) await lab.etcd.etcdctl('del', key);
  agent.start();
  await agent.ready();
  await scene.settle();
  return wasReady;
}

/** Things that are missing, too much, or wrong, so that a start has to write to the kernel and to the disk. */
async function leaveWork(scene: Scene): Promise<void> {
  const { namespace, agent } = scene.victim;
  const gone = scene.freeSubnet();
  rmSync(agent.subnetFile, { force: true });
  await namespace.attempt('ip', ['route', 'del', '10.5.0.0/16', 'dev', 'flannel.1']);
  await namespace.bridgeBatch([
    'fdb replace 0e:00:00:00:00:77 dev flannel.1 dst 198.51.100.7 self permanent',
  ]);
  await namespace.batch([
    `neigh replace ${gone} lladdr 0e:00:00:00:00:77 dev flannel.1 nud permanent`,
    `route replace ${gone}/24 via ${gone} dev flannel.1 onlink proto 84 metric 77`,
  ]);
}

function injecting(what: string): string[] {
  const call = what.split(':')[0]!;
  return [
    ...['strace', '-D', '-f', '--seccomp-bpf', '-qq', '-o', '/dev/null'],
    ...['-e', `trace=${call}`, '-e', 'signal=none', '-e', `inject=${what}`],
  ];
}

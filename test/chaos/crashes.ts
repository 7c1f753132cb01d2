/**
 * Ways for an agent to die, and what it finds to do meanwhile; after each the next start must put everything in order. Each death
 * is at a point that every start comes to, however fast the machine is: chance chooses the point, and never whether it is reached.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PREFIX } from '../support/lab/lab';
import { until } from '../support/lab/until';
import { leaseValue, type Scene } from './scene';

export const CRASH_KINDS = [
  'killed when it says something',
  'killed by a system call',
  'killed while system calls fail',
] as const;

export interface Crash {
  readonly kind: (typeof CRASH_KINDS)[number];
  /** For the report: `killed by sendto number 17`. */
  readonly what: string;
  /** What is injected, in strace's words; undefined: nothing. */
  readonly inject?: string;
  /** It is killed once it has said this. */
  readonly saying?: string;
  /** It is killed once so many system calls have failed. */
  readonly failures?: number;
}

/**
 * System calls of a start, and how many of each the main thread, or the first thread that makes one, has made before subnet.env is
 * written: at least so many. A start that makes fewer fails the test, and this table is to follow.
 */
const CALLS: Readonly<Record<string, number>> = {
  openat: 40,
  sendto: 25,
  recvfrom: 50,
  mkdir: 2,
  flock: 1,
  unlink: 1,
  fsync: 1,
  rename: 1,
};

/** What every start says, in this order. */
const WORDS = [
  'vtepd starts',
  'underlay chosen',
  'peer joined',
  'kernel state put in order',
  'subnet file written',
] as const;

/** Calls that may fail, from which one on, and how many failures at most a start is sure to meet. */
const FAILURES = [
  { call: 'sendto', error: 'ENOBUFS', from: 1, most: 5 },
  { call: 'sendto', error: 'EPERM', from: 1, most: 1 },
  { call: 'recvfrom', error: 'ENOBUFS', from: 1, most: 5 },
  { call: 'recvfrom', error: 'EINTR', from: 1, most: 8 },
  // What Node itself opens when it starts is before that.
  { call: 'openat', error: 'EMFILE', from: 36, most: 1 },
  { call: 'rename', error: 'EIO', from: 1, most: 2 },
  { call: 'fsync', error: 'ENOSPC', from: 1, most: 2 },
] as const;

/** A way to die for this round: of each kind in turn, and else by chance. */
export function crashOf(random: () => number, round: number): Crash {
  const below = (limit: number) => Math.floor(random() * limit);
  const oneOf = <T>(all: readonly T[]) => all[below(all.length)]!;
  const kind = CRASH_KINDS[round % CRASH_KINDS.length]!;
  switch (kind) {
    case 'killed when it says something': {
      const saying = oneOf(WORDS);
      return { kind, what: `killed when it said '${saying}'`, saying };
    }
    case 'killed by a system call': {
      const call = oneOf(Object.keys(CALLS));
      const number = 1 + below(CALLS[call]!);
      return {
        kind,
        what: `killed by ${call} number ${number}`,
        inject: `${call}:signal=KILL:when=${number}`,
      };
    }
    case 'killed while system calls fail': {
      const { call, error, from, most } = oneOf(FAILURES);
      const isMany = most > 2;
      const when = `${from + (isMany ? below(10) : 0)}+${1 + (isMany ? below(5) : 0)}`;
      const failures = 1 + below(most);
      return {
        kind,
        what: `${call} failing (${error}, ${when}), killed after ${failures} failures`,
        inject: `${call}:error=${error}:when=${when}`,
        failures,
      };
    }
  }
}

export interface Death {
  /** What was injected killed it, or it gave up: nobody had to kill it from outside. */
  readonly isOfItself: boolean;
  /** It had written subnet.env. */
  readonly wasReady: boolean;
}

/**
 * Kills the agent of host 1, leaves it things to do, starts it and lets it die, while a lease comes or goes; then starts it as
 * always, and waits until everything is as it was. Nothing of it touches what carries packets. Returns how it died.
 */
export async function survive(scene: Scene, crash: Crash, isJoining: boolean): Promise<Death> {
  const { lab, victim } = scene;
  const { agent } = victim;
  const key = `${PREFIX}/subnets/${scene.freeSubnet(3)}-24`;
  const trace = join(lab.directory, 'crash.strace');
  rmSync(trace, { force: true });
  await agent.end('SIGKILL');
  await leaveWork(scene);
  agent.start(crash.inject === undefined ? {} : { under: injecting(crash.inject, trace) });
  const change = isJoining
    ? lab.etcd.put(key, leaseValue({ publicIp: '172.30.77.3', vtepMac: '0e:00:00:00:77:03' }))
    : lab.etcd.etcdctl('del', key);
  const isAtPoint = () =>
    (crash.saying !== undefined && agent.log().some(({ message }) => message === crash.saying)) ||
    (crash.failures !== undefined && failuresIn(trace) >= crash.failures);
  await until('it comes to the point where it is to die', () => !agent.running || isAtPoint(), {
    everyMilliseconds: 5,
  });
  const isOfItself = !agent.running;
  const wasReady = agent.log().some(({ message }) => message === 'subnet file written');
  await agent.end('SIGKILL');
  await scene.sends();
  await change;
  if (isJoining) await lab.etcd.etcdctl('del', key);
  agent.start();
  await agent.ready();
  await scene.settle();
  return { isOfItself, wasReady };
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

function failuresIn(trace: string): number {
  return existsSync(trace) ? readFileSync(trace, 'utf8').split('(INJECTED)').length - 1 : 0;
}

function injecting(what: string, trace: string): string[] {
  const call = what.split(':')[0]!;
  return [
    // Not with --seccomp-bpf: with it strace 6.1 injects nothing.
    ...['strace', '-D', '-f', '-qq', '-o', trace],
    ...['-e', `trace=${call}`, '-e', 'signal=none', '-e', `inject=${what}`],
  ];
}

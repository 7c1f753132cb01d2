/** Not a fault, but its absence: where nothing happens, the agent does nothing. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { exitOf } from '../../support/lab/command';
import type { Host } from '../../support/lab/host';
import { netlinkWrites, readings, traced } from '../../support/lab/netlink-writes';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import type { Scene } from '../scene';

/** What an agent did while nobody asked for a change. */
export interface Quiet {
  readonly netlinkWrites: readonly string[];
  /** By how much the store's revision grew. */
  readonly revisions: number;
}

/** Traces a host's running agent until something is over that is no reason for a change; `revision` reads the store's. */
export async function observeQuiet(
  { namespace, agent }: Host,
  file: string,
  isOver: () => Promise<unknown>,
  revision: () => Promise<number>,
): Promise<Quiet> {
  const [command, ...words] = traced(file).filter((word) => word !== '-D');
  // In the agent's network: in another, strace does not know which of its sockets speak netlink, and shows bytes.
  const tracer = namespace.start(command!, [...words, '-p', String(agent.pid)], { stdio: 'ignore' });
  await until('strace is attached', () => tracerOf(agent.pid!) !== 0);
  const before = await revision();
  await isOver();
  const after = await revision();
  tracer.kill('SIGTERM');
  await exitOf(tracer);
  return { netlinkWrites: netlinkWrites(file), revisions: after - before };
}

/** The store's revision. */
export async function revisionOf({ lab }: Pick<Scene, 'lab'>): Promise<number> {
  const text = await lab.etcd.etcdctl('get', 'x', '-w', 'fields');
  return Number(/"Revision" : (\d+)/.exec(text)![1]);
}

export const QUIET: Fault = {
  name: 'quiet',
  group: 'agent',
  what: 'nothing at all, until the agent has audited the kernel: no netlink write, no etcd write',
  throughLoss: 'none',
  withinMilliseconds: 0,
  provoke: async (scene) => {
    const { agent } = scene.victim;
    const age = performance.now() - agent.startedAt;
    await scene.lasts(Math.max(0, SETTLED_MILLISECONDS - age));
    // Before it is traced, for a tracer wakes it at every system call.
    const sleepsBefore = sleepsOf(agent.pid!);
    await scene.lasts(SLEEPS_MILLISECONDS);
    const sleepsPerSecond = ((sleepsOf(agent.pid!) - sleepsBefore) * 1000) / SLEEPS_MILLISECONDS;
    const file = join(scene.lab.directory, `quiet-${performance.now()}`);
    const audited = () =>
      until('the agent audits, and has done so', () => readings(file) > 1, {
        withinMilliseconds: 3 * AUDIT_MILLISECONDS,
        everyMilliseconds: 1_000,
      });
    const { netlinkWrites, revisions } = await observeQuiet(scene.victim, file, audited, () =>
      revisionOf(scene),
    );
    if (netlinkWrites.length > 0) throw new Error(`it wrote to the kernel: ${netlinkWrites.join(', ')}`);
    if (revisions > 0) throw new Error(`etcd was written to ${revisions} times`);
    if (sleepsPerSecond > MOST_SLEEPS)
      throw new Error(`it woke up ${sleepsPerSecond.toFixed(1)} times a second`);
    return undefined;
  },
};

/** After this an agent has done what it does once after its start: it has loaded everything, and V8 has compiled what is hot. */
const SETTLED_MILLISECONDS = 30_000;

const SLEEPS_MILLISECONDS = 5_000;

/** How often the agent looks at everything without a reason. */
const AUDIT_MILLISECONDS = 60_000;

/** Timers are some per minute; the rest is what Node and etcd's connections need (gRPC pings). */
const MOST_SLEEPS = 5;

function tracerOf(pid: number): number {
  return Number(/^TracerPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
}

function sleepsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'))
    .map((status) => Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)![1]))
    .reduce((sum, each) => sum + each, 0);
}

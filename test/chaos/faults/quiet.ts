/** Not a fault, but its absence: where nothing happens, the agent does nothing. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { exitOf } from '../../support/lab/command';
import { netlinkWrites, traced } from '../../support/lab/netlink-writes';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import type { Scene } from '../scene';

/** What an agent did in a while in which nobody asked anything of it. */
export interface Quiet {
  readonly netlinkWrites: readonly string[];
  /** By how much the store's revision grew. */
  readonly revisions: number;
  /** How often its threads went to sleep, a second. */
  readonly sleepsPerSecond: number;
}

/** Watches a running agent for a while; `revision` reads the store's. */
export async function observeQuiet(
  pid: number,
  file: string,
  milliseconds: number,
  revision: () => Promise<number>,
): Promise<Quiet> {
  // Before it is traced, for a tracer wakes it at every system call.
  const sleepsBefore = sleepsOf(pid);
  await new Promise((resolve) => setTimeout(resolve, SLEEPS_MILLISECONDS));
  const sleepsPerSecond = ((sleepsOf(pid) - sleepsBefore) * 1000) / SLEEPS_MILLISECONDS;
  const [command, ...words] = traced(file).filter((word) => word !== '-D');
  const tracer = spawn(command!, [...words, '-p', String(pid)], { stdio: 'ignore' });
  await until('strace is attached', () => tracerOf(pid) !== 0);
  const before = await revision();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const after = await revision();
  tracer.kill('SIGTERM');
  await exitOf(tracer);
  return {
    netlinkWrites: netlinkWrites(file),
    revisions: after - before,
    sleepsPerSecond,
  };
}

/** The store's revision. */
export async function revisionOf({ lab }: Pick<Scene, 'lab'>): Promise<number> {
  const text = await lab.etcd.etcdctl('get', 'x', '-w', 'fields');
  return Number(/"Revision" : (\d+)/.exec(text)![1]);
}

export const QUIET: Fault = {
  name: 'quiet',
  group: 'agent',
  what: 'nothing at all, for 65 s: no netlink write, no etcd write',
  throughLoss: 'none',
  withinMilliseconds: 0,
  provoke: async (scene) => {
    const age = performance.now() - scene.victim.agent.startedAt;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, SETTLED_MILLISECONDS - age)));
    const file = join(scene.lab.directory, `quiet-${performance.now()}`);
    const quiet = await observeQuiet(scene.victim.agent.pid!, file, 65_000, () => revisionOf(scene));
    const { netlinkWrites, revisions, sleepsPerSecond } = quiet;
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

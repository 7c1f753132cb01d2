/** How many unresolved neighbors this machine's kernel keeps: one limit for all namespaces together. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const LIMITS = ['gc_thresh3', 'gc_thresh2', 'gc_thresh1'] as const;
const VALUES: Limits = { gc_thresh3: 65536, gc_thresh2: 49152, gc_thresh1: 32768 };
const DIRECTORY = '/proc/sys/net/ipv4/neigh/default';
/** One file for each process that has raised them, named by its pid: what the limits were before. */
const LEDGER = '/run/vtepd-lab-neighbor-limits';

type Limits = Record<(typeof LIMITS)[number], number>;

/**
 * Raises `net.ipv4.neigh.default.gc_thresh*`, which exist in the initial namespace only, as the agent does on a real host;
 * an agent in a lab's namespace cannot. Returns what restores them. Of several processes that have raised them the last one
 * restores them; the next one restores what a killed one left behind.
 */
export function raiseNeighborLimits(directory = DIRECTORY, ledger = LEDGER): () => void {
  mkdirSync(ledger, { recursive: true });
  const own = join(ledger, String(process.pid));
  // Raising is all that any of them does, so what was there before them is the smallest that any of them saw.
  const before = [readLimits(directory), ...entriesOf(ledger).map(({ limits }) => limits)].reduce(smaller);
  writeFileSync(own, JSON.stringify(before));
  for (const { file, isAlive } of entriesOf(ledger)) if (!isAlive) rmSync(file, { force: true });
  writeLimits(directory, VALUES);
  return () => {
    rmSync(own, { force: true });
    if (!entriesOf(ledger).some(({ isAlive }) => isAlive)) writeLimits(directory, before);
  };
}

interface Entry {
  readonly file: string;
  readonly isAlive: boolean;
  readonly limits: Limits;
}

function entriesOf(ledger: string): Entry[] {
  return readdirSync(ledger).flatMap((pid) => {
    const file = join(ledger, pid);
    try {
      const limits = JSON.parse(readFileSync(file, 'utf8')) as Limits;
      return [{ file, limits, isAlive: existsSync(`/proc/${pid}`) }];
    } catch {
      // It has just gone, or is just being written by one that has read the same limits.
      return [];
    }
  });
}

function smaller(one: Limits, other: Limits): Limits {
  return Object.fromEntries(LIMITS.map((name) => [name, Math.min(one[name], other[name])])) as Limits;
}

function readLimits(directory: string): Limits {
  const valueOf = (name: string) => Number(readFileSync(join(directory, name), 'utf8'));
  return Object.fromEntries(LIMITS.map((name) => [name, valueOf(name)])) as Limits;
}

/** From the largest on where they grow, from the smallest on where they shrink, so that they are in order at all times. */
function writeLimits(directory: string, limits: Limits): void {
  const isGrowth = limits.gc_thresh3 > readLimits(directory).gc_thresh3;
  for (const name of isGrowth ? LIMITS : [...LIMITS].reverse())
    writeFileSync(join(directory, name), String(limits[name]));
}

/** How many unresolved neighbors this machine's kernel keeps: one limit for all namespaces together. */
import { readFileSync, writeFileSync } from 'node:fs';

const LIMITS = ['gc_thresh3', 'gc_thresh2', 'gc_thresh1'] as const;
const VALUES = { gc_thresh3: 65536, gc_thresh2: 49152, gc_thresh1: 32768 };

/**
 * Raises `net.ipv4.neigh.default.gc_thresh*`, which exist in the initial namespace only, as the agent does on a real host;
 * an agent in a lab's namespace cannot. Returns what restores them.
 */
export function raiseNeighborLimits(): () => void {
  const before = LIMITS.map((name) => [name, readFileSync(pathOf(name), 'utf8').trim()] as const);
  for (const name of LIMITS) writeFileSync(pathOf(name), String(VALUES[name]));
  return () => {
    for (const [name, value] of [...before].reverse()) writeFileSync(pathOf(name), value);
  };
}

function pathOf(name: string): string {
  return `/proc/sys/net/ipv4/neigh/default/${name}`;
}

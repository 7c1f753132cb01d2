/** How many neighbors the kernel keeps: one limit for all network namespaces, to be set in the initial one only. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { FAMILIES } from './wire';

/** The upper limit first, so that the three are in order at any time. */
const LIMITS = [
  ['gc_thresh3', 65_536],
  ['gc_thresh2', 32_768],
  ['gc_thresh1', 8_192],
] as const;

export type NeighborLimits =
  /** `raised`: what was changed, as sysctl(8) writes it: `net.ipv4.neigh.default.gc_thresh3 1024 → 65536`. */
  | { readonly kind: 'set'; readonly raised: readonly string[] }
  /** Not ours to set: they belong to the initial network namespace. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * Raises `net.ipv4|ipv6.neigh.default.gc_thresh1…3` to 8192, 32768 and 65536 where they are lower. Unresolved neighbors count
 * for them: with the kernel's 1024, a burst to more addresses at once loses packets. Never throws.
 */
export function raiseNeighborLimits(root = '/proc/sys/net'): NeighborLimits {
  const raised: string[] = [];
  let isThere = false;
  try {
    for (const family of FAMILIES) {
      for (const [name, least] of LIMITS) {
        const path = `${root}/${family}/neigh/default/${name}`;
        if (!existsSync(path)) continue;
        isThere = true;
        const current = Number(readFileSync(path, 'utf8'));
        if (current >= least) continue;
        writeFileSync(path, String(least));
        raised.push(`net.${family}.neigh.default.${name} ${current} → ${least}`);
      }
    }
  } catch (error) {
    return { kind: 'refused', reason: (error as Error).message };
  }
  return isThere ? { kind: 'set', raised } : { kind: 'absent' };
}

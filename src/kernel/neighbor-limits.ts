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
  /** `missing`: what is to be set by somebody else, in the words of sysctl.conf(5). */
  | { readonly kind: 'refused'; readonly reason: string; readonly missing: readonly string[] };

/**
 * Raises `net.ipv4|ipv6.neigh.default.gc_thresh1…3` to 8192, 32768 and 65536 where they are lower. Unresolved neighbors count
 * for them: with the kernel's 1024, a burst to more addresses at once loses packets. Never throws.
 */
export function raiseNeighborLimits(root = '/proc/sys/net'): NeighborLimits {
  const raised: string[] = [];
  const missing: string[] = [];
  let isThere = false;
  let reason: string | undefined;
  for (const family of FAMILIES) {
    for (const [name, least] of LIMITS) {
      const path = `${root}/${family}/neigh/default/${name}`;
      const setting = `net.${family}.neigh.default.${name}`;
      if (!existsSync(path)) continue;
      isThere = true;
      try {
        const current = Number(readFileSync(path, 'utf8'));
        if (current >= least) continue;
        // Nothing more after one that failed: they are to stay in order.
        if (reason === undefined) {
          writeFileSync(path, String(least));
          raised.push(`${setting} ${current} → ${least}`);
          continue;
        }
      } catch (error) {
        reason ??= (error as Error).message;
      }
      missing.push(`${setting}=${least}`);
    }
  }
  if (reason !== undefined) return { kind: 'refused', reason, missing };
  return isThere ? { kind: 'set', raised } : { kind: 'absent' };
}

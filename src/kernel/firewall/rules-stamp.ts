/** Whether the rules of the packet filter may have changed, for next to nothing: its tools take tens of milliseconds to say. */
import { readFileSync } from 'node:fs';
import { readGeneration } from '../nftables/generation';

/** Tables of iptables-legacy, which tells nobody of its changes. */
const LEGACY_TABLES = ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'];

/**
 * Equal at two moments exactly if nobody changed the rules between them (nftables' generation: each transaction, iptables-nft's
 * too, has one of its own). Undefined where nobody can say: with tables of iptables-legacy, or without nftables.
 */
export function stampOfRules(): string | undefined {
  if (LEGACY_TABLES.some(hasText)) return undefined;
  try {
    const generation = readGeneration();
    return generation === undefined ? undefined : `generation ${generation}`;
  } catch {
    return undefined;
  }
}

function hasText(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').trim() !== '';
  } catch (error) {
    // Its kernel module was never loaded: there are no such tables.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

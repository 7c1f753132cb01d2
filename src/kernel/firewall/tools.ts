/** Which tools this host has. */
import { HostError, describeError } from '../../model/errors';
import type { FilterTool } from '../../model/firewall';
import type { Execute } from './execute';
import type { IptablesVariant } from './iptables';

export interface FoundTool {
  readonly version: string;
  readonly hasFullyRandom: boolean;
  readonly isDefault: boolean;
}

export interface FoundIptables extends FoundTool {
  readonly variant: IptablesVariant;
}

export interface FoundTools {
  readonly nftables: FoundTool | undefined;
  readonly iptables: readonly FoundIptables[];
  readonly problems: readonly string[];
}

/** iptables-restore can wait, and masquerade at random, since then. */
const MODERN_IPTABLES = [1, 6, 2];

/** Runs each tool once, with a request that changes nothing. */
export async function findTools(execute: Execute, signal: AbortSignal): Promise<FoundTools> {
  const problems: string[] = [];
  const attempt = async <T>(what: string, found: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await found();
    } catch (error) {
      signal.throwIfAborted();
      const isMissing = error instanceof HostError && error.code === 'ENOENT';
      problems.push(
        isMissing ? `${what} is not installed` : `${what} does not work: ${describeError(error)}`,
      );
      return undefined;
    }
  };
  const nftables = await attempt('nft (package nftables)', () => findNftables(execute, signal));
  const iptables = await attempt('iptables', () => findIptables(execute, problems, signal));
  return { nftables, iptables: iptables ?? [], problems };
}

async function findNftables(execute: Execute, signal: AbortSignal): Promise<FoundTool> {
  let version: unknown;
  try {
    const listed = JSON.parse(
      await execute('nft', ['-j', '-t', '-a', 'list', 'tables'], undefined, signal),
    ) as { nftables?: [{ metainfo?: { version?: unknown } }?] } | null;
    version = listed?.nftables?.[0]?.metainfo?.version;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof HostError && cause.code === 'ENOENT') throw cause;
    const text = await execute('nft', ['--version'], undefined, signal);
    const its = /v(\d+(?:\.\d+)*)/.exec(text)?.[1] ?? text.trim();
    throw new HostError('FAILED', `nft ${its} cannot list tables as JSON`, { cause });
  }
  return {
    version: typeof version === 'string' ? version : 'unknown',
    hasFullyRandom: true,
    isDefault: false,
  };
}

async function findIptables(
  execute: Execute,
  problems: string[],
  signal: AbortSignal,
): Promise<FoundIptables[]> {
  const found = new Map<FilterTool, FoundIptables>();
  let error: unknown;
  // The plain name first: it says which one this host means.
  for (const command of ['iptables', 'iptables-nft', 'iptables-legacy'] as const) {
    if (command !== 'iptables' && found.has(command)) continue;
    try {
      const text = await execute(command, ['--version'], undefined, signal);
      const [, version = '0', mode] = /v(\d+(?:\.\d+)*)(?: \((\w+)\))?/.exec(text) ?? [];
      const tool = mode === 'nf_tables' ? 'iptables-nft' : 'iptables-legacy';
      const isModern = !isOlder(version, MODERN_IPTABLES);
      if (found.has(tool) || (tool === 'iptables-legacy' && !(await mayRead(command)))) continue;
      const variant: IptablesVariant = { tool, command, canWait: isModern };
      found.set(tool, { version, hasFullyRandom: isModern, isDefault: command === 'iptables', variant });
    } catch (failure) {
      signal.throwIfAborted();
      error ??= failure;
    }
  }
  if (found.size === 0) throw error;
  return [...found.values()];

  /** Only root may read which legacy tables there are: an agent that is not says so, and does without them. */
  async function mayRead(command: string): Promise<boolean> {
    try {
      await execute(`${command}-save`, [], undefined, signal);
      return true;
    } catch (failure) {
      signal.throwIfAborted();
      if (!/permission denied/i.test(describeError(failure))) return true;
      problems.push(`iptables-legacy is not for this user: ${describeError(failure)}`);
      return false;
    }
  }
}

function isOlder(version: string, than: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  for (const [i, bound] of than.entries()) {
    const part = parts[i] ?? 0;
    if (part !== bound) return part < bound;
  }
  return false;
}

/**
 * What the agent remembers on disk for a start without etcd: the configuration, all leases as last seen, and until when ours
 * is good.
 */
import type { Lease } from './lease';
import { parseLease, printLeaseAttributes } from './lease-codec';
import type { Steps } from './steps';

export interface Memory {
  /** Where in etcd the configuration is: another network's memory is of no use. */
  readonly place: string;
  /** The text of the network configuration. */
  readonly config: string;
  /** The name of our own lease, which is one of `leases`. */
  readonly ownLease: string;
  /** When our lease ends unless it was kept alive since: wall clock, milliseconds since 1970; Infinity for a reservation. */
  readonly expiresAt: number;
  readonly leases: readonly Lease[];
}

const VERSION = 1;

/** In steps, because it is written while the agent serves. */
export function* printMemoryInSteps({ place, config, ownLease, expiresAt, leases }: Memory): Steps<string> {
  const rows: string[] = [];
  for (const { name, attributes, etcdLeaseId, createRevision } of leases) {
    yield;
    rows.push(JSON.stringify([name, printLeaseAttributes(attributes), etcdLeaseId ?? null, createRevision]));
  }
  const head = JSON.stringify({
    version: VERSION,
    place,
    config,
    ownLease,
    expiresAt: Number.isFinite(expiresAt) ? expiresAt : null,
  });
  return `${head.slice(0, -1)},"leases":[${rows.join(',')}]}`;
}

/** The inverse of {@link printMemoryInSteps}; undefined for anything else (an older version, a damaged file). */
export function parseMemory(text: string): Memory | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || value['version'] !== VERSION || !Array.isArray(value['leases'])) return undefined;
  const { place, config, ownLease, expiresAt } = value;
  if (typeof place !== 'string' || typeof config !== 'string' || typeof ownLease !== 'string')
    return undefined;
  if (expiresAt !== null && typeof expiresAt !== 'number') return undefined;
  const leases = (value['leases'] as unknown[]).flatMap(leaseOf);
  return { place, config, ownLease, expiresAt: expiresAt ?? Infinity, leases };
}

function leaseOf(row: unknown): Lease[] {
  if (!Array.isArray(row)) return [];
  const [name, value, id, created] = row as unknown[];
  if (typeof name !== 'string' || typeof value !== 'string') return [];
  const etcdLeaseId = typeof id === 'string' ? id : undefined;
  const createRevision = typeof created === 'string' && /^\d+$/.test(created) ? created : '0';
  // Older than any revision of etcd: whatever is stored there is newer.
  const parsed = parseLease({ name, value, etcdLeaseId, modRevision: '0', createRevision });
  return parsed.kind === 'lease' ? [parsed.lease] : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

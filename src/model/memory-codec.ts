/**
 * What the agent remembers on disk for a start without etcd: the configuration, all leases as last seen, and until when ours
 * is good. Another version of vtepd may read what this one wrote, an earlier one too: a field is never removed and never
 * changes its meaning, and what is new gets a field of its own, or a further element at the end of a lease's row.
 */
import type { Lease } from './lease';
import { parseLease, printLeaseAttributes } from './lease-codec';
import type { Steps } from './steps';

export interface Memory {
  /** Where in etcd the configuration is: another network's memory is of no use. Undefined where a file before v0.1.0 does not say. */
  readonly place: string | undefined;
  /** The text of the network configuration. */
  readonly config: string;
  /** The name of our own lease, which is one of `leases`. */
  readonly ownLease: string;
  /** When our lease ends unless it was kept alive since: wall clock, milliseconds since 1970; Infinity for a reservation. */
  readonly expiresAt: number;
  readonly leases: readonly Lease[];
  /** Of the host itself: what saved-host.ts reads back. Earlier versions leave it out, and take no notice of it. */
  readonly host?: object | undefined;
}

/** True for the memory of the network whose configuration is at `place`, or of one that does not say. */
export function isMemoryOf(memory: Pick<Memory, 'place'>, place: string): boolean {
  return (memory.place ?? place) === place;
}

/** Written because v0.1.0 reads no file with another one. It is not read: the fields say by themselves what they are. */
const VERSION = 1;

/** In steps, because it is written while the agent serves. */
export function* printMemoryInSteps({
  place,
  config,
  ownLease,
  expiresAt,
  leases,
  host,
}: Memory): Steps<string> {
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
    host,
  });
  return `${head.slice(0, -1)},"leases":[${rows.join(',')}]}`;
}

/**
 * The inverse of {@link printMemoryInSteps}, also for files of earlier and of later versions: fields that are not known, and
 * leases that cannot be read or are not wanted, are left out. Undefined where a field that a start needs is missing, or the file is damaged.
 */
export function parseMemory(
  text: string,
  isWanted: (name: string) => boolean = () => true,
): Memory | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || !Array.isArray(value['leases'])) return undefined;
  const { place, config, ownLease, expiresAt } = value;
  if (place !== undefined && typeof place !== 'string') return undefined;
  if (typeof config !== 'string' || typeof ownLease !== 'string') return undefined;
  if (expiresAt !== null && typeof expiresAt !== 'number') return undefined;
  const leases = (value['leases'] as unknown[]).flatMap((row) => leaseOf(row, isWanted));
  return { place, config, ownLease, expiresAt: expiresAt ?? Infinity, leases };
}

function leaseOf(row: unknown, isWanted: (name: string) => boolean): Lease[] {
  if (!Array.isArray(row)) return [];
  const [name, value, id, created] = row as unknown[];
  if (typeof name !== 'string' || typeof value !== 'string' || !isWanted(name)) return [];
  const etcdLeaseId = typeof id === 'string' ? id : undefined;
  // Not there before v0.1.0.
  const createRevision = typeof created === 'string' && /^\d+$/.test(created) ? created : '0';
  // Older than any revision of etcd: whatever is stored there is newer.
  const parsed = parseLease({ name, value, etcdLeaseId, modRevision: '0', createRevision });
  return parsed.kind === 'lease' ? [parsed.lease] : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

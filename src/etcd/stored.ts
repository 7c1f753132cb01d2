/** From etcd's key-value pairs to leases. */
import type { IEvent, IKeyValue } from 'etcd3';
import { LONGEST_VALUE, parseLease, type ParsedLease } from '../model/lease-codec';
import type { LeaseChange } from '../ports';
import type { Keys } from './keys';
import type { StoredEntry } from './range-response';

export function parseStored(
  keys: Keys,
  { key, value, lease, mod_revision, create_revision }: IKeyValue,
): ParsedLease {
  return parseEntry(keys, { key, value, lease, modRevision: mod_revision, createRevision: create_revision });
}

/** Everybody may write here: how large it is is looked at before anything else. */
export function parseEntry(keys: Keys, { key, value, lease, ...revisions }: StoredEntry): ParsedLease {
  const etcdLeaseId = lease === '0' ? undefined : lease;
  const { name, reason = reasonAgainst(value) } = keys.nameOf(key);
  if (reason !== undefined) {
    return {
      kind: 'malformed',
      malformed: { name, reason, etcdLeaseId, modRevision: revisions.modRevision },
    };
  }
  return parseLease({ name, value: value.toString(), etcdLeaseId, ...revisions });
}

export function changeOf(keys: Keys, { type, kv }: IEvent): LeaseChange {
  if (type === 'Delete') return { kind: 'removed', name: keys.nameOf(kv.key).name };
  const parsed = parseStored(keys, kv);
  return parsed.kind === 'lease' ? { kind: 'put', lease: parsed.lease } : parsed;
}

function reasonAgainst({ length }: Buffer): string | undefined {
  return length > LONGEST_VALUE
    ? `its value has ${length} bytes, and no lease more than ${LONGEST_VALUE}`
    : undefined;
}

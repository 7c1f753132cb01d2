/** From etcd's key-value pairs to leases. */
import type { IEvent, IKeyValue } from 'etcd3';
import { parseLease, type ParsedLease } from '../model/lease-codec';
import type { LeaseChange } from '../ports';
import type { Keys } from './keys';
import type { StoredText } from './range-response';

export function parseStored(
  keys: Keys,
  { key, value, lease, mod_revision, create_revision }: IKeyValue,
): ParsedLease {
  return parseText(keys, {
    key: key.toString(),
    value: value.toString(),
    lease,
    modRevision: mod_revision,
    createRevision: create_revision,
  });
}

export function parseText(keys: Keys, { key, value, lease, ...revisions }: StoredText): ParsedLease {
  const etcdLeaseId = lease === '0' ? undefined : lease;
  return parseLease({ name: keys.nameOf(key), value, etcdLeaseId, ...revisions });
}

export function changeOf(keys: Keys, { type, kv }: IEvent): LeaseChange {
  if (type === 'Delete') return { kind: 'removed', name: keys.nameOf(kv.key.toString()) };
  const parsed = parseStored(keys, kv);
  return parsed.kind === 'lease' ? { kind: 'put', lease: parsed.lease } : parsed;
}

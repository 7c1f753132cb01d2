/** How the keys below `<prefix>/subnets` are followed: as leases. */
import type { LeaseChange, LeaseSnapshot } from '../ports';
import type { PrefixCodec } from './follower';

export const LEASE_PREFIX_CODEC: PrefixCodec<LeaseSnapshot, LeaseChange> = {
  noun: 'leases',
  failure: 'cannot read leases from etcd; peers stay as they are',
  changesOf: ({ leases, malformed }) => [
    ...leases.map((lease) => ({ kind: 'put' as const, lease })),
    ...malformed.map((each) => ({ kind: 'malformed' as const, malformed: each })),
  ],
  nameOf: (change) => {
    switch (change.kind) {
      case 'put':
        return change.lease.name;
      case 'malformed':
        return change.malformed.name;
      case 'removed':
        return change.name;
    }
  },
  removalOf: (name) => ({ kind: 'removed', name }),
};

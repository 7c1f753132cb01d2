/** Options about peers. */
import type { ExplicitKeys, Topic, ValuesOf } from './option';
import { oneOf, readInteger } from './values';

export const peers = {
  title: 'How peers get into the kernel',
  options: {
    resolve: {
      name: 'resolve',
      placeholder: 'MODE',
      fallback: 'preload',
      ...oneOf('preload', 'on-demand'),
      help: '`preload`: all peers at once, and no packet waits. `on-demand`: each when the kernel asks for it.',
    },
    idleTimeoutSeconds: {
      name: 'idle-timeout',
      placeholder: 'SECONDS',
      fallback: '300',
      read: readInteger(1, 86_400, 'seconds'),
      help: 'With `--resolve=on-demand`: a peer that was not used for so long is dropped again.',
    },
    /** 0: a peer goes with its lease. */
    peerGraceSeconds: {
      name: 'peer-grace',
      placeholder: 'SECONDS',
      fallback: '3600',
      read: readInteger(0, 604_800, 'seconds'),
      help:
        'A peer whose lease expired stays reachable for so long, unless somebody else leases its subnet: it may be cut off ' +
        'from etcd, but not from us. After a restart the agent knows such a peer from its state file, and the time begins again. ' +
        'One whose key was deleted goes after two seconds, as do all with 0.',
    },
  },
} satisfies Topic;

export type PeersValues = ValuesOf<typeof peers.options>;

/** When peers are written to the kernel, and for how long they stay. */
export function peerSettings({ resolve, idleTimeoutSeconds, peerGraceSeconds }: PeersValues) {
  return {
    resolve:
      resolve === 'preload'
        ? ({ kind: 'preload' } as const)
        : ({ kind: 'on-demand', idleMilliseconds: idleTimeoutSeconds * 1000 } as const),
    peerGraceMilliseconds: peerGraceSeconds * 1000,
  };
}

/** A sentence for each option that has no effect with the others as they are. */
export function ineffectivePeersOptions({ resolve }: PeersValues, explicit: ExplicitKeys): string[] {
  if (!explicit.has('idleTimeoutSeconds') || resolve === 'on-demand') return [];
  return ['--idle-timeout has no effect without --resolve=on-demand'];
}

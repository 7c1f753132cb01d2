/** Options about this host: its files, and its lease. */
import type { Topic, ValuesOf } from './option';
import { oneOf, readInteger, readOptionalPath, readText } from './values';

export const host = {
  title: 'This host',
  options: {
    /** Undefined: no file is read. */
    configFile: {
      name: 'config-file',
      placeholder: 'FILE',
      fallback: '/etc/vtepd/vtepd.conf',
      read: readText,
      notInFile: true,
      help:
        'These options in a file, one `name=value` a line; variables and the command line win over it. Empty: no file is ' +
        'read. Only one that is named here must be there.',
    },
    subnetFile: {
      name: 'subnet-file',
      placeholder: 'FILE',
      fallback: '/run/flannel/subnet.env',
      read: readOptionalPath,
      since: '0.1.0',
      help:
        'Where Docker and others learn of our subnet; at start, where we learn which one we had. Lines of others in it stay. Empty: ' +
        'no such file.',
    },
    renewMarginMinutes: {
      name: 'subnet-lease-renew-margin',
      placeholder: 'MINUTES',
      fallback: '60',
      read: readInteger(1, 1439, 'minutes'),
      since: '0.7.0',
      help: 'So long before our lease of 24 hours ends it has been renewed.',
    },
    subnetLost: {
      name: 'subnet-lost',
      placeholder: 'WHAT',
      fallback: 'renumber',
      ...oneOf('renumber', 'stop'),
      help: 'If another host leased our subnet while we were cut off from etcd: take another one (`renumber`), or end with exit code 3 and leave everything as it is (`stop`).',
    },
    /** Undefined: nothing is remembered for a start without etcd. */
    stateFile: {
      name: 'state-file',
      placeholder: 'FILE',
      fallback: '/var/lib/vtepd/state.json',
      read: readText,
      help:
        'What was last seen in etcd, for a start while etcd is away: after a reboot the overlay is there without it. Empty: ' +
        'nothing is remembered, and a start waits for etcd. By default, another `--etcd-prefix` has a file of its own beside it.',
    },
  },
} satisfies Topic;

export type HostValues = ValuesOf<typeof host.options>;

/** The files that the agent writes. */
export function fileSettings({ subnetFile, stateFile }: HostValues) {
  return { subnetFile, memoryFile: stateFile };
}

/** What the agent does with its lease. */
export function leaseSettings({ renewMarginMinutes, subnetLost }: HostValues) {
  return { renewMarginSeconds: renewMarginMinutes * 60, mayRenumber: subnetLost === 'renumber' };
}

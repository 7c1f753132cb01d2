/** How `vtepd status` and the running agent find each other: a socket for each process, named by its network namespace too. */

/** What may be asked, a line. */
export type ControlQuestion = 'status' | 'peers';

export const CONTROL_DIRECTORY = '/run/vtepd';

/** Two hosts in one mount namespace (containers, tests) have sockets of their own: `namespace` is the inode of /proc/self/ns/net. */
export function printSocketName(namespace: bigint, processId: number): string {
  return `${namespace}-${processId}.sock`;
}

/** The number in the name of a socket of that namespace, as a rule its process ID; undefined for any other name. */
export function parseSocketName(namespace: bigint, name: string): number | undefined {
  const match = /^(\d+)-(\d+)\.sock$/.exec(name);
  return match?.[1] === String(namespace) ? Number(match[2]) : undefined;
}

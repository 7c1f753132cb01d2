/** nf_tables of another network namespace: each datagram is sent by a process that was started in there. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Nfnetlink } from '../../src/kernel/nftables/nfnetlink';
import type { Namespace } from './lab/namespace';

const PROGRAM = join(__dirname, 'nfnetlink-datagram.cjs');

export function nfnetlinkIn(namespace: Namespace): Nfnetlink {
  let answers: Buffer | undefined;
  return new Nfnetlink({
    portId: 0,
    send: (messages) => {
      const args = [`--net=${namespace.path}`, process.execPath, PROGRAM];
      const { status, stdout, stderr } = spawnSync('nsenter', args, { input: messages });
      if (status !== 0) throw new Error(stderr.toString());
      answers = stdout;
    },
    receive: () => {
      if (answers === undefined) throw Object.assign(new Error('no answer'), { code: 'EAGAIN' });
      const all = answers;
      answers = undefined;
      return all;
    },
    interfaceIndex: () => 0,
    close: () => undefined,
  });
}

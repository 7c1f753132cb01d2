/** Opens both kinds of socket and an answerer, and ends, in the manner of its argument. Whatever hangs runs into the caller's timeout. */
import { openAnswerer, openMonitor, openRequestSocket } from '../../../native';
import { RTNLGRP_NEIGH, putNeighbor } from '../support/messages';
import { addLink } from '../support/namespace';

const index = addLink('vn-ending');
const manner = process.argv[2] ?? '';
const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 4096, timeoutMilliseconds: 0 });
const answerer = openAnswerer('vn-ending');
let calls = 0;

const monitor = openMonitor({ protocol: 0, groups: [RTNLGRP_NEIGH], receiveBufferBytes: 1 << 20 }, () => {
  calls++;
  if (manner === 'exit-in-callback') process.exit(0);
  if (manner !== 'ref') return;
  console.log(JSON.stringify({ calls }));
  monitor.close();
});

const change = (): void => socket.send(putNeighbor(index, 1, 1));

switch (manner) {
  case 'closed':
    socket.close();
    monitor.close();
    answerer.close();
    break;
  case 'unref':
    monitor.unref();
    change();
    break;
  case 'exit-in-callback':
    change();
    break;
  case 'forgotten':
    // The object may be collected; the monitor is none the worse, and process.exit ends it.
    setTimeout(() => {
      globalThis.gc?.();
      change();
      setTimeout(() => process.exit(calls > 0 ? 0 : 1), 100);
    }, 10);
    break;
  case 'ref': {
    // The change comes from another process, a while after this one has nothing left to do.
    monitor.unref();
    monitor.ref();
    socket.close();
    void import('node:child_process').then(({ spawn }) => {
      const command = 'sleep 0.3; exec ip neigh replace 10.0.0.1 lladdr 02:00:00:00:00:09 dev vn-ending';
      spawn('sh', ['-c', command], { stdio: 'ignore' }).unref();
    });
    break;
  }
}

/** Throws in each call of a monitor's callback. With `uncaught`, nobody listens for that. */
import { openMonitor, openRequestSocket } from '../../../native';
import { RTNLGRP_NEIGH, putNeighbor } from '../support/messages';
import { addLink } from '../support/namespace';

const index = addLink('vn-throwing');
const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 4096, timeoutMilliseconds: 0 });
let calls = 0;
let caught = 0;
let ticks = 0;

function change(): void {
  socket.send(Buffer.concat(Array.from({ length: 2000 }, (_, i) => putNeighbor(index, 1, i))));
}

// Each change gives two calls, one with messages and one for the overrun: the second must follow in spite of the first's exception.
const monitor = openMonitor(
  { protocol: 0, groups: [RTNLGRP_NEIGH], receiveBufferBytes: 4096 },
  (_, overrun) => {
    calls++;
    process.nextTick(() => ticks++);
    if (calls === 2) setImmediate(change);
    if (calls === 4) {
      monitor.close();
      setTimeout(() => console.log(JSON.stringify({ caught, calls, ticks })), 100);
    }
    throw new Error(`thrown by the callback, ${overrun ? 'overrun' : 'messages'}`);
  },
);
if (process.argv[2] !== 'uncaught') process.on('uncaughtException', () => caught++);
change();

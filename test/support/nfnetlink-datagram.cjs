/** Sends the datagram that is its standard input to nf_tables of the network namespace it was started in, and prints the answers. */
'use strict';
const { readFileSync } = require('node:fs');
const { openRequestSocket } = require('../../native');

const NETLINK_NETFILTER = 12;
// The kernel has answered when send() returns: what is not there then does not come.
const socket = openRequestSocket({
  protocol: NETLINK_NETFILTER,
  receiveBufferBytes: 4 << 20,
  timeoutMilliseconds: 10,
});
socket.send(readFileSync(0));
try {
  for (;;) process.stdout.write(socket.receive());
} catch (error) {
  if (error.code !== 'EAGAIN') throw error;
}

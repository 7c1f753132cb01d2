/**
 * Changes neighbors as fast as it can, so that the kernel notifies of each: `flooder INTERFACE_INDEX COUNT`. The generations it
 * writes are 1 … COUNT; the last is repeated nowhere.
 */
import { openRequestSocket } from '../../../native';
import { GENERATION_OFFSET, putNeighbor } from '../support/messages';

const BATCH = 2000;
const [index = 0, count = 0] = process.argv.slice(2).map(Number);
const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 1 << 20, timeoutMilliseconds: 0 });
const one = putNeighbor(index, 1, 0);
const batch = Buffer.concat(new Array<Buffer>(BATCH).fill(one));
for (let generation = 1; generation <= count;) {
  const length = Math.min(BATCH, count - generation + 1);
  for (let i = 0; i < length; i++) batch.writeUInt32BE(generation++, i * one.length + GENERATION_OFFSET);
  socket.send(batch.subarray(0, length * one.length));
}
socket.close();

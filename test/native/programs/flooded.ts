/**
 * Listens while another process changes neighbors as fast as it can: `flooded COUNT RECEIVE_BUFFER_BYTES`, and `unread` to stand still
 * until that process has ended. Prints how many notifications came, in how many calls (and how many between two turns of the event
 * loop), with how many overruns, and how memory grew. Ends when it hears of a last change, made after the flood.
 */
import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { openMonitor, openRequestSocket } from '../../../native';
import { RTNLGRP_NEIGH, generationOf, messagesOf, putNeighbor } from '../support/messages';
import { addLink } from '../support/namespace';

const [count = 0, receiveBufferBytes = 0] = process.argv.slice(2, 4).map(Number);
const isUnread = process.argv[4] === 'unread';
const index = addLink('vn-flooded');
const seen = {
  received: 0,
  calls: 0,
  overruns: 0,
  outOfOrder: 0,
  largestCall: 0,
  mostCallsInATurn: 0,
  residentGrowth: 0,
};
let last = 0;
let lost = 0;
let residentAtFirst = 0;
let callsInThisTurn = 0;

const monitor = openMonitor({ protocol: 0, groups: [RTNLGRP_NEIGH], receiveBufferBytes }, (buffer) => {
  seen.mostCallsInATurn = Math.max(seen.mostCallsInATurn, ++callsInThisTurn);
  setImmediate(() => (callsInThisTurn = 0));
  if (buffer === null) {
    seen.overruns++;
    return;
  }
  seen.calls++;
  seen.largestCall = Math.max(seen.largestCall, buffer.length);
  for (const message of messagesOf(buffer)) {
    const generation = generationOf(message);
    if (generation <= last && generation < count) seen.outOfOrder++;
    lost += Math.max(0, generation - last - 1);
    last = generation;
    seen.received++;
  }
  if (last === count + 1) finish();
});

const memory = setInterval(() => {
  const resident = process.memoryUsage.rss();
  // From when code and buffers have been used for the first time.
  if (seen.calls > 20) residentAtFirst ||= resident;
  if (residentAtFirst) seen.residentGrowth = Math.max(seen.residentGrowth, resident - residentAtFirst);
}, 1);

function finish(): void {
  clearInterval(memory);
  monitor.close();
  console.log(JSON.stringify({ ...seen, lost }));
}

function endFlood(): void {
  const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 4096, timeoutMilliseconds: 0 });
  // With its queue still full, the kernel may drop even the last one: repeat it until it was heard.
  const repeat = setInterval(() => {
    if (last === count + 1) {
      clearInterval(repeat);
      socket.close();
    } else {
      socket.send(Buffer.concat([putNeighbor(index, 1, count), putNeighbor(index, 1, count + 1)]));
    }
  }, 10);
}

const program = path.join(__dirname, 'flooder.ts');
const args = ['--import', 'tsx', program, String(index), String(count)];
if (isUnread) {
  spawnSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  endFlood();
} else {
  spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] }).once('exit', endFlood);
}

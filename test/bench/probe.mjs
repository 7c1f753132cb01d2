/**
 * Runs in a host's network namespace and notes when the kernel tells of a miss, a neighbor, an FDB entry or a route. On each
 * line of standard input it prints what it has noted, as one line of JSON: [[nanoseconds, kind, key], …], and forgets it.
 * Times are CLOCK_MONOTONIC, the same for all processes of the machine, when the notification was read.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { openMonitor } = createRequire(import.meta.url)('../../native');

const RTNLGRP_NEIGH = 3;
const RTNLGRP_IPV4_ROUTE = 7;
const KINDS = { 24: 'route', 25: 'route-gone', 28: 'neighbor', 29: 'neighbor-gone', 30: 'miss' };
const AF_BRIDGE = 7;
const NUD_FAILED = 0x20;

let events = [];
let overruns = 0;

function attribute(message, wanted) {
  for (let at = 28; at + 4 <= message.length;) {
    const length = message.readUInt16LE(at);
    if (length < 4) return undefined;
    if (message.readUInt16LE(at + 2) === wanted) return message.subarray(at + 4, at + length);
    at += (length + 3) & ~3;
  }
  return undefined;
}

function note(now, message) {
  const kind = KINDS[message.readUInt16LE(4)];
  if (kind === undefined || message.length < 28) return;
  const destination = attribute(message, 1)?.join('.');
  if (kind.startsWith('route')) return void events.push([now, kind, destination ?? 'default']);
  const isFdb = message[16] === AF_BRIDGE;
  const key = isFdb || destination === undefined ? attribute(message, 2)?.toString('hex') : destination;
  const name = isFdb ? kind.replace('neighbor', 'fdb') : kind;
  const isFailed = kind === 'neighbor' && (message.readUInt16LE(24) & NUD_FAILED) !== 0;
  events.push([now, isFailed ? 'failed' : name, key]);
}

openMonitor(
  {
    protocol: 0,
    groups: [RTNLGRP_NEIGH, RTNLGRP_IPV4_ROUTE],
    receiveBufferBytes: 64 << 20,
  },
  (messages, overrun) => {
    const now = Number(process.hrtime.bigint());
    if (overrun) overruns++;
    if (!messages) return;
    for (let at = 0; at + 16 <= messages.length;) {
      const length = messages.readUInt32LE(at);
      note(now, messages.subarray(at, at + length));
      at += (length + 3) & ~3;
    }
  },
);
createInterface({ input: process.stdin }).on('line', () => {
  process.stdout.write(JSON.stringify({ events, overruns }) + '\n');
  events = [];
  overruns = 0;
});
process.stdin.on('end', () => process.exit(0));
process.stdout.write('ready\n');

/**
 * stream-receiver.mjs PORT: prints "listening", takes numbered packets until a line `SENT PATIENCE` arrives on standard input
 * and all SENT packets are there (or none came for PATIENCE milliseconds), then prints what arrived, as JSON.
 */
import { readFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { hrtime } from 'node:process';
import { clearInterval, setImmediate, setInterval } from 'node:timers';
import { createInterface } from 'node:readline';

const port = Number(process.argv[2]);
const seen = [];
let received = 0;
let duplicates = 0;
let reordered = 0;
let highest = -1;
let lastArrival;
let longestSilence = 0;
let slowest = 0;
let expected;

const socket = createSocket({ type: 'udp4', recvBufferSize: 8 << 20 });
socket.on('message', (packet) => {
  const now = hrtime.bigint();
  const number = packet.readUInt32BE(0);
  slowest = Math.max(slowest, Number(now - packet.readBigUInt64BE(4)) / 1e6);
  if (lastArrival !== undefined) longestSilence = Math.max(longestSilence, Number(now - lastArrival) / 1e6);
  lastArrival = now;
  if (seen[number]) return void duplicates++;
  seen[number] = true;
  received++;
  if (number < highest) reordered++;
  else highest = number;
});
socket.bind(port, () => console.log('listening'));

createInterface({ input: process.stdin }).on('line', (line) => {
  const [sent, patience] = line.split(' ').map(Number);
  expected = sent;
  const asked = hrtime.bigint();
  const isOver = () => {
    const since = lastArrival !== undefined && lastArrival > asked ? lastArrival : asked;
    return received >= expected || hrtime.bigint() - since >= BigInt(patience) * 1_000_000n;
  };
  const timer = setInterval(() => {
    if (!isOver()) return;
    // Where it was this process that stood still, the packets wait in its socket: they are read before this is asked again.
    setImmediate(() => {
      if (!isOver() || expected === undefined) return;
      clearInterval(timer);
      report();
      expected = undefined;
    });
  }, 5);
});

function report() {
  const gaps = [];
  for (let number = 0; number < expected; number++) {
    if (seen[number]) continue;
    const last = gaps.at(-1);
    if (last && last.from + last.count === number) last.count++;
    else gaps.push({ from: number, count: 1 });
  }
  console.log(
    JSON.stringify({
      received,
      duplicates,
      reordered,
      gaps,
      longestSilenceMilliseconds: longestSilence,
      slowestMilliseconds: slowest,
      droppedByReceiver: droppedBySocket(),
    }),
  );
  socket.close();
  process.stdin.destroy();
}

/** Packets that reached this host but found our socket's buffer full: our own fault, not the network's. */
function droppedBySocket() {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const row = readFileSync('/proc/self/net/udp', 'utf8')
    .split('\n')
    .find((line) => line.trim().split(/\s+/)[1]?.endsWith(wanted));
  return Number(row?.trim().split(/\s+/).at(-1) ?? 0);
}

/**
 * stream-sender.mjs ADDRESS PORT RATE: sends at most RATE numbered UDP packets a second, and prints "sending" after the first.
 * Then it obeys lines of its standard input, and ends with it:
 *
 *     sends COUNT   prints "sent" once COUNT more packets were sent
 *     end FROM TO   sends no more, prints {"sent":…,"failed":…,"sentMeanwhile":…,"longestPauseMilliseconds":…} and ends; the
 *                   last two of the time between two instants on the monotonic clock, in nanoseconds
 */
import { Buffer } from 'node:buffer';
import { createSocket } from 'node:dgram';
import { exit, hrtime } from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers';

/** A timer is a little late as a rule. What is due for longer than this is not sent any more: it would be sent at a wrong time. */
const MOST_LATE_NANOSECONDS = 5_000_000n;

const [address, port, rate] = process.argv.slice(2);
const apart = BigInt(Math.round(1e9 / Number(rate)));
const socket = createSocket('udp4');
/** When each packet was sent. */
const times = [];
let failed = 0;
let due;
let awaited = Infinity;
let ending = false;

// Errors of a connected socket (host unreachable) count as packets that got lost: they were due.
socket.on('error', () => failed++);
socket.connect(Number(port), address, () => {
  due = hrtime.bigint();
  tick();
  console.log('sending');
});

function tick() {
  if (ending) return;
  const now = hrtime.bigint();
  if (now - due > MOST_LATE_NANOSECONDS) due = now - MOST_LATE_NANOSECONDS;
  for (; due <= now; due += apart) send();
  if (times.length >= awaited) {
    awaited = Infinity;
    console.log('sent');
  }
  setTimeout(tick, 1);
}

function send() {
  const now = hrtime.bigint();
  const packet = Buffer.alloc(64);
  packet.writeUInt32BE(times.length, 0);
  packet.writeBigUInt64BE(now, 4);
  times.push(now);
  socket.send(packet, (error) => {
    if (error) failed++;
  });
}

function finish(from, to) {
  ending = true;
  const meanwhile = times.filter((time) => time >= from && time <= to);
  let longest = 0n;
  let last = from;
  for (const time of [...meanwhile, to]) {
    if (time - last > longest) longest = time - last;
    last = time;
  }
  const report = {
    sent: times.length,
    failed,
    sentMeanwhile: meanwhile.length,
    longestPauseMilliseconds: Number(longest) / 1e6,
  };
  console.log(JSON.stringify(report));
  socket.close();
  process.stdin.destroy();
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [word, ...numbers] = line.split(' ');
    if (word === 'sends') awaited = times.length + Number(numbers[0]);
    else finish(...numbers.map(BigInt));
  })
  .on('close', () => exit());

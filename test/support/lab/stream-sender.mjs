/**
 * stream-sender.mjs ADDRESS PORT RATE: sends RATE numbered UDP packets a second, printing "sending" after the first, until its
 * standard input ends, then prints
 * {"sent":…,"latestMilliseconds":…}: how many, and by how much the latest of them was behind its time. A line on standard input
 * asks how many it has sent so far, and the number is printed.
 */
import { Buffer } from 'node:buffer';
import { createSocket } from 'node:dgram';
import { hrtime } from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers';

const [address, port, rate] = process.argv.slice(2);
const nanosecondsApart = 1e9 / Number(rate);
const socket = createSocket('udp4');
let sent = 0;
let failed = 0;
let latest = 0;
let ending = false;

// Errors of a connected socket (host unreachable) count as packets that got lost: they were due.
socket.on('error', () => failed++);
socket.connect(Number(port), address, () => {
  const begin = hrtime.bigint();
  const tick = () => {
    if (ending) return finish();
    // However late the timer is, every packet that is due goes out now: the numbers stay exact.
    const elapsed = Number(hrtime.bigint() - begin);
    latest = Math.max(latest, elapsed - sent * nanosecondsApart);
    while (sent * nanosecondsApart <= elapsed) send(sent++);
    setTimeout(tick, 1);
  };
  tick();
  console.log('sending');
});

function send(number) {
  const packet = Buffer.alloc(64);
  packet.writeUInt32BE(number, 0);
  packet.writeBigUInt64BE(hrtime.bigint(), 4);
  socket.send(packet, (error) => {
    if (error) failed++;
  });
}

function finish() {
  console.log(JSON.stringify({ sent, failed, latestMilliseconds: latest / 1e6 }));
  socket.close();
}

createInterface({ input: process.stdin })
  .on('line', () => console.log(sent))
  .on('close', () => (ending = true));

/**
 * burst-sender.mjs PORT: reads lines `ADDRESS NUMBER`, then sends one numbered packet to each address, all as fast as it can,
 * and prints {"sent":…,"failed":…,"milliseconds":…}. The packets are those of stream-sender.mjs.
 */
import { Buffer } from 'node:buffer';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { hrtime } from 'node:process';

const port = Number(process.argv[2]);
const targets = readFileSync(0, 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split(' '));
// No name is looked up: these are addresses, and a burst must not wait for anything.
const socket = createSocket({
  type: 'udp4',
  lookup: (address, _, done) => done(null, address, 4),
  sendBufferSize: 8 << 20,
});
let left = targets.length;
let failed = 0;

socket.bind(0, () => {
  const begin = hrtime.bigint();
  for (const [address, number] of targets) {
    const packet = Buffer.alloc(64);
    packet.writeUInt32BE(Number(number), 0);
    packet.writeBigUInt64BE(hrtime.bigint(), 4);
    socket.send(packet, port, address, (error) => {
      if (error) failed++;
      if (--left > 0) return;
      const milliseconds = Number(hrtime.bigint() - begin) / 1e6;
      console.log(JSON.stringify({ sent: targets.length, failed, milliseconds }));
      socket.close();
    });
  }
});

/**
 * Runs in a host's network namespace and sends UDP packets of one byte. Each line of standard input is JSON:
 * {"addresses": [...], "perSecond": N}; 0 means as fast as it goes. The answer is one line: how many were sent.
 */
import { createSocket } from 'node:dgram';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createInterface } from 'node:readline';

const socket = createSocket('udp4');
// An address that nobody has is told to the socket; it is no error of ours.
socket.on('error', () => undefined);
await new Promise((resolve) => socket.bind(0, resolve));
process.stdout.write('ready\n');

const send = (address) => new Promise((resolve) => socket.send('x', 9, address, () => resolve()));

for await (const line of createInterface({ input: process.stdin })) {
  const { addresses, perSecond } = JSON.parse(line);
  const start = performance.now();
  for (const [index, address] of addresses.entries()) {
    if (perSecond > 0) {
      const due = start + (index * 1000) / perSecond;
      const wait = due - performance.now();
      if (wait > 0.5) await sleep(wait);
    }
    await send(address);
  }
  process.stdout.write(
    JSON.stringify({ sent: addresses.length, milliseconds: performance.now() - start }) + '\n',
  );
}
process.exit(0);

/**
 * Sends back each UDP packet that it gets on the loopback. Each line of standard input is JSON, and answered by one: {} by its port;
 * {"port": P, "times": N, "perSecond": R} by the milliseconds that as many packets took to the echo on that port and back.
 */
import { createSocket } from 'node:dgram';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createInterface } from 'node:readline';

const echo = createSocket('udp4').on('message', (message, { port, address }) =>
  echo.send(message, port, address),
);
await new Promise((resolve) => echo.bind(0, '127.0.0.1', resolve));
process.stdout.write('ready\n');

async function timesTo(port, times, perSecond) {
  const socket = createSocket('udp4');
  const milliseconds = [];
  const start = performance.now();
  for (let index = 0; index < times; index++) {
    const wait = start + (index * 1000) / perSecond - performance.now();
    if (wait > 0.5) await sleep(wait);
    const sent = performance.now();
    const answered = new Promise((resolve) => socket.once('message', resolve));
    socket.send('x', port, '127.0.0.1');
    await answered;
    milliseconds.push(performance.now() - sent);
  }
  socket.close();
  return milliseconds;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { port, times, perSecond } = JSON.parse(line);
  const answer = port === undefined ? { port: echo.address().port } : await timesTo(port, times, perSecond);
  process.stdout.write(JSON.stringify(answer) + '\n');
}
process.exit(0);

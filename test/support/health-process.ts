/**
 * A health server in a process of its own: `tsx` runs it. It prints its port; at the line `exhaust` it takes all file descriptors that
 * are left, at `free` it closes them again, and it ends with its input.
 */
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { startHealthServer } from '../../src/host/health';
import { ipAddress } from '../../src/model/address';

const files: number[] = [];

function exhaust(): void {
  try {
    for (;;) files.push(openSync('/dev/null', 'r'));
  } catch (error) {
    console.log((error as NodeJS.ErrnoException).code);
  }
}

function free(): void {
  for (const file of files.splice(0)) closeSync(file);
  console.log('free');
}

async function main(): Promise<void> {
  const none = { clock: { now: () => 0 }, live: () => [], ready: () => [] };
  const server = await startHealthServer({ address: ipAddress('127.0.0.1'), port: 0, ...none });
  console.log(server.port);
  const lines = createInterface(process.stdin);
  lines.on('line', (line) => (line === 'exhaust' ? exhaust() : free()));
  lines.once('close', () => void server.close());
}

void main();

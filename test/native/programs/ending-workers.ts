/** Ends worker threads that have monitors, request sockets and answerers open, in all manners, while their callbacks are being called. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { openRequestSocket } from '../../../native';
import { RTNLGRP_NEIGH, putNeighbor } from '../support/messages';
import { addLink } from '../support/namespace';

const WORKERS = 60;
const MANNERS = ['terminate', 'terminate-busy', 'exit-in-callback', 'throw', 'closed'] as const;
const index = addLink('vn-workers');
const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 4096, timeoutMilliseconds: 0 });
const changes = Buffer.concat(Array.from({ length: 500 }, (_, i) => putNeighbor(index, 1, i)));

const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { openAnswerer, openMonitor, openRequestSocket } = require(workerData.native);
  const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 65536, timeoutMilliseconds: 0 });
  const answerer = openAnswerer('vn-workers');
  answerer.put(Uint8Array.of(10, 0, 0, 0, 24, 0, 2, 0, 0, 0, 0, 2, 192, 168, 0, 2));
  const options = { protocol: 0, groups: [workerData.group], receiveBufferBytes: 16384 };
  let calls = 0;
  const monitors = Array.from({ length: 3 }, () => openMonitor(options, () => {
    if (++calls === 4) parentPort.postMessage('busy');
    if (calls < 4) return;
    if (workerData.manner === 'exit-in-callback') process.exit(0);
    if (workerData.manner === 'throw') throw new Error('thrown by the callback');
    if (workerData.manner === 'terminate-busy') for (;;) ;
    if (workerData.manner === 'closed') { for (const monitor of monitors) monitor.close(); socket.close(); answerer.close(); }
  }));
`;

/** Of our own kind: Node closes descriptors of its own when it likes. */
function openDescriptors(): number {
  const netlink = readFileSync('/proc/self/net/netlink', 'utf8').split('\n').slice(1);
  const inodes = new Set(netlink.map((line) => `socket:[${line.trim().split(/\s+/).at(-1)}]`));
  return readdirSync('/proc/self/fd').filter((descriptor) => {
    try {
      return inodes.has(readlinkSync(`/proc/self/fd/${descriptor}`));
    } catch {
      // The one by which the directory was read.
      return false;
    }
  }).length;
}

async function endWorker(manner: (typeof MANNERS)[number]): Promise<void> {
  const workerData = { native: path.join(__dirname, '../../../native'), group: RTNLGRP_NEIGH, manner };
  const worker = new Worker(WORKER, { eval: true, execArgv: [], workerData });
  const flood = setInterval(() => socket.send(changes), 1);
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  worker.on('error', (error) => {
    if (manner !== 'throw' || !error.message.includes('thrown by the callback')) throw error;
  });
  worker.on('message', () => {
    if (manner.startsWith('terminate')) void worker.terminate();
  });
  await exit;
  clearInterval(flood);
}

async function main(): Promise<void> {
  // The first worker makes Node open what it keeps.
  await endWorker('closed');
  const before = openDescriptors();
  for (let i = 0; i < WORKERS; i++) await endWorker(MANNERS[i % MANNERS.length] ?? 'closed');
  console.log(JSON.stringify({ workers: WORKERS, leakedDescriptors: openDescriptors() - before }));
  socket.close();
}

void main();

/**
 * Opens and closes sockets and answerers, thousands of them, with messages waiting and without, and forgets some altogether. Prints how
 * many descriptors are left and how memory grew after the first rounds.
 */
import { readdirSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openAnswerer, openMonitor, openRequestSocket } from '../../../native';
import { NLM_F_ACK, RTNLGRP_NEIGH, getLink, putNeighbor } from '../support/messages';
import { addLink } from '../support/namespace';

const ROUNDS = 100;
const ROUNDS_TO_WARM_UP = 20;
const PER_ROUND = 50;
const index = addLink('vn-churn');
const changer = openRequestSocket({ protocol: 0, receiveBufferBytes: 4096, timeoutMilliseconds: 0 });
const changes = Buffer.concat(Array.from({ length: 100 }, (_, i) => putNeighbor(index, 1, i)));
const RECORD = Uint8Array.of(10, 0, 0, 0, 24, 0, 2, 0, 0, 0, 0, 2, 192, 168, 0, 2);
let opened = 0;

function openMany(): void {
  for (let i = 0; i < PER_ROUND; i++, opened += 2) {
    const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 1 << 20, timeoutMilliseconds: 100 });
    socket.send(getLink(1, NLM_F_ACK));
    socket.receive();
    // Every fifth is left to the garbage collector.
    if (i % 5 !== 0) socket.close();
    const monitor = openMonitor({ protocol: 0, groups: [RTNLGRP_NEIGH], receiveBufferBytes: 8192 }, () =>
      monitor.close(),
    );
    if (i % 2 === 0) monitor.close();
    const answerer = openAnswerer('vn-churn');
    answerer.put(RECORD);
    if (i % 5 !== 0) answerer.close();
  }
}

function failMany(): void {
  for (let i = 0; i < PER_ROUND; i++) {
    for (const options of [
      { protocol: 31, groups: [] },
      { protocol: 0, groups: [1, 5000] },
      { protocol: 0, groups: [1], filter: [] },
      { protocol: 0, groups: [1, 2, -1] },
    ]) {
      try {
        openMonitor({ ...options, receiveBufferBytes: 4096 }, () => undefined).close();
        throw new Error('it opened');
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error)) throw error;
      }
    }
  }
}

/** Descriptors and resident bytes, when all garbage has been collected and all handles have closed. */
async function measure(): Promise<{ descriptors: number; resident: number }> {
  for (let turn = 0; turn < 10; turn++) {
    globalThis.gc?.();
    await nextTurn();
  }
  return { descriptors: readdirSync('/proc/self/fd').length, resident: process.memoryUsage.rss() };
}

async function churn(rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    openMany();
    failMany();
    changer.send(changes);
    await measure();
  }
}

async function main(): Promise<void> {
  await churn(ROUNDS_TO_WARM_UP);
  const before = await measure();
  await churn(ROUNDS);
  const after = await measure();
  console.log(
    JSON.stringify({
      opened,
      leakedDescriptors: after.descriptors - before.descriptors,
      residentGrowth: after.resident - before.resident,
    }),
  );
  changer.close();
}

void main();

/**
 * onlooker-program.ts LINK NETWORK: prints "ready", then answers questions, one JSON object a line: see onlooker.ts.
 *
 * It looks at the kernel of the namespace it runs in by the real adapter, again and again while it is armed, and notes from
 * when until when what it sees differs from what it should see.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKernel } from '../../src/kernel/linux-kernel';
import { subnet } from '../../src/model/address';
import { printKernelObject } from '../../src/model/kernel-state';
import type { Look, Question } from './onlooker';

/** Between two looks; a look itself takes about one. */
const PAUSE_MILLISECONDS = 2;

const [link, network] = process.argv.slice(2) as [string, string];
const kernel = openKernel();
const scope = { link, networks: [subnet(network)] };
const forever = new AbortController().signal;

let armed = 0;
let look: Look;

async function see(): Promise<string[]> {
  return [...(await kernel.observe(scope, forever)).values()].map(printKernelObject).sort();
}

async function watch(expected: readonly string[]): Promise<void> {
  const round = ++armed;
  const wanted = new Set(expected);
  let lastGood = performance.now();
  let lastLook = lastGood;
  look = {
    good: true,
    damagedSince: undefined,
    repairedAt: undefined,
    looks: 0,
    longestGap: 0,
    missing: [],
    surplus: [],
  };
  while (armed === round) {
    const seen = await see().catch((error: unknown) => [String(error)]);
    const now = performance.now();
    const missing = expected.filter((object) => !seen.includes(object));
    const surplus = seen.filter((object) => !wanted.has(object));
    const good = missing.length + surplus.length === 0;
    let { damagedSince, repairedAt } = look;
    const longestGap = look.looks === 0 ? 0 : Math.max(look.longestGap, now - lastLook);
    lastLook = now;
    if (!good && damagedSince === undefined) damagedSince = lastGood;
    if (good && !look.good) repairedAt = now;
    if (good) lastGood = now;
    look = { good, damagedSince, repairedAt, looks: look.looks + 1, longestGap, missing, surplus };
    await sleep(PAUSE_MILLISECONDS);
  }
}

async function answer(question: Question): Promise<unknown> {
  switch (question.do) {
    case 'see':
      return see();
    case 'arm':
      void watch(question.expected);
      return true;
    case 'tell':
      return look;
    case 'disarm':
      armed++;
      return look;
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    void answer(JSON.parse(line) as Question).then((value) => console.log(JSON.stringify(value)));
  })
  .on('close', () => process.exit(0));
console.log('ready');

import { KernelError } from '../../src/model/errors';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ipAddress, subnet } from '../../src/model/address';
import type { KernelObject } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import {
  LINK,
  NoticeProbe,
  exampleBase,
  expectDone,
  peerRoute,
  printed,
  put,
  remove,
} from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { sh } from './private-namespace';

const signal = new AbortController().signal;
const PEERS = 10_000;
const SCOPE = { link: LINK, networks: [subnet('10.0.0.0/8')] };

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

/** FDB entry, neighbor and route of peer number n: 10.64.0.0/24 and those that follow. */
function peerOf(n: number): KernelObject[] {
  const gateway = ipAddress(`10.${64 + (n >> 8)}.${n & 255}.0`);
  const octets = [n >> 8, n & 255].map((octet) => octet.toString(16).padStart(2, '0'));
  const mac = macAddress(`02:00:00:00:${octets.join(':')}`);
  const destination = ipAddress(`172.16.${n >> 8}.${n & 255}`);
  return [
    { kind: 'fdb-entry', link: LINK, mac, destination },
    { kind: 'neighbor', link: LINK, address: gateway, mac, state: 'permanent' },
    peerRoute(`${gateway}/24`, n + 2),
  ];
}

test(`${PEERS} peers are put, observed, found unchanged and removed, while others have their turn`, async () => {
  const base = exampleBase(underlay);
  expectDone(kernel.applyNow(base.map(put)));
  const probe = new NoticeProbe(kernel);
  const objects = Array.from({ length: PEERS }, (_, n) => peerOf(n)).flat();
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  expectDone(await kernel.apply(objects.map(put), signal));
  expect(turns).toBeGreaterThan(10);
  clearInterval(timer);
  const state = await kernel.observe(SCOPE, signal);
  expect(state.size).toBe(objects.length + base.length);
  expect(printed(state)).toEqual(printed([...base, ...objects]));
  expectDone(await kernel.apply([...objects].reverse().map(remove), signal));
  expect(printed(await kernel.observe(SCOPE, signal))).toEqual(printed(base));
  expect(probe.notices).toEqual([]);
  probe.stop();
});

test('an apply ends soon after its signal aborted, with its reason', async () => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  const abort = new AbortController();
  const objects = Array.from({ length: PEERS }, (_, n) => peerOf(n)).flat();
  const applied = kernel.apply(objects.map(put), abort.signal);
  await nextTurn();
  abort.abort(new Error('enough'));
  await expect(applied).rejects.toThrow('enough');
  expect((await kernel.observe(SCOPE, signal)).size).toBeLessThan(objects.length);
});

test('dumps are whole although others change the tables all the time', async () => {
  const stable = Array.from({ length: 3_000 }, (_, n) => `172.20.${n >> 8}.${n & 255}`);
  sh('ip -batch -', stable.map((address) => `addr add ${address}/32 dev eth0\n`).join(''));
  const changing = Array.from({ length: 20_000 }, (_, n) => {
    const verb = n % 2 === 0 ? 'add' : 'del';
    return `addr ${verb} 172.30.0.${(n >> 1) % 250}/32 dev eth0\n`;
  });
  const child = spawn('ip', ['-batch', '-'], { stdio: ['pipe', 'inherit', 'inherit'] });
  const ended = once(child, 'exit');
  child.stdin.end(changing.join(''));
  let isOver = false;
  void ended.then(() => (isOver = true));
  let reads = 0;
  for (let isLast = false; !isLast;) {
    isLast = isOver;
    // Whole, or refused as interrupted every time it was tried; never in part. Once it is quiet, whole.
    const interfaces = await kernel.interfaces(signal).catch((error: unknown) => {
      if (!isLast && error instanceof KernelError && error.code === 'EINTR') return undefined;
      throw error;
    });
    reads++;
    if (!interfaces) continue;
    const found = new Set<string>(
      interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)),
    );
    expect(stable.filter((address) => !found.has(address))).toEqual([]);
    await nextTurn();
  }
  expect(await ended).toEqual([0, null]);
  expect(reads).toBeGreaterThan(3);
});

test('several at once wait for each other', async () => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  expectDone(
    await kernel.apply(
      Array.from({ length: 3_000 }, (_, n) => peerOf(n))
        .flat()
        .map(put),
      signal,
    ),
  );
  const abort = new AbortController();
  const given = kernel.observe(SCOPE, signal);
  const refused = kernel.observe(SCOPE, abort.signal);
  const interfaces = kernel.interfaces(signal);
  abort.abort(new Error('enough'));
  // Changes do not wait for dumps.
  expectDone(kernel.applyNow([put(peerRoute('10.200.0.0/24', 77_777))]));
  await expect(refused).rejects.toThrow('enough');
  expect((await given).size).toBeGreaterThanOrEqual(9_004);
  expect((await interfaces).map(({ name }) => name)).toContain(LINK);
});

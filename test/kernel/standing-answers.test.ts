import { spawnSync } from 'node:child_process';
import { ipAddress, subnet } from '../../src/model/address';
import { bytesToMac } from '../../src/model/mac';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Peer } from '../../src/model/peer';
import type { Kernel, StandingAnswers } from '../../src/ports';
import { randomOf } from '../chaos/random';
import {
  LINK,
  NoticeProbe,
  exampleBase,
  exampleLink,
  expectDone,
  fdbEntryOf,
  macOf,
  put,
  remove,
} from '../support/kernel-contract';
import { PATIENCE_MILLISECONDS, until } from '../support/lab/until';
import { seedElse } from '../support/long';
import { onFreshKernel } from './fresh-kernel';
import { json, sendPacket, sh } from './private-namespace';

const signal = new AbortController().signal;
const SEED = 20261127;

let kernel: Kernel;
let underlay: NetworkInterface;
let answers: StandingAnswers;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));
beforeEach(() => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  answers = kernel.standingAnswers(LINK, signal);
});

/** The n-th peer, with 10.5.N.0/24. */
function peerOf(n: number): Peer {
  return {
    subnet: subnet(`10.5.${n}.0/24`),
    vtepMac: bytesToMac(Uint8Array.of(2, 0, 0, 0, 0, n)),
    publicIp: ipAddress(`192.168.0.${n}`),
  };
}

const join = (peer: Peer) => answers.peersChanged([{ before: undefined, after: peer }]);
const leave = (peer: Peer) => answers.peersChanged([{ before: peer, after: undefined }]);

/** The MAC that each address leads to, of those that were answered. */
function answered(link = LINK): Map<string, string> {
  const neighbors = json<{ dst: string; lladdr?: string }>('ip', `neigh show dev ${link}`);
  return new Map(neighbors.flatMap(({ dst, lladdr }) => (lladdr ? [[dst, lladdr]] : [])));
}

const isWaiting = async (address: string) =>
  (await kernel.pendingMisses(LINK, signal)).some((miss) => miss.layer === 'l3' && miss.address === address);

test('a packet gets through while the event loop stands still', () => {
  join(peerOf(2));
  const sent = () =>
    json<{ stats64: { tx: { packets: number } } }>('ip', `-s link show dev ${LINK}`)[0]!.stats64.tx.packets;
  const before = sent();
  // Nothing of ours runs until both have ended. Nobody is there to answer the packet.
  const script = `ping -q -c 1 -W 1 10.5.2.5 > /dev/null || :
    until ip neigh show 10.5.2.5 dev ${LINK} | grep -q lladdr; do sleep 0.05; done`;
  const { status } = spawnSync('sh', ['-c', script], { timeout: PATIENCE_MILLISECONDS });
  expect(status).toBe(0);
  expect(sent()).toBe(before + 1);
});

test('of peers that come, move and go, exactly those are answered for that are there', async () => {
  const random = randomOf(seedElse(SEED, 'kernel/standing-answers'));
  const probe = new NoticeProbe(kernel);
  const numbers = Array.from({ length: 254 }, (_, n) => n + 1).filter((n) => n !== 1);
  const there = new Set<number>();
  for (let change = 0; change < 5_000; change++) {
    const n = numbers[Math.floor(random() * numbers.length)]!;
    if (there.has(n)) leave(peerOf(n));
    else join(peerOf(n));
    if (!there.delete(n)) there.add(n);
  }
  for (const n of numbers) await sendPacket(ipAddress(`10.5.${n}.5`));
  // Who has no answer is asked for again, a second later.
  await probe.until('all misses', ({ misses }) => new Set(misses).size === numbers.length);
  await until('the last answer', async () => {
    const pending = await kernel.pendingMisses(LINK, signal);
    return pending.length === numbers.length - there.size;
  });
  expect(answered()).toEqual(new Map([...there].map((n) => [`10.5.${n}.5`, peerOf(n).vtepMac])));
  expect(probe.changes).toEqual([]);
  probe.stop();
});

test('a link that was made anew is answered for; one of another name is not', async () => {
  join(peerOf(2));
  expectDone(kernel.applyNow([remove(exampleLink(underlay))]));
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  await sendPacket(ipAddress('10.5.2.5'));
  await until('the answer', () => answered().has('10.5.2.5'));
  // A link that asks user space about its neighbors as ours does.
  sh('ip link add other type veth peer name other-peer');
  for (const name of ['other', 'other-peer']) sh(`ip link set ${name} up`);
  sh('sysctl -q -w net.ipv4.neigh.other.app_solicit=3');
  sh('ip route add 10.5.2.77 dev other src 192.168.0.1');
  const probe = new NoticeProbe(kernel);
  await sendPacket(ipAddress('10.5.2.77'));
  await sendPacket(ipAddress('10.5.2.6'));
  await probe.until('the miss', ({ misses }) => misses.includes('l3 10.5.2.6'));
  await until('the answer', () => answered().has('10.5.2.6'));
  expect(answered('other')).toEqual(new Map());
  probe.stop();
});

test('while a peer is being removed nobody is answered for', async () => {
  join(peerOf(2));
  const probe = new NoticeProbe(kernel);
  // More than one batch of them; the second comes after this returns.
  const gone = Array.from({ length: 200 }, (_, n) => fdbEntryOf(macOf(n), '192.168.0.9'));
  expectDone(kernel.applyNow(gone.map(put)));
  const removing = kernel.apply(gone.map(remove), signal);
  spawnSync('ping', ['-c', '1', '-W', '1', '10.5.2.5']);
  expect(answered().size).toBe(0);
  expectDone(await removing);
  await probe.until('the miss', ({ misses }) => misses.includes('l3 10.5.2.5'));
  await sendPacket(ipAddress('10.5.2.6'));
  await until('the answer to another', () => answered().has('10.5.2.6'));
  probe.stop();
});

test('a neighbor that is gone is not made anew: who asked has heard from us already', async () => {
  const probe = new NoticeProbe(kernel);
  await sendPacket(ipAddress('10.5.2.5'));
  await probe.until('the miss', ({ misses }) => misses.length > 0);
  expect(await isWaiting('10.5.2.5')).toBe(true);
  sh(`ip neigh del 10.5.2.5 dev ${LINK}`);
  join(peerOf(2));
  await sendPacket(ipAddress('10.5.2.6'));
  await until('the answer', () => answered().has('10.5.2.6'));
  expect([...answered().keys()]).toEqual(['10.5.2.6']);
  probe.stop();
});

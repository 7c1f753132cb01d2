import { setTimeout as sleep } from 'node:timers/promises';
import { ipAddress } from '../../src/model/address';
import { keyOf } from '../../src/model/kernel-state';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import {
  LINK,
  NETWORK6,
  NoticeProbe,
  SCOPE,
  addressOf,
  exampleBase,
  expectDone,
  failedNeighbor,
  fdbEntryOf,
  neighborOf,
  networkRoute,
  parametersOf,
  peerRoute,
  put,
} from '../support/kernel-contract';
import { attempt } from '../support/lab/command';
import { until } from '../support/lab/until';
import { onFreshKernel } from './fresh-kernel';
import { json, sendPacket, sh } from './private-namespace';

const signal = new AbortController().signal;
const MAC = '02:00:00:00:00:02';
/** Longer than any test. */
const NEVER = 600_000;

let kernel: Kernel;
let underlay: NetworkInterface;
let probe: NoticeProbe;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));
beforeEach(() => {
  expectDone(kernel.applyNow(exampleBase(underlay).map(put)));
  // Outer packets must not wait for ARP on the underlay.
  sh('ip neigh add 192.168.0.2 lladdr 02:ee:00:00:00:02 dev eth0 nud permanent');
  probe = new NoticeProbe(kernel);
  retransmitMilliseconds(NEVER);
});
afterEach(() => probe.stop());

/** So long the kernel waits for an answer before it asks again, or gives up. */
function retransmitMilliseconds(milliseconds: number): void {
  for (const family of ['ipv4', 'ipv6'])
    sh(`sysctl -qw net/${family}/neigh/${LINK}/retrans_time_ms=${milliseconds}`);
}

/** How many packets have come out of the other end of the underlay. */
function arrived(): number {
  const [link] = json<{ stats64: { rx: { packets: number } } }>('ip', '-s link show dev vk-peer');
  return link!.stats64.rx.packets;
}

const sentBy = async (count: number, address: string) => {
  for (let packet = 0; packet < count; packet++) await sendPacket(ipAddress(address));
};

test('packets wait for the answer to an L3 miss, and none is lost', async () => {
  const before = arrived();
  await sentBy(500, '10.5.2.5');
  await probe.until('the miss', ({ misses }) => misses.length > 0);
  expect(probe.misses).toEqual(['l3 10.5.2.5']);
  expect(arrived()).toBe(before);
  expectDone(
    kernel.applyNow([
      put(fdbEntryOf(MAC, '192.168.0.2')),
      put(neighborOf('10.5.2.0', MAC, 'learned')),
      put(peerRoute('10.5.2.0/24', 3)),
      put(neighborOf('10.5.2.5', MAC, 'learned')),
    ]),
  );
  await until('all packets', () => arrived() - before >= 500);
  // From now on the peer's route is used: another address of the peer raises no miss.
  await sentBy(5, '10.5.2.6');
  await until('more packets', () => arrived() - before >= 505);
  expect(probe.notices).toHaveLength(1);
});

test('the same holds for IPv6', async () => {
  const local = [parametersOf('ipv6'), addressOf('fd05:0:0:1::/128')];
  expectDone(kernel.applyNow([...local, networkRoute(NETWORK6, 'fd05:0:0:1::', { metric: 1024 })].map(put)));
  const before = arrived();
  await sentBy(100, 'fd05:0:0:2::5');
  await probe.until('the miss', ({ misses }) => misses.includes('l3 fd05:0:0:2::5'));
  expect(await kernel.pendingMisses(LINK, signal)).toEqual([{ layer: 'l3', address: 'fd05:0:0:2::5' }]);
  const answer = [fdbEntryOf(MAC, '192.168.0.2'), neighborOf('fd05:0:0:2::5', MAC, 'learned')];
  expectDone(kernel.applyNow(answer.map(put)));
  await until('all packets', () => arrived() - before >= 100);
});

test('an unanswered L3 miss is raised again', async () => {
  retransmitMilliseconds(1_000);
  await sentBy(1, '10.5.2.5');
  await probe.until('the second miss', ({ misses }) => misses.length >= 2);
  expect(new Set(probe.misses)).toEqual(new Set(['l3 10.5.2.5']));
});

test('"nobody has it" makes the sender hear that the host is unreachable, before the kernel gives up by itself', async () => {
  // The kernel tells its own senders by way of lo.
  sh('ip link set lo up');
  const ping = attempt('ping', ['-c', '1', '-W', '60', '10.5.2.5']);
  await probe.until('the miss', ({ misses }) => misses.length > 0);
  expectDone(kernel.applyNow([put(failedNeighbor('10.5.2.5'))]));
  expect(json('ip', `neigh show dev ${LINK}`)).toMatchObject([{ dst: '10.5.2.5', state: ['FAILED'] }]);
  const { status, stdout } = await ping;
  expect(status).toBe(1);
  expect(stdout).toContain('Destination Host Unreachable');
});

test('a MAC without FDB entry raises an L2 miss for each packet, which is lost', async () => {
  expectDone(kernel.applyNow([put(neighborOf('10.5.2.0', MAC)), put(peerRoute('10.5.2.0/24', 3))]));
  const before = arrived();
  await sentBy(3, '10.5.2.9');
  await probe.until('the misses', ({ misses }) => misses.length === 3);
  expect(probe.misses).toEqual([`l2 ${MAC}`, `l2 ${MAC}`, `l2 ${MAC}`]);
  expectDone(kernel.applyNow([put(fdbEntryOf(MAC, '192.168.0.2'))]));
  await sentBy(3, '10.5.2.9');
  await until('the packets', () => arrived() - before === 3);
  expect(probe.misses).toHaveLength(3);
});

test('a permanent neighbor raises nothing', async () => {
  const peer = [fdbEntryOf(MAC, '192.168.0.2'), neighborOf('10.5.2.0', MAC), peerRoute('10.5.2.0/24', 3)];
  expectDone(kernel.applyNow(peer.map(put)));
  const before = arrived();
  await sentBy(10, '10.5.2.9');
  await until('the packets', () => arrived() - before === 10);
  expect(probe.notices).toEqual([]);
});

test('a learned neighbor that does not answer is told, then given up', async () => {
  for (const setting of [
    'base_reachable_time_ms=100',
    'delay_first_probe_time=0',
    'retrans_time_ms=50',
    'ucast_solicit=1',
    'mcast_solicit=0',
  ])
    sh(`sysctl -qw net/ipv4/neigh/${LINK}/${setting}`);
  const neighbor = neighborOf('10.5.2.0', MAC, 'learned');
  expectDone(
    kernel.applyNow([put(fdbEntryOf(MAC, '192.168.0.2')), put(neighbor), put(peerRoute('10.5.2.0/24', 3))]),
  );
  let isOver = false;
  const traffic = (async () => {
    while (!isOver) {
      await sendPacket(ipAddress('10.5.2.9')).catch(() => undefined);
      await sleep(20);
    }
  })();
  await probe.until('that it does not answer', ({ notices }) =>
    notices.some(({ kind }) => kind === 'unanswered'),
  );
  isOver = true;
  await traffic;
  expect(probe.notices.find(({ kind }) => kind === 'unanswered')).toEqual({
    kind: 'unanswered',
    address: '10.5.2.0',
    mac: MAC,
  });
  await until('given up', async () => {
    const state = await kernel.observe(SCOPE, signal);
    const found = state.get(keyOf(neighbor));
    return found?.kind === 'neighbor' && found.state === 'failed' && found.mac === undefined;
  });
  expect(probe.changes).toEqual([]);
});

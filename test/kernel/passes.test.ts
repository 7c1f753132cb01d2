import { desiredState, peerObjects } from '../../src/core/desired';
import { Reconciler, type Cause } from '../../src/engine/reconciler';
import { MonotonicClock } from '../../src/host/clock';
import { openKernel } from '../../src/kernel/linux-kernel';
import { ipAddress, subnet } from '../../src/model/address';
import { printKernelObject } from '../../src/model/kernel-state';
import { macAddress, type MacAddress } from '../../src/model/mac';
import type { Overlay } from '../../src/model/overlay';
import { MutablePeerTable, type Peer, type PeerChange } from '../../src/model/peer';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel, KernelNotice } from '../../src/ports';
import { exampleOverlay } from '../support/examples';
import { FakeLog } from '../support/fake-log';
import { SCOPE, remove } from '../support/kernel-contract';
import { until } from '../support/lab/until';
import { onFreshKernel } from './fresh-kernel';

const PEERS = 2_000;
const ROUNDS = Number(process.env['VTEPD_ROUNDS'] ?? 40);

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

const hex = (n: number) => n.toString(16).padStart(2, '0');
const macOf = (n: number, generation = 0): MacAddress =>
  macAddress(`02:00:00:${hex(generation)}:${hex(n >> 8)}:${hex(n & 255)}`);

function peerOf(n: number, vtepMac = macOf(n)): Peer {
  return {
    subnet: subnet(`10.${64 + (n >> 8)}.${n & 255}.0/24`),
    publicIp: ipAddress(`172.16.${n >> 8}.${n & 255}`),
    vtepMac,
  };
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Lets what the kernel has told be heard. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Numbers that are the same in each run. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) yield (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

test(`of ${PEERS} peers one that changes twice while passes are under way ends as the table says`, async () => {
  const overlay: Overlay = exampleOverlay({
    network: subnet('10.0.0.0/8'),
    underlay: {
      name: 'eth0',
      index: underlay.index,
      mtu: 1500,
      address: ipAddress('192.168.0.1'),
      publicIp: ipAddress('192.168.0.1'),
    },
  });
  const table = new MutablePeerTable(Array.from({ length: PEERS }, (_, n) => peerOf(n)));
  const clock = new MonotonicClock();
  const stop = new AbortController();
  const situation = { overlay, peers: table, isInSync: true, former: [], absent: [] };
  const reconciler = new Reconciler(kernel, clock, new FakeLog(), () => situation);
  const hear = (notice: KernelNotice) => {
    if (notice.kind !== 'changed') return;
    const cause: Cause = { kind: 'external', what: notice.what };
    if (notice.name) reconciler.lookAt([notice.name], cause);
    else reconciler.trigger(cause);
  };
  kernel.listen(SCOPE, (notices) => notices.forEach(hear), stop.signal);
  const end = reconciler.run(() => undefined, stop.signal);
  // Another program.
  const other = openKernel();
  const random = numbers(50);
  const between = (from: number, to: number) => from + random.next().value * (to - from);
  const change = (changed: PeerChange | undefined) => changed && reconciler.peersChanged([changed]);
  const wrong: string[] = [];
  try {
    await until('the first pass', () => reconciler.isConverged);
    for (let round = 0; round < ROUNDS; round++) {
      const n = Math.floor(between(0, PEERS));
      const peer = peerOf(n);
      const [, , route] = peerObjects(overlay, peerOf((n + 7) % PEERS));
      other.applyNow([remove(route)]);
      // Not all passes are for one object.
      if (round % 2 === 0) reconciler.trigger({ kind: 'external', what: 'a test' });
      await pause(between(0, 40));
      const apart = between(10, 60);
      const kind = round % 4;
      if (kind === 0) {
        change(table.remove(peer.subnet));
        await pause(apart);
        change(table.put(peer));
      } else if (kind === 1) {
        change(table.put(peerOf(n, macOf(n, 1))));
        await pause(apart);
        change(table.put(peer));
      } else if (kind === 2) {
        const stranger = peerOf(PEERS + round);
        change(table.put(stranger));
        await pause(apart);
        change(table.remove(stranger.subnet));
      } else {
        change(table.put(peerOf(n, macOf(n, 1))));
        await pause(apart);
        change(table.put(peerOf(n, macOf(n, 2))));
      }
      await turn();
      await until('what is pending', () => reconciler.isConverged);
      const desired = desiredState(overlay, table, []);
      const actual = await other.observe({ ...SCOPE, networks: [overlay.network] }, stop.signal);
      for (const [key, object] of desired) {
        const found = actual.get(key);
        if (!found) wrong.push(`round ${round}: missing ${key}`);
        else if (object.kind !== 'link' && printKernelObject(found) !== printKernelObject(object))
          wrong.push(`round ${round}: ${printKernelObject(found)}`);
      }
      for (const [key] of actual) if (!desired.has(key)) wrong.push(`round ${round}: left ${key}`);
      // So that the next round begins with what is right.
      if (wrong.some((text) => text.startsWith(`round ${round}:`))) {
        reconciler.trigger({ kind: 'external', what: 'wrong' });
        await until('the repair', () => reconciler.isConverged);
      }
    }
    expect(wrong).toEqual([]);
  } finally {
    stop.abort();
    await end;
    other.close();
  }
});

import { setImmediate as nextTurn } from 'node:timers/promises';
import { readInterfaces } from '../../src/kernel/underlay';
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
import { withScriptedNetlink, type Script } from './scripted-netlink';

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
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  expectDone(await kernel.apply(objects.map(put), signal));
  isDone = true;
  // A few hundred operations at a time.
  expect(turns).toBeGreaterThan(objects.length / 300);
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
  // What was under way when it was aborted, and no more.
  expect((await kernel.observe(SCOPE, signal)).size).toBeLessThan(1_000);
});

describe('a dump that others interrupt, by changing the table between its parts,', () => {
  const stable = Array.from({ length: 3_000 }, (_, n) => `172.20.${n >> 8}.${n & 255}`);
  const early = Array.from({ length: 600 }, (_, n) => `172.19.${n >> 8}.${n & 255}`);
  const change = (verb: string, addresses: readonly string[]) =>
    sh('ip -batch -', addresses.map((address) => `addr ${verb} ${address}/32 dev eth0\n`).join(''));

  /** Disturbs so many dumps of addresses after their first part, and tells how many there were. */
  async function readDisturbed(times: number): Promise<{ addresses: Set<string>; disturbed: number }> {
    let parts = 0;
    let disturbed = 0;
    const script: Script = (step) => {
      parts = step === 'send' ? 0 : parts + 1;
      if (parts !== 2 || disturbed >= times) return;
      // Who has read the early ones already skips as many of the others, when they are gone.
      change(disturbed++ % 2 === 0 ? 'del' : 'add', early);
    };
    const interfaces = await withScriptedNetlink(script, (netlink) => readInterfaces(netlink, signal));
    const all = interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address as string));
    return { addresses: new Set(all), disturbed };
  }

  beforeEach(() => {
    change('add', early);
    change('add', stable);
  });

  test('is made again until it is whole', async () => {
    const { addresses, disturbed } = await readDisturbed(3);
    expect(disturbed).toBe(3);
    expect(stable.filter((address) => !addresses.has(address))).toEqual([]);
    expect(early.filter((address) => addresses.has(address))).toEqual([]);
  });

  test('is refused when it never is', async () => {
    await expect(readDisturbed(Infinity)).rejects.toMatchObject({ code: 'EINTR' });
  });
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

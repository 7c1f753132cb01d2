/** The underlay interface, through whatever happens to it. */
import { UnderlayWatcher } from '../../src/engine/underlay-watcher';
import type { UnderlayOptions } from '../../src/engine/prerequisites';
import { ipAddress } from '../../src/model/address';
import type { NetworkInterface } from '../../src/model/network-interface';
import { exampleOverlay } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

const WISH: UnderlayOptions = { iface: ['eth0'], ifaceRegex: [], canReach: undefined, publicIp: undefined };

/** eth0 with one address. */
const eth0 = (changes: Partial<NetworkInterface> = {}, address = '192.168.0.1'): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  addresses: [{ ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress(address) }],
  ...changes,
});

async function watching(options: UnderlayOptions = WISH) {
  const kernel = new FakeKernel();
  const clock = new FakeClock();
  const log = new FakeLog();
  const { underlay } = exampleOverlay();
  const watcher = new UnderlayWatcher(kernel, clock, log, options, {
    saved: undefined,
    subnets: () => [],
    isSettled: () => true,
    peers: () => [ipAddress('192.168.0.2')],
  });
  const told: string[] = [];
  const listener = {
    looked: ({ underlay: seen }: { underlay: { address: string } }) => told.push(`looked ${seen.address}`),
    moved: (before: { address: string }) => told.push(`moved from ${before.address}`),
  };
  const stop = new AbortController();
  if (options.iface[0] === 'eth1') kernel.networkInterfaces = [eth0({ name: 'eth1', index: 7 })];
  await watcher.first({ clock, log, waits: new Set() }, stop.signal);
  log.lines.length = 0;
  const end = watcher.run(listener, stop.signal);
  return {
    kernel,
    clock,
    log,
    watcher,
    told,
    underlay,
    see: async (...interfaces: NetworkInterface[]) => {
      kernel.networkInterfaces = interfaces;
      watcher.trigger();
      await clock.advance(100);
    },
    stop: () => (stop.abort(), end),
  };
}

it('is looked at once a minute, and where it is as it was nothing is said', async () => {
  const { clock, watcher, told, log, underlay, stop } = await watching();
  await clock.advance(59_999);
  expect(told).toEqual([]);
  await clock.advance(60_001);
  expect(told).toEqual(['looked 192.168.0.1', 'looked 192.168.0.1']);
  expect([watcher.current, watcher.trouble, log.lines]).toEqual([underlay, undefined, []]);
  await stop();
});

it('that finds no way to a peer, from its own address, is told within seconds: of such routes the kernel tells nothing', async () => {
  const { kernel, clock, watcher, told, stop } = await watching();
  kernel.unroutedSources.add(ipAddress('192.168.0.1'));
  await clock.advance(15_000);
  expect(watcher.trouble?.complaint).toBe(
    'the underlay does not reach every peer: there is no route to any peer: 192.168.0.2',
  );
  expect(watcher.outage).toBeUndefined();
  kernel.unroutedSources.clear();
  await clock.advance(15_000);
  expect(watcher.trouble).toBeUndefined();
  expect(told).toEqual([]);
  await stop();
});

it('is looked at a tenth of a second after the kernel tells of a change, for an address is often back in a moment', async () => {
  const { clock, watcher, told, stop } = await watching();
  await clock.advance(10);
  watcher.trigger();
  await clock.advance(99);
  expect(told).toEqual([]);
  await clock.advance(1);
  expect(told).toEqual(['looked 192.168.0.1']);
  await stop();
});

it.each([
  ['index', eth0({ index: 9 }), { index: 9 }],
  ['MTU', eth0({ mtu: 9000 }), { mtu: 9000 }],
  ['address', eth0({}, '192.168.0.77'), { address: '192.168.0.77', publicIp: '192.168.0.77' }],
])('that has another %s is another, and that is told and logged', async (_, changed, difference) => {
  const { watcher, told, log, underlay, see, stop } = await watching();
  await see(changed);
  expect(watcher.current).toEqual({ ...underlay, ...difference });
  expect(told).toEqual([`looked ${watcher.current!.address}`, 'moved from 192.168.0.1']);
  const { name, index, address, publicIp, mtu } = watcher.current!;
  expect(log.lines).toEqual([
    {
      level: 'info',
      message: 'underlay changed',
      fields: { interface: name, index, address, publicIp, mtu, because: expect.any(String) as string },
    },
  ]);
  await see(changed);
  expect(told).toHaveLength(3);
  await stop();
});

it.each([
  ['name', { ...WISH, iface: ['eth1'] }, eth0({ name: 'eth1' }), { name: 'eth1' }],
  [
    'address, though not of another PublicIP,',
    { ...WISH, publicIp: ipAddress('192.168.0.1') },
    eth0({}, '192.168.0.77'),
    { address: '192.168.0.77' },
  ],
])('of another %s is another', async (_, options, seen, difference) => {
  const { watcher, told, underlay, see, stop } = await watching(options);
  await see(seen);
  expect(watcher.current).toEqual({ ...underlay, ...difference });
  expect(told).toEqual([`looked ${watcher.current!.address}`, 'moved from 192.168.0.1']);
  await stop();
});

it('that is gone stays as it was and is waited for; that is said once, and when it is back', async () => {
  const { clock, watcher, told, log, underlay, see, stop } = await watching();
  await see();
  expect(watcher.current).toEqual(underlay);
  expect(watcher.trouble?.complaint).toContain('the underlay interface is gone; waiting for it: ');
  // Gateways may have changed all the same.
  expect(told).toEqual(['looked 192.168.0.1']);
  await clock.advance(50_000);
  await see(eth0());
  expect(watcher.trouble).toBeUndefined();
  expect(log.messages('warn', 'info')).toEqual([
    'the underlay interface is gone; waiting for it',
    'the underlay interface is back',
  ]);
  await stop();
});

it('is looked for as long as the agent runs, also where the kernel does not answer', async () => {
  const { kernel, clock, watcher, told, stop } = await watching();
  kernel.interfaces = () => Promise.reject(new Error('no answer'));
  await clock.advance(180_000);
  expect(watcher.trouble).toMatchObject({ forMilliseconds: 120_000 });
  expect(told).toEqual([]);
  await stop();
  expect(clock.sleepers).toBe(0);
});

it('is not said to be gone when the agent stops while it looks', async () => {
  const { kernel, clock, watcher, log, stop } = await watching();
  kernel.hold();
  watcher.trigger();
  await clock.advance(100);
  await stop();
  expect(log.lines).toEqual([]);
});

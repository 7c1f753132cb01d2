/** What the underlay's watcher says while the underlay carries nothing, or not everything; underlay-state.test.ts is about a whole agent. */
import { peersToAsk } from '../../src/core/underlay-state';
import type { UnderlayOptions } from '../../src/engine/prerequisites';
import { UnderlayWatcher } from '../../src/engine/underlay-watcher';
import { ipAddress, type IpAddress } from '../../src/model/address';
import type { NetworkInterface } from '../../src/model/network-interface';
import { exampleOverlay } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

const BY_DEFAULT: UnderlayOptions = { iface: [], ifaceRegex: [], canReach: undefined, publicIp: undefined };
const MINUTE = 60_000;
const eth0 = (changes: Partial<NetworkInterface> = {}): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  ...changes,
});
const eth1 = (...addresses: string[]): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  ...{ name: 'eth1', index: 3 },
  addresses: addresses.map((address) => ({ ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress(address) })),
});
const byDefault = (interfaceIndex: number) => ({ interfaceIndex, source: undefined, gateway: undefined });

/** A settled host that has chosen eth0, and what it says of it a minute after each change. */
async function settled(peers?: () => Iterable<IpAddress>) {
  const [kernel, clock, log] = [new FakeKernel(), new FakeClock(), new FakeLog()];
  kernel.networkInterfaces = [eth0()];
  kernel.defaultRouteList = [byDefault(2)];
  const stop = new AbortController();
  const underlay = new UnderlayWatcher(kernel, clock, log, BY_DEFAULT, {
    saved: undefined,
    subnets: () => [],
    isSettled: () => true,
    ...(peers ? { peers } : {}),
  });
  const waiting = { clock, log, waits: new Set<never>() };
  const end = underlay
    .first(waiting, stop.signal)
    .then(() => underlay.run({ looked: () => undefined, moved: () => undefined }, stop.signal));
  await clock.advance(100);
  log.lines.length = 0;
  return {
    ...{ kernel, clock, log, underlay },
    /** The kernel tells that these are the interfaces. */
    see: async (...interfaces: NetworkInterface[]) => {
      kernel.networkInterfaces = interfaces;
      underlay.trigger();
      await clock.advance(MINUTE);
    },
    said: () => log.lines.map(({ level, message, fields }) => [level, message, fields['error']]),
    stop: () => (stop.abort(), end),
  };
}

it('of an underlay that is well nothing is said', async () => {
  const { underlay, see, said, stop } = await settled();
  await see(eth0());
  expect([underlay.outage, underlay.trouble, said()]).toEqual([undefined, undefined, []]);
  await stop();
});

it('an outage lasts from when it was seen until it is over, though its reason changes', async () => {
  const { underlay, clock, see, said, stop } = await settled();
  await see(eth0({ carrier: false }));
  const noCarrier = 'eth0 has no carrier: nothing answers at its other end';
  const { forMilliseconds } = underlay.outage!;
  expect(underlay.outage!.complaint).toBe(noCarrier);
  expect(forMilliseconds).toBeGreaterThan(MINUTE - 2_000);
  expect(forMilliseconds).toBeLessThanOrEqual(MINUTE);
  await clock.advance(MINUTE);
  await see(eth0({ up: false, carrier: false }));
  expect(underlay.outage).toEqual({
    complaint: 'eth0 is down',
    forMilliseconds: forMilliseconds + 2 * MINUTE,
  });
  await see(eth0());
  expect([underlay.outage, underlay.trouble]).toEqual([undefined, undefined]);
  await see(eth0({ carrier: false }));
  expect(underlay.outage).toEqual({ complaint: noCarrier, forMilliseconds });
  expect(said().filter(([, , error]) => error !== undefined)).toEqual(
    expect.arrayContaining([
      ['warn', 'the underlay carries no packets', noCarrier],
      ['warn', 'the underlay carries no packets', 'eth0 is down'],
    ]),
  );
  expect(said()).toContainEqual(['info', 'the underlay interface is back', undefined]);
  await stop();
});

it('an interface that is gone is waited for, which is another matter than one that carries nothing', async () => {
  const { underlay, see, said, stop } = await settled();
  await see(eth1());
  expect(underlay.outage?.complaint).toBe('eth0 is gone');
  expect(underlay.trouble?.complaint).toMatch(
    /^the underlay interface is gone; waiting for it: no default route/,
  );
  expect(said().every(([, message]) => message === 'the underlay interface is gone; waiting for it')).toBe(
    true,
  );
  await stop();
});

it('where nothing can be chosen any more, but its address is there, it stays, and that is said', async () => {
  const { underlay, kernel, see, stop } = await settled();
  kernel.defaultRouteList = [];
  await see(eth1('10.9.0.1'), eth0());
  expect(underlay.outage).toBeUndefined();
  expect(underlay.trouble?.complaint).toMatch(
    /^nothing can be chosen for the underlay now; it stays eth0: no default route/,
  );
  // That it carries nothing is worse, and said instead.
  await see(eth1('10.9.0.1'), eth0({ carrier: false }));
  expect(underlay.trouble?.complaint).toMatch(/^the underlay carries no packets: eth0 has no carrier/);
  kernel.defaultRouteList = [byDefault(2)];
  await see(eth0());
  expect(underlay.trouble).toBeUndefined();
  await stop();
});

it('peers that no route leads to are named, and are no outage', async () => {
  const peers = [ipAddress('192.168.0.7'), ipAddress('10.77.0.1')];
  const { underlay, kernel, see, stop } = await settled(() => peers);
  kernel.defaultRouteList = [byDefault(2)];
  await see(eth0());
  expect(underlay.outage).toBeUndefined();
  expect(underlay.trouble?.complaint).toBe(
    'the underlay does not reach every peer: there is no route to some peers: 10.77.0.1',
  );
  await stop();
});

it('no carrier does no harm where the peers are reached by another interface', async () => {
  const { underlay, see, stop } = await settled(() => [ipAddress('10.9.0.7')]);
  await see(eth0({ carrier: false }), eth1('10.9.0.1'));
  expect([underlay.outage, underlay.trouble]).toEqual([undefined, undefined]);
  await stop();
});

it('a look that fails is said, and made again', async () => {
  const { underlay, kernel, see, said, stop } = await settled();
  const interfaces = kernel.interfaces.bind(kernel);
  let failures = 1;
  kernel.interfaces = (signal) =>
    failures-- > 0 ? Promise.reject(new Error('no buffer space')) : interfaces(signal);
  await see(eth0());
  expect(said()[0]).toEqual(['warn', 'cannot look at the underlay; trying again', 'no buffer space']);
  await see(eth0());
  expect(underlay.trouble).toBeUndefined();
  await stop();
});

it('of ten thousand peers no more than 256 are considered, and no more once 16 far ones are found', () => {
  const considered = (isFar: boolean) => {
    let count = 0;
    function* peers() {
      for (; count < 10_000; count++)
        yield ipAddress(isFar ? `10.${count >> 8}.${count & 255}.1` : `192.168.0.${(count % 250) + 2}`);
    }
    const { underlay } = exampleOverlay();
    return { asked: peersToAsk(underlay, [eth1('10.9.0.1'), eth0()], peers()), count: count + 1 };
  };
  expect(considered(true)).toMatchObject({ count: 16, asked: { length: 16 } });
  expect(considered(false)).toMatchObject({ count: 256, asked: { length: 16 } });
});

import type { UnderlayOptions } from '../../src/engine/prerequisites';
import type { Trouble } from '../../src/engine/trouble';
import { UnderlayWatcher, type UnderlaySituation } from '../../src/engine/underlay-watcher';
import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { InterfaceAddress, NetworkInterface } from '../../src/model/network-interface';
import type { Underlay } from '../../src/model/overlay';
import type { SavedLease } from '../../src/model/saved-host';
import { examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

const [LASTING] = FAKE_UNDERLAY.addresses;
const at = (text: string, changes: Partial<InterfaceAddress> = {}): InterfaceAddress => ({
  ...LASTING!,
  address: ipAddress(text),
  ...changes,
});
const eth = (n: number, ...addresses: (string | InterfaceAddress)[]): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  ...{ name: `eth${n}`, index: n + 2, mac: macAddress(`02:ee:00:00:00:0${n}`) },
  addresses: addresses.map((own) => (typeof own === 'string' ? at(own) : own)),
});
const via = (n: number) => ({ interfaceIndex: n + 2, source: undefined, gateway: undefined });
const BY_DEFAULT: UnderlayOptions = { iface: [], ifaceRegex: [], canReach: undefined, publicIp: undefined };
const SAVED: SavedLease = {
  ...examplePeer(7),
  host: {
    machineId: undefined,
    link: 'flannel.1',
    interface: 'eth0',
    hardwareAddress: macAddress('02:ee:00:00:00:00'),
    address: ipAddress('10.0.0.1'),
  },
};

function watcher(
  interfaces: NetworkInterface[],
  changes: Partial<UnderlaySituation> = {},
  options = BY_DEFAULT,
) {
  const [kernel, clock, log, waits] = [new FakeKernel(), new FakeClock(), new FakeLog(), new Set<Trouble>()];
  kernel.networkInterfaces = interfaces;
  kernel.defaultRouteList = [via(0), via(1)];
  const state = { isSettled: false };
  const stop = new AbortController();
  const underlay = new UnderlayWatcher(kernel, clock, log, options, {
    saved: undefined,
    subnets: () => [],
    isSettled: () => state.isSettled,
    ...changes,
  });
  let chosen: Underlay | undefined;
  const heard: string[] = [];
  const first = underlay.first({ clock, log, waits }, stop.signal).then((seen) => {
    chosen = seen.underlay;
    return underlay.run(
      {
        looked: ({ hostNetwork }) => heard.push(`looked at ${hostNetwork.interfaces.length}`),
        moved: (before) => heard.push(`moved from ${before.address}`),
      },
      stop.signal,
    );
  });
  first.catch(() => undefined);
  return {
    ...{ kernel, clock, log, waits, state, underlay, heard },
    chosen: () => chosen?.address,
    moves: () => heard.filter((word) => word.startsWith('moved')),
    /** The kernel tells that these are the interfaces. */
    see: async (seen: NetworkInterface[], milliseconds = 1_000) => {
      kernel.networkInterfaces = seen;
      underlay.trigger();
      await clock.advance(milliseconds);
    },
    end: async () => {
      stop.abort();
      await first.catch(() => undefined);
    },
  };
}

describe('the first choice', () => {
  it('is made as soon as there is something to choose, and what it waits for is said', async () => {
    const { clock, kernel, waits, log, chosen, end } = watcher([eth(0)]);
    await clock.advance(20_000);
    expect(chosen()).toBeUndefined();
    expect([...waits].map(({ current }) => current?.complaint)).toEqual([
      expect.stringContaining('waiting for the underlay interface: no default route leads') as string,
    ]);
    kernel.networkInterfaces = [eth(0, '10.0.0.1')];
    await clock.advance(6_000);
    expect(chosen()).toBe('10.0.0.1');
    expect(log.lines).toContainEqual({
      level: 'info',
      message: 'underlay chosen',
      fields: {
        interface: 'eth0',
        index: 2,
        address: '10.0.0.1',
        publicIp: '10.0.0.1',
        mtu: 1500,
        because: 'it has the default route',
      },
    });
    await end();
  });

  it('waits for the interface that carried the overlay, and takes it when it has its address', async () => {
    const { clock, kernel, waits, chosen, end } = watcher([eth(0), eth(1, '10.1.0.1')], { saved: SAVED });
    await clock.advance(115_000);
    expect(chosen()).toBeUndefined();
    expect([...waits][0]!.current?.complaint).toBe(
      'waiting for the underlay interface: eth0, which carried the overlay before, cannot be chosen yet, and eth1 only could; ' +
        'another is taken at once if --iface names it',
    );
    kernel.networkInterfaces = [eth(0, '10.0.0.77'), eth(1, '10.1.0.1')];
    await clock.advance(6_000);
    expect(chosen()).toBe('10.0.0.77');
    await end();
  });

  it('is another after two minutes, until that interface has an address again', async () => {
    const { clock, state, chosen, see, underlay, end } = watcher([eth(0), eth(1, '10.1.0.1')], {
      saved: SAVED,
    });
    await clock.advance(126_000);
    expect(chosen()).toBe('10.1.0.1');
    state.isSettled = true;
    await see([eth(0, '10.0.0.77'), eth(1, '10.1.0.1')]);
    expect(underlay.current).toMatchObject({ name: 'eth0', address: '10.0.0.77' });
    await end();
  });

  it('is at once what the user names, though another interface carried the overlay', async () => {
    const options = { ...BY_DEFAULT, iface: ['eth1'] };
    const { clock, chosen, end } = watcher([eth(0), eth(1, '10.1.0.1')], { saved: SAVED }, options);
    await clock.advance(100);
    expect(chosen()).toBe('10.1.0.1');
    await end();
  });

  it('is the address of our last lease, and none of our own subnets', async () => {
    const interfaces = [eth(0, '10.5.7.1', '10.0.0.2', '10.0.0.1')];
    const { clock, chosen, end } = watcher(interfaces, {
      saved: SAVED,
      subnets: () => [subnet('10.5.7.0/24')],
    });
    await clock.advance(100);
    expect(chosen()).toBe('10.0.0.1');
    await end();
  });
});

describe('the underlay that is followed', () => {
  const dhcp = at('10.0.0.5', { permanent: false });

  it('stays at its address while a better one is beside it, once other hosts rely on it', async () => {
    const { clock, state, see, moves, end } = watcher([eth(0, dhcp)]);
    await clock.advance(100);
    state.isSettled = true;
    await see([eth(0, '10.0.0.9', dhcp)]);
    await see([eth(0, at('10.99.9.9', { prefixLength: 32 }), dhcp)]);
    expect(moves()).toEqual([]);
    await see([eth(0, '10.0.0.9')]);
    expect(moves()).toEqual(['moved from 10.0.0.5']);
    await end();
  });

  it('is chosen again at each change until then', async () => {
    const { clock, see, moves, end } = watcher([eth(0, dhcp)]);
    await clock.advance(100);
    await see([eth(0, '10.0.0.9', dhcp)]);
    expect(moves()).toEqual(['moved from 10.0.0.5']);
    await end();
  });

  it('is looked at every few seconds until then, and every minute from then on: nothing may tell of changes', async () => {
    const { clock, kernel, state, heard, end } = watcher([eth(0, dhcp)]);
    await clock.advance(100);
    kernel.networkInterfaces = [eth(0, '10.0.0.9')];
    await clock.advance(5_200);
    expect(heard).toEqual(['looked at 1', 'moved from 10.0.0.5']);
    state.isSettled = true;
    await clock.advance(5_000);
    heard.length = 0;
    await clock.advance(50_000);
    expect(heard).toEqual([]);
    await clock.advance(20_000);
    expect(heard).toEqual(['looked at 1']);
    await end();
  });

  it('stands as it was while there is nothing to choose, and gateways are seen all the same', async () => {
    const { clock, state, see, heard, underlay, log, end } = watcher([eth(0, '10.0.0.1')]);
    await clock.advance(100);
    state.isSettled = true;
    await see([eth(0), eth(1)]);
    expect(heard).toEqual(['looked at 2']);
    expect(underlay.current).toMatchObject({ address: '10.0.0.1' });
    expect(underlay.trouble?.complaint).toContain(
      'the underlay interface is gone; waiting for it: no default route',
    );
    await see([eth(0, '10.0.0.1')]);
    expect(underlay.trouble).toBeUndefined();
    expect(log.messages('warn', 'info').slice(-2)).toEqual([
      'the underlay interface is gone; waiting for it',
      'the underlay interface is back',
    ]);
    await end();
  });

  it('goes back to its address from one that was beside it, as a floating address is, but not from any other', async () => {
    const floating = '10.0.0.99';
    const { state, underlay, moves, see, end } = watcher([eth(0, '10.0.0.1')]);
    await see([eth(0, '10.0.0.1')]);
    state.isSettled = true;
    await see([eth(0, '10.0.0.1', floating)]);
    await see([eth(0, floating)]);
    expect(underlay.current?.address).toBe(floating);
    await see([eth(0, floating, '10.0.0.1')]);
    expect(underlay.current?.address).toBe('10.0.0.1');
    expect(moves()).toEqual(['moved from 10.0.0.1', `moved from ${floating}`]);
    // Another address that came when its own had gone: a network was renumbered.
    await see([eth(0, '10.0.0.2')]);
    await see([eth(0, '10.0.0.2', '10.0.0.1')]);
    expect(underlay.current?.address).toBe('10.0.0.2');
    await end();
  });

  it('gives a flap a moment, and then goes to the other interface and back', async () => {
    const { clock, state, see, moves, underlay, end } = watcher([eth(0, '10.0.0.1'), eth(1, '10.1.0.1')]);
    await clock.advance(100);
    state.isSettled = true;
    await see([eth(0), eth(1, '10.1.0.1')], 50);
    await see([eth(0, '10.0.0.1'), eth(1, '10.1.0.1')]);
    expect(moves()).toEqual([]);
    await see([eth(0), eth(1, '10.1.0.1')]);
    expect(underlay.current).toMatchObject({ name: 'eth1' });
    await see([eth(0, '10.0.0.1'), eth(1, '10.1.0.1')]);
    expect(moves()).toEqual(['moved from 10.0.0.1', 'moved from 10.1.0.1']);
    await end();
  });

  it.each<[string, NetworkInterface]>([
    ['another index', { ...eth(0, '10.0.0.1'), index: 3 }],
    ['another MTU', { ...eth(0, '10.0.0.1'), mtu: 1400 }],
    ['another name', { ...eth(0, '10.0.0.1'), name: 'nic0' }],
  ])('has moved when it has %s', async (_, now) => {
    const { clock, state, see, moves, underlay, end } = watcher([eth(0, '10.0.0.1')]);
    await clock.advance(100);
    state.isSettled = true;
    await see([now]);
    expect(moves()).toEqual(['moved from 10.0.0.1']);
    const { name, index, mtu } = now;
    expect(underlay.current).toMatchObject({ name, index, mtu });
    await end();
  });

  it('goes back to the interface that was chosen first, in whatever order the kernel tells of them', async () => {
    const { clock, kernel, state, see, underlay, end } = watcher([eth(1, '10.1.0.1'), eth(0, '10.0.0.1')]);
    kernel.defaultRouteList = [via(0), via(1)];
    await clock.advance(100);
    expect(underlay.current).toMatchObject({ name: 'eth0' });
    state.isSettled = true;
    await see([eth(1, '10.1.0.1'), eth(0)]);
    expect(underlay.current).toMatchObject({ name: 'eth1' });
    await see([eth(1, '10.1.0.1'), eth(0, '10.0.0.1')]);
    expect(underlay.current).toMatchObject({ name: 'eth0' });
    await end();
  });
});

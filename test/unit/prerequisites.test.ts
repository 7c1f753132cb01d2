import {
  awaitKernel,
  awaitKernelState,
  awaitNetworkConfig,
  type UnderlayOptions,
} from '../../src/engine/prerequisites';
import type { Trouble } from '../../src/engine/trouble';
import { UnderlayWatcher } from '../../src/engine/underlay-watcher';
import { ipAddress } from '../../src/model/address';
import { ConfigError, KernelError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeStore } from '../support/fake-registry';
import { FakeLog } from '../support/fake-log';

/** The first choice of a host that has no past. */
function awaitUnderlay(
  kernel: FakeKernel,
  { clock, log, waits }: { clock: FakeClock; log: FakeLog; waits: Set<Trouble> },
  options: UnderlayOptions,
  signal: AbortSignal,
) {
  const situation = { saved: undefined, subnets: () => [], isSettled: () => false };
  return new UnderlayWatcher(kernel, clock, log, options, situation).first({ clock, log, waits }, signal);
}

const waiting = () => ({ clock: new FakeClock(), log: new FakeLog(), waits: new Set<Trouble>() });

describe('a start that asks the kernel', () => {
  it('asks again, and says so once, while the kernel has no memory for an answer', async () => {
    const clock = new FakeClock();
    const log = new FakeLog();
    const waits = new Set<Trouble>();
    let asked = 0;
    const ask = () => {
      if (++asked < 4) throw new KernelError('ENOBUFS', 'cannot ask the kernel');
      return 'answer';
    };
    const answer = awaitKernel({ clock, log, waits }, new AbortController().signal, ask);
    await clock.advance(0);
    expect([...waits].map(({ current }) => current?.complaint)).toEqual([
      'waiting for the kernel to tell what it holds: cannot ask the kernel',
    ]);
    await clock.advance(30_000);
    expect(waits.size).toBe(0);
    expect(await answer).toBe('answer');
    expect(asked).toBe(4);
    expect(log.messages('warn')).toEqual(['waiting for the kernel to tell what it holds']);
  });

  it('does not wait where the error is none of the kernel', async () => {
    const ask = () => {
      throw new TypeError('a bug');
    };
    const answer = awaitKernel(waiting(), new AbortController().signal, ask);
    await expect(answer).rejects.toThrow('a bug');
  });
});

describe('a start that needs the network configuration', () => {
  const PLACE = '/coreos.com/network/config';
  function needing() {
    const ports = waiting();
    const store = new FakeStore(ports.clock);
    const registry = store.client();
    const stop = new AbortController();
    const read = (text: string) => {
      if (text === 'bug') throw new TypeError('a bug');
      if (text === 'bad') throw new ConfigError('it makes no sense');
      return `read ${text}`;
    };
    const config = awaitNetworkConfig(registry, ports, PLACE, read, stop.signal);
    const complaints = () => [...ports.waits].map(({ current }) => current?.complaint);
    return { ...ports, store, registry, stop, config, complaints };
  }

  it('has it at once where it is there', async () => {
    const { store, config, log } = needing();
    store.put('config', 'good');
    expect(await config).toBe('read good');
    expect(log.lines).toEqual([]);
  });

  it('waits for one that is missing, then for one that can be used, and says what to do', async () => {
    const { clock, store, config, complaints, log } = needing();
    await clock.advance(0);
    expect(complaints()).toEqual([
      `waiting for the network configuration: there is none at ${PLACE} in etcd; write one with 'vtepd config set FILE' (or etcdctl, API version 3)`,
    ]);
    store.put('config', 'bad');
    await clock.advance(5_000);
    expect(complaints()).toEqual([
      `waiting for the network configuration: what is at ${PLACE} cannot be used: it makes no sense`,
    ]);
    store.put('config', 'good');
    await clock.advance(5_000);
    expect(await config).toBe('read good');
    expect(complaints()).toEqual([]);
    expect(log.lines.at(-1)).toMatchObject({
      level: 'info',
      message: 'no more waiting for the network configuration',
    });
  });

  it('looks again after a growing wait, up to five seconds', async () => {
    const { clock, registry, stop, config } = needing();
    clock.random = () => 1;
    const start = clock.now();
    const looks: number[] = [];
    const readConfig = registry.readConfig.bind(registry);
    registry.readConfig = (signal) => (looks.push(clock.now() - start), readConfig(signal));
    await clock.advance(20_000);
    // The first look is already under way.
    expect(looks).toEqual([250, 750, 1_750, 3_750, 7_750, 12_750, 17_750]);
    stop.abort(new Error('enough'));
    await expect(config).rejects.toThrow('enough');
  });

  it('waits for a registry that does not answer, too', async () => {
    const { clock, store, registry, config, complaints } = needing();
    store.put('config', 'good');
    registry.down = true;
    await clock.advance(0);
    expect(complaints()).toEqual([expect.stringContaining('nobody answers')]);
    registry.down = false;
    await clock.advance(5_000);
    expect(await config).toBe('read good');
  });

  it('fails where the configuration cannot be read for a reason that no other one mends', async () => {
    const { store, config, waits } = needing();
    store.put('config', 'bug');
    await expect(config).rejects.toThrow('a bug');
    expect(waits.size).toBe(0);
  });
});

describe('a start that needs the underlay', () => {
  const WISH: UnderlayOptions = { iface: [], ifaceRegex: [], canReach: undefined, publicIp: undefined };

  it('waits for an interface that fits, and says what it chose and why', async () => {
    const { clock, log, waits } = waiting();
    const kernel = new FakeKernel();
    kernel.networkInterfaces = [];
    const seen = awaitUnderlay(
      kernel,
      { clock, log, waits },
      { ...WISH, iface: ['eth0'] },
      new AbortController().signal,
    );
    await clock.advance(0);
    expect([...waits].map(({ current }) => current?.complaint)).toEqual([
      expect.stringMatching(/^waiting for the underlay interface: .*eth0/),
    ]);
    kernel.networkInterfaces = [FAKE_UNDERLAY];
    await clock.advance(5_000);
    const { underlay, hostNetwork } = await seen;
    expect(underlay).toEqual({
      name: 'eth0',
      index: 2,
      mtu: 1500,
      address: '192.168.0.1',
      publicIp: '192.168.0.1',
    });
    expect(hostNetwork).toEqual({ interfaces: [FAKE_UNDERLAY], defaultRoutes: kernel.defaultRouteList });
    expect(log.lines.filter(({ level }) => level === 'info')).toEqual([
      {
        level: 'info',
        message: 'underlay chosen',
        fields: {
          interface: 'eth0',
          index: 2,
          address: '192.168.0.1',
          publicIp: '192.168.0.1',
          mtu: 1500,
          because: '--iface names it',
        },
      },
      { level: 'info', message: 'no more waiting for the underlay interface', fields: { afterSeconds: 0 } },
    ]);
  });

  it.each([
    ['by the default route', undefined, 'eth0'],
    ['by the way to an address that is to be reached', ipAddress('172.31.0.9'), 'eth1'],
  ])('chooses %s', async (_, canReach, name) => {
    const kernel = new FakeKernel();
    const eth1 = {
      ...FAKE_UNDERLAY,
      name: 'eth1',
      index: 3,
      addresses: [{ ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress('172.31.0.1') }],
    };
    kernel.networkInterfaces = [FAKE_UNDERLAY, eth1];
    const { underlay } = await awaitUnderlay(
      kernel,
      waiting(),
      { ...WISH, canReach },
      new AbortController().signal,
    );
    expect(underlay.name).toBe(name);
  });

  it('waits for a route to the address that is to be reached', async () => {
    const ports = waiting();
    const kernel = new FakeKernel();
    kernel.defaultRouteList = [];
    const stop = new AbortController();
    const seen = awaitUnderlay(kernel, ports, { ...WISH, canReach: ipAddress('172.31.0.9') }, stop.signal);
    await ports.clock.advance(0);
    expect([...ports.waits].map(({ current }) => current?.complaint)).toEqual([
      expect.stringContaining('there is no route to 172.31.0.9'),
    ]);
    stop.abort(new Error('enough'));
    await expect(seen).rejects.toThrow('enough');
  });
});

it('a start has what the kernel holds as soon as it can be read', async () => {
  const ports = waiting();
  const kernel = new FakeKernel();
  kernel.failObserve('EINTR', 2);
  const scope = { link: 'flannel.1', networks: [] };
  const state = awaitKernelState(kernel, ports, scope, new AbortController().signal);
  await ports.clock.advance(2_000);
  expect(await state).toEqual(new Map());
  expect(kernel.observations).toBe(3);
});

import { bridgesOf, obstaclesIn } from '../../src/core/surroundings';
import { SurroundingsWatcher } from '../../src/engine/surroundings-watcher';
import { parseSubnet, ipAddress } from '../../src/model/address';
import { KernelError } from '../../src/model/errors';
import type { KernelSettings } from '../../src/model/kernel-settings';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Peer } from '../../src/model/peer';
import { exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

const overlay = exampleOverlay();
const FINE: KernelSettings = { isForwarding: true, notForwarding: [], isBridgedFiltered: true };

/** An interface with that address, written as ip(8) does. */
function bridge(text: string, changes: Partial<NetworkInterface> = {}): NetworkInterface {
  const [address] = text.split('/') as [string];
  const { prefixLength } = parseSubnet(text)!;
  return {
    ...FAKE_UNDERLAY,
    name: 'docker0',
    index: 20,
    mtu: 1450,
    kind: 'bridge',
    addresses: [{ ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress(address), prefixLength }],
    ...changes,
  };
}

const obstacles = (
  interfaces: NetworkInterface[],
  settings: Partial<KernelSettings> = {},
  peers: Peer[] = [],
) => obstaclesIn(overlay, [FAKE_UNDERLAY, ...interfaces], { ...FINE, ...settings }, peers);

describe('bridges', () => {
  it.each<[string, NetworkInterface[]]>([
    ['there is none yet', []],
    ["it has our subnet's address and the overlay's MTU", [bridge('10.5.1.1/24')]],
    ['it has a smaller MTU', [bridge('10.5.1.1/24', { mtu: 1400 })]],
    ['it has no address yet', [bridge('10.5.1.1/24', { addresses: [] })]],
    ['it has no port yet, and so no MTU that counts', [bridge('10.5.1.1/24', { mtu: 1500, carrier: false })]],
    ['another bridge has nothing to do with the overlay', [bridge('172.18.0.1/16', { name: 'br-4de2' })]],
    ['the link is our own', [bridge('10.5.1.0/32', { name: 'flannel.1', kind: 'vxlan' })]],
    ['a VTEP was left', [bridge('10.5.7.0/32', { name: 'flannel.7', kind: 'vxlan' })]],
    ['a VTEP was left with a larger MTU', [bridge('10.5.1.0/32', { kind: 'vxlan', mtu: 9000 })]],
    ['an interface that is no bridge is in the network', [bridge('10.5.7.1/24', { kind: undefined })]],
    ['another bridge has our subnet', [bridge('172.17.0.1/16'), bridge('10.5.1.1/24', { name: 'cni0' })]],
    ['the loopback has an address of the network', [bridge('10.5.7.1/32', { loopback: true })]],
  ])('are fine when %s', (_, interfaces) => {
    expect(obstacles(interfaces)).toEqual({ forwarding: undefined, bridge: undefined });
  });

  it('are not fine when the one with our subnet is down', () => {
    expect(obstacles([bridge('10.5.1.1/24', { up: false, carrier: false })]).bridge).toBe(
      'docker0 is down, and nothing reaches what is behind it; ip link set docker0 up',
    );
    expect(obstacles([bridge('172.18.0.1/16', { name: 'br-4de2', up: false })]).bridge).toBeUndefined();
  });

  it('are fine when the underlay is one, wherever it is', () => {
    for (const text of ['10.5.7.1/24', '10.5.1.1/24']) {
      const { index } = FAKE_UNDERLAY;
      const underlay = bridge(text, { name: 'br0', index, mtu: 9000 });
      expect(obstaclesIn(overlay, [underlay], FINE, [])).toEqual({
        forwarding: undefined,
        bridge: undefined,
      });
      expect(bridgesOf(overlay, [underlay])).toEqual([]);
    }
  });

  it("are not when Docker's is in the network, though another has our subnet", () => {
    const { bridge: found } = obstacles([bridge('10.5.7.1/24'), bridge('10.5.1.1/24', { name: 'cni0' })]);
    expect(found).toMatch(/^docker0 has 10\.5\.7\.1\/24/);
  });

  it('of Open vSwitch count as well', () => {
    const found = obstacles([bridge('10.5.7.1/24', { name: 'ovs0', kind: 'openvswitch' })]);
    expect(found.bridge).toMatch(/^ovs0 has 10\.5\.7\.1/);
  });

  it.each([
    [
      "Docker's choice",
      bridge('172.17.0.1/16'),
      "docker0 has 172.17.0.1/16, and this host's subnet is 10.5.1.0/24: other hosts do not reach what is behind it; " +
        "restart Docker with what 'vtepd docker-opts' says (the drop-in does: systemctl restart docker)",
    ],
    [
      'the subnet that was ours before',
      bridge('10.5.7.1/24'),
      /^docker0 has 10\.5\.7\.1\/24, and this host's subnet is 10\.5\.1\.0\/24: .* restart Docker/,
    ],
    [
      "another bridge's in the network",
      bridge('10.5.7.1/24', { name: 'cni0' }),
      /^cni0 has 10\.5\.7\.1\/24, .*; have it made anew from subnet\.env, for 10\.5\.1\.0\/24$/,
    ],
    [
      'too large an MTU',
      bridge('10.5.1.1/24', { mtu: 1500 }),
      /^docker0 has MTU 1500, and the overlay 1450: larger packets are sent twice, or lost; restart Docker/,
    ],
  ])('are told of, with what to do: %s', (_, found, sentence) => {
    const { bridge: obstacle } = obstacles([found]);
    if (typeof sentence === 'string') expect(obstacle).toBe(sentence);
    else expect(obstacle).toMatch(sentence);
  });
});

describe("a bridge that takes a peer's packets is told of as that:", () => {
  const peers = [examplePeer(7), examplePeer(9)];
  const told = (...found: NetworkInterface[]) => obstacles(found, {}, peers).bridge;

  it.each([['br-4de2'], ['cni0']])('%s is to go, or to another network', (name) => {
    const sentence =
      `${name} has 10.5.7.1/24, and this host's subnet is 10.5.1.0/24: it takes the packets for peer 10.5.7.0/24; ` +
      'remove it, or give it a subnet outside of the network 10.5.0.0/16';
    expect(told(bridge('10.5.7.1/24', { name }))).toBe(sentence);
    expect(told(bridge('10.5.1.1/24'), bridge('10.5.7.1/24', { name }))).toBe(sentence);
  });

  it('by a part of its subnet, or by much more', () => {
    expect(told(bridge('10.5.9.129/25', { name: 'br-1' }))).toMatch(
      /the packets for peer 10\.5\.9\.0\/24; remove it/,
    );
    expect(told(bridge('10.5.8.1/21', { name: 'br-1' }))).toMatch(
      /the packets for peer 10\.5\.9\.0\/24; remove it/,
    );
  });

  it("Docker's own is made anew with our subnet", () => {
    expect(told(bridge('10.5.7.1/24'))).toMatch(
      /: it takes the packets for peer 10\.5\.7\.0\/24; restart Docker with /,
    );
  });

  it('one where no peer is yet has no business in the network, once another bridge has our subnet', () => {
    expect(told(bridge('10.5.1.1/24'), bridge('10.5.20.1/24', { name: 'br-1' }))).toMatch(
      /^br-1 has .*: other hosts do not reach what is behind it; remove it, or give it a subnet outside of the network/,
    );
  });
});

describe('an interface with several addresses', () => {
  const [inside, outside] = [bridge('10.5.1.1/24').addresses[0]!, bridge('172.17.0.1/16').addresses[0]!];
  const both = (...addresses: NetworkInterface['addresses'][number][]) =>
    bridge('10.5.1.1/24', { addresses });

  it('is fine by any of them that is of our subnet', () => {
    for (const addresses of [
      [inside, outside],
      [outside, inside],
    ]) {
      expect(obstacles([both(...addresses)])).toEqual({ forwarding: undefined, bridge: undefined });
      expect(bridgesOf(overlay, [both(...addresses)])).toHaveLength(1);
    }
  });

  it('is not judged by those that are no address of a container network: link-local ones, and IPv6', () => {
    const local = { ...outside, scope: 'link' as const };
    const ipv6 = { ...outside, address: ipAddress('fd00::1') };
    const docker = both(local, ipv6);
    expect(obstacles([docker]).bridge).toBeUndefined();
    expect(obstacles([both(ipv6, outside)]).bridge).toMatch(/^docker0 has 172\.17\.0\.1\/16, /);
  });
});

it('several obstacles are told of in one sentence each', () => {
  const [docker, cni] = [bridge('172.17.0.1/16'), bridge('10.5.7.1/24', { name: 'cni0' })];
  const { bridge: told } = obstacles([docker, cni]);
  expect(told).toBe(`${obstacles([docker]).bridge}; ${obstacles([cni]).bridge}`);
  const { forwarding } = obstacles([bridge('10.5.1.1/24')], { notForwarding: ['docker0', 'flannel.1'] });
  expect(forwarding).toBe(
    'nothing that comes in by docker0, flannel.1 is forwarded; ' +
      'sysctl -w net/ipv4/conf/docker0/forwarding=1; sysctl -w net/ipv4/conf/flannel.1/forwarding=1',
  );
});

describe('forwarding', () => {
  it('that is off matters once there is a bridge with our subnet', () => {
    expect(obstacles([], { isForwarding: false }).forwarding).toBeUndefined();
    expect(obstacles([bridge('172.17.0.1/16')], { isForwarding: false }).forwarding).toBeUndefined();
    expect(obstacles([bridge('10.5.1.1/24')], { isForwarding: false }).forwarding).toBe(
      'net.ipv4.ip_forward is 0, and containers reach nobody; sysctl -w net.ipv4.ip_forward=1',
    );
  });

  it('that is off for one link alone takes a command of its own', () => {
    expect(obstacles([bridge('10.5.1.1/24')], { notForwarding: ['flannel.1'] }).forwarding).toBe(
      'nothing that comes in by flannel.1 is forwarded; sysctl -w net/ipv4/conf/flannel.1/forwarding=1',
    );
  });

  it('that cannot be read is not complained about', () => {
    expect(obstacles([bridge('10.5.1.1/24')], { isForwarding: undefined }).forwarding).toBeUndefined();
  });
});

test('containers are behind the interfaces with an address of our subnet', () => {
  const vtep = bridge('10.5.1.0/32', { name: 'flannel.1', kind: 'vxlan' });
  const interfaces = [bridge('10.5.1.1/24'), vtep, FAKE_UNDERLAY];
  expect(bridgesOf(overlay, interfaces).map(({ name }) => name)).toEqual(['docker0']);
});

describe('the watcher', () => {
  let kernel: FakeKernel;
  let clock: FakeClock;
  let log: FakeLog;
  let watcher: SurroundingsWatcher;
  let stop: AbortController;
  let running: Promise<void>;

  beforeEach(() => {
    [kernel, clock, log, stop] = [new FakeKernel(), new FakeClock(), new FakeLog(), new AbortController()];
    watcher = new SurroundingsWatcher(
      kernel,
      clock,
      log,
      () => overlay,
      () => [],
    );
    running = watcher.run(stop.signal);
  });

  afterEach(async () => {
    stop.abort();
    await running;
  });

  const see = async (...interfaces: NetworkInterface[]) => {
    kernel.networkInterfaces = [FAKE_UNDERLAY, ...interfaces];
    watcher.trigger();
    await clock.advance(3_000);
  };

  it('says what it found once, however often it looks, and that it is over', async () => {
    await see(bridge('172.17.0.1/16'));
    await clock.advance(7_200_000);
    expect(log.messages('warn')).toEqual(['a bridge does not fit the overlay']);
    expect(watcher.trouble('bridge')?.complaint).toMatch(/docker0 has 172\.17\.0\.1\/16/);
    expect(watcher.trouble('forwarding')).toBeUndefined();
    await see(bridge('10.5.1.1/24'));
    expect(log.messages('warn', 'info')).toEqual([
      'a bridge does not fit the overlay',
      'bridges fit the overlay again',
    ]);
    expect(watcher.trouble('bridge')).toBeUndefined();
  });

  it('finds within a minute what the kernel does not tell: its settings', async () => {
    await see(bridge('10.5.1.1/24'));
    kernel.kernelSettings = { ...FINE, isForwarding: false };
    await clock.advance(61_000);
    expect(log.messages('warn')).toEqual(['packets of containers are not forwarded']);
    kernel.kernelSettings = FINE;
    await clock.advance(61_000);
    expect(watcher.trouble('forwarding')).toBeUndefined();
  });

  it('waits for Docker to finish what it began', async () => {
    kernel.kernelSettings = { ...FINE, isForwarding: false };
    kernel.networkInterfaces = [bridge('10.5.1.1/24')];
    watcher.trigger();
    await clock.advance(500);
    kernel.kernelSettings = FINE;
    await clock.advance(10_000);
    expect(log.lines).toEqual([]);
  });

  it('looks a minute after the last look, and two seconds after it is told of a change', async () => {
    const looks: number[] = [];
    const start = clock.now();
    const interfaces = kernel.interfaces.bind(kernel);
    kernel.interfaces = (signal) => (looks.push(clock.now() - start), interfaces(signal));
    await clock.advance(130_000);
    watcher.trigger();
    await clock.advance(10_000);
    expect(looks).toEqual([60_000, 120_000, 132_000]);
  });

  it('asks for the settings of our link and of the bridges that matter', async () => {
    const asked = jest.spyOn(kernel, 'settings') as unknown as jest.SpyInstance<unknown, [string[]]>;
    await see(bridge('10.5.1.1/24'), bridge('172.18.0.1/16', { name: 'br-4de2', index: 21 }));
    // At once, and again when the changes have settled.
    expect(asked.mock.calls).toEqual([[['flannel.1', 'docker0']], [['flannel.1', 'docker0']]]);
  });

  it('says nothing while we have no subnet', async () => {
    stop.abort();
    await running;
    stop = new AbortController();
    watcher = new SurroundingsWatcher(
      kernel,
      clock,
      log,
      () => undefined,
      () => [],
    );
    running = watcher.run(stop.signal);
    await see(bridge('172.17.0.1/16'));
    expect(log.lines).toEqual([]);
    expect(watcher.trouble('bridge')).toBeUndefined();
  });

  it('leaves it to others to say that the kernel does not answer, and looks again', async () => {
    const interfaces = kernel.interfaces.bind(kernel);
    kernel.interfaces = () => Promise.reject(new KernelError('ENOBUFS', 'no memory'));
    await see(bridge('172.17.0.1/16'));
    expect(log.lines).toEqual([]);
    kernel.interfaces = interfaces;
    await clock.advance(60_000);
    expect(log.messages('warn')).toEqual(['a bridge does not fit the overlay']);
  });

  it('ends the agent where it fails in a way that is none of the kernel', async () => {
    kernel.interfaces = () => Promise.reject(new TypeError('a bug'));
    const failure = expect(running).rejects.toThrow('a bug');
    running = Promise.resolve();
    await see();
    await failure;
  });

  it('takes a missing br_netfilter for worth a word, not for trouble', async () => {
    kernel.kernelSettings = { ...FINE, isBridgedFiltered: undefined };
    await see();
    expect(log.lines).toEqual([]);
    await see(bridge('10.5.1.1/24'));
    await clock.advance(200_000);
    expect(log.lines).toEqual([
      {
        level: 'info',
        message: 'packets between two containers of this host do not pass iptables (no br_netfilter)',
        fields: { needed: 'by kube-proxy and by Docker with --icc=false only' },
      },
    ]);
    expect(log.messages('warn')).toEqual([]);
  });
});

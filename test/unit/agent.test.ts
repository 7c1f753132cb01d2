/** The whole agent on fakes: what only shows when all its loops run together. */
import { ipAddress } from '../../src/model/address';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { parseMemory } from '../../src/model/memory-codec';
import { KernelError, RegistryError, UnsupportedError } from '../../src/model/errors';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { exampleLease, examplePeer } from '../support/examples';
import { FakeVxlanGuard } from '../support/fake-vxlan-guard';
import { FAKE_UNDERLAY } from '../support/fake-kernel';

const all = new AgentOnFakes({ hasBlackholeRoute: true });
const { agent, clock, host, kernel } = all;

beforeAll(() => all.start());
afterAll(() => all.stop());

test('it is ready when the kernel holds what it should and subnet.env is written', () => {
  expect(agent.readiness().filter(({ ok }) => !ok)).toEqual([]);
  expect(host.subnetFile).toContain('FLANNEL_SUBNET=');
  expect(kernel.printedState().join()).toContain('route blackhole 10.5.');
});

test('it remembers its own lease, though the watch has not told of it yet', async () => {
  const hasty = new AgentOnFakes();
  hasty.registry.deaf = true;
  await hasty.start();
  const { ownLease, leases } = parseMemory(hasty.host.memory!)!;
  await hasty.stop();
  expect(leases.map(({ name }) => name)).toEqual([ownLease]);
});

test('a kernel without vxlan is said to be one, and no reason to go on', async () => {
  const { agent, clock, kernel } = new AgentOnFakes();
  kernel.failPut('link flannel.1', 'EOPNOTSUPP');
  const end = expect(agent.run(new AbortController().signal)).rejects.toThrow(UnsupportedError);
  await clock.advance(1_000);
  await end;
});

test('since when it has been well is not since when it was asked', async () => {
  const fakes = await new AgentOnFakes().start();
  await fakes.clock.advance(60_000);
  const { since } = fakes.check('lease');
  expect(fakes.clock.now() - since).toBeGreaterThan(50_000);
  await fakes.stop();
});

test('it is not live while a pass lasts for longer than any pass could, and live again when it ends', async () => {
  expect(agent.liveness()).toMatchObject([{ name: 'loops', ok: true }]);
  const release = kernel.hold();
  agent.audit('test');
  await clock.advance(119_000);
  expect(agent.liveness()).toMatchObject([{ ok: true }]);
  await clock.advance(10_000);
  expect(agent.liveness()).toMatchObject([
    {
      ok: false,
      reason: expect.stringMatching(/a pass over the kernel state has lasted for 1\d\d s/) as string,
    },
  ]);
  release();
  await clock.advance(1_000);
  expect(agent.liveness()).toMatchObject([{ ok: true }]);
});

test('it keeps its lease alive for longer than it would live, though every few minutes an audit looks at it', async () => {
  const { store } = all;
  const { revision } = store;
  await clock.advance(30 * 3_600_000);
  expect(store.revision).toBe(revision);
  expect(agent.status(false).lease?.remainingSeconds).toBeGreaterThan(16 * 3600);
});

describe('with many leases', () => {
  it('writes subnet.env before it writes the peers, and answers then what was asked meanwhile', async () => {
    const all = new AgentOnFakes();
    const { agent, kernel, host, store } = all;
    for (let n = 0; n < 255; n++) {
      const data = `{"VNI":1,"VtepMAC":"02:00:00:00:01:${n.toString(16).padStart(2, '0')}"}`;
      store.put(
        `subnets/10.5.${n}.0-24`,
        `{"PublicIP":"192.168.1.${n}","BackendType":"vxlan","BackendData":${data}}`,
      );
    }
    const peersBefore: number[] = [];
    const write = host.writeSubnetFile.bind(host);
    host.writeSubnetFile = async (text) => {
      peersBefore.push(kernel.printed().filter((operation) => operation.includes('lladdr')).length);
      kernel.raiseMiss({ layer: 'l3', address: ipAddress('10.5.7.0') });
      await write(text);
    };
    await all.start();
    expect(host.subnetFile).toContain('FLANNEL_SUBNET=');
    expect(peersBefore).toEqual([0]);
    expect(kernel.printedState().filter((object) => object.includes('lladdr'))).toHaveLength(255);
    expect(agent.status(false).work.missesAnswered).toBe(1);
    await all.stop();
  });
});

test('what the kernel asks while an agent starts is answered as soon as it can be', async () => {
  const all = new AgentOnFakes({ resolve: { kind: 'on-demand', idleMilliseconds: 60_000 } });
  const { agent, kernel, host, store } = all;
  store.put('subnets/10.5.7.0-24', printLeaseAttributes(exampleLease(7).attributes));
  const read = host.readSubnetFile.bind(host);
  host.readSubnetFile = () => {
    // Before it has a lease.
    kernel.raiseMiss({ layer: 'l3', address: ipAddress('10.5.7.0') });
    host.readSubnetFile = read;
    return read();
  };
  await all.start();
  expect(agent.status(false).work.missesAnswered).toBe(1);
  expect(kernel.printedState().filter((object) => object.includes('lladdr'))).toHaveLength(1);
  await all.stop();
});

describe('answers that stand ready', () => {
  const ON_DEMAND = { resolve: { kind: 'on-demand', idleMilliseconds: 60_000 } } as const;
  const key = 'subnets/10.5.7.0-24';
  const { vtepMac, attributes } = { ...examplePeer(7), ...exampleLease(7) };
  const answer = `neigh 10.5.7.9 dev flannel.1 lladdr ${vtepMac} learned`;
  /** What there is once the kernel asked for an address of the peer, while the agent itself does nothing. */
  const afterMiss = ({ kernel }: AgentOnFakes) => {
    const applyNow = kernel.applyNow.bind(kernel);
    kernel.applyNow = () => [];
    kernel.raiseMiss({ layer: 'l3', address: ipAddress('10.5.7.9') });
    kernel.applyNow = applyNow;
    return kernel.printedState();
  };

  it('are those of the peers there are, from the moment they join until they leave', async () => {
    const all = await new AgentOnFakes(ON_DEMAND).start();
    expect(afterMiss(all)).not.toContain(answer);
    all.store.put(key, printLeaseAttributes(attributes));
    await all.clock.advance(10);
    expect(afterMiss(all)).toContain(answer);
    all.kernel.tamper({
      verb: 'remove',
      object: {
        kind: 'neighbor',
        link: 'flannel.1',
        address: ipAddress('10.5.7.9'),
        mac: vtepMac,
        state: 'learned',
      },
    });
    all.store.delete(key);
    await all.clock.advance(10_000);
    expect(afterMiss(all)).not.toContain(answer);
    await all.stop();
  });

  it('are not needed where all peers are written', async () => {
    const all = new AgentOnFakes();
    all.store.put(key, printLeaseAttributes(attributes));
    await all.start();
    expect(afterMiss(all)).not.toContain(answer);
    await all.stop();
  });

  it('are given after who joined was admitted: he may answer the moment after', async () => {
    const guard = new FakeVxlanGuard();
    const all = new AgentOnFakes({ ...ON_DEMAND, admitsPeersOnly: true }, guard);
    const admittedWhenAnswered: string[] = [];
    const standingAnswers = all.kernel.standingAnswers.bind(all.kernel);
    all.kernel.standingAnswers = (...words) => {
      const answers = standingAnswers(...words);
      return {
        peersChanged: (changes) => {
          admittedWhenAnswered.push([...guard.installed.get('flannel.1')!.peers.keys()].join());
          answers.peersChanged(changes);
        },
      };
    };
    await all.start();
    all.store.put(key, printLeaseAttributes(attributes));
    await all.clock.advance(10);
    expect(admittedWhenAnswered).toEqual(['192.168.0.7 10.5.7.0/24']);
    await all.stop();
  });

  it('can be done without', async () => {
    const all = new AgentOnFakes(ON_DEMAND);
    all.kernel.standingAnswers = () => {
      throw new KernelError('EAGAIN', 'no thread');
    };
    all.store.put(key, printLeaseAttributes(attributes));
    await all.start();
    expect(all.log.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'misses are answered later than they could be' }),
    );
    all.kernel.raiseMiss({ layer: 'l3', address: ipAddress('10.5.7.9') });
    expect(all.agent.status(false).work.missesAnswered).toBe(1);
    await all.stop();
  });
});

test('it waits while another host has its PublicIP, and has a subnet soon after it was given another', async () => {
  const waiting = new AgentOnFakes();
  const { store, clock, kernel } = waiting;
  const key = 'subnets/10.5.7.0-24';
  const { address } = FAKE_UNDERLAY.addresses[0]!;
  const value = printLeaseAttributes({ ...exampleLease(7).attributes, publicIp: address });
  const twin = store.grant(86_400, 'twin');
  store.put(key, value, twin);
  await waiting.start();
  const stop = new AbortController();
  // It lives, and objects.
  const objecting = (async () => {
    while (!stop.signal.aborted) {
      if (store.entries.get(key)?.etcdLeaseId !== twin) store.put(key, value, twin);
      await clock.sleep(100, stop.signal).catch(() => undefined);
    }
  })();
  await clock.advance(300_000);
  expect(waiting.check('lease')).toMatchObject({
    ok: false,
    reason: expect.stringContaining('it was there first, and we wait until it has gone') as string,
  });
  const [first] = FAKE_UNDERLAY.addresses;
  kernel.changeInterfaces([
    { ...FAKE_UNDERLAY, addresses: [{ ...first!, address: ipAddress('192.168.0.77') }] },
  ]);
  await clock.advance(130_000);
  expect(waiting.agent.readiness().filter(({ ok }) => !ok)).toEqual([]);
  expect(waiting.agent.status(false).lease).toMatchObject({ publicIp: '192.168.0.77' });
  expect(store.valueOf(key)).toBe(value);
  stop.abort();
  await objecting;
  await waiting.stop();
});

test('while etcd is away, an underlay that moves into the network takes the network route with it, and brings it back', async () => {
  const all = await new AgentOnFakes().start();
  const { kernel, clock, registry } = all;
  const networkRoute = () => kernel.printedState().filter((object) => object.startsWith('route 10.5.0.0/16'));
  expect(networkRoute()).toHaveLength(1);
  const away = () => Promise.reject(new RegistryError('unavailable', 'etcd is away'));
  Object.assign(registry, { list: away, update: away, keepAlive: away });
  const at = (text: string) => ({
    ...FAKE_UNDERLAY,
    addresses: [{ ...FAKE_UNDERLAY.addresses[0]!, address: ipAddress(text) }],
  });
  kernel.changeInterfaces([at('10.5.200.1')]);
  await clock.advance(1_000);
  expect(networkRoute()).toEqual([]);
  expect(kernel.printedState().join()).toContain('local 10.5.200.1');
  kernel.changeInterfaces([at('192.168.0.9')]);
  await clock.advance(1_000);
  expect(networkRoute()).toHaveLength(1);
  await all.stop();
});

test('a default gateway that appears after the start is guarded: no lease takes it into the overlay', async () => {
  const all = new AgentOnFakes();
  const { kernel, clock, store } = all;
  kernel.defaultRouteList = [];
  store.put('subnets/10.5.7.0-24', printLeaseAttributes(exampleLease(7).attributes));
  await all.start();
  const objects = (text: string) => kernel.printedState().filter((object) => object.includes(text));
  expect(objects('route 10.5.7.0/24')).toHaveLength(1);
  kernel.changeDefaultRoutes({ interfaceIndex: 2, source: undefined, gateway: ipAddress('10.5.7.254') });
  await clock.advance(1_000);
  expect(objects('route 10.5.7.0/24')).toEqual([]);
  expect(objects('route 10.5.0.0/16')).toEqual([]);
  expect(all.check('other leases').reason).toContain('its subnet holds 10.5.7.254');
  await all.stop();
});

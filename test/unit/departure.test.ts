/** Leaving for good: what goes, and what stays. */
import { cleanUpKernel, giveBackLeases, keepAgentsOut, reachOf, removeGuards } from '../../src/departure';
import type { Past } from '../../src/engine/past';
import { ipAddress, subnet } from '../../src/model/address';
import { vxlanDataOf } from '../../src/model/lease-codec';
import { macAddress } from '../../src/model/mac';
import type { VxlanGuard } from '../../src/ports';
import { KernelError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeMachine } from '../support/fake-host';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeStore } from '../support/fake-registry';
import { FakeVxlanGuard } from '../support/fake-vxlan-guard';
import { PEER, exampleBase, networkRoute, peerRoute, put, unreachable } from '../support/kernel-contract';
import { leaseSubnets, vxlanAttributes } from '../support/registry-contract';
import { ADMISSIONS } from '../support/vxlan-guard-contract';

const signal = new AbortController().signal;
const ETH0 = { iface: ['eth0'], ifaceRegex: [], canReach: undefined, publicIp: undefined };

const saved = { subnet: subnet('10.5.8.0/24'), publicIp: undefined, vtepMac: undefined, host: undefined };

let said: string[];
const say = (line: string) => said.push(line);
beforeEach(() => (said = []));

describe('giving back leases', () => {
  const store = () => {
    const made = new FakeStore(new FakeClock());
    const registry = made.client();
    const create = async (text: string, n: number, ttlSeconds: number | undefined) => {
      const id = ttlSeconds === undefined ? undefined : await registry.grant(ttlSeconds, signal);
      await registry.create(leaseSubnets(text), vxlanAttributes(n), id, signal);
    };
    const names = async () => (await registry.list(signal)).leases.map(({ name }) => name).sort();
    return { registry, create, names };
  };

  test('every lease with our PublicIP goes; reservations, and the leases of others, stay', async () => {
    const { registry, create, names } = store();
    await create('10.5.1.0/24', 1, 3600);
    await create('10.5.2.0/24', 2, 3600);
    await create('10.5.3.0/24', 1, undefined);
    await create('10.5.4.0/24', 1, 3600);
    await create('10.5.5.0/24', 2, undefined);
    await giveBackLeases(registry, new FakeKernel(), ETH0, say, signal);
    expect(await names()).toEqual(['10.5.2.0-24', '10.5.3.0-24', '10.5.5.0-24']);
    expect(said.sort()).toEqual([
      '10.5.3.0-24 is a reservation, and stays one',
      'gave back 10.5.1.0-24',
      'gave back 10.5.4.0-24',
    ]);
  });

  test('the PublicIP that a user names counts, not that of the interface', async () => {
    const { registry, create, names } = store();
    await create('10.5.1.0/24', 1, 3600);
    await create('10.5.7.0/24', 7, 3600);
    const options = { ...ETH0, publicIp: ipAddress('192.168.0.7') };
    await giveBackLeases(registry, new FakeKernel(), options, say, signal);
    expect(await names()).toEqual(['10.5.1.0-24']);
  });

  test('without one, it is said that there was nothing to give back', async () => {
    await giveBackLeases(store().registry, new FakeKernel(), ETH0, say, signal);
    expect(said).toEqual(['no lease names our PublicIP 192.168.0.1: nothing to give back']);
  });

  test('one that was changed meanwhile stays, and is named', async () => {
    const { registry, create, names } = store();
    await create('10.5.1.0/24', 1, 3600);
    const list = registry.list.bind(registry);
    registry.list = async (...args) => {
      const snapshot = await list(...args);
      await registry.update(snapshot.leases[0]!, vxlanAttributes(1), undefined, signal);
      return snapshot;
    };
    await giveBackLeases(registry, new FakeKernel(), ETH0, say, signal);
    registry.list = list;
    expect(await names()).toEqual(['10.5.1.0-24']);
    expect(said).toEqual(['10.5.1.0-24 was changed by somebody else meanwhile, and stays']);
  });

  describe('where this host remembers another subnet, one with our PublicIP', () => {
    const past = { previous: subnet('10.5.9.0/24'), saved: undefined };
    /** What is left of the lease of host 1, with our PublicIP. */
    const after = async (changes: { past?: Past; mac?: string; name?: string; isOurs?: boolean } = {}) => {
      const { registry, create, names } = store();
      await create('10.5.1.0/24', 1, 3600);
      registry.isGrantedToUs = () => changes.isOurs ?? false;
      const kernel = new FakeKernel();
      const [mac, name] = [macAddress(changes.mac ?? '02:00:00:00:00:77'), changes.name ?? 'flannel.1'];
      kernel.networkInterfaces = [FAKE_UNDERLAY, { ...FAKE_UNDERLAY, name, index: 9, mac }];
      await giveBackLeases(registry, kernel, ETH0, say, signal, changes.past ?? past);
      return names();
    };
    const vtepMac = vxlanDataOf(vxlanAttributes(1).backendData)!.vtepMac;

    test("is another host's, and stays", async () => {
      expect(await after()).toEqual(['10.5.1.0-24']);
      expect(said).toEqual(["10.5.1.0-24 is another host's, which had our PublicIP 192.168.0.1, and stays"]);
      expect(await after({ mac: vtepMac, name: 'eth7' })).toEqual(['10.5.1.0-24']);
    });

    test.each([
      ['its MAC is that of our device', { mac: vtepMac }],
      ['its etcd lease is ours since the boot', { isOurs: true }],
      [
        'the state file names its subnet',
        { past: { ...past, saved: { ...saved, subnet: subnet('10.5.1.0/24') } } },
      ],
      ['the state file names its MAC', { past: { ...past, saved: { ...saved, vtepMac } } }],
    ])('goes when %s', async (_, changes) => {
      expect(await after(changes)).toEqual([]);
    });
  });

  test('nothing goes when our PublicIP cannot be told', async () => {
    const { registry, create, names } = store();
    await create('10.5.1.0/24', 1, 3600);
    const kernel = new FakeKernel();
    kernel.networkInterfaces = [];
    await expect(giveBackLeases(registry, kernel, ETH0, say, signal)).rejects.toThrow(
      "cannot tell which lease is ours: there is no interface 'eth0'",
    );
    expect(await names()).toEqual(['10.5.1.0-24']);
  });
});

describe('cleaning up', () => {
  const ours = [...exampleBase(FAKE_UNDERLAY), ...PEER, unreachable('10.5.9.0/24')];
  const foreign = [
    peerRoute('10.5.5.0/24', 0, { protocol: 4 }),
    networkRoute(subnet('172.16.0.0/16'), undefined, { link: 'eth0', protocol: 4 }),
  ];
  const kernelWith = () => {
    const kernel = new FakeKernel();
    kernel.tamper(...[...ours, ...foreign].map(put));
    return kernel;
  };
  const host = () => new FakeMachine().host();

  test('takes our links with all on them, and our routes; nothing of others', async () => {
    const kernel = kernelWith();
    expect(await cleanUpKernel(kernel, host(), false, say, signal)).toBe(true);
    // What others had on our link goes with it.
    expect(kernel.printedState()).toEqual(['route 172.16.0.0/16 dev eth0 proto 4 metric 0']);
    expect(said).toEqual(['removed 4 objects, link flannel.1']);
  });

  test('leaves the link, and all that flannel would find on it, to flannel', async () => {
    const kernel = kernelWith();
    kernel.tamper(put(peerRoute('10.5.4.0/24', 0, { protocol: 3 })));
    expect(await cleanUpKernel(kernel, host(), true, say, signal)).toBe(true);
    const left = kernel.printedState().join('\n');
    expect(left).not.toContain('proto 84');
    for (const each of [
      'link flannel.1',
      'fdb 02:00:00:00:00:02',
      'neigh 10.5.2.0',
      '10.5.4.0/24 via 10.5.4.0',
    ])
      expect(left).toContain(each);
    expect(said).toEqual(['removed 3 objects']);
  });

  test('takes a link that is down, and so has lost its routes, if an agent ran for it', async () => {
    const kernel = new FakeKernel();
    kernel.tamper(...exampleBase(FAKE_UNDERLAY, { up: false }).slice(0, 1).map(put));
    expect(await cleanUpKernel(kernel, host(), false, say, signal)).toBe(true);
    expect(said).toEqual(['removed 0 objects']);
    const lockedOnce = host();
    lockedOnce.lock('flannel.1');
    expect(await cleanUpKernel(kernel, lockedOnce, false, say, signal)).toBe(true);
    expect(kernel.printedState()).toEqual([]);
  });

  test('says what the kernel refuses, and that something is left', async () => {
    const kernel = kernelWith();
    kernel.failRemove('link flannel.1');
    expect(await cleanUpKernel(kernel, host(), false, say, signal)).toBe(false);
    expect(said[0]).toBe('removed 3 objects');
    expect(said[1]).toMatch(/^could not remove link flannel\.1 .*: cannot remove link flannel\.1/);
  });
});

describe('keeping agents out', () => {
  test('nothing is begun while an agent runs for a link that is ours, there or not', async () => {
    const machine = new FakeMachine();
    const agent = machine.host();
    agent.lock('flannel.1');
    await expect(keepAgentsOut(new FakeKernel(), machine.host(), signal)).rejects.toMatchObject({
      code: 'EBUSY',
      message: 'stop the agent first; nothing was changed',
    });
    agent.end();
    const person = machine.host();
    await keepAgentsOut(new FakeKernel(), person, signal);
    expect(() => machine.host().lock('flannel.1')).toThrow(/runs for flannel\.1 already/);
  });

  test('a lock of another kind of link is no obstacle', async () => {
    const machine = new FakeMachine();
    machine.host().lock('vtepd-first-host');
    await keepAgentsOut(new FakeKernel(), machine.host(), signal);
  });
});

describe('of several overlays', () => {
  const place = { link: 'flannel.1', networks: [subnet('10.5.0.0/16')] };
  const kernelWith = () => {
    const kernel = new FakeKernel();
    kernel.tamper(...[...exampleBase(FAKE_UNDERLAY), ...PEER].map(put));
    const [link] = exampleBase(FAKE_UNDERLAY);
    if (link?.kind !== 'link') throw new Error('the base begins with the link');
    kernel.tamper(
      put({ ...link, name: 'flannel.6', vxlan: { ...link.vxlan!, vni: 6 } }),
      put({ kind: 'address', link: 'flannel.6', address: ipAddress('10.6.1.0'), prefixLength: 32 }),
      put(networkRoute(subnet('10.6.0.0/16'), undefined, { link: 'flannel.6' })),
      put(unreachable('10.6.9.0/24')),
      put(unreachable('10.5.9.0/24')),
    );
    return kernel;
  };

  test('a command reaches what is of its own, also while the agent of another runs', async () => {
    const machine = new FakeMachine();
    machine.host().lock('flannel.6');
    const person = machine.host();
    const kernel = kernelWith();
    const reach = await reachOf(kernel, person, place, signal);
    expect([...reach.others]).toEqual(['flannel.6']);
    await keepAgentsOut(kernel, person, signal, reach);
    expect(await cleanUpKernel(kernel, person, false, say, signal, reach)).toBe(true);
    expect(said.at(-1)).toBe("flannel.6 is another overlay's, and stays");
    const left = kernel.printedState().join('\n');
    for (const each of ['link flannel.6', 'route 10.6.0.0/16 dev flannel.6', 'unreachable 10.6.9.0/24'])
      expect(left).toContain(each);
    expect(left).not.toMatch(/flannel\.1|10\.5\./);
  });

  test('its own device is known by its name, or by its address where the name is not known', async () => {
    const machine = new FakeMachine();
    const by = { ...place, link: undefined };
    expect([...(await reachOf(kernelWith(), machine.host(), by, signal)).others]).toEqual(['flannel.6']);
    const former = { link: 'flannel.7', networks: [subnet('10.5.0.0/16'), subnet('10.6.1.0/24')] };
    expect([...(await reachOf(kernelWith(), machine.host(), former, signal)).others]).toEqual([]);
  });

  test('an agent that runs for a device that is gone is that of another; a lock that is free is no sign', async () => {
    const machine = new FakeMachine();
    machine.host().lock('flannel.8');
    const ended = machine.host();
    ended.lock('flannel.9');
    ended.end();
    const { others } = await reachOf(new FakeKernel(), machine.host(), place, signal);
    expect([...others]).toEqual(['flannel.8']);
  });

  test('where nothing tells which is meant, the user is asked to; with one there is no question', async () => {
    const host = new FakeMachine().host();
    await expect(reachOf(kernelWith(), host, undefined, signal)).rejects.toThrow(
      'there are several overlays on this host (flannel.1, flannel.6)',
    );
    const kernel = new FakeKernel();
    kernel.tamper(...[...exampleBase(FAKE_UNDERLAY), ...PEER].map(put));
    expect((await reachOf(kernel, host, undefined, signal)).others.size).toBe(0);
  });

  test('the guards of others stay', () => {
    const guard = new FakeVxlanGuard();
    const admission = ADMISSIONS['IPv4 over IPv4']!;
    guard.install(admission);
    guard.install({ ...admission, link: 'flannel.2' });
    expect(removeGuards(guard, say, new Set(['flannel.2']))).toBe(true);
    expect(guard.links()).toEqual(['flannel.2']);
  });
});

describe('removing guards', () => {
  test('every link’s goes, and each is named', () => {
    const guard = new FakeVxlanGuard();
    const admission = ADMISSIONS['IPv4 over IPv4']!;
    guard.install(admission);
    guard.install({ ...admission, link: 'flannel.2' });
    expect(removeGuards(guard, say)).toBe(true);
    expect(guard.links()).toEqual([]);
    expect(said).toEqual([
      'removed the guard of the VXLAN port of flannel.1',
      'removed the guard of the VXLAN port of flannel.2',
    ]);
  });

  test('what the kernel refuses is said', () => {
    const links = (): string[] => {
      throw new KernelError('EPERM', 'it is not allowed');
    };
    expect(removeGuards({ links } as unknown as VxlanGuard, say)).toBe(false);
    expect(said).toEqual(['could not remove the guard of the VXLAN port: it is not allowed']);
  });
});

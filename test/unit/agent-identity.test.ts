/** The whole agent on fakes: who it takes itself for, across reboots and changes of its addresses. */
import type { AgentOptions } from '../../src/agent';
import { ipAddress } from '../../src/model/address';
import type { KernelObject } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { InterfaceAddress, NetworkInterface } from '../../src/model/network-interface';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { FAKE_UNDERLAY } from '../support/fake-kernel';
import { exampleLink } from '../support/kernel-contract';

const [LASTING] = FAKE_UNDERLAY.addresses;
const eth0 = (...addresses: (string | Partial<InterfaceAddress>)[]): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  addresses: addresses.map((own) => ({
    ...LASTING!,
    ...(typeof own === 'string' ? { address: ipAddress(own) } : own),
  })),
});
const FLOATING = { address: ipAddress('192.168.9.9'), prefixLength: 32 };
const DHCP = { address: ipAddress('192.168.0.5'), permanent: false };
const BY_DEFAULT: AgentOptions['underlay'] = {
  iface: [],
  ifaceRegex: [],
  canReach: undefined,
  publicIp: undefined,
};

const leaseOf = ({ agent }: AgentOnFakes) => agent.status(false).lease;
const keysOf = ({ store }: AgentOnFakes) =>
  [...store.entries.keys()].filter((key) => key.startsWith('subnets/'));

/** The same host after a reboot: nothing is left but the state file and the lease in etcd. */
async function reboot(
  before: AgentOnFakes,
  interfaces: NetworkInterface[],
  keepsEnv = false,
): Promise<AgentOnFakes> {
  const after = new AgentOnFakes();
  const [key] = keysOf(before);
  after.store.put(key!, before.store.valueOf(key!)!, after.store.grant(86_400, 'an earlier boot'));
  after.host.memory = before.host.memory;
  if (keepsEnv) after.host.subnetFile = before.host.subnetFile;
  after.kernel.networkInterfaces = interfaces;
  await before.stop();
  await after.start();
  await after.clock.advance(5_000);
  return after;
}

describe('a host that was booted', () => {
  it.each([
    ['and has lost subnet.env', false],
    ['and still has subnet.env', true],
  ])('%s keeps its lease under the other address that DHCP gives it', async (_, keepsEnv) => {
    const before = await new AgentOnFakes().start();
    const had = leaseOf(before)!;
    const after = await reboot(before, [eth0('192.168.0.77')], keepsEnv);
    expect(leaseOf(after)).toMatchObject({ name: had.name, vtepMac: had.vtepMac, publicIp: '192.168.0.77' });
    expect(keysOf(after)).toEqual([`subnets/${had.name}`]);
    expect(after.agent.readiness().filter(({ ok }) => !ok)).toEqual([]);
    await after.stop();
  });

  it('keeps its lease under another address also where its network card had got another hardware address before', async () => {
    const before = await new AgentOnFakes().start();
    const had = leaseOf(before)!;
    const mac = macAddress('02:ee:00:00:00:77');
    before.kernel.networkInterfaces = [{ ...FAKE_UNDERLAY, mac }];
    await before.clock.advance(75_000);
    const after = await reboot(before, [{ ...eth0('192.168.0.77'), mac }]);
    expect(leaseOf(after)).toMatchObject({ name: had.name, publicIp: '192.168.0.77' });
    await after.stop();
  });

  it('has another lease where the file comes from a host with another network card', async () => {
    const before = await new AgentOnFakes().start();
    const had = leaseOf(before)!;
    const copy = { ...eth0('192.168.0.77'), mac: macAddress('02:ee:00:00:00:77') };
    const after = await reboot(before, [copy]);
    expect(leaseOf(after)!.name).not.toBe(had.name);
    expect(keysOf(after)).toHaveLength(2);
    await after.stop();
  });

  it('takes the address of its lease, of several', async () => {
    const before = new AgentOnFakes();
    before.kernel.networkInterfaces = [eth0(DHCP)];
    await before.start();
    const after = await reboot(before, [eth0('192.168.0.4', FLOATING, DHCP)]);
    expect(leaseOf(after)).toMatchObject({ publicIp: '192.168.0.5' });
    await after.stop();
  });
});

describe('a host that gets an address beside its own', () => {
  it('stays where it is, and goes there only when it loses its own', async () => {
    const all = new AgentOnFakes();
    all.kernel.networkInterfaces = [eth0(DHCP)];
    await all.start();
    all.kernel.changeInterfaces([eth0('192.168.0.4', FLOATING, DHCP)]);
    await all.clock.advance(5_000);
    expect(leaseOf(all)).toMatchObject({ publicIp: '192.168.0.5' });
    all.kernel.changeInterfaces([eth0(FLOATING)]);
    await all.clock.advance(5_000);
    expect(leaseOf(all)).toMatchObject({ publicIp: '192.168.9.9' });
    await all.stop();
  });
});

describe('a host that is started before it has an address', () => {
  it('takes none of its own devices for the underlay, and goes on as soon as there is one', async () => {
    const all = new AgentOnFakes({ underlay: { ...BY_DEFAULT, ifaceRegex: ['^10\\.', '^192\\.'] } });
    const { kernel, clock } = all;
    kernel.networkInterfaces = [eth0()];
    const link = exampleLink(eth0('192.168.0.1'));
    const own: KernelObject = {
      kind: 'address',
      link: 'flannel.1',
      address: ipAddress('10.5.7.0'),
      prefixLength: 32,
    };
    kernel.tamper({ verb: 'put', object: link }, { verb: 'put', object: own });
    await all.start();
    await clock.advance(30_000);
    expect(keysOf(all)).toEqual([]);
    expect(all.check('start').reason).toContain(
      "no interface has an address or a name that matches '^10\\.'",
    );
    kernel.changeInterfaces([eth0('192.168.0.1')]);
    await clock.advance(6_000);
    expect(leaseOf(all)).toMatchObject({ publicIp: '192.168.0.1', vtepMac: link.mac });
    expect(keysOf(all)).toHaveLength(1);
    await all.stop();
  });

  it('follows its address while it waits for etcd', async () => {
    const all = new AgentOnFakes();
    const { kernel, clock, registry } = all;
    registry.down = true;
    await all.start();
    kernel.changeInterfaces([eth0('192.168.0.77')]);
    await clock.advance(10_000);
    registry.down = false;
    await clock.advance(10_000);
    expect(leaseOf(all)).toMatchObject({ publicIp: '192.168.0.77' });
    expect(keysOf(all)).toHaveLength(1);
    await all.stop();
  });
});

test('a host leases no subnet that a gateway of its own is in', async () => {
  const all = new AgentOnFakes();
  all.store.put('config', '{"Network": "10.5.0.0/22", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}');
  const gateway = (text: string) => ({ interfaceIndex: 2, source: undefined, gateway: ipAddress(text) });
  all.kernel.defaultRouteList = [gateway('10.5.1.254'), gateway('10.5.3.254')];
  await all.start();
  expect(leaseOf(all)).toMatchObject({ subnet: '10.5.2.0/24' });
  await all.stop();
});

describe('a network that can be no overlay', () => {
  const LINK_LOCAL = '{"Network": "169.254.0.0/16", "Backend": {"Type": "vxlan"}}';

  it('is not taken by a new host', async () => {
    const all = new AgentOnFakes();
    all.store.put('config', LINK_LOCAL);
    await all.start();
    await all.clock.advance(10_000);
    expect(keysOf(all)).toEqual([]);
    expect(all.check('start').reason).toContain('169.254.0.0/16 cannot be an overlay');
    await all.stop();
  });

  it.each<[string, (all: AgentOnFakes) => void]>([
    ['subnet.env', ({ host }) => (host.subnetFile = 'FLANNEL_SUBNET=169.254.7.1/24\n')],
    [
      'its device',
      ({ kernel }) =>
        kernel.tamper(
          { verb: 'put', object: exampleLink(eth0('192.168.0.1')) },
          {
            verb: 'put',
            object: {
              kind: 'address',
              link: 'flannel.1',
              address: ipAddress('169.254.7.0'),
              prefixLength: 32,
            },
          },
        ),
    ],
  ])('goes on where this host had a place in it by %s, with a warning', async (_, prepare) => {
    const all = new AgentOnFakes();
    all.store.put('config', LINK_LOCAL);
    prepare(all);
    await all.start();
    expect(leaseOf(all)!.subnet).toMatch(/^169\.254\./);
    expect(all.log.messages('warn').join()).toContain('it goes on because it is in use');
    await all.stop();
  });
});

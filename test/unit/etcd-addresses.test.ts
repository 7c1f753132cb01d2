/** Etcd by its name: what its name leads to is kept out of the overlay like an endpoint that is an address. */
import { EtcdAddresses } from '../../src/engine/etcd-addresses';
import { ipAddress, type IpAddress } from '../../src/model/address';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { FakeClock } from '../support/fake-clock';
import { FakeHost } from '../support/fake-host';

const NAME = 'etcd.example';
const peer = (publicIp: string, vtepMac: string) =>
  JSON.stringify({ PublicIP: publicIp, BackendType: 'vxlan', BackendData: { VNI: 1, VtepMAC: vtepMac } });

async function agentWith(...addresses: string[]): Promise<AgentOnFakes> {
  const fakes = new AgentOnFakes({ etcdNames: [NAME] });
  fakes.host.names.set(NAME, addresses.map(ipAddress));
  await fakes.start();
  return fakes;
}

const subnetsOf = ({ agent }: AgentOnFakes) => agent.status(true).peers.list!.map(({ subnet }) => subnet);

test('a lease with the address of an etcd that is known by its name is not believed', async () => {
  const fakes = await agentWith('10.5.77.7');
  const lease = fakes.store.grant(86_400, 'another host');
  fakes.store.put('subnets/10.5.77.0-24', peer('192.168.0.8', '02:00:00:00:00:08'), lease);
  fakes.store.put('subnets/10.5.78.0-24', peer('192.168.0.9', '02:00:00:00:00:09'), lease);
  await fakes.clock.advance(1_000);
  expect(subnetsOf(fakes)).toEqual(['10.5.78.0/24']);
  expect(fakes.check('other leases').reason).toContain(
    'its subnet holds 10.5.77.7, which the underlay must reach',
  );
  await fakes.stop();
});

test('nor is its subnet leased by this host itself', async () => {
  // Of four subnets, the first is never leased.
  const fakes = new AgentOnFakes({ etcdNames: [NAME] });
  fakes.store.put('config', '{"Network": "10.5.0.0/22", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}');
  fakes.host.names.set(NAME, [ipAddress('10.5.1.7'), ipAddress('10.5.3.7')]);
  await fakes.start();
  expect(fakes.agent.status(false).lease!.subnet).toBe('10.5.2.0/24');
  await fakes.stop();
});

test('where the name leads elsewhere after a while, the new address is kept out', async () => {
  const fakes = await agentWith('10.5.77.7');
  fakes.host.names.set(NAME, [ipAddress('10.5.78.7')]);
  await fakes.clock.advance(61_000);
  const lease = fakes.store.grant(86_400, 'another host');
  fakes.store.put('subnets/10.5.78.0-24', peer('192.168.0.9', '02:00:00:00:00:09'), lease);
  await fakes.clock.advance(1_000);
  expect(subnetsOf(fakes)).toEqual([]);
  await fakes.stop();
});

describe('a name server', () => {
  const setUp = (addressesOf: (name: string) => Promise<readonly IpAddress[]>) => {
    const clock = new FakeClock();
    const known: (readonly IpAddress[])[] = [];
    const names = [NAME, 'other.example'];
    const addresses = new EtcdAddresses({ addressesOf }, clock, names, (all) => known.push(all));
    return { clock, known, addresses, stop: new AbortController() };
  };

  test('that is silent does not hold up a start', async () => {
    const { clock, addresses, stop } = setUp(() => new Promise(() => undefined));
    let isOver = false;
    const first = addresses.first(stop.signal).then(() => (isOver = true));
    await clock.advance(1_999);
    expect(isOver).toBe(false);
    await clock.advance(1);
    await first;
  });

  test('that has lost a name does not make us forget its addresses', async () => {
    const host = new FakeHost();
    host.names.set(NAME, [ipAddress('10.5.77.7')]);
    host.names.set('other.example', [ipAddress('10.5.78.7')]);
    const { clock, known, addresses, stop } = setUp((name) => host.addressesOf(name));
    await addresses.first(stop.signal);
    expect(known.at(-1)).toEqual(['10.5.77.7', '10.5.78.7']);
    const run = addresses.run(stop.signal);
    host.names.delete(NAME);
    host.names.set('other.example', [ipAddress('10.5.79.7')]);
    await clock.advance(60_000);
    expect(known.at(-1)).toEqual(['10.5.77.7', '10.5.79.7']);
    stop.abort();
    await run;
  });
});

/** What /readyz says of each thing that can be unwell, and whether it answers 503 for it. */
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { AgentOnFakes, NETWORK_CONFIG } from '../support/agent-on-fakes';
import { exampleLease } from '../support/examples';

const MINUTE = 60_000;

let host: AgentOnFakes;
afterEach(() => host.stop());

/** Started, with a peer. */
async function started(options: ConstructorParameters<typeof AgentOnFakes>[0] = {}): Promise<AgentOnFakes> {
  host = new AgentOnFakes(options);
  const { store } = host;
  store.put('subnets/10.5.2.0-24', printLeaseAttributes(exampleLease(2).attributes), store.grant(86_400));
  await host.start();
  expect(host.agent.readiness().filter(({ ok }) => !ok)).toEqual([]);
  return host;
}

/** The key of the host's own lease. */
const ownKey = () => `subnets/${host.agent.status(false).lease!.name}`;

/** Another host attaches our key to its own etcd lease. */
function claimByAnother(): void {
  const key = ownKey();
  host.store.put(key, host.store.valueOf(key)!, host.store.grant(86_400, 'twin'));
}

const isReady = () => host.agent.status(false).isReady;

describe('advice, for which a host stays ready:', () => {
  const advises = (name: string, reason: RegExp) => {
    expect(host.check(name)).toMatchObject({
      ok: false,
      advisory: true,
      reason: expect.stringMatching(reason) as string,
    });
    expect(isReady()).toBe(true);
  };
  const isWell = (name: string) => expect(host.check(name)).toMatchObject({ ok: true });

  it('lease contest, while another host claims our lease, and for five minutes after', async () => {
    const { clock } = await started();
    claimByAnother();
    await clock.advance(1_000);
    advises(
      'lease contest',
      /^another host has our PublicIP, and claims our lease: we were there first, and keep it; two hosts cannot share one: give one of them another by --public-ip or --iface$/,
    );
    await clock.advance(6 * MINUTE);
    isWell('lease contest');
  });

  it('lease contest, while somebody deletes our key again and again', async () => {
    const { clock, store } = await started();
    for (let n = 0; n < 8; n++) {
      store.delete(ownKey());
      await clock.advance(500);
    }
    advises('lease contest', /^somebody deletes or overwrites our lease again and again \(\d+ times\)$/);
    await clock.advance(MINUTE);
    isWell('lease contest');
  });

  it('other leases, while one is ignored or doubtful, by name', async () => {
    const { clock, store } = await started();
    const doubtful = exampleLease(3).attributes;
    store.put('subnets/10.5.7.0-24', 'garbage');
    store.put(
      'subnets/10.5.3.0-24',
      printLeaseAttributes({ ...doubtful, publicIp: exampleLease(2).attributes.publicIp }),
    );
    await clock.advance(1_000);
    advises(
      'other leases',
      /^1 ignored, 2 doubtful: 10\.5\.2\.0-24 \(.*only one of the two hosts can be reached\); 10\.5\.3\.0-24 \(.*\); 10\.5\.7\.0-24 \(value is not JSON\)$/,
    );
    store.delete('subnets/10.5.7.0-24', 'subnets/10.5.3.0-24');
    await clock.advance(3_000);
    isWell('other leases');
  });

  it('peers in grace, while the peer of an expired lease is kept', async () => {
    const { clock, store } = await started({ peerGraceMilliseconds: 10 * MINUTE });
    store.revoke(store.entries.get('subnets/10.5.2.0-24')!.etcdLeaseId!);
    await clock.advance(5_000);
    advises('peers in grace', /^1 kept although their leases expired: 10\.5\.2\.0-24 \(for 5 s\)$/);
    await clock.advance(10 * MINUTE);
    isWell('peers in grace');
    expect(host.agent.status(false).peers.count).toBe(0);
  });

  it('fights, while another program undoes the same again and again', async () => {
    const { clock, kernel } = await started();
    const [key, route] = [...kernel.state].find(([each]) => each.startsWith('route 10.5.2.0/24'))!;
    for (let n = 0; n < 25; n++) {
      kernel.tamper({ verb: 'remove', object: route });
      await clock.advance(50);
    }
    advises('fights', new RegExp(`^another program undoes again and again: ${key.replaceAll('.', '\\.')}$`));
    await clock.advance(5 * MINUTE);
    isWell('fights');
  });

  it.each([
    ['{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}', /restart vtepd on every host/],
    ['{"Network": 7}', /it was changed, and cannot be used: .*Network/],
    [undefined, /it is gone; no host that starts anew can join/],
  ])('network configuration, while etcd says %s', async (text, reason) => {
    const { clock, store } = await started();
    if (text === undefined) store.delete('config');
    else store.put('config', text);
    await clock.advance(2 * MINUTE);
    advises(
      'network configuration',
      new RegExp(`^the network configuration in etcd is not the one we run by: .*${reason.source}`),
    );
    store.put('config', NETWORK_CONFIG);
    await clock.advance(2 * MINUTE);
    isWell('network configuration');
  });

  it('lease renewal, while the lease cannot be kept alive', async () => {
    const { clock, registry } = await started();
    const failures = 20;
    for (let n = 0; n < failures; n++) registry.failNext('keepAlive');
    while (host.check('lease renewal').ok) await clock.advance(MINUTE);
    advises(
      'lease renewal',
      /^cannot keep the subnet lease alive; trying on: the registry cannot be reached: the connection was lost$/,
    );
    await clock.advance(failures * MINUTE);
    isWell('lease renewal');
  });

  it('state file, while what we know cannot be remembered', async () => {
    const { clock, store, host: files } = await started();
    await clock.advance(MINUTE);
    files.fail('write', 'ENOSPC', 100);
    store.put('subnets/10.5.4.0-24', printLeaseAttributes(exampleLease(4).attributes), store.grant(86_400));
    await clock.advance(MINUTE);
    advises(
      'state file',
      /^cannot remember the leases for a start without etcd: cannot write the subnet file$/,
    );
    files.fail('write', 'ENOSPC', 0);
    await clock.advance(MINUTE);
    isWell('state file');
    expect(files.memory).toContain('10.5.4.0-24');
  });
});

/** What etcd has in place of our lease: when that makes a host not ready, and in which words. */
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { exampleLease } from '../support/examples';

const MINUTE = 60_000;

let host: AgentOnFakes;
afterEach(() => host.stop());

async function started(): Promise<AgentOnFakes> {
  host = await new AgentOnFakes().start();
  expect(host.agent.status(false).isReady).toBe(true);
  return host;
}

const ownKey = () => `subnets/${host.agent.status(false).lease!.name}`;
const isReady = () => host.agent.status(false).isReady;

describe('an agent that may only read', () => {
  const other = exampleLease(7).attributes;

  it.each<[string, () => void, RegExp]>([
    [
      'its key is deleted',
      () => host.store.delete(ownKey()),
      /^our lease is not in etcd since \d{4}-\d\d-\d\dT[\d:]+Z: other hosts have dropped us; cannot acquire a subnet lease: .*permission denied$/,
    ],
    [
      'its etcd lease is revoked',
      () => host.store.revoke(host.store.entries.get(ownKey())!.etcdLeaseId!),
      /^our lease is not in etcd since .*: other hosts have dropped us; cannot acquire a subnet lease: .*permission denied$/,
    ],
    [
      'its key is overwritten by another host',
      () => host.store.put(ownKey(), printLeaseAttributes(other), host.store.grant(86_400, 'other')),
      /^our subnet has been leased to another host \(PublicIP 192\.168\.0\.7\) since .*: other hosts send its packets there; .*permission denied$/,
    ],
    [
      'its key is overwritten with garbage',
      () => host.store.put(ownKey(), 'garbage'),
      /^our lease in etcd cannot be read since .*: hosts that start now do not know us; .*permission denied$/,
    ],
    [
      'its key gets another MAC',
      () => {
        const { etcdLeaseId, value } = host.store.entries.get(ownKey())!;
        host.store.put(ownKey(), value.replace(/(VtepMAC":")[^"]+/, '$102:00:00:00:00:99'), etcdLeaseId);
      },
      /^our lease in etcd says something else since .*: other hosts may send our packets elsewhere; .*permission denied$/,
    ],
  ])('is not ready, and says why, when %s; and is ready again once it may write', async (_, harm, reason) => {
    const { clock, registry } = await started();
    registry.rights = 'read';
    harm();
    await clock.advance(5_000);
    expect(host.check('lease')).toMatchObject({
      ok: false,
      advisory: false,
      reason: expect.stringMatching(reason) as string,
    });
    expect(isReady()).toBe(false);
    expect(host.agent.status(false).lease).toMatchObject({
      remainingSeconds: 0,
      lost: expect.stringMatching(reason) as string,
    });
    registry.rights = 'all';
    await clock.advance(MINUTE);
    expect(isReady()).toBe(true);
    expect(host.agent.status(false).lease).not.toHaveProperty('lost');
  });

  it('says so long before it must write: while it runs, and right after a start with a lease from before', async () => {
    const { clock, registry } = await started();
    registry.rights = 'read';
    await clock.advance(20 * MINUTE);
    const reason = expect.stringMatching(
      /^etcd does not let us write our lease; were it deleted, other hosts would drop us: .*permission denied$/,
    ) as string;
    expect(host.check('etcd write access')).toMatchObject({ ok: false, advisory: true, reason });
    expect(isReady()).toBe(true);
    registry.rights = 'all';
    await clock.advance(2 * MINUTE);
    expect(host.check('etcd write access')).toMatchObject({ ok: true });
  });
});

it('rights that were missing at the start are noticed at the start, though the lease from before is kept', async () => {
  host = new AgentOnFakes();
  const { store, registry, clock } = host;
  const { attributes } = exampleLease(1);
  registry.rights = 'read';
  store.put('subnets/10.5.1.0-24', printLeaseAttributes(attributes), store.grant(86_400));
  host.host.subnetFile = 'FLANNEL_SUBNET=10.5.1.1/24\n';
  await host.start();
  await clock.advance(5_000);
  expect(host.agent.status(false).lease).toMatchObject({ name: '10.5.1.0-24' });
  expect(host.check('etcd write access')).toMatchObject({ ok: false, advisory: true });
});

it('a key that is deleted and written again in a moment leaves it ready all the while', async () => {
  const { clock, store } = await started();
  store.delete(ownKey());
  for (let n = 0; n < 20; n++) {
    expect(isReady()).toBe(true);
    await clock.advance(10);
  }
  expect(store.valueOf(ownKey())).toBeDefined();
});

it('an etcd that does not answer leaves it ready, and says until when', async () => {
  const { clock, registry } = await started();
  registry.down = true;
  await clock.advance(MINUTE);
  expect(isReady()).toBe(true);
  expect(host.check('etcd')).toMatchObject({
    ok: false,
    advisory: true,
    reason: expect.stringMatching(
      /; our lease is good until \d{4}-\d\d-\d\dT\d\d:\d\dZ without it$/,
    ) as string,
  });
});

it('an etcd that is away after it told of the deletion does not make it ready again', async () => {
  const { clock, registry, store } = await started();
  registry.rights = 'read';
  store.delete(ownKey());
  await clock.advance(5_000);
  registry.down = true;
  await clock.advance(10 * MINUTE);
  expect(isReady()).toBe(false);
  expect(host.check('lease').reason).toMatch(/^our lease is not in etcd since/);
});

it('a lease that runs out while etcd is away makes it not ready, by its own clock', async () => {
  host = new AgentOnFakes();
  const { clock, registry, store } = host;
  store.put('subnets/10.5.1.0-24', printLeaseAttributes(exampleLease(1).attributes), store.grant(600));
  await host.start();
  registry.down = true;
  await clock.advance(9 * MINUTE);
  expect(isReady()).toBe(true);
  await clock.advance(2 * MINUTE);
  expect(isReady()).toBe(false);
  expect(host.check('lease').reason).toMatch(
    /^our lease ran out at .* by our own clock: other hosts have dropped us, and may get our subnet; /,
  );
  registry.down = false;
  await clock.advance(2 * MINUTE);
  expect(isReady()).toBe(true);
});

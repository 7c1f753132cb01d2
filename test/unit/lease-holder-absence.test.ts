/** What the lease holder says while etcd has something else in place of our lease, and it cannot put that right. */
import { LEASE_TTL_SECONDS, type Lease } from '../../src/model/lease';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import type { FakeStore } from '../support/fake-registry';
import { attributesOf, host, newStore } from '../support/lease-holding';

/** A host that holds a lease, and may only read from now on. */
async function readingOnly() {
  const store = newStore();
  const one = host(store);
  const lease = await one.acquire();
  const key = `subnets/${lease.name}`;
  const { tell, stop } = one.run();
  await one.clock.advance(1_000);
  one.registry.rights = 'read';
  return { store, key, lease, tell, stop, ...one };
}

it.each<[string, (store: FakeStore, key: string, lease: Lease) => void, RegExp]>([
  ['has no such key', (store, key) => store.delete(key), /^our lease is not in etcd since .*Z: other hosts/],
  [
    'cannot be read there',
    (store, key, { etcdLeaseId }) => store.put(key, 'garbage', etcdLeaseId),
    /^our lease in etcd cannot be read since .*Z: hosts that start now/,
  ],
  [
    'is there as the lease of another host',
    (store, key) => store.put(key, printLeaseAttributes(attributesOf(9)), store.grant(86_400, 'other')),
    /^our subnet has been leased to another host \(PublicIP 192\.168\.0\.9\) since .*Z: other hosts/,
  ],
  [
    'leads elsewhere by it',
    (store, key, { etcdLeaseId }) =>
      store.put(key, printLeaseAttributes({ ...attributesOf(7), backendType: 'udp' }), etcdLeaseId),
    /^our lease in etcd says something else since .*Z: other hosts/,
  ],
])(
  'a lease that %s is told of, with why it cannot be written, until it is written again',
  async (_, harm, words) => {
    const { store, key, lease, tell, stop, holder, registry, clock } = await readingOnly();
    expect(holder.absence).toBeUndefined();
    harm(store, key, lease);
    await tell();
    const first = holder.absence!;
    expect(first.complaint).toMatch(words);
    expect(first.complaint).toMatch(/; cannot (acquire a|keep the) subnet lease.*permission denied$/);
    expect(first.forMilliseconds).toBeLessThanOrEqual(1_000);
    await clock.advance(30_000);
    // The same words, and the same beginning, however often it is tried.
    expect(holder.absence).toEqual({ ...first, forMilliseconds: first.forMilliseconds + 30_000 });
    registry.rights = 'all';
    await clock.advance(60_000);
    expect(holder.absence).toBeUndefined();
    expect(holder.lease?.attributes.publicIp).toBe(attributesOf(7).publicIp);
    await stop();
  },
);

it('a lease whose etcd lease is gone is told of when it is to be kept alive, though no watch told of it', async () => {
  const { store, lease, stop, holder, registry, clock } = await readingOnly();
  store.revoke(lease.etcdLeaseId!);
  await clock.advance(LEASE_TTL_SECONDS * 1000);
  expect(holder.absence?.complaint).toMatch(/^our lease is not in etcd since .*permission denied$/);
  registry.rights = 'all';
  await clock.advance(60_000);
  expect(holder.absence).toBeUndefined();
  await stop();
});

it('of what is put right at once nothing is said, nor of what was stored before we last wrote', async () => {
  const { store, key, tell, stop, holder, registry, clock } = await readingOnly();
  registry.rights = 'all';
  store.delete(key);
  await tell();
  expect(holder.absence).toBeUndefined();
  expect(store.valueOf(key)).toBeDefined();
  // Told late, while etcd cannot be asked how it is now.
  registry.failNext('list');
  registry.failNext('list');
  holder.noticeStored({ ...holder.lease!, modRevision: '1', attributes: attributesOf(9) });
  await clock.advance(100);
  expect(holder.trouble).toBeDefined();
  expect(holder.absence).toBeUndefined();
  await clock.advance(60_000);
  expect(holder.trouble).toBeUndefined();
  await stop();
});

it('a lease is good until it would run out, by the wall clock; a reservation for good', async () => {
  const { holder, clock, stop } = await readingOnly();
  expect(holder.goodUntil).toBe(clock.wallTime() + holder.remainingSeconds * 1000);
  expect(holder.goodUntil).toBeGreaterThan(clock.wallTime() + (LEASE_TTL_SECONDS - 60) * 1000);
  await stop();
  const store = newStore();
  store.put('subnets/10.5.7.0-24', printLeaseAttributes(attributesOf(7)));
  const reserved = host(store);
  await reserved.acquire();
  expect(reserved.holder.goodUntil).toBe(Infinity);
});

import { RegistryError } from '../../src/model/errors';
import type { LeaseRegistry } from '../../src/ports';
import { FakeStore, type FakeRegistry } from '../support/fake-registry';
import {
  describeRegistryContract,
  leaseSubnets,
  vxlanAttributes,
  WatchProbe,
  written,
} from '../support/registry-contract';

describeRegistryContract('the fake registry', () => {
  let milliseconds = 0;
  const store = new FakeStore({ now: () => milliseconds });
  const clients: LeaseRegistry[] = [];
  const text = (value: string | Uint8Array) =>
    typeof value === 'string' ? value : Buffer.from(value).toString();
  return Promise.resolve({
    client: () => {
      const client = store.client();
      clients.push(client);
      return client;
    },
    put: (key, value) => Promise.resolve(void store.put(key, text(value))),
    delete: (key) => Promise.resolve(store.delete(key)),
    valueOf: (key) => Promise.resolve(store.valueOf(key)),
    compact: () => Promise.resolve(store.compact()),
    outlive: (_id, ttlSeconds) => {
      milliseconds += ttlSeconds * 1000;
      store.expireLeases();
      return Promise.resolve();
    },
    close: () => Promise.resolve(clients.forEach((client) => client.close())),
  });
});

describe('the faults of the fake registry:', () => {
  const signal = new AbortController().signal;
  let store: FakeStore;
  let client: FakeRegistry;

  beforeEach(() => {
    store = new FakeStore();
    client = store.client();
  });

  test('down, it answers nobody and ends watches; up again, it answers', async () => {
    const probe = new WatchProbe(client, '1');
    await probe.ready();
    client.down = true;
    expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
    await expect(client.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(store.client().list(signal)).resolves.toBeDefined();
    client.down = false;
    await expect(client.list(signal)).resolves.toBeDefined();
    expect(client.watchCount).toBe(0);
  });

  test('the next call can fail, once, before or after its work', async () => {
    client.failNext('create');
    client.failNext('create', { applied: true, error: new RegistryError('denied', 'no') });
    const create = () => client.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal);
    await expect(create()).rejects.toMatchObject({ code: 'unavailable' });
    expect(store.valueOf('subnets/10.5.1.0-24')).toBeUndefined();
    await expect(create()).rejects.toMatchObject({ code: 'denied' });
    expect(store.valueOf('subnets/10.5.1.0-24')).toBeDefined();
    expect(client.countOf('create')).toBe(2);
  });

  test('slow, it takes its time, but hears an abort', async () => {
    client.slowMilliseconds = 20;
    const start = performance.now();
    await client.list(signal);
    expect(performance.now() - start).toBeGreaterThanOrEqual(19);
    client.slowMilliseconds = 60_000;
    const controller = new AbortController();
    const list = client.list(controller.signal);
    controller.abort(new Error('enough'));
    await expect(list).rejects.toThrow('enough');
  });

  test('restored from a backup, its revision goes backwards and watches from the future fail', async () => {
    const backup = store.backup();
    const lease = written(
      await client.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal),
    );
    const probe = new WatchProbe(client, lease.modRevision);
    await probe.ready();
    store.restore(backup);
    expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
    expect((await client.list(signal)).leases).toEqual([]);
    expect(await new WatchProbe(client, lease.modRevision).failure()).toMatchObject({ code: 'compacted' });
  });
});

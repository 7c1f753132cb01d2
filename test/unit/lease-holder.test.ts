/** A host gets its lease, and keeps it whatever happens to it. */
import { ipAddress, printSubnet, subnet } from '../../src/model/address';
import { LEASE_TTL_SECONDS } from '../../src/model/lease';
import { printLeaseAttributes, vxlanData, vxlanDataOf } from '../../src/model/lease-codec';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from '../support/examples';
import { NEW_MAC, attributesOf, host, newStore } from '../support/lease-holding';

describe('acquiring a lease', () => {
  it('creates a key attached to an etcd lease of a day', async () => {
    const store = newStore();
    const { acquire } = host(store, { previous: subnet('10.5.9.0/24') });
    expect(await acquire()).toMatchObject({ name: '10.5.9.0-24', attributes: { publicIp: '192.168.0.7' } });
    expect(store.valueOf('subnets/10.5.9.0-24')).toBe(
      '{"PublicIP":"192.168.0.7","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:77"}}',
    );
    expect(store.etcdLeaseIds).toHaveLength(1);
  });

  it('keeps a lease of ours as it is, with its MAC, and writes nothing', async () => {
    const store = newStore();
    store.put('subnets/10.5.7.0-24', printLeaseAttributes(attributesOf(7)), store.grant(100));
    const revision = store.revision;
    const { acquire } = host(store);
    const lease = await acquire();
    expect(vxlanDataOf(lease.attributes.backendData)?.vtepMac).toBe(examplePeer(7).vtepMac);
    expect(store.revision).toBe(revision);
  });

  it('writes a changed value over our lease, attached to the same etcd lease', async () => {
    const store = newStore();
    const id = store.grant(100);
    store.put('subnets/10.5.7.0-24', printLeaseAttributes(attributesOf(7)), id);
    const { acquire } = host(store, {
      attributesFor: () => ({ ...attributesOf(7), backendData: vxlanData(1, NEW_MAC) }),
    });
    expect(await acquire()).toMatchObject({
      etcdLeaseId: id,
      attributes: { backendData: { VtepMAC: NEW_MAC } },
    });
    expect(store.etcdLeaseIds).toEqual([id]);
  });

  it('honours a reservation, which stays one', async () => {
    const store = newStore();
    store.put('subnets/10.5.7.0-24', printLeaseAttributes({ ...attributesOf(7), backendData: undefined }));
    const { acquire } = host(store);
    expect(await acquire()).toMatchObject({ name: '10.5.7.0-24', etcdLeaseId: undefined });
    expect(store.etcdLeaseIds).toEqual([]);
    expect(store.valueOf('subnets/10.5.7.0-24')).toContain('VtepMAC');
  });

  it('deletes our lease of another network', async () => {
    const store = newStore();
    store.put('subnets/10.99.7.0-24', printLeaseAttributes(attributesOf(7)), store.grant(100));
    await host(store).acquire();
    expect(store.valueOf('subnets/10.99.7.0-24')).toBeUndefined();
  });

  it('takes another subnet when a race is lost, and leaves no etcd lease behind', async () => {
    const store = newStore();
    const { acquire, registry, log } = host(store, { previous: subnet('10.5.9.0/24') });
    const create = registry.create.bind(registry);
    registry.create = (...args) => {
      if (printSubnet(args[0].subnet) === '10.5.9.0/24')
        store.put('subnets/10.5.9.0-24', printLeaseAttributes(attributesOf(2)));
      return create(...args);
    };
    const lease = await acquire();
    expect(lease.name).not.toBe('10.5.9.0-24');
    expect(store.etcdLeaseIds).toEqual([lease.etcdLeaseId]);
    expect(log.messages('debug')).toContain('lost a race for a subnet; trying another');
  });

  it('gives fifty hosts that start at once fifty subnets', async () => {
    const store = newStore();
    const hosts = Array.from({ length: 50 }, (_, n) =>
      host(
        store,
        {
          publicIp: () => ipAddress(`192.168.1.${n + 1}`),
          attributesFor: () => ({ ...attributesOf(7), publicIp: ipAddress(`192.168.1.${n + 1}`) }),
        },
        n,
      ),
    );
    const leases = await Promise.all(hosts.map(({ acquire }) => acquire()));
    expect(new Set(leases.map(({ name }) => name)).size).toBe(50);
    expect(store.etcdLeaseIds).toHaveLength(50);
  });

  it('waits for a free subnet when there is none, saying so once', async () => {
    const store = newStore();
    for (let n = 1; n <= 255; n++)
      store.put(
        `subnets/10.5.${n}.0-24`,
        printLeaseAttributes({ ...attributesOf(2), publicIp: ipAddress(`172.16.0.${n}`) }),
      );
    const { acquire, log, clock } = host(store);
    const acquired = acquire();
    await clock.advance(20_000);
    expect(log.messages('warn')).toEqual(['no free subnet left']);
    store.delete('subnets/10.5.42.0-24');
    await clock.advance(60_000);
    expect((await acquired).name).toBe('10.5.42.0-24');
  });

  it('does not take the key of a malformed lease', async () => {
    const store = newStore();
    store.put('subnets/10.5.9.0-24', 'garbage');
    const { acquire } = host(store, { previous: subnet('10.5.9.0/24') });
    expect((await acquire()).name).not.toBe('10.5.9.0-24');
    expect(store.valueOf('subnets/10.5.9.0-24')).toBe('garbage');
  });

  it('leaves no second key behind when the answer to its create is lost', async () => {
    const store = newStore();
    const { acquire, registry } = host(store);
    registry.failNext('create', { applied: true });
    const lease = await acquire();
    expect([...store.entries.keys()]).toEqual([`subnets/${lease.name}`]);
    expect(store.etcdLeaseIds).toHaveLength(1);
  });
});

describe('holding a lease', () => {
  it('keeps it alive for days without writing its key', async () => {
    const store = newStore();
    const one = host(store);
    await one.acquire();
    const { stop } = one.run();
    const revision = store.revision;
    await one.clock.advance(3 * LEASE_TTL_SECONDS * 1000);
    expect(store.etcdLeaseIds).toHaveLength(1);
    expect(store.revision).toBe(revision);
    expect(one.replaced).toEqual([]);
    await stop();
  });

  it('takes the same subnet back when the key was deleted', async () => {
    const store = newStore();
    const one = host(store);
    const { name } = await one.acquire();
    const { tell, stop } = one.run();
    store.delete(`subnets/${name}`);
    await tell();
    expect(one.holder.lease?.name).toBe(name);
    expect(store.valueOf(`subnets/${name}`)).toBeDefined();
    expect(one.replaced).toHaveLength(1);
    expect(one.log.messages('warn', 'info')).toContain('subnet lease taken back');
    await stop();
  });

  it('takes another subnet when another host has ours, and says so', async () => {
    const store = newStore();
    const one = host(store);
    const { name } = await one.acquire();
    const { tell, stop } = one.run();
    store.put(`subnets/${name}`, printLeaseAttributes(attributesOf(2)));
    await tell();
    expect(one.holder.lease?.name).not.toBe(name);
    expect(one.log.messages('error')).toEqual([
      'our subnet was taken by another host',
      'another host has our subnet; we have a new one',
    ]);
    expect(store.valueOf(`subnets/${name}`)).toBe(printLeaseAttributes(attributesOf(2)));
    await stop();
  });

  it.each([
    ['garbage', 'garbage'],
    [
      'another MAC',
      printLeaseAttributes({
        ...attributesOf(7),
        backendData: vxlanData(1, macAddress('02:00:00:00:00:66')),
      }),
    ],
  ])('writes its value again when the key was overwritten with %s', async (_, value) => {
    const store = newStore();
    const one = host(store);
    const { name, etcdLeaseId } = await one.acquire();
    const good = store.valueOf(`subnets/${name}`);
    const { tell, stop } = one.run();
    store.put(`subnets/${name}`, value);
    await tell();
    expect(store.entries.get(`subnets/${name}`)).toMatchObject({ value: good, etcdLeaseId });
    expect(one.holder.lease?.etcdLeaseId).toBe(etcdLeaseId);
    await stop();
  });

  it('publishes a new PublicIP in the same key', async () => {
    const store = newStore();
    let publicIp = ipAddress('192.168.0.7');
    const one = host(store, {
      publicIp: () => publicIp,
      attributesFor: () => ({ ...attributesOf(7), publicIp }),
    });
    const { name, etcdLeaseId } = await one.acquire();
    const { tell, stop } = one.run();
    publicIp = ipAddress('192.168.0.77');
    one.holder.republish();
    await tell();
    expect(store.valueOf(`subnets/${name}`)).toContain('"PublicIP":"192.168.0.77"');
    expect(one.holder.lease).toMatchObject({ name, etcdLeaseId });
    await stop();
  });

  it('publishes an address that changes while another is being published', async () => {
    const store = newStore();
    let publicIp = ipAddress('192.168.0.7');
    const one = host(store, {
      publicIp: () => publicIp,
      attributesFor: () => ({ ...attributesOf(7), publicIp }),
    });
    const { name } = await one.acquire();
    const { tell, stop } = one.run();
    const update = one.registry.update.bind(one.registry);
    one.registry.update = (...args) => {
      one.registry.update = update;
      publicIp = ipAddress('192.168.0.78');
      one.holder.republish();
      return update(...args);
    };
    publicIp = ipAddress('192.168.0.77');
    one.holder.republish();
    await tell();
    expect(store.valueOf(`subnets/${name}`)).toContain('"PublicIP":"192.168.0.78"');
    await stop();
  });

  it('writes its value again when the store was put back to a backup with an older one', async () => {
    const store = newStore();
    let vtepMac = macAddress('02:00:00:00:00:07');
    const one = host(store, {
      attributesFor: () => ({ ...attributesOf(7), backendData: vxlanData(1, vtepMac) }),
    });
    const { name } = await one.acquire();
    const backup = store.backup();
    const { tell, stop } = one.run();
    vtepMac = NEW_MAC;
    one.holder.republish();
    await tell();
    expect(store.valueOf(`subnets/${name}`)).toContain(NEW_MAC);
    store.restore(backup);
    await tell();
    await tell();
    expect(store.valueOf(`subnets/${name}`)).toContain(NEW_MAC);
    await stop();
  });

  it('does not believe an older revision of its key, told late, and writes nothing', async () => {
    const store = newStore();
    let vtepMac = macAddress('02:00:00:00:00:07');
    const one = host(store, {
      attributesFor: () => ({ ...attributesOf(7), backendData: vxlanData(1, vtepMac) }),
    });
    const older = await one.acquire();
    const { tell, stop } = one.run();
    vtepMac = NEW_MAC;
    one.holder.republish();
    await tell();
    const { revision } = store;
    expect(Number(one.holder.lease?.modRevision)).toBeGreaterThan(Number(older.modRevision));
    one.holder.noticeStored(older);
    await one.clock.advance(60_000);
    expect(store.revision).toBe(revision);
    expect(one.log.messages('warn')).toEqual([]);
    expect(one.holder.contest).toBeUndefined();
    await stop();
  });

  it('takes a key for no other host’s that hangs on an etcd lease of before, in a store put back to a backup', async () => {
    const store = newStore();
    const before = store.grant(LEASE_TTL_SECONDS, 'host before its boot');
    const value = printLeaseAttributes({ ...attributesOf(7), backendData: vxlanData(1, NEW_MAC) });
    store.put('subnets/10.5.7.0-24', value, before);
    const backup = store.backup();
    let vtepMac = NEW_MAC;
    const one = host(store, {
      attributesFor: () => ({ ...attributesOf(7), backendData: vxlanData(1, vtepMac) }),
    });
    await one.acquire();
    const { tell, stop } = one.run();
    vtepMac = macAddress('02:00:00:00:00:66');
    one.holder.republish();
    await tell();
    store.restore(backup);
    await tell();
    expect(store.valueOf('subnets/10.5.7.0-24')).toContain(vtepMac);
    expect(store.granteeOf(store.entries.get('subnets/10.5.7.0-24')!.etcdLeaseId!)).toBe('host');
    expect(one.holder.contest).toBeUndefined();
    await stop();
  });

  it('gives way when the store was put back to a backup in which another host has its subnet', async () => {
    const store = newStore();
    const one = host(store, { previous: subnet('10.5.9.0/24') });
    const earlier = store.put('subnets/10.5.9.0-24', printLeaseAttributes(attributesOf(2)));
    const backup = store.backup();
    store.delete('subnets/10.5.9.0-24');
    const { name, modRevision } = await one.acquire();
    expect({ name, isLater: Number(modRevision) > earlier.modRevision }).toEqual({
      name: '10.5.9.0-24',
      isLater: true,
    });
    const { tell, stop } = one.run();
    store.restore(backup);
    await tell();
    expect(one.holder.lease?.name).not.toBe(name);
    expect(store.valueOf('subnets/10.5.9.0-24')).toContain('192.168.0.2');
    await stop();
  });

  it.each([
    ['list', 'cannot keep the subnet lease alive; trying on'],
    ['keepAlive', 'cannot acquire a subnet lease'],
    ['create', 'cannot acquire a subnet lease'],
  ] as const)(
    'takes its subnet back when the key was deleted, although %s fails just then, and says so',
    async (method, complaint) => {
      const store = newStore();
      const one = host(store);
      const { name, etcdLeaseId } = await one.acquire();
      const value = store.valueOf(`subnets/${name}`);
      const { stop } = one.run();
      store.delete(`subnets/${name}`);
      one.registry.failNext(method);
      one.holder.noticeStored(undefined);
      await one.clock.advance(2_000);
      expect(store.entries.get(`subnets/${name}`)).toMatchObject({ value, etcdLeaseId });
      expect(store.etcdLeaseIds).toEqual([etcdLeaseId]);
      expect(one.log.messages('warn')).toContain(complaint);
      expect(one.holder.trouble).toBeUndefined();
      await stop();
    },
  );

  it('writes its value again after garbage, although the first try fails', async () => {
    const store = newStore();
    const one = host(store);
    const { name } = await one.acquire();
    const good = store.valueOf(`subnets/${name}`);
    const { tell, stop } = one.run();
    store.put(`subnets/${name}`, 'garbage');
    one.registry.failNext('update');
    await tell();
    await one.clock.advance(1_000);
    expect(store.valueOf(`subnets/${name}`)).toBe(good);
    await stop();
  });

  it('keeps its lease alive although nothing could be read from the moment on in which it had it', async () => {
    const store = newStore();
    const one = host(store);
    const { name, etcdLeaseId } = await one.acquire();
    const value = store.valueOf(`subnets/${name}`);
    const { revision } = store;
    one.registry.down = true;
    const { stop } = one.run();
    await one.clock.advance(60_000);
    expect(one.holder.trouble?.complaint).toContain('cannot keep the subnet lease alive; trying on');
    one.registry.down = false;
    await one.clock.advance(3 * LEASE_TTL_SECONDS * 1000);
    expect(one.holder.trouble).toBeUndefined();
    expect(store.entries.get(`subnets/${name}`)).toMatchObject({ value, etcdLeaseId });
    expect(store.revision).toBe(revision);
    await stop();
  });

  it('outlives an outage of the registry shorter than its lease', async () => {
    const store = newStore();
    const one = host(store);
    const { name } = await one.acquire();
    const { stop } = one.run();
    await one.clock.advance(LEASE_TTL_SECONDS * 300);
    one.registry.down = true;
    await one.clock.advance(LEASE_TTL_SECONDS * 500);
    one.registry.down = false;
    await one.clock.advance(60_000);
    expect(store.valueOf(`subnets/${name}`)).toBeDefined();
    expect(one.log.messages('info')).toContain('subnet lease is safe again');
    await stop();
  });

  it('takes its subnet back after an outage longer than its lease', async () => {
    const store = newStore();
    const one = host(store);
    const { name } = await one.acquire();
    const { stop } = one.run();
    one.registry.down = true;
    await one.clock.advance(LEASE_TTL_SECONDS * 2000);
    expect(store.valueOf(`subnets/${name}`)).toBeUndefined();
    one.registry.down = false;
    await one.clock.advance(60_000);
    expect(one.holder.lease?.name).toBe(name);
    expect(store.valueOf(`subnets/${name}`)).toBeDefined();
    await stop();
  });
});

import { LeaseHolder, type LeaseHolderOptions } from '../../src/engine/lease-holder';
import { ipAddress, printSubnet, subnet } from '../../src/model/address';
import { LEASE_TTL_SECONDS, type Lease, type LeaseAttributes } from '../../src/model/lease';
import { printLeaseAttributes, vxlanData, vxlanDataOf } from '../../src/model/lease-codec';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from '../support/examples';
import { FakeClock, settle } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const NEW_MAC = macAddress('02:00:00:00:00:77');

/** What host n says of itself. */
function attributesOf(n: number): LeaseAttributes {
  const { publicIp, vtepMac } = examplePeer(n);
  return {
    publicIp,
    publicIpv6: undefined,
    backendType: 'vxlan',
    backendData: vxlanData(1, vtepMac),
    backendV6Data: undefined,
  };
}

/** Host 7 at a store. */
function host(store: FakeStore, changes: Partial<LeaseHolderOptions> = {}, seed = 1, name = 'host') {
  const clock = store.clock as FakeClock;
  const random = new FakeClock(seed);
  const log = new FakeLog();
  const registry = store.client(name);
  const holder = new LeaseHolder(
    registry,
    {
      now: () => clock.now(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      random: () => random.random(),
      wallTime: () => clock.wallTime(),
    },
    log,
    {
      range: {
        network: subnet('10.5.0.0/16'),
        subnetLength: 24,
        subnetMin: ipAddress('10.5.1.0'),
        subnetMax: ipAddress('10.5.255.0'),
      },
      publicIp: () => examplePeer(7).publicIp,
      previous: undefined,
      renewMarginSeconds: 3600,
      mayRenumber: true,
      attributesFor: (held) => ({
        ...attributesOf(7),
        backendData: (held && held.attributes.backendData) ?? vxlanData(1, NEW_MAC),
      }),
      isProven: () => false,
      ...changes,
    },
  );
  const stop = new AbortController();
  const replaced: Lease[] = [];
  return {
    holder,
    registry,
    log,
    clock,
    replaced,
    acquire: async () => {
      const acquired = holder.acquire((await registry.list(stop.signal)).leases, stop.signal);
      for (let turn = 0; turn < 200; turn++) {
        if (await Promise.race([acquired.then(() => true), settle().then(() => false)])) break;
        await clock.advance(100);
      }
      return acquired;
    },
    /** Keeps the lease, told of every change of its key as the peer watcher would. */
    run: () => {
      const name = holder.lease!.name;
      const end = holder.run((lease) => replaced.push(lease), stop.signal);
      const tell = async () => {
        const { leases, malformed } = await registry.list(stop.signal);
        holder.noticeStored([...leases, ...malformed].find((stored) => stored.name === name));
        await clock.advance(1_000);
      };
      return { tell, stop: () => (stop.abort(), end) };
    },
  };
}

const newStore = () => new FakeStore(new FakeClock());

/** Lets time pass; each host hears of what happens to the key, unless it knows it, before anything else happens 50 ms later. */
async function passBetween(
  store: FakeStore,
  name: string,
  milliseconds: number,
  hosts: readonly { readonly holder: LeaseHolder }[],
  known = '',
) {
  const clock = store.clock as FakeClock;
  const reader = store.client();
  const end = clock.now() + milliseconds;
  for (let told = known; clock.now() < end;) {
    const { leases } = await reader.list(new AbortController().signal);
    const stored = leases.find((lease) => lease.name === name);
    const isNews = stored?.modRevision !== told;
    if (isNews) for (const { holder } of hosts) holder.noticeStored(stored);
    told = stored?.modRevision ?? '';
    // Without news nothing happens before the next one wakes.
    const quiet = isNews ? 50 : Math.max(1, (clock.nextWake ?? end) - clock.now());
    await clock.advance(Math.min(quiet, end - clock.now()));
  }
}

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
    const { name } = await one.acquire();
    const good = store.valueOf(`subnets/${name}`);
    const { tell, stop } = one.run();
    store.put(`subnets/${name}`, value);
    await tell();
    expect(store.valueOf(`subnets/${name}`)).toBe(good);
    expect(store.entries.get(`subnets/${name}`)?.etcdLeaseId).toBe(one.holder.lease?.etcdLeaseId);
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

describe('two hosts with one PublicIP', () => {
  /** Host A, which has the lease, and B, a clone of it. */
  async function twins(changes: Partial<LeaseHolderOptions> = {}) {
    const store = newStore();
    const a = host(store, changes, 1, 'A');
    const { name } = await a.acquire();
    const running = a.run();
    await a.clock.advance(3_600_000);
    const key = `subnets/${name}`;
    const pass = (milliseconds: number, ...hosts: { holder: LeaseHolder }[]) =>
      passBetween(store, name, milliseconds, hosts);
    return { store, a, running, key, name, pass };
  }

  it('the first keeps the lease, the second says who is in its way, and no third host sees a change', async () => {
    const { store, a, running, key, pass } = await twins();
    const value = store.valueOf(key);
    const b = host(store, {}, 2, 'B');
    const stop = new AbortController();
    const acquired = b.holder.acquire(undefined, stop.signal);
    acquired.catch(() => undefined);
    await pass(4_000, a);
    expect(store.valueOf(key)).toBe(value);
    expect(store.granteeOf(store.entries.get(key)!.etcdLeaseId!)).toBe('A');
    expect(b.holder.lease).toBeUndefined();
    expect(b.holder.contest?.complaint).toContain('two hosts cannot share one');
    expect(a.holder.contest?.complaint).toContain('we were there first, and keep it');
    expect(a.replaced.map(({ name }) => name)).not.toContain(undefined);
    const before = store.revision;
    await pass(600_000, a);
    // Two writes a try, every two minutes or so: no fight.
    expect(store.revision - before).toBeLessThan(30);
    expect(store.valueOf(key)).toBe(value);
    stop.abort();
    await running.stop();
  });

  it('the second has the lease soon after the first has gone for good', async () => {
    const { store, a, running, name, pass } = await twins();
    const b = host(store, {}, 2, 'B');
    const acquired = b.holder.acquire(undefined, new AbortController().signal);
    await pass(4_000, a);
    await running.stop();
    await b.clock.advance(130_000);
    expect((await acquired).name).toBe(name);
    expect(b.holder.contest).toBeUndefined();
  });

  it('a host that was frozen while another took its lease gives way to it', async () => {
    const { store, a, running, key, pass } = await twins();
    const b = host(store, {}, 2, 'B');
    const acquired = b.holder.acquire(undefined, new AbortController().signal);
    await b.clock.advance(2_000);
    await acquired;
    const other = b.run();
    await b.clock.advance(60_000);
    await pass(5_000, a, b);
    expect(store.granteeOf(store.entries.get(key)!.etcdLeaseId!)).toBe('B');
    expect([a.holder.hasGivenWay, b.holder.hasGivenWay]).toEqual([true, false]);
    await pass(600_000, a, b);
    expect([a.holder.hasGivenWay, b.holder.hasGivenWay]).toEqual([true, false]);
    await other.stop();
    await pass(300_000, a);
    expect(a.holder.hasGivenWay).toBe(false);
    expect(store.granteeOf(store.entries.get(key)!.etcdLeaseId!)).toBe('A');
    await running.stop();
  });

  it('a host that was booted anew has its lease back with one write, and after a second', async () => {
    const { store, running, name, key } = await twins();
    await running.stop();
    const value = store.valueOf(key);
    const revision = store.revision;
    const b = host(store, {}, 2, 'A after its boot');
    expect((await b.acquire()).name).toBe(name);
    expect(store.valueOf(key)).toBe(value);
    expect(store.revision).toBe(revision + 1);
  });

  it('a host whose device proves that the lease is its own waits for no objection', async () => {
    const { store, running } = await twins();
    await running.stop();
    const b = host(store, { isProven: () => true }, 2, 'B');
    const start = b.clock.now();
    await b.holder.acquire(undefined, new AbortController().signal);
    expect(b.clock.now() - start).toBe(0);
  });

  it('who gave way takes a subnet of its own as soon as it has a PublicIP of its own', async () => {
    const { store, a, running, name, pass } = await twins();
    let publicIp = examplePeer(7).publicIp;
    const attributes = () => ({ ...attributesOf(9), publicIp });
    const b = host(store, { publicIp: () => publicIp, attributesFor: attributes }, 2, 'B');
    b.holder.adopt({ ...a.holder.lease!, modRevision: '0' }, 3600);
    const other = b.run();
    await pass(4_000, a, b);
    expect(b.holder.hasGivenWay).toBe(true);
    publicIp = examplePeer(9).publicIp;
    b.holder.republish();
    await pass(2_000, a, b);
    expect(b.holder.hasGivenWay).toBe(false);
    expect(b.holder.lease?.name).not.toBe(name);
    expect(a.holder.lease?.name).toBe(name);
    await other.stop();
    await running.stop();
  });

  it('who gave way neither writes the other’s lease nor keeps it alive, whatever the other or we say anew', async () => {
    let vtepMac = NEW_MAC;
    const { store, a, running, key, pass } = await twins({
      attributesFor: () => ({ ...attributesOf(7), backendData: vxlanData(1, vtepMac) }),
    });
    let vtepMacOfB = NEW_MAC;
    const attributesForB = () => ({ ...attributesOf(7), backendData: vxlanData(1, vtepMacOfB) });
    const b = host(store, { attributesFor: attributesForB }, 2, 'B');
    b.holder.adopt({ ...a.holder.lease!, modRevision: '0' }, 3600);
    const other = b.run();
    await pass(4_000, a, b);
    expect(b.holder.hasGivenWay).toBe(true);
    const others = a.holder.lease!.etcdLeaseId!;
    const calls = b.registry.calls.length;
    const keptAlive = jest.spyOn(b.registry, 'keepAlive');
    vtepMac = macAddress('02:00:00:00:00:66');
    a.holder.republish();
    vtepMacOfB = macAddress('02:00:00:00:00:55');
    b.holder.republish();
    await pass(2_000, a, b);
    expect(store.valueOf(key)).toContain(vtepMac);
    expect(new Set(b.registry.calls.slice(calls))).toEqual(new Set(['list']));
    await pass(100_000, a, b);
    expect(keptAlive).not.toHaveBeenCalledWith(others, expect.anything());
    expect(store.valueOf(key)).toContain(vtepMac);
    expect(b.holder.hasGivenWay).toBe(true);
    await other.stop();
    await running.stop();
  });

  it('a clone that starts from memory gives way when etcd is back', async () => {
    const { store, a, running, key, pass } = await twins();
    const b = host(store, {}, 2, 'B');
    b.holder.adopt({ ...a.holder.lease!, modRevision: '0' }, 3600);
    const other = b.run();
    await pass(4_000, a, b);
    expect([a.holder.hasGivenWay, b.holder.hasGivenWay]).toEqual([false, true]);
    expect(store.granteeOf(store.entries.get(key)!.etcdLeaseId!)).toBe('A');
    await other.stop();
    await running.stop();
  });
});

describe('copies of one running host, which share even the etcd lease', () => {
  /** Two that begin with the same lease, of which each is told what becomes of its key; neither writes when it starts. */
  async function copies() {
    const store = newStore();
    const first = host(store, {}, 1, 'H');
    const { name } = await first.acquire();
    await first.run().stop();
    const [a, b] = [host(store, {}, 2, 'H'), host(store, {}, 3, 'H')];
    const revision = store.revision;
    await Promise.all([a.acquire(), b.acquire()]);
    expect(store.revision).toBe(revision);
    const running = [a.run(), b.run()];
    const pass = (milliseconds: number) => passBetween(store, name, milliseconds, [a, b], String(revision));
    const stop = () => Promise.all(running.map((each) => each.stop()));
    return { store, a, b, key: `subnets/${name}`, pass, stop };
  }

  it('hear of each other by the first renewal; one gives way, and both say so', async () => {
    const { store, a, b, key, pass, stop } = await copies();
    const value = store.valueOf(key);
    await pass(32_000);
    expect([a, b].filter(({ holder }) => holder.hasGivenWay)).toHaveLength(1);
    for (const { holder } of [a, b])
      expect(holder.contest?.complaint).toContain('another host has our PublicIP, and claims our lease');
    await pass(600_000);
    expect([a, b].filter(({ holder }) => holder.hasGivenWay)).toHaveLength(1);
    expect(store.valueOf(key)).toBe(value);
    // Two writes a try.
    expect(store.revision).toBeLessThan(60);
    // What was claimed in vain is given back.
    expect(store.etcdLeaseIds.length).toBeLessThan(5);
    await stop();
  });

  it('are no copies where the store has a new leader, which gives every lease its whole time again', async () => {
    const store = newStore();
    const one = host(store);
    await one.acquire();
    const { tell, stop } = one.run();
    await one.clock.advance(3_600_000);
    const { revision } = store;
    store.elect();
    await tell();
    await one.clock.advance(2 * LEASE_TTL_SECONDS * 1000);
    expect(store.revision).toBe(revision);
    await stop();
  });

  it('are no copies where a renewal that was given up is carried out after all', async () => {
    const store = newStore();
    const one = host(store);
    const { etcdLeaseId } = await one.acquire();
    const { stop } = one.run();
    await one.clock.advance(60_000);
    const { revision } = store;
    one.registry.failNext('keepAlive');
    const asked = one.registry.countOf('keepAlive');
    // The one that fails, and the one that follows it.
    while (one.registry.countOf('keepAlive') < asked + 2)
      await one.clock.advance(one.clock.nextWake! - one.clock.now());
    await one.clock.advance(10_000);
    store.keepAlive(etcdLeaseId!);
    await one.clock.advance(3 * LEASE_TTL_SECONDS * 1000);
    expect(store.revision).toBe(revision);
    await stop();
  });
});

describe('two hosts with one reservation', () => {
  /** Host n with the PublicIP of host 7 and a VTEP of its own. */
  const twin = (store: FakeStore, n: number) =>
    host(
      store,
      {
        attributesFor: () => ({
          ...attributesOf(7),
          backendData: attributesOf(n).backendData,
        }),
      },
      n,
      `twin ${n}`,
    );

  async function twins() {
    const store = newStore();
    const key = 'subnets/10.5.7.0-24';
    store.put(key, printLeaseAttributes({ ...attributesOf(7), backendData: undefined }));
    const a = twin(store, 8);
    await a.acquire();
    const running = [a.run()];
    await a.clock.advance(60_000);
    const b = twin(store, 9);
    await b.acquire();
    running.push(b.run());
    const pass = (milliseconds: number) => passBetween(store, '10.5.7.0-24', milliseconds, [a, b]);
    return { store, key, a, b, pass, running };
  }

  it('show by the VTEP MAC that each writes: the first keeps it, the second gives way, and it stays a reservation', async () => {
    const { store, key, a, b, pass, running } = await twins();
    await pass(2_000);
    expect(store.valueOf(key)).toContain(examplePeer(8).vtepMac);
    expect([a.holder.hasGivenWay, b.holder.hasGivenWay]).toEqual([false, true]);
    expect(a.holder.contest?.complaint).toContain('we were there first, and keep it');
    expect(b.holder.contest?.complaint).toContain('it was there first, and we wait');
    const { revision } = store;
    await pass(600_000);
    expect(store.revision - revision).toBeLessThan(30);
    expect(store.valueOf(key)).toContain(examplePeer(8).vtepMac);
    expect(store.entries.get(key)?.etcdLeaseId).toBeUndefined();
    expect(store.etcdLeaseIds).toEqual([]);
    for (const each of running) await each.stop();
  });

  it('the second has it soon after the first has gone', async () => {
    const { store, key, b, pass, running } = await twins();
    await pass(2_000);
    await running[0]!.stop();
    await b.clock.advance(130_000);
    expect(b.holder.hasGivenWay).toBe(false);
    expect(store.valueOf(key)).toContain(examplePeer(9).vtepMac);
    await running[1]!.stop();
  });
});

describe('a script that undoes our lease again and again', () => {
  it.each([
    ['deletes', undefined],
    ['overwrites', 'garbage'],
    ['overwrites', printLeaseAttributes({ ...attributesOf(7), backendType: 'udp', backendData: undefined })],
  ])(
    '%s it (%j): written again at once at first, then more slowly, and never so late that peers forget us',
    async (_, value) => {
      const store = newStore();
      const one = host(store);
      const { name, etcdLeaseId } = await one.acquire();
      const key = `subnets/${name}`;
      const { stop } = one.run();
      let longestAbsence = 0;
      let absentSince: number | undefined;
      let repairs = 0;
      const signal = new AbortController().signal;
      const storedAs = async (key: string) => {
        const { leases, malformed } = await store.client().list(signal);
        return [...leases, ...malformed].find((stored) => stored.name === key);
      };
      const isGood = () => store.valueOf(key)?.includes('vxlan') ?? false;
      for (let elapsed = 0; elapsed < 60_000; elapsed += 50) {
        if (isGood()) {
          if (absentSince !== undefined) repairs++;
          absentSince = undefined;
          if (value === undefined) store.delete(key);
          else store.put(key, value, etcdLeaseId);
          one.holder.noticeStored(await storedAs(name));
        }
        absentSince ??= one.clock.now();
        longestAbsence = Math.max(longestAbsence, one.clock.now() - absentSince);
        await one.clock.advance(50);
      }
      expect(longestAbsence).toBeLessThan(1_900);
      expect(repairs).toBeGreaterThan(30);
      expect(repairs).toBeLessThan(60);
      expect(store.etcdLeaseIds).toEqual([etcdLeaseId]);
      expect(one.holder.lease?.name).toBe(name);
      expect(one.holder.fight).toContain('again and again');
      expect(one.log.messages('warn').filter((text) => text.includes('more slowly'))).toHaveLength(1);
      await stop();
    },
  );
});

/** Races, failures and odd values on the way to a lease and while it is kept, and what is said of them. */
import { SubnetLostError, type RegistryError } from '../../src/model/errors';
import { ipAddress, subnet } from '../../src/model/address';
import { LEASE_TTL_SECONDS, type Lease } from '../../src/model/lease';
import { printLeaseAttributes, vxlanData } from '../../src/model/lease-codec';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from '../support/examples';
import type { FakeRegistry, FakeStore } from '../support/fake-registry';
import { NEW_MAC, attributesOf, host, newStore } from '../support/lease-holding';

const { signal } = new AbortController();
const OTHER_MAC = macAddress('02:00:00:00:00:66');
const BUG = new TypeError('a bug') as unknown as RegistryError;

/** Host 7 as it is, with the VTEP MAC of its device. */
const OWN = { ...attributesOf(7), backendData: vxlanData(1, NEW_MAC) };

/** Just before the next call of this method, something happens. */
function before(registry: FakeRegistry, method: 'create' | 'update' | 'keepAlive' | 'list', act: () => void) {
  const original = registry[method].bind(registry) as (...args: unknown[]) => Promise<never>;
  registry[method] = (...args: unknown[]) => {
    registry[method] = original;
    act();
    return original(...args);
  };
}

/** A host that keeps its lease, and is told what is stored. */
async function holding(store: FakeStore, changes: Parameters<typeof host>[1] = {}) {
  const one = host(store, changes);
  const lease = await one.acquire();
  const key = `subnets/${lease.name}`;
  one.log.lines.length = 0;
  const { tell, stop } = one.run();
  return { ...one, lease, key, tell, stop };
}

describe('getting a lease', () => {
  it('takes three calls, and a lease that was just got is good for a day', async () => {
    const { acquire, registry, holder, log } = host(newStore(), { previous: subnet('10.5.9.0/24') });
    expect(holder.remainingSeconds).toBe(Infinity);
    await acquire();
    expect(registry.calls).toEqual(['list', 'grant', 'create']);
    expect(holder.remainingSeconds).toBe(LEASE_TTL_SECONDS);
    expect(log.lines).toEqual([
      { level: 'info', message: 'lease acquired', fields: { subnet: '10.5.9.0/24' } },
    ]);
  });

  it.each([
    ['as it is', OWN, 'lease reused as it is'],
    [
      'with new attributes',
      { ...OWN, publicIpv6: ipAddress('fd00::7') },
      'lease reused, with new attributes',
    ],
  ])('by taking one that is ours already %s is said once', async (_, stored, message) => {
    for (const isReservation of [false, true]) {
      const store = newStore();
      store.put(
        'subnets/10.5.7.0-24',
        printLeaseAttributes(stored),
        isReservation ? undefined : store.grant(100),
      );
      const { acquire, log } = host(store, { attributesFor: () => OWN });
      await acquire();
      expect(log.lines).toEqual([
        { level: 'info', message, fields: { subnet: '10.5.7.0/24', reservation: isReservation } },
      ]);
    }
  });

  it('says which lease of another network it deletes', async () => {
    const store = newStore();
    store.put('subnets/10.99.7.0-24', printLeaseAttributes(OWN), store.grant(100));
    const { acquire, log } = host(store);
    await acquire();
    expect(log.lines[0]).toEqual({
      level: 'warn',
      message: 'deleting our lease of another network',
      fields: { lease: '10.99.7.0-24' },
    });
  });

  it.each([
    ['with its PublicIP', attributesOf(2), 'PublicIP 192.168.0.2'],
    ['which says no PublicIP', { ...attributesOf(2), publicIp: undefined }, 'PublicIP unknown'],
  ])('rather none than another: fails, and names the holder of ours, %s', async (_, attributes, holder) => {
    const store = newStore();
    store.put('subnets/10.5.9.0-24', printLeaseAttributes(attributes));
    const one = host(store, { previous: subnet('10.5.9.0/24'), mayRenumber: false });
    const failure = await one.acquire().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SubnetLostError);
    expect((failure as Error).message).toContain('10.5.9.0/24 is leased to another host (10.5.9.0-24, ');
    expect((failure as Error).message).toContain(holder);
    expect(one.registry.countOf('create')).toBe(0);
  });

  it.each<[string, 'create' | 'update' | 'keepAlive', (store: FakeStore) => void, string[]]>([
    [
      'its etcd lease ends before it is kept alive',
      'keepAlive',
      (store) => store.revoke(store.entries.get('subnets/10.5.7.0-24')!.etcdLeaseId!),
      ['lease acquired'],
    ],
    [
      'it changes before it is written',
      'update',
      (store) => {
        const { value, etcdLeaseId } = store.entries.get('subnets/10.5.7.0-24')!;
        store.put('subnets/10.5.7.0-24', value, etcdLeaseId);
      },
      ['lease reused, with new attributes'],
    ],
  ])('is tried once more where %s', async (_, method, act, said) => {
    const store = newStore();
    store.put('subnets/10.5.7.0-24', printLeaseAttributes(attributesOf(7)), store.grant(100));
    const { acquire, registry, log } = host(store, { attributesFor: () => OWN });
    before(registry, method, () => act(store));
    const { etcdLeaseId } = await acquire();
    expect(log.messages('info')).toEqual(said);
    expect(log.messages('debug')).toEqual(['lost a race for a subnet; trying another']);
    expect(store.etcdLeaseIds).toEqual([etcdLeaseId]);
  });

  it('of an earlier boot is tried once more where that changes just then, and gives back what it got for it', async () => {
    const store = newStore();
    const earlier = store.grant(100, 'host before its boot');
    store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN), earlier);
    const { acquire, registry, log } = host(store);
    before(registry, 'update', () => store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN), earlier));
    const { etcdLeaseId } = await acquire();
    expect(store.etcdLeaseIds).toEqual([earlier, etcdLeaseId]);
    expect(log.lines.filter(({ message }) => message.startsWith('lease claimed'))).toEqual([
      {
        level: 'info',
        message: 'lease claimed: its key hung on an etcd lease of another host, or of an earlier boot',
        fields: { lease: '10.5.7.0-24' },
      },
    ]);
  });

  it.each<[string, (store: FakeStore, key: string) => void]>([
    ['is deleted', (store, key) => store.delete(key)],
    ['is overwritten with garbage', (store, key) => void store.put(key, 'garbage')],
    [
      'is given to another etcd lease',
      (store, key) => void store.put(key, printLeaseAttributes(OWN), store.grant(100, 'twin')),
    ],
  ])(
    'that was claimed is nobody’s yet while its key %s within a second, and what it hung on is given back',
    async (_, act) => {
      const store = newStore();
      const key = 'subnets/10.5.7.0-24';
      store.put(key, printLeaseAttributes(OWN), store.grant(100, 'host before its boot'));
      const { holder, clock, log } = host(store);
      const stop = new AbortController();
      const acquired = holder.acquire(undefined, stop.signal);
      await clock.advance(500);
      const claimed = store.entries.get(key)!.etcdLeaseId!;
      expect(store.granteeOf(claimed)).toBe('host');
      act(store, key);
      await clock.advance(1_000);
      expect(holder.lease).toBeUndefined();
      expect(holder.hasGivenWay).toBe(true);
      expect(store.etcdLeaseIds).not.toContain(claimed);
      expect(log.messages('warn')).toEqual(['another host has our PublicIP, and claims our lease']);
      stop.abort();
      await expect(acquired).rejects.toThrow('aborted');
    },
  );

  it('keeps the etcd lease that a claimed key still hangs on, though its value was changed', async () => {
    const store = newStore();
    const key = 'subnets/10.5.7.0-24';
    store.put(key, printLeaseAttributes(OWN), store.grant(100, 'host before its boot'));
    const { holder, clock } = host(store);
    const stop = new AbortController();
    const acquired = holder.acquire(undefined, stop.signal);
    await clock.advance(500);
    const claimed = store.entries.get(key)!.etcdLeaseId!;
    store.put(key, 'garbage', claimed);
    await clock.advance(1_000);
    expect(holder.lease).toBeUndefined();
    expect(store.etcdLeaseIds).toContain(claimed);
    stop.abort();
    await expect(acquired).rejects.toThrow('aborted');
  });

  it('where it is lost to others again and again waits ever longer, up to half a second', async () => {
    const { holder, registry, clock, fixRandom } = host(newStore());
    fixRandom(0);
    const start = clock.now();
    const tries: number[] = [];
    registry.create = () => (tries.push(clock.now() - start), Promise.resolve({ kind: 'conflict' }));
    const stop = new AbortController();
    const acquired = holder.acquire(undefined, stop.signal);
    await clock.advance(1_000);
    expect(tries).toEqual([0, 2.5, 7.5, 17.5, 37.5, 77.5, 157.5, 317.5, 567.5, 817.5]);
    stop.abort();
    await expect(acquired).rejects.toThrow('aborted');
  });

  it('waits ever longer, up to half a minute, for a registry that does not answer; both are said once', async () => {
    const { holder, registry, clock, log, fixRandom } = host(newStore());
    fixRandom(0);
    registry.down = true;
    const start = clock.now();
    const tries: number[] = [];
    const list = registry.list.bind(registry);
    registry.list = (aborted) => (tries.push((clock.now() - start) / 1000), list(aborted));
    const acquired = holder.acquire(undefined, signal);
    await clock.advance(50_000);
    expect(tries).toEqual([0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 25.5, 40.5]);
    expect(holder.trouble?.complaint).toContain('cannot acquire a subnet lease: ');
    registry.down = false;
    await clock.advance(30_000);
    await acquired;
    expect(holder.trouble).toBeUndefined();
    expect(log.messages('warn', 'info')).toEqual([
      'cannot acquire a subnet lease',
      'lease acquired',
      'subnet lease acquired after all',
    ]);
  });

  it('says why there is none where every subnet is leased, and takes the first that is free', async () => {
    const store = newStore();
    for (let n = 1; n <= 255; n++)
      store.put(`subnets/10.5.${n}.0-24`, printLeaseAttributes(attributesOf(n === 7 ? 2 : n)));
    const { holder, clock } = host(store);
    const acquired = holder.acquire(undefined, signal);
    await clock.advance(1_000);
    expect(holder.trouble?.complaint).toBe(
      'no free subnet left: every subnet of 10.5.0.0/16 is leased; free one, or enlarge the network',
    );
    store.delete('subnets/10.5.42.0-24');
    await clock.advance(60_000);
    expect((await acquired).name).toBe('10.5.42.0-24');
  });

  it('fails where something else failed than the registry', async () => {
    const { acquire, registry } = host(newStore());
    registry.failNext('grant', { error: BUG });
    await expect(acquire()).rejects.toThrow('a bug');
  });
});

describe('a lease from memory', () => {
  it('is good for as long as it was, less the time since', async () => {
    const store = newStore();
    const one = host(store);
    one.holder.adopt({ ...(await one.acquire()), etcdLeaseId: '77' }, 100);
    await one.clock.advance(10_000);
    expect(one.holder.remainingSeconds).toBe(90);
  });

  it('is good for no longer than a lease is, whatever a wall clock makes of it that was set wrong', async () => {
    const store = newStore();
    const one = host(store);
    // Fifty years, and more than a date can be.
    for (const seconds of [1_577_880_000, 1e300]) {
      one.holder.adopt({ ...(await one.acquire()), etcdLeaseId: '77' }, seconds);
      expect(one.holder.remainingSeconds).toBe(LEASE_TTL_SECONDS);
    }
  });

  /** A host that has been booted, with the lease that it held before from memory, and the store that has it still. */
  async function afterBoot() {
    const store = newStore();
    const earlier = store.grant(LEASE_TTL_SECONDS, 'host before its boot');
    store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN), earlier);
    const [stored] = (await store.client().list(signal)).leases;
    const one = host(store);
    one.holder.adopt({ ...stored!, modRevision: '0' }, 3_600);
    return { store, earlier, stored, one, stop: one.run().stop };
  }

  it('of an earlier boot is claimed once the store shows it', async () => {
    const { store, stored, one, stop } = await afterBoot();
    one.holder.noticeStored(stored);
    await one.clock.advance(1_000);
    const { etcdLeaseId } = store.entries.get('subnets/10.5.7.0-24')!;
    expect(store.granteeOf(etcdLeaseId!)).toBe('host');
    expect(one.holder.lease).toMatchObject({ name: '10.5.7.0-24', etcdLeaseId });
    expect(one.log.messages('warn')).toEqual([]);
    await stop();
  });

  it('of an earlier boot is had as well where its key changes just when it is claimed', async () => {
    const { store, earlier, stored, one, stop } = await afterBoot();
    before(one.registry, 'update', () =>
      store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN), earlier),
    );
    one.holder.noticeStored(stored);
    await one.clock.advance(5_000);
    const { etcdLeaseId } = store.entries.get('subnets/10.5.7.0-24')!;
    expect(one.holder.lease?.etcdLeaseId).toBe(etcdLeaseId);
    expect(store.etcdLeaseIds).toEqual([earlier, etcdLeaseId]);
    await stop();
  });
});

describe('keeping a lease', () => {
  it('is logged for who wants to know, each time', async () => {
    const { clock, log, lease, stop } = await holding(newStore(), { previous: subnet('10.5.9.0/24') });
    await clock.advance(60_000);
    expect(log.lines).toEqual([
      {
        level: 'debug',
        message: 'lease kept alive',
        fields: { subnet: '10.5.9.0/24', seconds: LEASE_TTL_SECONDS },
      },
    ]);
    expect(lease.name).toBe('10.5.9.0-24');
    await stop();
  });

  it('asks etcd for nothing where it is a reservation', async () => {
    const store = newStore();
    store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN));
    const { holder, registry, clock, log, stop } = await holding(store);
    const calls = registry.calls.length;
    await clock.advance(3 * LEASE_TTL_SECONDS * 1000);
    holder.noticeStored(holder.lease);
    await clock.advance(1_000);
    expect(registry.calls.slice(calls).filter((call) => call !== 'list')).toEqual([]);
    expect(holder.remainingSeconds).toBe(Infinity);
    expect(log.lines).toEqual([]);
    await stop();
  });

  it('looks at what it is told of its key, and at nothing else where that is what it holds', async () => {
    const store = newStore();
    const { holder, registry, clock, key, lease, log, stop } = await holding(store);
    const calls = registry.countOf('list');
    const { value, etcdLeaseId } = store.entries.get(key)!;
    const { modRevision } = store.put(key, value, etcdLeaseId);
    holder.noticeStored({ ...lease, modRevision: String(modRevision) });
    await clock.advance(1_000);
    expect(registry.countOf('list')).toBe(calls);
    expect(holder.lease?.modRevision).toBe(String(modRevision));
    holder.noticeStored(holder.lease);
    await clock.advance(1_000);
    expect(registry.countOf('list')).toBe(calls);
    expect(log.messages('warn')).toEqual([]);
    await stop();
  });

  it('finds its own key among others when it is told that it is gone, though it is back', async () => {
    const store = newStore();
    store.put('subnets/10.5.1.0-24', printLeaseAttributes(attributesOf(2)));
    store.put('subnets/10.5.2.0-24', 'garbage');
    const { holder, clock, log, replaced, stop } = await holding(store, { previous: subnet('10.5.9.0/24') });
    const { revision } = store;
    holder.noticeStored(undefined);
    await clock.advance(5_000);
    expect(store.revision).toBe(revision);
    expect([replaced, log.messages('warn', 'error')]).toEqual([[], []]);
    await stop();
  });

  it.each<[string, (held: Lease) => string, string, object]>([
    [
      'with garbage',
      () => 'garbage',
      'our lease was overwritten with garbage; writing it again',
      { lease: '10.5.9.0-24', reason: 'value is not JSON' },
    ],
    [
      'with something else of ours',
      ({ attributes }) => printLeaseAttributes({ ...attributes, publicIpv6: ipAddress('fd00::7') }),
      'our lease was changed by somebody else; writing it again',
      { lease: '10.5.9.0-24' },
    ],
  ])(
    'says so when it was overwritten %s, and attaches it where it hung before',
    async (_, value, message, fields) => {
      for (const isAttached of [true, false]) {
        const store = newStore();
        const one = await holding(store, { previous: subnet('10.5.9.0/24') });
        const good = store.valueOf(one.key);
        store.put(one.key, value(one.lease), isAttached ? one.lease.etcdLeaseId : undefined);
        await one.tell();
        expect(store.entries.get(one.key)).toMatchObject({ value: good, etcdLeaseId: one.lease.etcdLeaseId });
        expect(store.etcdLeaseIds).toEqual([one.lease.etcdLeaseId]);
        expect(one.log.lines[0]).toEqual({ level: 'warn', message, fields });
        await one.stop();
      }
    },
  );

  it('writes a reservation again as one, also where it was made to hang on an etcd lease', async () => {
    for (const isAttached of [true, false]) {
      const store = newStore();
      store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN));
      const { key, tell, stop } = await holding(store);
      store.put(key, 'garbage', isAttached ? store.grant(100, 'another host') : undefined);
      await tell();
      expect(store.entries.get(key)).toMatchObject({
        value: printLeaseAttributes(OWN),
        etcdLeaseId: undefined,
      });
      await stop();
    }
  });

  it('gets an etcd lease anew where the old one ended', async () => {
    const store = newStore();
    const { key, lease, tell, stop } = await holding(store);
    store.put(key, 'garbage');
    store.revoke(lease.etcdLeaseId!);
    await tell();
    const { value, etcdLeaseId } = store.entries.get(key)!;
    expect(value).toContain(NEW_MAC);
    expect(store.etcdLeaseIds).toEqual([etcdLeaseId]);
    await stop();
  });

  it('has its value back, too, where the key changes once more just when it is written', async () => {
    const store = newStore();
    const { registry, key, lease, tell, clock, holder, stop } = await holding(store);
    const good = store.valueOf(key);
    store.put(key, 'garbage', lease.etcdLeaseId);
    before(registry, 'update', () =>
      store.put(key, printLeaseAttributes({ ...OWN, publicIpv6: ipAddress('fd00::7') }), lease.etcdLeaseId),
    );
    await tell();
    await clock.advance(5_000);
    expect(store.valueOf(key)).toBe(good);
    expect(holder.lease?.modRevision).toBe(String(store.entries.get(key)!.modRevision));
    await stop();
  });

  it('says who took it, and what it has in its place', async () => {
    const store = newStore();
    const { holder, log, key, tell, stop } = await holding(store, { previous: subnet('10.5.9.0/24') });
    store.put(key, printLeaseAttributes(attributesOf(2)));
    await tell();
    const now = holder.lease!.subnet.address;
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([
      {
        level: 'error',
        message: 'our subnet was taken by another host',
        fields: { subnet: '10.5.9.0/24', publicIp: '192.168.0.2' },
      },
      { level: 'warn', message: 'subnet lease lost; taking it back', fields: { subnet: '10.5.9.0/24' } },
      { level: 'info', message: 'lease acquired', fields: { subnet: `${now}/24` } },
      {
        level: 'error',
        message: 'another host has our subnet; we have a new one',
        fields: { old: '10.5.9.0/24', subnet: `${now}/24` },
      },
    ]);
    await stop();
  });

  it('says that it was lost and taken back', async () => {
    const store = newStore();
    const { log, key, tell, stop } = await holding(store, { previous: subnet('10.5.9.0/24') });
    store.delete(key);
    await tell();
    const fields = { subnet: '10.5.9.0/24' };
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([
      { level: 'warn', message: 'subnet lease lost; taking it back', fields },
      { level: 'info', message: 'lease acquired', fields },
      { level: 'info', message: 'subnet lease taken back', fields },
    ]);
    await stop();
  });

  it('waits ever longer between two tries, and ends where something else failed than the registry', async () => {
    const { registry, holder, clock, fixRandom, stop } = await holding(newStore());
    fixRandom(1);
    const start = clock.now();
    const tries: number[] = [];
    const list = registry.list.bind(registry);
    registry.list = (aborted) => (tries.push((clock.now() - start) / 1000), list(aborted));
    registry.down = true;
    holder.noticeStored(undefined);
    await clock.advance(8_000);
    expect(tries).toEqual([0, 0.2, 0.6, 1.4, 3, 6.2]);
    await stop();
    const broken = host(newStore());
    await broken.acquire();
    const end = broken.holder.run(() => undefined, signal);
    broken.registry.failNext('list', { error: BUG });
    const failure = expect(end).rejects.toThrow('a bug');
    broken.holder.noticeStored(undefined);
    await broken.clock.advance(1_000);
    await failure;
  });
});

describe('what we say anew of ourselves', () => {
  async function changing() {
    const store = newStore();
    let publicIp = examplePeer(7).publicIp;
    const one = await holding(store, {
      previous: subnet('10.5.9.0/24'),
      publicIp: () => publicIp,
      attributesFor: () => ({ ...OWN, publicIp }),
    });
    const move = (n: number) => {
      ({ publicIp } = examplePeer(n));
      one.holder.republish();
    };
    return { ...one, store, move };
  }

  it('is written once and logged; what is the same is not written', async () => {
    const { store, clock, log, key, move, stop } = await changing();
    const { revision } = store;
    move(7);
    await clock.advance(1_000);
    expect(store.revision).toBe(revision);
    move(8);
    await clock.advance(1_000);
    expect(store.revision).toBe(revision + 1);
    expect(store.valueOf(key)).toContain('192.168.0.8');
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([
      {
        level: 'info',
        message: 'lease written with our new address',
        fields: { lease: '10.5.9.0-24', publicIp: '192.168.0.8' },
      },
    ]);
    await stop();
  });

  it.each<[string, (one: Awaited<ReturnType<typeof changing>>) => void, string]>([
    [
      'the registry fails',
      ({ registry }) => registry.failNext('update'),
      'the registry cannot be reached: the connection was lost',
    ],
    [
      'the key changes just then',
      ({ registry, store, key, lease }) =>
        before(registry, 'update', () => store.put(key, store.valueOf(key)!, lease.etcdLeaseId)),
      'our lease changed while we wrote it',
    ],
  ])('is written after all where %s', async (_, fail, why) => {
    const one = await changing();
    fail(one);
    one.move(8);
    await one.clock.advance(50);
    expect(one.holder.trouble?.complaint).toBe(`cannot keep the subnet lease alive; trying on: ${why}`);
    await one.tell();
    await one.clock.advance(5_000);
    expect(one.store.valueOf(one.key)).toContain('192.168.0.8');
    expect(one.holder.trouble).toBeUndefined();
    await one.stop();
  });
});

it('a reservation that an administrator changes, but for the MAC, is not taken for another host’s', async () => {
  const store = newStore();
  store.put('subnets/10.5.7.0-24', printLeaseAttributes(OWN));
  const { holder, key, tell, log, stop } = await holding(store, { attributesFor: () => OWN });
  store.put(key, printLeaseAttributes({ ...OWN, publicIpv6: ipAddress('fd00::7') }));
  await tell();
  expect(store.valueOf(key)).toBe(printLeaseAttributes(OWN));
  expect(holder.contest).toBeUndefined();
  expect(log.messages('warn')).toEqual(['our lease was changed by somebody else; writing it again']);
  store.put(key, printLeaseAttributes({ ...OWN, backendData: vxlanData(1, OTHER_MAC) }));
  await tell();
  expect(holder.contest?.complaint).toContain('we were there first, and keep it');
  await stop();
});

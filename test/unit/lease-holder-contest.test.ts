/** Hosts that share a PublicIP, an etcd lease or a reservation, and scripts that undo what a host writes. */
import type { LeaseHolder, LeaseHolderOptions } from '../../src/engine/lease-holder';
import { LEASE_TTL_SECONDS } from '../../src/model/lease';
import { printLeaseAttributes, vxlanData } from '../../src/model/lease-codec';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from '../support/examples';
import type { FakeStore } from '../support/fake-registry';
import { NEW_MAC, attributesOf, host, newStore, passBetween } from '../support/lease-holding';

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
    const said = [a, b]
      .flatMap(({ log }) => log.lines)
      .find(({ message }) => message.includes('keeps our etcd lease'));
    expect(said).toEqual({
      level: 'info',
      message: 'somebody else keeps our etcd lease alive; claiming our lease with another',
      fields: { lease: key.replace('subnets/', '') },
    });
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
    // It is an administrator's, and must not expire.
    expect(store.entries.get(key)?.etcdLeaseId).toBeUndefined();
    expect(store.etcdLeaseIds).toEqual([]);
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
      const slower = one.log.lines.filter(({ message }) => message.includes('writing it more slowly'));
      expect(slower.map(({ level, fields }) => ({ level, fields }))).toEqual([
        { level: 'warn', fields: { lease: name } },
      ]);
      await stop();
    },
  );
});

describe('who gave way to another host with its PublicIP', () => {
  const OWN_MAC = macAddress('02:00:00:00:00:55');

  /** Host A with the lease, and B, which believed it its own, and has given way. A is stopped for good. */
  async function gaveWay() {
    const store = newStore();
    const a = host(store, {}, 1, 'A');
    const { name } = await a.acquire();
    const first = a.run();
    await a.clock.advance(3_600_000);
    const attributesFor = () => ({ ...attributesOf(7), backendData: vxlanData(1, OWN_MAC) });
    const b = host(store, { attributesFor }, 2, 'B');
    b.holder.adopt({ ...a.holder.lease!, modRevision: '0' }, 3600);
    const second = b.run();
    await passBetween(store, name, 4_000, [a, b]);
    expect([a.holder.hasGivenWay, b.holder.hasGivenWay]).toEqual([false, true]);
    await first.stop();
    const key = `subnets/${name}`;
    const othersId = store.entries.get(key)!.etcdLeaseId!;
    const pass = (milliseconds: number) => passBetween(store, name, milliseconds, [b]);
    return { store, b, key, name, othersId, pass, stop: () => second.stop() };
  }

  it.each([
    ['is deleted', (store: FakeStore, key: string) => store.delete(key)],
    [
      'is overwritten with garbage',
      (store: FakeStore, key: string, id: string) => store.put(key, 'garbage', id),
    ],
  ])('has its lease at once when the key of the other %s', async (_, undo) => {
    const { store, b, key, name, othersId, pass, stop } = await gaveWay();
    undo(store, key, othersId);
    await pass(3_000);
    expect(b.holder.hasGivenWay).toBe(false);
    expect(b.holder.lease?.name).toBe(name);
    expect(store.granteeOf(store.entries.get(key)!.etcdLeaseId!)).toBe('B');
    expect(store.valueOf(key)).toContain(OWN_MAC);
    await stop();
  });

  it('says its own VTEP MAC once the lease is its own again: packets would go to the host that is gone', async () => {
    const { store, b, key, pass, stop } = await gaveWay();
    expect(store.valueOf(key)).toContain(NEW_MAC);
    await pass(300_000);
    expect(b.holder.hasGivenWay).toBe(false);
    expect(store.valueOf(key)).toContain(OWN_MAC);
    await stop();
  });
});

it('of another host that claimed our lease nothing is said any more five minutes after it last did', async () => {
  const store = newStore();
  const a = host(store, {}, 1, 'A');
  const { name } = await a.acquire();
  const running = a.run();
  await a.clock.advance(3_600_000);
  const stop = new AbortController();
  const b = host(store, {}, 2, 'B');
  b.holder.acquire(undefined, stop.signal).catch(() => undefined);
  await passBetween(store, name, 4_000, [a]);
  stop.abort();
  await passBetween(store, name, 280_000, [a]);
  expect(a.holder.contest?.complaint).toContain('we were there first, and keep it');
  await passBetween(store, name, 320_000, [a]);
  expect(a.holder.contest).toBeUndefined();
  expect(a.log.messages('info').at(-1)).toBe('nobody else claims our lease any more');
  await running.stop();
});

it.each([
  [5, []],
  [6, ['another host was faster for each subnet; trying on']],
])('of %d races in a row that are lost, it is said: %j', async (count, said) => {
  const store = newStore();
  const one = host(store);
  const create = one.registry.create.bind(one.registry);
  let lost = 0;
  jest
    .spyOn(one.registry, 'create')
    .mockImplementation((...call) =>
      ++lost > count ? create(...call) : Promise.resolve({ kind: 'conflict' }),
    );
  await one.acquire();
  expect(one.log.messages('warn')).toEqual(said);
  expect(one.log.messages('info').includes('subnet lease acquired after all')).toBe(said.length > 0);
  expect(one.holder.trouble).toBeUndefined();
});

/** The etcd lease that our key hangs on: when it is kept alive, and whether somebody else does so, too. */
import { EtcdLeases } from '../../src/engine/etcd-leases';
import { LEASE_TTL_SECONDS } from '../../src/model/lease';
import { FakeClock } from '../support/fake-clock';
import { FakeStore } from '../support/fake-registry';

const HOUR_SECONDS = 3_600;

function keeping({ marginSeconds = HOUR_SECONDS, random = 1 } = {}) {
  const clock = new FakeClock();
  clock.random = () => random;
  const store = new FakeStore(clock);
  const registry = store.client();
  const leases = new EtcdLeases(registry, clock, marginSeconds);
  const { signal } = new AbortController();
  return {
    clock,
    store,
    registry,
    leases,
    signal,
    pass: (seconds: number) => clock.advance(seconds * 1000),
    check: (id: string) => leases.check(id, signal),
    /** One that we got, and that our key hangs on since. */
    held: async () => {
      const id = await leases.grant(signal);
      leases.hold(id);
      await leases.renew(id, signal);
      return id;
    },
  };
}

describe('an etcd lease is kept alive', () => {
  it.each([
    ['three times within its life', 9_000, 0, 3_000],
    ['so that the margin is always left', 9_000, 7_000, 2_000],
    ['every tenth of its life, where the margin is nearly all of it', 9_000, 8_500, 900],
    ['every tenth of its life, where the margin is more than that', 9_000, 20_000, 900],
  ])('%s: of %i s with a margin of %i s, after %i s', (_, remaining, marginSeconds, seconds) => {
    for (const [random, part] of [
      [1, 1],
      [0, 0.9],
    ] as const) {
      const { leases } = keeping({ marginSeconds, random });
      leases.keepFor(remaining);
      expect(leases.untilRenewalMilliseconds).toBeCloseTo(seconds * part * 1000);
    }
  });

  it('10 to 30 seconds after the start, but no later than it is due', () => {
    for (const [random, remaining, milliseconds] of [
      [0, 9_000, 10_000],
      [0.5, 9_000, 20_000],
      [1, 9_000, 30_000],
      [1, 30, 10_000],
    ] as const) {
      const { leases } = keeping({ random, marginSeconds: 0 });
      leases.keepFor(remaining);
      leases.keepSoon();
      expect(leases.untilRenewalMilliseconds).toBe(milliseconds);
    }
  });

  it('never, before there is any', () => {
    expect(keeping().leases.untilRenewalMilliseconds).toBe(Infinity);
  });

  it('and has its whole time again, which then runs down', async () => {
    const { leases, held, pass, signal } = keeping();
    const id = await held();
    await pass(100);
    expect(leases.remainingSeconds).toBe(LEASE_TTL_SECONDS - 100);
    expect(leases.untilRenewalMilliseconds).toBe((LEASE_TTL_SECONDS / 3 - 100) * 1000);
    expect(await leases.renew(id, signal)).toBe(true);
    expect(leases.remainingSeconds).toBe(LEASE_TTL_SECONDS);
  });

  it('in vain when it is gone', async () => {
    const { leases, store, held, signal } = keeping();
    const id = await held();
    store.revoke(id);
    expect(await leases.renew(id, signal)).toBe(false);
  });
});

describe('looking how an etcd lease is', () => {
  it('asks once a minute at most, whatever happens to the key, and renews it only when it is due', async () => {
    const { leases, registry, held, pass, check } = keeping();
    const id = await held();
    const renewals = registry.countOf('keepAlive');
    for (const seconds of [0, 59, 1, 59, 1]) {
      await pass(seconds);
      expect(await check(id)).toBe('alive');
    }
    expect(registry.countOf('lifeOf')).toBe(3);
    expect(registry.countOf('keepAlive')).toBe(renewals);
    await pass(LEASE_TTL_SECONDS / 3 - 120);
    expect(leases.untilRenewalMilliseconds).toBe(0);
    expect(await check(id)).toBe('renewed');
    expect(registry.countOf('keepAlive')).toBe(renewals + 1);
    expect(leases.untilRenewalMilliseconds).toBe((LEASE_TTL_SECONDS / 3) * 1000);
  });

  it('asks when it is due though it asked just before', async () => {
    const { leases, held, pass, check } = keeping();
    const id = await held();
    expect(await check(id)).toBe('alive');
    leases.keepFor(30);
    await pass(10);
    expect(await check(id)).toBe('renewed');
  });

  it('shows that it is gone', async () => {
    const { store, registry, held, check } = keeping();
    const id = await held();
    store.revoke(id);
    const renewals = registry.countOf('keepAlive');
    expect(await check(id)).toBe('lost');
    expect(registry.countOf('keepAlive')).toBe(renewals);
  });

  it('shows that it went just before it was to be renewed', async () => {
    const { store, registry, held, pass, check } = keeping();
    const id = await held();
    await pass(LEASE_TTL_SECONDS / 3);
    const lifeOf = registry.lifeOf.bind(registry);
    registry.lifeOf = async (...args) => {
      const life = await lifeOf(...args);
      store.revoke(id);
      return life;
    };
    expect(await check(id)).toBe('lost');
  });

  it.each([
    ['a little longer, as clocks differ and etcd rounds', 100, LEASE_TTL_SECONDS - 93, 'alive'],
    ['longer than that', 100, LEASE_TTL_SECONDS - 92, 'shared'],
    ['longer than we gave it', 0, LEASE_TTL_SECONDS + 3, 'shared'],
    ['as long as we gave it', 0, LEASE_TTL_SECONDS, 'alive'],
    ['shorter', 1_000, LEASE_TTL_SECONDS - 1_500, 'alive'],
  ])('one that has %s (after %i s it has %i) is %4$s', async (_, seconds, remainingSeconds, state) => {
    const { registry, store, held, pass, check } = keeping();
    const id = await held();
    const { term } = store.lifeOf(id) as { term: string };
    await pass(seconds);
    registry.lifeOf = () => Promise.resolve({ remainingSeconds, term });
    expect(await check(id)).toBe(state);
  });

  it('of another than the one kept alive last, or under a new leader, shows no sharing', async () => {
    const { leases, store, registry, held, pass, check, signal } = keeping();
    const [first, second] = [await held(), await leases.grant(signal)];
    await pass(1_000);
    store.keepAlive(second);
    expect(await check(second)).toBe('alive');
    store.elect();
    await pass(60);
    expect(await check(first)).toBe('alive');
    expect(registry.countOf('lifeOf')).toBe(2);
  });

  it.each([
    ['within half a minute', 29, 'alive'],
    ['later', 31, 'shared'],
  ])(
    'a renewal that failed and is carried out %s is no sharing, for so late it may come',
    async (_, late, state) => {
      const { leases, registry, store, held, pass, check, signal } = keeping();
      const id = await held();
      await pass(1_000);
      registry.failNext('keepAlive');
      await expect(leases.renew(id, signal)).rejects.toThrow('the connection was lost');
      await pass(1);
      await leases.renew(id, signal);
      await pass(late - 1);
      store.keepAlive(id);
      await pass(1_000);
      // As clocks go, it has a twentieth of the time it lived to spare.
      const { remainingSeconds, term } = store.lifeOf(id) as { remainingSeconds: number; term: string };
      registry.lifeOf = () => Promise.resolve({ remainingSeconds: remainingSeconds + 52, term });
      expect(await check(id)).toBe(state);
    },
  );
});

describe('an etcd lease is our own', () => {
  it('if another process of this host got it, until the store has shown the one that our key hangs on', async () => {
    const { leases, registry, store, signal } = keeping();
    const [earlier, other] = [await registry.grant(100, signal), await registry.grant(100, signal)];
    const strangers = store.grant(100, 'another host');
    expect([earlier, other, strangers].map((id) => leases.isOwn(id))).toEqual([true, true, false]);
    leases.hold(earlier);
    expect([earlier, other, strangers].map((id) => leases.isOwn(id))).toEqual([true, false, false]);
  });

  it('no longer by having been another process’s, where our key hangs on none', async () => {
    const { leases, registry, signal } = keeping();
    const earlier = await registry.grant(100, signal);
    leases.hold(undefined);
    expect(leases.isOwn(earlier)).toBe(false);
  });

  it('if we got it, until another may have all that we have, or it is given back', async () => {
    const { leases, store, registry, signal, held } = keeping();
    await held();
    const [first, second] = [await leases.grant(signal), await leases.grant(signal)];
    expect([first, second].map((id) => leases.isOwn(id))).toEqual([true, true]);
    registry.failNext('revoke');
    await leases.giveBack(first, signal);
    expect(leases.isOwn(first)).toBe(true);
    await leases.giveBack(first, signal);
    expect([first, second].map((id) => leases.isOwn(id))).toEqual([false, true]);
    expect(store.etcdLeaseIds).not.toContain(first);
    leases.disown();
    expect(leases.isOwn(second)).toBe(false);
  });

  it('for a day', async () => {
    const { store, leases, signal } = keeping();
    const id = await leases.grant(signal);
    expect(store.lifeOf(id)).toMatchObject({ remainingSeconds: LEASE_TTL_SECONDS });
  });
});

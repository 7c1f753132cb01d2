import { PendingWork, type Cause } from '../../src/engine/pending-work';
import { subnet } from '../../src/model/address';
import { keyOf, type ObjectName } from '../../src/model/kernel-state';

const wanted: Cause = { kind: 'wanted', what: 'peers changed' };
const external: Cause = { kind: 'external', what: 'another program' };
const route = (n: number): ObjectName => ({
  kind: 'route',
  destination: subnet(`10.${(n >> 16) + 1}.${(n >> 8) & 255}.${n & 255}/32`),
  metric: n,
});
const routes = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => route(from + i));

describe('the work that is pending', () => {
  it('names each object once, and keeps why it is looked at', () => {
    const pending = new PendingWork();
    expect(pending.isEmpty).toBe(true);
    pending.add([route(1), route(2)], external);
    pending.add([route(2)], wanted);
    expect(pending.isEmpty).toBe(false);
    expect([1, 2].map((n) => pending.isWanted(keyOf(route(n))))).toEqual([false, true]);
    const work = pending.take();
    expect([...work.names.values()]).toEqual([route(1), route(2)]);
    expect([...work.wanted]).toEqual([keyOf(route(2))]);
    expect(work.whole.size).toBe(0);
    expect(work.causes).toEqual([external, wanted]);
  });

  it('is empty after it was handed over, and what is added then does not reach what was handed over', () => {
    const pending = new PendingWork();
    pending.add([route(1)], wanted);
    const work = pending.take();
    expect(pending.isEmpty).toBe(true);
    expect(pending.isWanted(keyOf(route(1)))).toBe(false);
    pending.add([route(2)], external);
    pending.addAll({ kind: 'audit', what: 'audit' });
    expect([...work.names.values()]).toEqual([route(1)]);
    expect(work.whole.size).toBe(0);
    expect(work.causes).toEqual([wanted]);
  });

  it('is no work, and no cause, when nothing is named', () => {
    const pending = new PendingWork();
    pending.add([], external);
    expect(pending.isEmpty).toBe(true);
    expect(pending.take().causes).toEqual([]);
  });

  it.each([
    ['that we want changed', wanted],
    ['that others changed', external],
  ])('is everything when there are more than 20 000 names %s', (_, cause) => {
    const pending = new PendingWork();
    pending.add(routes(0, 20_000), cause);
    pending.add([route(7)], cause);
    const few = pending.take();
    expect([few.names.size, few.whole.size]).toEqual([20_000, 0]);
    pending.add(routes(0, 20_000), cause);
    pending.add([route(20_000)], cause);
    expect(pending.isWanted(keyOf(route(20_000)))).toBe(false);
    const { names, whole } = pending.take();
    expect(names.size).toBe(0);
    // What is wanted by us must not be counted as a repair of what others did.
    expect([...whole]).toEqual([cause.kind]);
  });

  it('is everything that we want changed when one of too many names is such', () => {
    const pending = new PendingWork();
    pending.add([route(0)], wanted);
    pending.add(routes(1, 20_001), external);
    expect([...pending.take().whole]).toEqual(['wanted']);
  });

  it('says each cause once, those of one kind apart, and at most eight', () => {
    const pending = new PendingWork();
    const causes = Array.from({ length: 9 }, (_, n): Cause => ({ kind: 'external', what: `program ${n}` }));
    const alike: Cause = { kind: 'audit', what: 'program 0' };
    for (const cause of [...causes.slice(0, 2), alike, ...causes]) pending.addAll(cause);
    expect(pending.take().causes).toEqual([causes[0], causes[1], alike, ...causes.slice(2, 7)]);
  });
});

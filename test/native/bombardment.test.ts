import { resultOf } from './support/namespace';

const MIB = 1 << 20;

test('A million notifications, as fast as the kernel makes them, all arrive when the buffer is large', async () => {
  const count = 1_000_000;
  const seen = await resultOf('flooded', String(count), String(256 * MIB));
  // The two messages more are the end of the flood.
  expect(seen).toMatchObject({ overruns: 0, lost: 0, outOfOrder: 0 });
  expect(seen.received).toBeGreaterThanOrEqual(count + 1);
  expect(seen.largestCall).toBeLessThanOrEqual(MIB);
  expect(seen.residentGrowth).toBeLessThan(64 * MIB);
  expect(seen.longestTurn).toBeLessThan(1000);
});

test('With a small buffer they are lost, which is reported, and the monitor hears what comes after', async () => {
  const seen = await resultOf('flooded', '1000000', String(64 << 10));
  expect(seen.lost).toBeGreaterThan(0);
  expect(seen.overruns).toBeGreaterThan(0);
  expect(seen.outOfOrder).toBe(0);
  expect(seen.residentGrowth).toBeLessThan(64 * MIB);
  expect(seen.longestTurn).toBeLessThan(1000);
});

test('Thousands of sockets opened, closed, refused and forgotten leave no descriptor and no memory behind', async () => {
  const { opened, leakedDescriptors, residentGrowth } = await resultOf('churn');
  expect(opened).toBeGreaterThanOrEqual(10_000);
  expect(leakedDescriptors).toBe(0);
  expect(residentGrowth).toBeLessThan(16 * MIB);
});

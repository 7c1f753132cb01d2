import { resultOf } from './support/namespace';

const MIB = 1 << 20;

test('Hundreds of thousands of notifications, as fast as the kernel makes them, all arrive when the buffer is large', async () => {
  const count = 600_000;
  // Of such a message 832 bytes are counted, and the kernel doubles the size: all of them have room, even if nobody reads.
  const seen = await resultOf('flooded', String(count), String(256 * MIB));
  // The two messages more are the end of the flood.
  expect(seen).toMatchObject({ overruns: 0, lost: 0, outOfOrder: 0 });
  expect(seen.received).toBeGreaterThanOrEqual(count + 1);
  expect(seen.largestCall).toBeLessThanOrEqual(MIB);
  expect(seen.mostCallsInATurn).toBe(1);
  expect(seen.residentGrowth).toBeLessThan(64 * MIB);
});

test('What a small buffer does not hold while the event loop stands still is lost, which is reported, and the monitor hears what comes after', async () => {
  const seen = await resultOf('flooded', '100000', String(64 << 10), 'unread');
  expect(seen.lost).toBeGreaterThan(0);
  expect(seen.overruns).toBeGreaterThan(0);
  expect(seen.outOfOrder).toBe(0);
  expect(seen.mostCallsInATurn).toBeLessThanOrEqual(2);
  expect(seen.residentGrowth).toBeLessThan(64 * MIB);
});

test('Thousands of sockets opened, closed, refused and forgotten leave no descriptor and no memory behind', async () => {
  const { opened, leakedDescriptors, residentGrowth } = await resultOf('churn');
  expect(opened).toBeGreaterThanOrEqual(10_000);
  expect(leakedDescriptors).toBe(0);
  expect(residentGrowth).toBeLessThan(16 * MIB);
});

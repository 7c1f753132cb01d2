import { RepairThrottle } from '../../src/engine/repair-throttle';

const LIMITS = {
  freeRepairs: 2,
  shortestRestMilliseconds: 100,
  longestRestMilliseconds: 1_000,
  calmMilliseconds: 5_000,
};

/** The rests before each of so many repairs, each of which is made as soon as it may be. */
function restsOf(throttle: RepairThrottle, time: { now: number }, repairs: number): number[] {
  return Array.from({ length: repairs }, () => {
    const { restMilliseconds } = throttle;
    time.now += restMilliseconds;
    throttle.count();
    return restMilliseconds;
  });
}

function setUp() {
  const time = { now: 0 };
  return { time, throttle: new RepairThrottle({ now: () => time.now }, LIMITS) };
}

test('the first repairs are made at once, each later one after twice the rest, up to the longest', () => {
  const { throttle, time } = setUp();
  expect(restsOf(throttle, time, 9)).toEqual([0, 0, 0, 100, 200, 400, 800, 1_000, 1_000]);
});

test('it is a repair loop from the repair on that is one too many, and a new one until the next', () => {
  const { throttle, time } = setUp();
  const seen = Array.from({ length: 4 }, () => {
    restsOf(throttle, time, 1);
    return [throttle.isRepairLoop, throttle.isNewRepairLoop];
  });
  expect(seen).toEqual([
    [false, false],
    [false, false],
    [true, true],
    [true, false],
  ]);
});

test('after a calm longer than the last rest and a while, everything begins anew', () => {
  const { throttle, time } = setUp();
  restsOf(throttle, time, 5);
  time.now += 5_200;
  expect(throttle.isRepairLoop).toBe(true);
  time.now += 201;
  expect([throttle.isRepairLoop, throttle.streak]).toEqual([false, 0]);
  expect(restsOf(throttle, time, 4)).toEqual([0, 0, 0, 100]);
});

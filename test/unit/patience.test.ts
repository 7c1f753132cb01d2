import { Patience } from '../../src/engine/patience';

const LIMITS = {
  freeRepairs: 2,
  shortestRestMilliseconds: 100,
  longestRestMilliseconds: 1_000,
  calmMilliseconds: 5_000,
};

/** The rests before each of so many repairs, each of which is made as soon as it may be. */
function restsOf(patience: Patience, time: { now: number }, repairs: number): number[] {
  return Array.from({ length: repairs }, () => {
    const { restMilliseconds } = patience;
    time.now += restMilliseconds;
    patience.count();
    return restMilliseconds;
  });
}

function setUp() {
  const time = { now: 0 };
  return { time, patience: new Patience({ now: () => time.now }, LIMITS) };
}

test('the first repairs are made at once, each later one after twice the rest, up to the longest', () => {
  const { patience, time } = setUp();
  expect(restsOf(patience, time, 9)).toEqual([0, 0, 0, 100, 200, 400, 800, 1_000, 1_000]);
});

test('it is a fight from the repair on that is one too many, and a new one until the next', () => {
  const { patience, time } = setUp();
  const seen = Array.from({ length: 4 }, () => {
    restsOf(patience, time, 1);
    return [patience.isFight, patience.isNewFight];
  });
  expect(seen).toEqual([
    [false, false],
    [false, false],
    [true, true],
    [true, false],
  ]);
});

test('after a calm longer than the last rest and a while, everything begins anew', () => {
  const { patience, time } = setUp();
  restsOf(patience, time, 5);
  time.now += 5_200;
  expect(patience.isFight).toBe(true);
  time.now += 201;
  expect([patience.isFight, patience.streak]).toEqual([false, 0]);
  expect(restsOf(patience, time, 4)).toEqual([0, 0, 0, 100]);
});

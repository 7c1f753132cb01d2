import { inTurns } from '../../src/in-turns';
import type { Steps } from '../../src/model/steps';
import { FakeClock } from '../support/fake-clock';

/** A clock of which each look takes a tenth of a millisecond. */
class HurryingClock extends FakeClock {
  #looks = 0;

  override now(): number {
    return this.#looks++ / 10;
  }
}

function* counting(to: number): Steps<number> {
  for (let n = 0; n < to; n++) yield;
  return to;
}

test('long work lets others have their turn after each millisecond', async () => {
  let isOver = false;
  let turns = 0;
  const count = () => {
    if (isOver) return;
    turns++;
    setImmediate(count);
  };
  setImmediate(count);
  expect(await inTurns(counting(100), new HurryingClock())).toBe(100);
  isOver = true;
  // A hundred steps of a tenth of a millisecond each.
  expect(turns).toBeGreaterThanOrEqual(8);
});

test('short work is done in one', async () => {
  let hasTurned = false;
  setImmediate(() => (hasTurned = true));
  expect(await inTurns(counting(5), new HurryingClock())).toBe(5);
  expect(hasTurned).toBe(false);
});

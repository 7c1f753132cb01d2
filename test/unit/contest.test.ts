/** Which of two hosts with one lease gives way. */
import { Contest } from '../../src/engine/contest';
import { exampleLease } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

function contesting() {
  const clock = new FakeClock();
  const contest = new Contest(clock, new FakeLog());
  return { clock, contest };
}

const lease = exampleLease(1);

it('whoever has just claimed a lease gives way to an objection, and whoever has held it objects', () => {
  const { contest } = contesting();
  expect(contest.answer(lease)).toBe(true);
  const newcomer = contesting().contest;
  newcomer.claim();
  expect(newcomer.answer(lease)).toBe(false);
  expect(newcomer.hasGivenWay).toBe(true);
});

it('of two that claimed it together the one that gave way does not get it by trying again', async () => {
  const { clock, contest: winner } = contesting();
  const loser = new Contest(clock, new FakeLog());
  loser.claim();
  winner.claim();
  expect(loser.answer(lease)).toBe(false);
  for (let tries = 0; tries < 5; tries++) {
    // The shortest wait there is.
    clock.random = () => 0;
    await clock.advance(loser.retryMilliseconds);
    loser.claim();
    expect(winner.answer(lease)).toBe(true);
    expect(loser.answer(lease)).toBe(false);
  }
});

/** Which of two hosts with one lease gives way. */
import { Contest } from '../../src/engine/contest';
import { exampleLease } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

function contesting() {
  const clock = new FakeClock();
  const log = new FakeLog();
  const contest = new Contest(clock, log);
  return { clock, log, contest };
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

it.each([
  ['less than seven seconds ago gives way', 6_999, false],
  ['seven seconds ago objects: it was there first', 7_000, true],
])('whoever claimed it %s', async (_, age, objects) => {
  const { clock, contest } = contesting();
  contest.claim();
  await clock.advance(age);
  expect(contest.answer(lease)).toBe(objects);
});

it.each([
  [
    'within five seconds of each other, the third time the one gives way that began',
    4_999,
    [true, true, false],
  ],
  ['later than that, both keep what they think is theirs', 5_000, [true, true, true]],
])('where two object in turn %s', async (_, pause, answers) => {
  const { clock, contest } = contesting();
  const given: boolean[] = [];
  for (let round = 0; round < 3; round++) {
    given.push(contest.answer(lease));
    await clock.advance(pause);
  }
  expect(given).toEqual(answers);
});

it('what is said names the lease and what to do, ends five minutes after the last claim, and then says so', async () => {
  const { clock, log, contest } = contesting();
  const advice = 'two hosts cannot share one: give one of them another by --public-ip or --iface';
  contest.answer(lease);
  expect(contest.trouble?.complaint).toBe(
    `another host has our PublicIP, and claims our lease: we were there first, and keep it; ${advice}`,
  );
  await clock.advance(200_000);
  contest.giveWay(lease);
  expect(contest.trouble?.complaint).toBe(
    `another host has our PublicIP, and claims our lease: it was there first, and we wait until it has gone; ${advice}`,
  );
  await clock.advance(299_999);
  contest.endIfOver();
  expect(contest.trouble?.forMilliseconds).toBe(499_999);
  await clock.advance(1);
  contest.endIfOver();
  expect(contest.trouble).toBeUndefined();
  const fields = { lease: '10.5.1.0-24', publicIp: '192.168.0.1' };
  expect(log.lines).toMatchObject([
    { level: 'warn', fields },
    { level: 'warn', fields },
    { level: 'info', message: 'nobody else claims our lease any more' },
  ]);
});

it('who gave way tries again ever more seldom, and from the beginning once it had the lease', () => {
  const { clock, contest } = contesting();
  clock.random = () => 1;
  const waits = Array.from({ length: 5 }, () => (contest.giveWay(lease), contest.retryMilliseconds));
  expect(waits).toEqual([15_000, 30_000, 60_000, 120_000, 120_000]);
  contest.settle();
  expect([contest.hasGivenWay, contest.trouble]).toEqual([false, undefined]);
  contest.giveWay(lease);
  expect(contest.retryMilliseconds).toBe(15_000);
});

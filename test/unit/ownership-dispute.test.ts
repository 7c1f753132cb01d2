/** Which of two hosts with one lease concedes. */
import { answerToClaim } from '../../src/core/lease-keeping';
import { OwnershipDispute } from '../../src/engine/ownership-dispute';
import { exampleLease } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

function disputing() {
  const clock = new FakeClock();
  const log = new FakeLog();
  const dispute = new OwnershipDispute(clock, log);
  return { clock, log, dispute };
}

const lease = exampleLease(1);
let revision = 100;

/** Another host claims the lease by one more write. True: we object. */
function answer(dispute: OwnershipDispute, clock: FakeClock): boolean {
  const claimed = { ...lease, modRevision: String(revision++) };
  const given = answerToClaim(dispute.history, claimed.modRevision, clock.now());
  dispute.give(given, claimed);
  return given === 'object';
}

it('whoever has just claimed a lease concedes to an objection, and whoever has held it objects', () => {
  const { dispute, clock } = disputing();
  expect(answer(dispute, clock)).toBe(true);
  const newcomer = new OwnershipDispute(clock, new FakeLog());
  newcomer.claim();
  expect(answer(newcomer, clock)).toBe(false);
  expect(newcomer.hasConceded).toBe(true);
});

it('of two that claimed it together the one that conceded does not get it by trying again', async () => {
  const { clock, dispute: winner } = disputing();
  const loser = new OwnershipDispute(clock, new FakeLog());
  loser.claim();
  winner.claim();
  expect(answer(loser, clock)).toBe(false);
  for (let tries = 0; tries < 5; tries++) {
    // The shortest wait there is.
    clock.random = () => 0;
    await clock.advance(loser.retryMilliseconds);
    loser.claim();
    expect(answer(winner, clock)).toBe(true);
    expect(answer(loser, clock)).toBe(false);
  }
});

it.each([
  ['less than seven seconds ago concedes', 6_999, false],
  ['seven seconds ago objects: it was there first', 7_000, true],
])('whoever claimed it %s', async (_, age, objects) => {
  const { clock, dispute } = disputing();
  dispute.claim();
  await clock.advance(age);
  expect(answer(dispute, clock)).toBe(objects);
});

it.each([
  [
    'within five seconds of each other, the third time the one concedes that began',
    4_999,
    [true, true, false],
  ],
  ['later than that, both keep what they think is theirs', 5_000, [true, true, true]],
])('where two object in turn %s', async (_, pause, answers) => {
  const { clock, dispute } = disputing();
  const given: boolean[] = [];
  for (let round = 0; round < 3; round++) {
    given.push(answer(dispute, clock));
    await clock.advance(pause);
  }
  expect(given).toEqual(answers);
});

it('what is said names the lease and what to do, ends five minutes after the last claim, and then says so', async () => {
  const { clock, log, dispute } = disputing();
  const advice = 'two hosts cannot share one: give one of them another by --public-ip or --iface';
  answer(dispute, clock);
  expect(dispute.problem?.text).toBe(
    `another host has our PublicIP, and claims our lease: we were there first, and keep it; ${advice}`,
  );
  await clock.advance(200_000);
  dispute.concede(lease);
  expect(dispute.problem?.text).toBe(
    `another host has our PublicIP, and claims our lease: it was there first, and we wait until it has gone; ${advice}`,
  );
  await clock.advance(299_999);
  dispute.endIfOver();
  expect(dispute.problem?.forMilliseconds).toBe(499_999);
  await clock.advance(1);
  dispute.endIfOver();
  expect(dispute.problem).toBeUndefined();
  const fields = { lease: '10.5.1.0-24', publicIp: '192.168.0.1' };
  expect(log.lines).toMatchObject([
    { level: 'warn', fields },
    { level: 'warn', fields },
    { level: 'info', message: 'nobody else claims our lease any more' },
  ]);
});

it('who conceded tries again ever more seldom, and from the beginning once it had the lease', () => {
  const { clock, dispute } = disputing();
  clock.random = () => 1;
  const waits = Array.from({ length: 5 }, () => (dispute.concede(lease), dispute.retryMilliseconds));
  expect(waits).toEqual([15_000, 30_000, 60_000, 120_000, 120_000]);
  dispute.settle();
  expect([dispute.hasConceded, dispute.problem]).toEqual([false, undefined]);
  dispute.concede(lease);
  expect(dispute.retryMilliseconds).toBe(15_000);
});

/** Since when each thing has been well or not. */
import { Conditions } from '../../src/engine/conditions';
import { FakeClock } from '../support/fake-clock';

function conditions() {
  const clock = new FakeClock();
  const all = new Conditions(clock);
  const since = (reason: string | undefined, forMilliseconds?: number) => {
    const [check] = all.check([{ name: 'etcd', reason, forMilliseconds, advisory: true }]);
    return check!.since;
  };
  return { clock, all, since };
}

it('a condition is well since it was first looked at, or became so', async () => {
  const { clock, since } = conditions();
  const start = clock.now();
  expect(since(undefined)).toBe(start);
  await clock.advance(10);
  expect(since(undefined)).toBe(start);
  since('away');
  await clock.advance(10);
  expect(since(undefined)).toBe(start + 20);
  await clock.advance(10);
  expect(since(undefined)).toBe(start + 20);
});

it('one that is not well has been so since it was seen, or for as long as it says itself', async () => {
  const { clock, since } = conditions();
  const start = clock.now();
  expect(since('away')).toBe(start);
  await clock.advance(10);
  expect(since('far away')).toBe(start);
  expect(since('away', 500)).toBe(start + 10 - 500);
});

it('for how long it has been unwell counts for nothing where it is well', async () => {
  const { clock, since } = conditions();
  await clock.advance(1_000);
  expect(since(undefined, 500)).toBe(clock.now());
});

it('each is told by its name, with its reason, and whether packets need it', () => {
  const { clock, all } = conditions();
  const since = clock.now();
  expect(
    all.check([
      { name: 'etcd', reason: 'away', advisory: true },
      { name: 'kernel', reason: undefined, advisory: false },
    ]),
  ).toEqual([
    { name: 'etcd', state: 'failing', ok: false, since, reason: 'away', advisory: true },
    { name: 'kernel', state: 'ok', ok: true, since, reason: undefined, advisory: false },
  ]);
});

it('what is not known yet is neither well nor failing, and has been so since it was asked for', async () => {
  const { clock, all } = conditions();
  const ask = (changes: object) =>
    all.check([{ name: 'etcd', reason: undefined, advisory: true, ...changes }])[0]!;
  const since = clock.now();
  expect(ask({ isUnknown: true })).toMatchObject({ state: 'unknown', ok: false, since });
  await clock.advance(10);
  expect(ask({ isUnknown: true, reason: 'none yet', forMilliseconds: 500 })).toMatchObject({
    state: 'unknown',
    since,
  });
  expect(ask({})).toMatchObject({ state: 'ok', ok: true, since: since + 10 });
});

it('a reason with the text of others stays one line, and moves no cursor', () => {
  const { all } = conditions();
  const text = "10.5.9.0-24 (its backend is 'x\n[+] lease: well\u001b[2J\u202e')";
  const [check] = all.check([{ name: 'other leases', reason: text, advisory: true }]);
  expect(check!.reason).toBe("10.5.9.0-24 (its backend is 'x\\n[+] lease: well\\u001b[2J\\u202e')");
});

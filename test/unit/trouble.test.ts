/** What is wrong is said sparingly, and that it is over is said once. */
import { Trouble } from '../../src/engine/trouble';
import { RegistryError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

function troubled() {
  const clock = new FakeClock();
  const log = new FakeLog();
  return { clock, log, trouble: new Trouble(clock, log) };
}

it('all is well before anything is reported, and to say that it is well again says nothing', () => {
  const { log, trouble } = troubled();
  trouble.clear('well again');
  expect(trouble.current).toBeUndefined();
  expect(log.lines).toEqual([]);
});

it('the same complaint is said at once, after a minute, and then after twice as long each time, up to an hour', async () => {
  const { clock, log, trouble } = troubled();
  const said: number[] = [];
  for (let minute = 0; minute <= 250; minute++) {
    const before = log.lines.length;
    trouble.report('cannot do it', 'no paper');
    if (log.lines.length > before) said.push(minute);
    await clock.advance(60_000);
  }
  expect(said).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
});

it('a reminder tells how often and for how long, with the fields of the report', async () => {
  const { clock, log, trouble } = troubled();
  for (let n = 0; n < 3; n++) {
    trouble.report('cannot do it', new RegistryError('unavailable', 'nobody answers'), { lease: 'x' });
    await clock.advance(30_000);
  }
  expect(log.lines).toEqual([
    { level: 'warn', message: 'cannot do it', fields: { lease: 'x', error: 'nobody answers' } },
    {
      level: 'warn',
      message: 'cannot do it',
      fields: { lease: 'x', error: 'nobody answers', times: 3, sinceSeconds: 60 },
    },
  ]);
});

it('another complaint is said at once, and is as old as the first', async () => {
  const { clock, log, trouble } = troubled();
  trouble.report('cannot do it', 'no paper');
  await clock.advance(5_000);
  trouble.report('cannot do it', 'no ink');
  await clock.advance(1_000);
  expect(trouble.current).toEqual({ complaint: 'cannot do it: no ink', forMilliseconds: 6_000 });
  expect(log.lines.map(({ fields }) => fields)).toEqual([{ error: 'no paper' }, { error: 'no ink' }]);
});

it('that it is over is said once, with how long it took; what comes then is new', async () => {
  const { clock, log, trouble } = troubled();
  trouble.report('cannot do it', 'no paper');
  await clock.advance(12_400);
  trouble.clear('done after all', { lease: 'x' });
  trouble.clear('done after all');
  expect(trouble.current).toBeUndefined();
  expect(log.lines.slice(1)).toEqual([
    { level: 'info', message: 'done after all', fields: { lease: 'x', afterSeconds: 12 } },
  ]);
  trouble.report('cannot do it', 'no paper');
  expect(trouble.current).toEqual({ complaint: 'cannot do it: no paper', forMilliseconds: 0 });
});

it('what comes and goes all the time fills no log, and the log ends with what is so', async () => {
  const [clock, log] = [new FakeClock(), new FakeLog()];
  const trouble = new Trouble(clock, log);
  const flap = async (milliseconds: number) => {
    for (let n = 0; n < milliseconds / 500; n++) {
      trouble.report('away', 'no carrier');
      await clock.advance(250);
      trouble.clear('back');
      await clock.advance(250);
    }
  };
  await flap(3_600_000);
  expect(log.lines.length).toBeLessThan(25);
  expect(log.lines.slice(0, 6).map(({ message }) => message)).toEqual([
    'away',
    'back',
    'away',
    'back',
    'away',
    'back',
  ]);
  expect(trouble.current).toBeUndefined();
  // Who looks tells at each look that all is well.
  await clock.advance(600_000);
  trouble.clear('back');
  expect(log.lines.at(-1)!.message).toBe('back');
  const { length } = log.lines;
  trouble.clear('back');
  // After a calm time each change is said at once again.
  await clock.advance(3_600_000);
  trouble.report('away', 'no carrier');
  trouble.clear('back');
  expect(log.lines.slice(length).map(({ message }) => message)).toEqual(['away', 'back']);
});

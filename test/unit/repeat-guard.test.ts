import { RepeatGuard } from '../../src/repeat-guard';

let now = 0;
let guard: RepeatGuard;

beforeEach(() => {
  now = 1_000_000;
  guard = new RepeatGuard({ now: () => now });
});

test('the first of each key is said, the like of it is not', () => {
  expect(guard.ask('a')).toEqual({ suppressed: 0, sinceSeconds: 0 });
  expect(guard.ask('b')).toEqual({ suppressed: 0, sinceSeconds: 0 });
  expect(guard.ask('a')).toBeUndefined();
  expect(guard.ask('b')).toBeUndefined();
});

test('reminders come at growing intervals, up to ten minutes, and say how many were left out', () => {
  const said: number[] = [];
  let counted = 0;
  for (let second = 0; second <= 3600; second++) {
    const saying = guard.ask('a');
    if (saying) {
      said.push(second);
      counted += saying.suppressed + 1;
      expect(saying.sinceSeconds).toBe(second);
    }
    now += 1000;
  }
  expect(said).toEqual([0, 60, 180, 420, 900, 1500, 2100, 2700, 3300]);
  expect(counted).toBe(3301);
});

test('what is over and comes back is a first time again', () => {
  guard.ask('a');
  expect(guard.ask('a')).toBeUndefined();
  guard.forget('a');
  expect(guard.ask('a')).toEqual({ suppressed: 0, sinceSeconds: 0 });
});

test('it remembers a thousand keys, those that were used last', () => {
  guard.ask('old');
  guard.ask('busy');
  for (let n = 0; n < 999; n++) {
    guard.ask(`key ${n}`);
    guard.ask('busy');
  }
  expect(guard.ask('busy')).toBeUndefined();
  expect(guard.ask('old')).toBeDefined();
});

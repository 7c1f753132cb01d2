import { SummedLines } from '../../src/engine/summed-lines';
import { FakeClock } from '../support/fake-clock';

function saying() {
  const clock = new FakeClock();
  const said: number[] = [];
  const line = new SummedLines<number>(
    clock,
    (a, b) => a + b,
    (value) => said.push(value),
  );
  const stop = new AbortController();
  const end = line.run(stop.signal);
  return { clock, said, line, stop: () => (stop.abort(), end) };
}

test('what is rare is said at once', async () => {
  const { clock, said, line, stop } = saying();
  line.add(1);
  expect(said).toEqual([1]);
  await clock.advance(1_000);
  line.add(2);
  expect(said).toEqual([1, 2]);
  await stop();
  expect(said).toEqual([1, 2]);
});

test('what comes within a second is said as one at its end, and so on', async () => {
  const { clock, said, line, stop } = saying();
  for (let n = 1; n <= 4; n++) line.add(n);
  await clock.advance(999);
  expect(said).toEqual([1]);
  await clock.advance(1);
  expect(said).toEqual([1, 9]);
  line.add(5);
  await clock.advance(1_999);
  expect(said).toEqual([1, 9]);
  await clock.advance(1);
  expect(said).toEqual([1, 9, 5]);
  await clock.advance(4_000);
  line.add(6);
  expect(said).toEqual([1, 9, 5, 6]);
  await stop();
});

test('what goes on for ever is said once a minute in the end, and at once again after a time without any', async () => {
  const { clock, said, line, stop } = saying();
  for (let n = 0; n < 600; n++) {
    line.add(1);
    await clock.advance(1_000);
  }
  // After 0, 1, 3, 7, 15, 31 and 63 seconds, and from then on by the minute.
  expect(said.slice(0, 9)).toEqual([1, 1, 1, 4, 8, 16, 32, 60, 60]);
  expect(said).toHaveLength(15);
  expect(Math.max(...said)).toBe(60);
  await clock.advance(180_000);
  expect(said.reduce((a, b) => a + b)).toBe(600);
  const before = said.length;
  line.add(7);
  line.add(8);
  await clock.advance(1_000);
  expect(said.slice(before)).toEqual([7, 8]);
  await stop();
});

test('what is left is said at the stop', async () => {
  const { said, line, stop } = saying();
  line.add(1);
  line.add(2);
  await stop();
  expect(said).toEqual([1, 2]);
});

test('what came before it runs is said when it does', async () => {
  const clock = new FakeClock();
  const said: number[] = [];
  const line = new SummedLines<number>(
    clock,
    (a, b) => a + b,
    (value) => said.push(value),
  );
  line.add(1);
  line.add(2);
  const stop = new AbortController();
  const end = line.run(stop.signal);
  await clock.advance(1_000);
  expect(said).toEqual([1, 2]);
  stop.abort();
  await end;
});

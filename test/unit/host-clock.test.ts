import { MonotonicClock } from '../../src/host/clock';

const clock = new MonotonicClock();

test('time goes forward by what was slept, no less, also if the loop was busy when the sleep began', async () => {
  for (const busyMilliseconds of [0, 10, 40]) {
    const busyUntil = clock.now() + busyMilliseconds;
    while (clock.now() < busyUntil);
    const before = clock.now();
    await clock.sleep(30, new AbortController().signal);
    expect(clock.now() - before).toBeGreaterThanOrEqual(30);
  }
  await clock.sleep(0, new AbortController().signal);
  await clock.sleep(-5, new AbortController().signal);
});

test('a sleep ends with the reason of the signal, before it or in it', async () => {
  const reason = new Error('enough');
  await expect(clock.sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason);
  const controller = new AbortController();
  const sleep = clock.sleep(60_000, controller.signal);
  controller.abort(reason);
  await expect(sleep).rejects.toBe(reason);
});

test('a sleep of months does not end at once', async () => {
  const controller = new AbortController();
  const sleep = clock.sleep(2 ** 40, controller.signal).then(
    () => 'over',
    () => 'aborted',
  );
  await clock.sleep(20, new AbortController().signal);
  controller.abort();
  expect(await sleep).toBe('aborted');
});

test('random numbers lie in [0, 1)', () => {
  for (let n = 0; n < 1000; n++) {
    const value = clock.random();
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThan(1);
  }
});

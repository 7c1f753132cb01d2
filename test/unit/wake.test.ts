/** Waiting for a flag or for time. */
import { Wake } from '../../src/engine/wake';
import { FakeClock } from '../support/fake-clock';

let clock: FakeClock;
let end: AbortController;
let wake: Wake;

beforeEach(() => {
  clock = new FakeClock();
  end = new AbortController();
  wake = new Wake();
});

/** What a wait gave, and when. */
async function waited(milliseconds: number): Promise<{ raised: boolean; at: number }> {
  const began = clock.now();
  const raised = await wake.wait(clock, milliseconds, end.signal);
  return { raised, at: clock.now() - began };
}

test('a raised flag ends a wait, and is lowered by it', async () => {
  const first = waited(100);
  wake.raise();
  wake.raise();
  expect(await first).toEqual({ raised: true, at: 0 });
  const second = waited(100);
  await clock.advance(100);
  expect(await second).toEqual({ raised: false, at: 100 });
});

test('a flag that was raised before ends the next wait at once', async () => {
  wake.raise();
  expect(await waited(100)).toEqual({ raised: true, at: 0 });
});

test('however often the flag ends a wait, one timer is set', async () => {
  for (let n = 0; n < 5; n++) {
    const wait = waited(1_000);
    wake.raise();
    await wait;
    await clock.advance(1);
  }
  expect(clock.sleepers).toBe(1);
});

test('a wait lasts its own time, whatever timer an earlier one has left', async () => {
  for (const [earlier, milliseconds] of [
    [1_000, 10],
    [10, 1_000],
    [500, 500],
  ] as const) {
    const left = waited(earlier);
    wake.raise();
    await left;
    await clock.advance(5);
    const wait = waited(milliseconds);
    await clock.advance(milliseconds);
    expect(await wait).toEqual({ raised: false, at: milliseconds });
  }
});

test('an abort rejects with its reason, and leaves no timer', async () => {
  const reason = new Error('over');
  const wait = wake.wait(clock, 100, end.signal);
  end.abort(reason);
  await expect(wait).rejects.toBe(reason);
  expect(clock.sleepers).toBe(0);
  await expect(wake.wait(clock, 100, end.signal)).rejects.toBe(reason);
});

test('a timer that no wait uses ends with its signal; another signal has one of its own', async () => {
  const left = waited(100);
  wake.raise();
  await left;
  end.abort();
  await clock.advance(0);
  expect(clock.sleepers).toBe(0);
  end = new AbortController();
  const wait = waited(200);
  await clock.advance(200);
  expect(await wait).toEqual({ raised: false, at: 200 });
});
